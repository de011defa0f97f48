"""``call: http`` against real servers on the loopback interface: what is sent, what comes out, what an error means."""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from werkzeug import Request, Response

from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.secrets import EnvironmentSecrets
from application.ports import Answered, Declined, Doubtful, Unusable
from application.tracing import traceparent
from domain.errors import SPEC
from tests.integration.participants import answering, free_port, http_callout, raw_server, read_request, reset, silent

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http():
    session = open_session(NetworkPolicy(allow_loopback=True))
    yield HttpCallouts(session, EnvironmentSecrets({}), max_answer_bytes=1_000_000)
    await session.close()


@pytest.fixture
def echo(httpserver):
    """Answers with what it got."""

    def handler(request: Request) -> Response:
        seen = {
            "method": request.method,
            "query": [[name, value] for name, value in request.args.items(multi=True)],
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": request.get_data(as_text=True),
        }
        return Response(json.dumps(seen), content_type="application/json")

    httpserver.expect_request("/echo").respond_with_handler(handler)
    return httpserver.url_for("/echo")


# What is sent ----------------------------------------------------------------------------------------------------


async def test_sends_the_headers_that_every_callout_carries(http, echo):
    result = await http.send(http_callout(method="get", endpoint=echo, compensates="key-0"))
    headers = result.output["headers"]
    assert headers["idempotency-key"] == "key-1"
    assert headers["retrace-compensates"] == "key-0"
    assert headers["user-agent"].startswith("retrace")
    assert headers["accept"].startswith("application/json")


async def test_a_forward_callout_says_nothing_about_compensation(http, echo):
    result = await http.send(http_callout(method="get", endpoint=echo))
    assert "retrace-compensates" not in result.output["headers"]


async def test_the_trace_is_sent_on_unless_the_definition_has_its_own(http, echo):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = msgspec.structs.replace(http_callout(method="get", endpoint=echo), trace=trace)
    sent = (await http.send(traced)).output["headers"]["traceparent"]
    assert sent == traceparent(trace, "key-1", 1)
    own = http_callout(method="get", endpoint=echo, headers={"Traceparent": "mine"})
    result = await http.send(msgspec.structs.replace(own, trace=trace))
    assert result.output["headers"]["traceparent"] == "mine"


async def test_a_body_is_json_unless_its_content_type_says_otherwise(http, echo):
    as_json = await http.send(http_callout(method="post", endpoint=echo, body={"a": [1, None, "ü"]}))
    assert as_json.output["headers"]["content-type"] == "application/json"
    assert json.loads(as_json.output["body"]) == {"a": [1, None, "ü"]}
    form = {"content-type": "application/x-www-form-urlencoded"}
    as_form = await http.send(http_callout(method="post", endpoint=echo, headers=form, body={"a": [1, 2], "b": "x y"}))
    assert as_form.output["body"] == "a=1&a=2&b=x+y"
    plain = await http.send(
        http_callout(method="post", endpoint=echo, headers={"Content-Type": "text/plain"}, body="hi")
    )
    assert plain.output["body"] == "hi"


async def test_an_object_cannot_be_sent_as_text(http, echo):
    result = await http.send(
        http_callout(method="post", endpoint=echo, headers={"content-type": "text/plain"}, body={"a": 1})
    )
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"


async def test_the_query_is_added_to_the_one_of_the_endpoint(http, echo):
    query = {"b": [2, 3], "c": True, "d": "x&y=z", "e": None}
    result = await http.send(http_callout(method="get", endpoint=echo + "?a=1", query=query))
    assert result.output["query"] == [["a", "1"], ["b", "2"], ["b", "3"], ["c", "true"], ["d", "x&y=z"]]


