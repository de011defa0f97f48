"""Files of an orchestration, and large values of its events: bytes under their digest.

What comes from participants is given away as something to save, never as a page of this service: with `nosniff`, as an
attachment, and under a policy that lets nothing run.
"""

from __future__ import annotations

from starlette.responses import Response

from adapters.rest.calls import ID, Call
from adapters.rest.conditions import not_modified
from adapters.rest.operations import Answer, Operation
from domain.errors import NotFoundError

_PATH = "/v1/orchestrations/{id}/blobs/{digest}"
_DIGEST = "sha256:[0-9a-f]{64}"


async def get(call: Call) -> Response:
    """GET /v1/orchestrations/{id}/blobs/{digest}."""
    id_, digest = call.orchestration, call.segment("digest")
    if call.services.files is None:
        raise NotFoundError
    blob = await call.services.files.read(id_, digest)
    headers = {
        "ETag": f'"{digest}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": f'attachment; filename="{digest.removeprefix("sha256:")[:16]}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if not_modified(call.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(blob.content, 200, {**headers, "Content-Type": blob.media_type})


OPERATIONS = (
    Operation(
        "getBlob",
        "GET",
        _PATH,
        get,
        "A file, or a large value",
        "Orchestrations",
        {
            200: Answer(
                "The bytes, in the media type in which they came; application/json or text/plain for a large value.",
                media=("*/*",),
                headers=("ETag", "Content-Disposition"),
            ),
            304: Answer("You have it: a digest always has the same content.", media=()),
        },
        description="What a reference `{digest, bytes, media_type}` in an output or in a history stands for. Only of what "
        "this orchestration, or its family, has; any other digest is not found.",
        problems=("not-found", "content-missing"),
        request_headers=("If-None-Match",),
        produces=("*/*",),
        path_schemas={
            "id": {"type": "string", "pattern": f"^{ID}$"},
            "digest": {"type": "string", "pattern": f"^{_DIGEST}$"},
        },
    ),
)
