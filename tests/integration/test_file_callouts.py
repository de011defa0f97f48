"""Files and forms of HTTP callouts, at the callout itself: what is sent, what is kept, and what is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from werkzeug import Request, Response

from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.secrets import EnvironmentSecrets
from application.large_values import Blob, blob_of, named
from application.ports import Answered, Callout, Declined, Unusable
from domain.errors import NotFoundError, StorageError
from tests.integration.participants import http_callout

pytestmark = pytest.mark.anyio
PNG = b"\x89PNG\r\n\x1a\n\xff\x00"


class Files:
    """The files of one orchestration; `away`: how many calls fail first."""

    def __init__(self) -> None:
        self.kept: dict[str, Blob] = {}
        self.away = 0

    async def write(self, content: bytes, media_type: str) -> dict[str, Any]:
        if self.away:
            self.away -= 1
            raise StorageError("the database is away")
        blob = blob_of(content, media_type)
        self.kept[named(blob.digest)] = blob
        return {"digest": named(blob.digest), "bytes": blob.size, "media_type": media_type}

    async def read(self, digest: str) -> Blob:
        if digest not in self.kept:
            raise NotFoundError("There is no such content here.")
        return self.kept[digest]


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
async def send(files):
    session = open_session(NetworkPolicy(allow_loopback=True))
    http = HttpCallouts(session, EnvironmentSecrets({"RETRACE_SECRET_SHOP": "s3cr3t-token"}), max_answer_bytes=1000)

    async def sent(timeout_s: float = 5.0, **arguments: Any) -> Any:
        callout: Callout = http_callout(timeout_s, **arguments)
        return await http.send(msgspec.structs.replace(callout, files=files))

    yield sent
    await session.close()


@pytest.fixture
def participant(httpserver):
    """Takes a body, and answers what the test says."""
    got: list[Request] = []
    answer: dict[str, Any] = {"data": PNG, "content_type": "image/png", "headers": {}, "status": 200}

    def take(request: Request) -> Response:
        request.get_data()
        got.append(request)
        return Response(
            answer["data"], answer["status"], content_type=answer["content_type"], headers=answer["headers"]
        )

    httpserver.expect_request("/x").respond_with_handler(take)
    return httpserver.url_for("/x"), got, answer


async def test_a_small_binary_answer_is_a_file_too(send, participant, files):
    url, _, answer = participant
    answer["headers"] = {"Content-Disposition": "attachment; filename*=UTF-8''..%2Fgr%C3%BC%C3%9Fe.png"}
    result = await send(method="get", endpoint=url)
    reference = {"digest": named(blob_of(PNG, "").digest), "bytes": len(PNG), "media_type": "image/png"}
    assert result == Answered({**reference, "filename": "grüße.png"})
    assert files.kept[reference["digest"]].content == PNG


async def test_the_whole_answer_has_the_reference_as_its_content(send, participant):
    result = await send(method="get", endpoint=participant[0], output="response")
    assert result.output["content"]["media_type"] == "image/png"
    assert result.output["statusCode"] == 200


async def test_raw_output_and_errors_are_base64_and_keep_nothing(send, participant, files):
    url, _, answer = participant
    assert isinstance((await send(method="get", endpoint=url, output="raw")).output, str)
    answer["status"] = 404
    refused = await send(method="get", endpoint=url)
    assert isinstance(refused.fault.response["content"], str)
    assert not files.kept


async def test_an_answer_without_content_is_null(send, participant):
    participant[2]["data"] = b""
    assert await send(method="get", endpoint=participant[0]) == Answered(None)


async def test_an_answer_that_is_too_large_is_no_file(send, participant, files):
    participant[2]["data"] = b"\xff" * 1001
    assert isinstance(await send(method="get", endpoint=participant[0]), Unusable)
    assert not files.kept


async def test_text_in_a_file_has_no_secrets(send, participant, files):
    url, _, answer = participant
    answer.update(data=b"<a>s3cr3t-token</a>", content_type="application/xml")
    result = await send(method="get", endpoint=url)
    assert files.kept[result.output["digest"]].content == b"<a>***</a>"


@pytest.mark.parametrize("said", ["application/x-łódź", "application/x;y=s3cr3t-token"])
async def test_a_media_type_can_be_sent_again_and_has_no_secrets(send, participant, files, said):
    url, _, answer = participant
    answer.update(content_type=None, headers={"Content-Type": said.encode().decode("latin-1")})
    media = (await send(method="get", endpoint=url)).output["media_type"]
    assert media in ("application/octet-stream", "application/x;y=***")
    assert [each.media_type for each in files.kept.values()] == [media]


async def test_a_store_that_is_away_for_a_moment_is_waited_for(send, participant, files):
    files.away = 2
    assert isinstance(await send(method="get", endpoint=participant[0]), Answered)


async def test_a_store_that_stays_away_leaves_an_effect_without_an_answer(send, participant, files):
    files.away = 1000
    result = await send(0.5, method="post", endpoint=participant[0])
    assert isinstance(result, Unusable)
    assert "could not be kept" in str(result.fault.detail)
    assert len(participant[1]) == 1


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("text", "object"),
        ([1], "object"),
        ({}, "at least one"),
        ({"a": None}, "at least one"),
        ({"a": {"b": 1}}, "tojson"),
        ({"a": {"content": "x", "content_base64": "eA=="}}, "content"),
        ({"a": {"content_base64": "?"}}, "base64"),
        ({"a": {"content": {"b": 1}}}, "application/json"),
        ({"a": {"content": "x", "filename": "a\r\nb"}}, "filename"),
        ({"a": [["x"]]}, "list"),
        ({"a": {"digest": "sha256:" + "0" * 64, "bytes": 1}}, "no such content"),
    ],
)
async def test_what_is_no_form_is_not_sent(send, participant, body, word):
    result = await send(
        method="post", endpoint=participant[0], headers={"Content-Type": "multipart/form-data"}, body=body
    )
    assert isinstance(result, Declined)
    assert result.fault.type.endswith("configuration")
    assert word in str(result.fault.detail)
    assert not participant[1]


async def test_a_given_boundary_is_replaced(send, participant):
    url, got, _ = participant
    await send(
        method="post", endpoint=url, headers={"content-TYPE": "multipart/form-data; boundary=mine"}, body={"a": "mine"}
    )
    [request] = got
    assert request.form["a"] == "mine"
    assert "boundary=mine" not in request.headers["content-type"]
    assert len(request.headers.getlist("content-type")) == 1


async def test_names_with_quotes_and_lines_stay_one_header(send, participant):
    url, got, _ = participant
    part = {"content": "x", "filename": 'a"; filename="b'}
    await send(method="post", endpoint=url, headers={"content-type": "multipart/form-data"}, body={'n"\r\nX: y': part})
    head = got[0].get_data().split(b"\r\n\r\n")[0]
    assert b"\r\nX: y" not in head
    assert head.count(b'filename="') == 1


async def test_a_reference_is_json_where_json_is_asked_for(send, participant, files):
    url, got, _ = participant
    reference = await files.write(PNG, "image/png")
    await send(method="post", endpoint=url, body=reference)
    assert got[0].get_json() == reference
    await send(method="post", endpoint=url, headers={"content-type": "image/png"}, body=reference)
    assert got[1].get_data() == PNG