async def test_templates_are_filled_from_the_input_and_encoded(http, httpserver):
    httpserver.expect_request("/pet/a/b", method="GET").respond_with_json({"ok": True})
    url = httpserver.url_for("/pet/") + "{petId}?status={status}"
    result = await http.send(http_callout(method="get", endpoint={"uri": url}, input={"petId": "a/b", "status": "x y"}))
    assert result == Answered({"ok": True})
    request, _ = httpserver.log[0]
    assert request.args["status"] == "x y"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"method": "get", "endpoint": "not a uri"}, "scheme"),
        ({"method": "get", "endpoint": "ftp://example.com/x"}, "ftp"),
        ({"method": "get", "endpoint": "http:///x"}, "host"),
        ({"method": "get", "endpoint": "http://h:99999/x"}, "URI"),
        ({"method": "get", "endpoint": None}, "URI"),
        ({"method": "g t", "endpoint": "http://h/"}, "method"),
        ({"method": "get", "endpoint": "http://h/", "headers": {"a": "x\r\nb: y"}}, "header"),
        ({"method": "get", "endpoint": "http://h/", "headers": {"Idempotency-Key": "x"}}, "Idempotency-Key"),
        ({"method": "get", "endpoint": "http://h/", "headers": {"content-length": "3"}}, "connection"),
        ({"method": "get", "endpoint": "http://h/", "output": "all"}, "output"),
        ({"method": "get", "endpoint": "http://h/", "query": [1]}, "query"),
        ({"method": "get", "endpoint": "http://h/", "colour": "red"}, "colour"),
        ({"method": "post", "endpoint": "http://h/", "body": "\ud800"}, "body"),
    ],
)
async def test_what_cannot_be_sent_is_a_configuration_fault(http, arguments, word):
    result = await http.send(http_callout(**arguments))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"
    assert word in (result.fault.detail or "")


# What comes out --------------------------------------------------------------------------------------------------


async def test_outputs_raw_content_and_response(http, httpserver):
    httpserver.expect_request("/pet").respond_with_json({"id": 1}, headers={"X-Rate": "9"})
    url = httpserver.url_for("/pet")
    raw = await http.send(http_callout(method="get", endpoint=url, output="raw"))
    assert json.loads(b64decode(raw.output)) == {"id": 1}
    assert await http.send(http_callout(method="get", endpoint=url)) == Answered({"id": 1})
    headers = {"Authorization": "Bearer very-secret"}
    whole = (await http.send(http_callout(method="get", endpoint=url, output="response", headers=headers))).output
    assert (whole["statusCode"], whole["content"], whole["headers"]["x-rate"]) == (200, {"id": 1}, "9")
    assert (whole["request"]["method"], whole["request"]["uri"]) == ("get", url)
    assert whole["request"]["headers"]["Authorization"] == "***"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a":1}', "application/problem+json", {"a": 1}),
        (b'\xef\xbb\xbf{"a":1}', "application/json; charset=utf-8", {"a": 1}),
        ("<h1>ü</h1>".encode(), "text/html", "<h1>ü</h1>"),
        ("ü".encode("latin-1"), "text/plain; charset=iso-8859-1", "ü"),
        (b"\x00\xff", "image/png", b64encode(b"\x00\xff").decode()),
        (b"", "application/json", None),
    ],
)
async def test_content_is_read_by_its_type(http, httpserver, body, content_type, expected):
    httpserver.expect_request("/").respond_with_data(body, content_type=content_type)
    assert await http.send(http_callout(method="get", endpoint=httpserver.url_for("/"))) == Answered(expected)


async def test_a_compressed_answer_is_unpacked(http, httpserver):
    body = gzip.compress(b'{"a":1}')
    httpserver.expect_request("/").respond_with_data(
        body, content_type="application/json", headers={"Content-Encoding": "gzip"}
    )
    assert await http.send(http_callout(method="get", endpoint=httpserver.url_for("/"))) == Answered({"a": 1})


# What an answer means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(301, Declined), (304, Declined), (400, Declined), (401, Declined), (404, Declined), (409, Declined),
     (410, Declined), (425, Declined), (429, Declined), (499, Declined),
     (408, Doubtful), (500, Doubtful), (501, Doubtful), (503, Doubtful), (504, Doubtful), (599, Doubtful)],
)  # fmt: skip
async def test_an_error_status_is_a_communication_fault_of_its_class(http, httpserver, status, outcome):
    httpserver.expect_request("/").respond_with_response(
        Response(
            "" if status == 304 else '{"why":"so"}',
            status,
            {"Set-Cookie": "s=1", "X-A": "b"},
            content_type="application/json",
        )
    )
    result = await http.send(http_callout(method="post", endpoint=httpserver.url_for("/"), body={}))
    assert type(result) is outcome
    assert (result.fault.type, result.fault.status) == (SPEC + "communication", status)
    assert result.fault.title
    assert result.fault.response["status"] == status
    assert result.fault.response["headers"]["x-a"] == "b"
    assert "set-cookie" not in result.fault.response["headers"]
    assert result.fault.response["content"] == (None if status == 304 else {"why": "so"})


