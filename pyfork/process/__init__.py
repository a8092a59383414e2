"""The process itself: signals, descriptors, privileges, its title."""
