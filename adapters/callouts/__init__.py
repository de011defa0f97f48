"""What leaves the service: HTTP requests, OpenAPI operations, SQL, Python functions, emitted events.

Reading order: ``dispatch`` (the port) -> ``http`` / ``openapi`` / ``sql`` / ``functions`` -> ``exchange`` (one request over
the wire, and whether it left) -> ``outcome`` (what an answer says about the effect). ``network`` guards every connection.
"""