async def test_a_redirect_is_followed_nowhere_and_no_error_if_allowed(http, httpserver):
    httpserver.expect_request("/").respond_with_data("", 302, {"Location": httpserver.url_for("/elsewhere")})
    call = http_callout(method="get", endpoint=httpserver.url_for("/"), redirect=True, output="response")
    result = await http.send(call)
    assert isinstance(result, Answered)
    assert result.output["statusCode"] == 302
    refused = await http.send(http_callout(method="get", endpoint=httpserver.url_for("/")))
    assert isinstance(refused, Declined)
    assert refused.fault.detail
    assert refused.fault.response
    assert refused.fault.detail.endswith(" answered 302 FOUND, and redirects are not followed")
    assert refused.fault.response["headers"]["location"] == httpserver.url_for("/elsewhere")
    assert len(httpserver.log) == 2


async def test_retry_after_is_read_as_seconds_and_as_a_date(http, httpserver):
    httpserver.expect_request("/s").respond_with_data("", 429, {"Retry-After": "7"})
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    httpserver.expect_request("/d").respond_with_data("", 503, {"Retry-After": later})
    httpserver.expect_request("/bad").respond_with_data("", 503, {"Retry-After": "soon"})
    seconds, date, bad = [
        (await http.send(http_callout(method="get", endpoint=httpserver.url_for(path)))).retry_after_s
        for path in ("/s", "/d", "/bad")
    ]
    assert seconds == 7.0
    assert 90 < date <= 100
    assert bad is None


async def test_the_answer_of_an_error_is_kept_up_to_a_bound(http, httpserver):
    httpserver.expect_request("/").respond_with_data("x" * 500_000, 500, content_type="text/plain")
    result = await http.send(http_callout(method="get", endpoint=httpserver.url_for("/")))
    assert len(result.fault.response["content"]) == 64_000


async def test_no_cookie_is_kept(http, httpserver):
    httpserver.expect_request("/").respond_with_data("", headers={"Set-Cookie": "session=1"})
    for _ in range(2):
        await http.send(http_callout(method="get", endpoint=httpserver.url_for("/")))
    assert all("Cookie" not in request.headers for request, _ in httpserver.log)


