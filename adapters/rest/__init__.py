"""The REST API: what travels over HTTP, and nothing else.

`app` puts it together. An operation (`operations`) is one row: method, path, what it takes and answers, and the function
that carries it out; the same row is served and described in the OpenAPI document. `bodies`, `parameters`, `negotiation`
and `conditions` read requests strictly, `idempotency` repeats answers, `problems` is every refusal. The use cases are
Protocols of `application.service`; nothing here knows how they are carried out.
"""
