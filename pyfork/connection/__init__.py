"""Connections: bytes in, bytes out, with the deadlines of ``[http]``. One I/O shell per way of waiting."""