async def test_the_environment_chooses_no_proxy(http, httpserver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    httpserver.expect_request("/").respond_with_json(1)
    assert await http.send(http_callout(method="get", endpoint=httpserver.url_for("/"))) == Answered(1)


# Nothing was sent ------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_a_definite_failure(http):
    result = await http.send(http_callout(method="post", endpoint=f"http://127.0.0.1:{free_port()}/"))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "communication"
    assert result.fault.response is None


async def test_a_name_that_does_not_resolve_is_a_definite_failure(http):
    result = await http.send(http_callout(method="post", endpoint="http://nobody.invalid/"))
    assert isinstance(result, Declined)
    assert "nobody.invalid" in (result.fault.detail or "")


async def test_a_peer_that_does_not_speak_tls_is_a_definite_failure(http):
    async def plain(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with raw_server(plain) as url:
        result = await http.send(http_callout(method="post", endpoint=url.replace("http:", "https:")))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "communication"


async def test_a_handshake_that_never_ends_is_a_definite_timeout(http):
    async with raw_server(silent) as url:
        result = await http.send(http_callout(method="post", endpoint=url.replace("http:", "https:"), timeout_s=0.2))
    assert isinstance(result, Declined)
    assert (result.fault.type, result.fault.status) == (SPEC + "timeout", 408)


# Nobody knows ----------------------------------------------------------------------------------------------------


async def test_no_answer_in_time_is_uncertain(http):
    async with raw_server(silent) as url:
        result = await http.send(http_callout(method="get", endpoint=url, timeout_s=0.2))
    assert isinstance(result, Doubtful)
    assert (result.fault.type, result.fault.status) == (SPEC + "timeout", 408)


@pytest.mark.parametrize("method", ["get", "put", "delete", "post"])
async def test_a_connection_reset_after_the_request_is_uncertain_and_not_repeated(http, method):
    requests = 0

    async def handler(reader, writer):
        nonlocal requests
        await read_request(reader)
        requests += 1
        reset(writer)

    async with raw_server(handler) as url:
        result = await http.send(http_callout(method=method, endpoint=url))
    assert isinstance(result, Doubtful)
    assert result.fault.type == SPEC + "communication"
    assert requests == 1


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02 garbage\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n", b""])
async def test_garbage_instead_of_an_answer_is_uncertain(http, garbage):
    async with raw_server(answering(garbage)) as url:
        result = await http.send(http_callout(method="post", endpoint=url))
    assert isinstance(result, Doubtful)


# It took effect, but the answer is no use ------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def test_html_that_calls_itself_json_is_unusable(http, httpserver):
    httpserver.expect_request("/").respond_with_data("<html>", content_type="application/json")
    result = await http.send(http_callout(method="post", endpoint=httpserver.url_for("/")))
    assert isinstance(result, Unusable)
    assert result.output["content"] == "<html>"


@pytest.mark.parametrize(
    "body", [b'"\\ud800"', b"NaN", b"1e999", b"[" * 100_000, b"123456789012345678901234567890", b'"\xff"']
)
async def test_json_that_cannot_be_stored_is_unusable(http, httpserver, body):
    httpserver.expect_request("/").respond_with_data(body, content_type="application/json")
    assert isinstance(await http.send(http_callout(method="post", endpoint=httpserver.url_for("/"))), Unusable)


@pytest.mark.parametrize(("levels", "kind"), [(256, Answered), (257, Unusable), (600, Unusable), (5_000, Unusable)])
async def test_an_answer_nests_so_deep_on_every_python(http, httpserver, levels, kind):
    body = b'[{"a":' * (levels // 2) + b"[]" * (levels % 2) + b"1" * (1 - levels % 2) + b"}]" * (levels // 2)
    httpserver.expect_request("/").respond_with_data(body, content_type="application/json")
    assert isinstance(await http.send(http_callout(method="post", endpoint=httpserver.url_for("/"))), kind)


async def test_an_endless_answer_is_cut_at_the_cap(http):
    sent = 0

    async def handler(reader, writer):
        nonlocal sent
        await read_request(reader)
        writer.write(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with raw_server(handler) as url:
        result = await http.send(http_callout(method="post", endpoint=url))
    assert isinstance(result, Unusable)
    assert "larger than 1000000" in (result.fault.detail or "")
    assert sent < 100_000_000


async def test_a_decompression_bomb_is_cut_at_the_cap(http, httpserver):
    httpserver.expect_request("/").respond_with_data(
        gzip.compress(b"0" * 50_000_000), content_type="text/plain", headers={"Content-Encoding": "gzip"}
    )
    result = await http.send(http_callout(method="post", endpoint=httpserver.url_for("/")))
    assert isinstance(result, Unusable)
    assert "larger than" in (result.fault.detail or "")


async def test_one_byte_now_and_then_is_bounded_by_the_timeout(http):
    async def handler(reader, writer):
        await read_request(reader)
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"1")
            await writer.drain()
            await asyncio.sleep(0.02)

    started = asyncio.get_running_loop().time()
    async with raw_server(handler) as url:
        result = await http.send(http_callout(method="post", endpoint=url, timeout_s=0.3))
    assert isinstance(result, Unusable)
    assert asyncio.get_running_loop().time() - started < 1.3


async def test_a_reset_in_the_body_is_unusable(http):
    async with raw_server(answering(HEAD + b'Content-Length: 100\r\n\r\n{"a"', then=reset)) as url:
        result = await http.send(http_callout(method="post", endpoint=url))
    assert isinstance(result, Unusable)


async def test_a_body_that_ends_early_is_unusable(http):
    async with raw_server(answering(HEAD + b'Content-Length: 100\r\n\r\n{"a":1}')) as url:
        result = await http.send(http_callout(method="post", endpoint=url))
    assert isinstance(result, Unusable)


async def test_an_error_status_counts_even_if_its_body_is_lost(http):
    head = b"HTTP/1.1 409 Conflict\r\nContent-Length: 100\r\n\r\nhalf"
    async with raw_server(answering(head, then=reset)) as url:
        result = await http.send(http_callout(method="post", endpoint=url))
    assert isinstance(result, Declined)
    assert result.fault.status == 409


async def test_bytes_that_are_no_text_in_headers_do_no_harm(http):
    head = b"HTTP/1.1 200 \xff\r\nContent-Type: application/json\r\nX-Odd: \xff\r\nContent-Length: 1\r\n\r\n1"
    async with raw_server(answering(head)) as url:
        result = await http.send(http_callout(method="post", endpoint=url, output="response"))
    assert json.dumps(result.output, ensure_ascii=False).encode()
