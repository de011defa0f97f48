"""An object store for tests: a few operations of S3, and every signature checked by its own arithmetic (AWS SigV4)."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from pytest_httpserver import METHOD_ALL, HTTPServer
from werkzeug import Request, Response

ACCESS_KEY, SECRET_KEY, REGION = "tester", "a secret that only both of them know", "eu-test-1"


class FakeS3:
    """One bucket. `objects`: name -> (content, media type); `down`: it answers 503 to everything."""

    def __init__(self, server: HTTPServer, bucket: str = "retrace") -> None:
        self.bucket = bucket
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.down = False
        self.refused = 0
        self.endpoint = server.url_for("").rstrip("/")
        server.expect_request(re.compile(".*"), method=METHOD_ALL).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        body = request.get_data()
        if self.down:
            return Response(status=503)
        if not _signed(request, body):
            self.refused += 1
            return _error(403, "SignatureDoesNotMatch")
        bucket, _, name = request.path.lstrip("/").partition("/")
        if bucket != self.bucket:
            return _error(404, "NoSuchBucket")
        if request.method == "PUT":
            self.objects[name] = (body, request.headers.get("Content-Type", ""))
            return Response(headers={"ETag": '"1"'})
        if request.method == "DELETE":
            self.objects.pop(name, None)
            return Response(status=204)
        if not name:
            return Response()
        if name not in self.objects:
            return _error(404, "NoSuchKey")
        content, media_type = self.objects[name]
        return Response(content, content_type=media_type)


def _error(status: int, code: str) -> Response:
    return Response(f"<Error><Code>{escape(code)}</Code></Error>", status, content_type="application/xml")


def _signed(request: Request, body: bytes) -> bool:
    """docs.aws.amazon.com, "Create a signed AWS API request"."""
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    given = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    key, date, region, service, end = given.get("Credential", "////").split("/")
    if (scheme, key, region, service, end) != ("AWS4-HMAC-SHA256", ACCESS_KEY, REGION, "s3", "aws4_request"):
        return False
    declared = request.headers["x-amz-content-sha256"]
    if declared not in (sha256(body).hexdigest(), "UNSIGNED-PAYLOAD"):
        return False
    names = given["SignedHeaders"].split(";")
    if not {"host", "x-amz-date", "x-amz-content-sha256"} <= set(names):
        return False
    query = "&".join(
        f"{quote(name, safe='')}={quote(value, safe='')}"
        for name, value in sorted(parse_qsl(request.query_string.decode(), keep_blank_values=True))
    )
    headers = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names)
    canonical = "\n".join((request.method, quote(request.path), query, headers, ";".join(names), declared))
    scope = f"{date}/{region}/{service}/{end}"
    text = "\n".join((scheme, request.headers["x-amz-date"], scope, sha256(canonical.encode()).hexdigest()))
    secret = f"AWS4{SECRET_KEY}".encode()
    for part in (date, region, service, end, text):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return hmac.compare_digest(secret.hex(), given["Signature"])
