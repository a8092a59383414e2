"""The error log and the access log, on the standard library's loggers ``pyfork.error`` and ``pyfork.access``."""
