"""pyfork: a prefork application server for Python."""

__version__ = "0.1.0"
