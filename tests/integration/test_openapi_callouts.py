"""``call: openapi``: documents from a server, parameters in their places, documents that are no use."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from werkzeug import Request, Response

from adapters.callouts.http import HttpCallouts
from adapters.callouts.network import NetworkPolicy, open_session
from adapters.callouts.openapi import OpenApiCallouts
from adapters.callouts.secrets import EnvironmentSecrets
from application.ports import Answered, Declined
from domain.errors import SPEC
from tests.integration.participants import free_port, openapi_callout, raw_server, silent

pytestmark = pytest.mark.anyio


@pytest.fixture
async def openapi():
    session = open_session(NetworkPolicy(allow_loopback=True))
    yield OpenApiCallouts(HttpCallouts(session, EnvironmentSecrets({})), NetworkPolicy(allow_loopback=True))
    await session.close()


@pytest.fixture
def api(httpserver):
    """Serves a document and echoes every other request; gives a function that makes callouts."""

    def echo(request: Request) -> Response:
        seen = {
            "method": request.method,
            "path": request.path,
            "query": request.query_string.decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": request.get_data(as_text=True),
        }
        return Response(json.dumps(seen), content_type="application/json")

    def with_document(document: Any, *, text: str | None = None, path: str = "/docs/openapi.json"):
        body = text if text is not None else json.dumps(document)
        httpserver.expect_request(path).respond_with_data(body)
        httpserver.expect_request(re.compile("/(api|v2).*")).respond_with_handler(echo)
        url = httpserver.url_for(path)

        def callout(operation: str, parameters: Any = None, **more: Any):
            return openapi_callout(
                document={"endpoint": url}, operationId=operation, parameters=parameters or {}, **more
            )

        return callout

    return with_document


def document(**operation: Any) -> dict[str, Any]:
    path = operation.pop("path", "/things")
    method = operation.pop("method", "get")
    root = {"openapi": "3.1.0", "servers": [{"url": "/api"}], "components": operation.pop("components", {})}
    return root | {"paths": {path: {method: {"operationId": "op", **operation}}}}


def parameter(name: str, place: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, **more}


async def test_parameters_go_to_their_places(openapi, api):
    callout = api(
        document(
            path="/things/{id}",
            parameters=[
                parameter("id", "path", required=True),
                parameter("tags", "query"),
                parameter("X-Kind", "header"),
                parameter("session", "cookie"),
                parameter("unused", "query"),
            ],
        )
    )("op", {"id": "a/b", "tags": ["x", "y z"], "X-Kind": ["k", 1], "session": "s1"})
    seen = (await openapi.send(callout)).output
    assert (seen["method"], seen["path"], seen["query"]) == ("GET", "/api/things/a/b", "tags=x&tags=y+z")
    assert (seen["headers"]["x-kind"], seen["headers"]["cookie"]) == ("k,1", "session=s1")
    assert seen["headers"]["idempotency-key"] == "key-1"


async def test_references_and_parameters_of_the_path_are_followed(openapi, api):
    spec = document(path="/things/{id}", components={"parameters": {"a/b": parameter("id", "path", required=True)}})
    spec["paths"]["/things/{id}"]["parameters"] = [{"$ref": "#/components/parameters/a~1b"}]
    assert (await openapi.send(api(spec)("op", {"id": 7}))).output["path"] == "/api/things/7"


@pytest.mark.parametrize(
    ("parameters", "body"),
    [
        ({"body": {"name": "x"}}, {"name": "x"}),
        ({"name": "x", "age": 1}, {"name": "x", "age": 1}),
        ({"body": [1]}, [1]),
    ],
)
async def test_a_body_is_the_parameter_body_or_what_is_left(openapi, api, parameters, body):
    spec = document(method="post", requestBody={"required": True, "content": {"application/json": {}}})
    seen = (await openapi.send(api(spec)("op", parameters))).output
    assert json.loads(seen["body"]) == body
    assert seen["headers"]["content-type"] == "application/json"


async def test_a_form_body(openapi, api):
    spec = document(method="post", requestBody={"content": {"application/x-www-form-urlencoded": {}}})
    assert (await openapi.send(api(spec)("op", {"a": 1, "b": "x y"}))).output["body"] == "a=1&b=x+y"


@pytest.mark.parametrize(
    ("operation", "parameters", "word"),
    [
        ({"parameters": [parameter("q", "query", required=True)]}, {}, "'q'"),
        ({"path": "/things/{id}", "parameters": [parameter("id", "path", required=True)]}, {}, "'id'"),
        ({"path": "/things/{id}"}, {}, "'id'"),
        ({}, {"colour": "red"}, "colour"),
        ({"method": "post", "requestBody": {"required": True, "content": {"application/json": {}}}}, {}, "body"),
        ({"method": "post", "requestBody": {"content": {"multipart/mixed": {}}}}, {"a": 1}, "multipart"),
        ({"method": "post", "requestBody": {"content": {"multipart/form-data": {}}}}, {"a": {"b": 1}}, "tojson"),
        ({"servers": [{"url": "http://{host}/"}]}, {}, "host"),
    ],
)
async def test_what_cannot_be_written_is_not_sent(openapi, api, httpserver, operation, parameters, word):
    result = await openapi.send(api(document(**operation))("op", parameters))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"
    assert word in (result.fault.detail or "")
    assert [request.path for request, _ in httpserver.log] == ["/docs/openapi.json"]


async def test_a_server_of_the_operation_with_variables_wins(openapi, api, httpserver):
    variables = {"version": {"default": "v9"}}
    servers = [
        {"url": httpserver.url_for("/api/{version}").replace("%7B", "{").replace("%7D", "}"), "variables": variables}
    ]
    assert (await openapi.send(api(document(servers=servers))("op"))).output["path"] == "/api/v9/things"


SWAGGER = """
swagger: '2.0'
host: {host}
basePath: /v2
schemes: [https, http]
paths:
  /pet/{{petId}}:
    get:
      operationId: getPetById
      parameters: [{{name: petId, in: path, required: true, type: integer}}]
  /pet/findByStatus:
    get:
      operationId: findPetsByStatus
      parameters:
        - {{name: status, in: query, required: true, type: array, collectionFormat: multi}}
        - {{name: tags, in: query, type: array}}
  /pet:
    post:
      operationId: addPet
      parameters: [{{name: pet, in: body, required: true}}]
    put:
      operationId: updatePet
      consumes: [application/x-www-form-urlencoded]
      parameters: [{{name: name, in: formData}}, {{name: on, in: formData}}]
