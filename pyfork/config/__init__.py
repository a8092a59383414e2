"""Settings: declared once, read from file, environment and command line, checked all at once."""
