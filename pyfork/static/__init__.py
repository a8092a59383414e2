"""Files that a worker serves itself, without the application: what `[static]` names."""
