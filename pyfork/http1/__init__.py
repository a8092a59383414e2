"""HTTP/1.x, sans-I/O: the only room that knows HTTP's grammar (RFC 9110, RFC 9112)."""