"""


@pytest.mark.parametrize(
    ("operation", "parameters", "expected"),
    [
        ("getPetById", {"petId": 1}, ("GET", "/v2/pet/1", "", "")),
        ("findPetsByStatus", {"status": ["a", "b"], "tags": ["c", "d"]},
         ("GET", "/v2/pet/findByStatus", "status=a&status=b&tags=c,d", "")),
        ("addPet", {"pet": {"id": 1}}, ("POST", "/v2/pet", "", '{"id":1}')),
        ("addPet", {"body": {"id": 1}}, ("POST", "/v2/pet", "", '{"id":1}')),
        ("addPet", {"id": 1}, ("POST", "/v2/pet", "", '{"id":1}')),
        ("updatePet", {"name": "x", "on": True}, ("PUT", "/v2/pet", "", "name=x&on=true")),
    ],
)  # fmt: skip
async def test_swagger_2_as_yaml(openapi, api, httpserver, operation, parameters, expected):
    text = SWAGGER.format(host=f"{httpserver.host}:{httpserver.port}")
    seen = (await openapi.send(api(None, text=text)(operation, parameters))).output
    assert (seen["method"], seen["path"], seen["query"], seen["body"]) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("<html>", "not an object"),
        ("a: [1", "YAML"),
        ("[1]", "not an object"),
        ('{"openapi": "4.0"}', "OpenAPI 3"),
        ('{"openapi": "3.0.0", "paths": {"/": {"get": {"operationId": "other"}}}}', "'op'"),
        ('{"openapi": "3.0.0", "paths": {"/": {"$ref": "#/paths/~1"}}}', "circles"),
        ('{"openapi": "3.0.0", "paths": {"/": {"$ref": "#/nowhere"}}}', "nowhere"),
        ('{"openapi": "3.0.0", "paths": {"/": {"$ref": "other.yaml#/x"}}}', "leaves"),
        ('{"openapi": "3.0.0", "paths": {"/": {"get": {"operationId": "op", "parameters": [7]}}}}', "object"),
        ('{"openapi": "3.0.0", "paths": ' + "[" * 600 + "]" * 600 + "}", "deeper than 256"),
        ('{"openapi": "3.0.0", "paths": ' + "[" * 20_000 + "]" * 20_000 + "}", "deeper than 256"),
    ],
)
async def test_a_document_that_is_no_use_is_a_configuration_fault(openapi, api, text, word):
    result = await openapi.send(api(None, text=text)("op"))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"
    assert word in (result.fault.detail or "")


async def test_a_document_is_fetched_once(openapi, api, httpserver):
    callout = api(document())("op")
    for _ in range(3):
        assert isinstance(await openapi.send(callout), Answered)
    assert [request.path for request, _ in httpserver.log].count("/docs/openapi.json") == 1


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_document_that_is_not_served_is_a_configuration_fault(openapi, httpserver, status):
    httpserver.expect_request("/doc").respond_with_data("", status)
    result = await openapi.send(openapi_callout(document={"endpoint": httpserver.url_for("/doc")}, operationId="op"))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"


async def test_a_server_of_documents_that_is_gone_is_a_configuration_fault(openapi):
    endpoint = {"uri": f"http://127.0.0.1:{free_port()}/doc"}
    result = await openapi.send(openapi_callout(document={"endpoint": endpoint}, operationId="op"))
    assert isinstance(result, Declined)
    assert result.fault.type == SPEC + "configuration"


async def test_a_document_behind_authentication(openapi, api, httpserver):
    basic = {"basic": {"username": "ann", "password": "x"}}
    callout = api(document())("op", authentication={"bearer": {"token": "t"}})
    callout.arguments["document"] = {
        "endpoint": {"uri": callout.arguments["document"]["endpoint"], "authentication": basic}
    }
    seen = (await openapi.send(callout)).output
    assert httpserver.log[0][0].headers["Authorization"].startswith("Basic ")
    assert seen["headers"]["authorization"] == "Bearer t"


async def test_files_are_read_only_where_the_policy_allows_it(openapi, api, httpserver, tmp_path):
    api(document())
    spec = document() | {"servers": [{"url": httpserver.url_for("/api")}]}
    (tmp_path / "doc.json").write_text(json.dumps(spec))
    callout = openapi_callout(document={"endpoint": (tmp_path / "doc.json").as_uri()}, operationId="op")
    refused = await openapi.send(callout)
    assert isinstance(refused, Declined)
    policy = NetworkPolicy(allow_loopback=True, allow_files=True)
    async with open_session(policy) as session:
        allowed = OpenApiCallouts(HttpCallouts(session, EnvironmentSecrets({})), policy)
        answer = await allowed.send(callout)
    assert isinstance(answer, Answered)
    assert answer.output["path"] == "/api/things"


async def test_a_bomb_of_aliases_costs_nothing(openapi, api):
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    result = await openapi.send(api(None, text=f"a0: &a0 x\n{levels}\nopenapi: 3.0.0\npaths: {{}}")("op"))
    assert isinstance(result, Declined)


async def test_a_document_that_does_not_come_in_time_leaves_the_operation_uncalled(openapi):
    async with raw_server(silent) as url:
        callout = openapi_callout(document={"endpoint": url}, operationId="op", timeout_s=0.2)
        assert isinstance(await openapi.send(callout), Declined)
