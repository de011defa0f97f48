"""What leaves the service: HTTP requests, OpenAPI operations, Python functions, emitted events.

Reading order: ``dispatch`` (the port) -> ``http`` / ``openapi`` / ``functions`` -> ``exchange`` (one request over the
wire, and whether it left) -> ``outcome`` (what an answer says about the effect). ``network`` guards every connection.
"""
