"""The WSGI gateway (PEP 3333): environ, start_response, input and error streams."""
