"""The error log and the access log, on the loggers ``pyfork.error`` and ``pyfork.access``."""
