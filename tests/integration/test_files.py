"""Files through a running service, on both databases: downloaded, sent on in forms, read over REST."""

from __future__ import annotations

import os
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP
from hashlib import sha256
from typing import Any

import pytest
from werkzeug import Request, Response

from tests.support.audited import serving

pytestmark = pytest.mark.anyio
PDF = os.urandom(5_000_000)
DIGEST = f"sha256:{sha256(PDF).hexdigest()}"
COURIER = """
document: {dsl: '1.0.3', namespace: shop, name: courier, version: '1.0.0'}
do:
  - fetch:
      call: http
      with: {method: get, endpoint: 'BASE/contract.pdf'}
  - send:
      call: http
      with:
        method: post
        endpoint: BASE/inbox
        headers: {content-type: multipart/form-data}
        body:
          customer: '${ $workflow.input.name }'
          copies: 2
          tag: [one, two]
          contract: '${ $outputs.fetch }'
          note: {content: '${ "Für " + $workflow.input.name }', filename: note.txt, content_type: text/plain}
          terms: {content: {days: 14}, content_type: application/json}
          stamp: {content_base64: AAEC, filename: stamp.bin}
  - archive:
      call: http
      with:
        method: put
        endpoint: BASE/archive
        headers: {content-type: application/pdf}
        body: '${ $outputs.fetch }'
"""


def parts_of(request: Request) -> list[Any]:
    """The parts of a form, by the standard library, which is not what wrote them."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    return list(BytesParser(EmailMessage, policy=HTTP).parsebytes(head + request.get_data()).iter_parts())


@pytest.fixture
def site(httpserver):
    got: dict[str, Request] = {}

    def take(request: Request) -> Response:
        request.get_data()
        got[request.path] = request
        return Response('{"ok":true}', content_type="application/json")

    httpserver.expect_request("/contract.pdf").respond_with_data(
        PDF, content_type="application/pdf", headers={"Content-Disposition": 'attachment; filename="../contract.pdf"'}
    )
    httpserver.expect_request("/inbox").respond_with_handler(take)
    httpserver.expect_request("/archive").respond_with_handler(take)
    return httpserver.url_for("").rstrip("/"), got


async def delivered(api, base: str) -> str:
    await api.deploy(COURIER.replace("BASE", base))
    id_ = str((await api.start("shop/courier", {"name": "Zoë"}))["id"])
    status = await api.ended(id_)
    assert status["status"] == "completed", status["error"]
    return id_


async def test_a_file_is_fetched_and_sent_on_and_the_history_stays_small(served, site):
    _, api = served
    base, got = site
    id_ = await delivered(api, base)
    reference = {"digest": DIGEST, "bytes": len(PDF), "media_type": "application/pdf", "filename": "contract.pdf"}
    status = await api.status(id_)
    assert status["tasks"][0]["output"] == reference
    history = await api.http.get(f"/v1/orchestrations/{id_}/history", params={"limit": 500})
    assert len(history.content) < 16_000
    parts = {part.get_param("name", header="content-disposition"): part for part in parts_of(got["/inbox"])}
    assert list(parts) == ["customer", "copies", "tag", "contract", "note", "terms", "stamp"]
    assert parts["customer"].get_payload(decode=True).decode() == "Zoë"
    assert parts["contract"].get_payload(decode=True) == PDF
    assert (parts["contract"].get_filename(), parts["contract"].get_content_type()) == (
        "contract.pdf",
        "application/pdf",
    )
    assert parts["note"].get_payload(decode=True).decode() == "Für Zoë"
    assert parts["terms"].get_payload(decode=True) == b'{"days":14}'
    assert parts["stamp"].get_payload(decode=True) == b"\0\1\2"
    assert got["/inbox"].headers["Idempotency-Key"]
    assert (got["/archive"].get_data(), got["/archive"].content_type) == (PDF, "application/pdf")
    content = await api.http.get(f"/v1/orchestrations/{id_}/blobs/{DIGEST}", headers={"Accept": "application/pdf"})
    assert content.content == PDF
    assert content.headers["content-type"] == "application/pdf"


async def test_the_file_of_another_orchestration_is_not_sent(served, site):
    _, api = served
    base, got = site
    await delivered(api, base)
    got.clear()
    await api.deploy(f"""
document: {{dsl: '1.0.3', namespace: shop, name: thief, version: '1.0.0'}}
do:
  - steal:
      call: http
      with:
        method: post
        endpoint: {base}/inbox
        headers: {{content-type: multipart/form-data}}
        body: {{loot: '${{ . }}'}}
""")
    id_ = str((await api.start("shop/thief", {"digest": DIGEST, "bytes": len(PDF)}))["id"])
    status = await api.ended(id_)
    assert status["status"] == "faulted"
    assert status["error"]["type"].endswith("configuration")
    assert not got


async def test_a_child_and_a_fork_may_read_what_their_family_has(served, site):
    _, api = served
    base, got = site
    await api.deploy(f"""
document: {{dsl: '1.0.3', namespace: shop, name: fetcher, version: '1.0.0'}}
do:
  - fetch: {{call: http, with: {{method: get, endpoint: {base}/contract.pdf}}}}
""")
    await api.deploy(f"""
document: {{dsl: '1.0.3', namespace: shop, name: parent, version: '1.0.0'}}
do:
  - child: {{run: {{workflow: {{namespace: shop, name: fetcher, version: '1.0.0'}}}}}}
  - pause: {{wait: {{milliseconds: 1}}}}
  - send:
      call: http
      with: {{method: put, endpoint: {base}/archive, headers: {{content-type: application/pdf}}, body: '${{ . }}'}}
""")
    id_ = str((await api.start("shop/parent", {}))["id"])
    status = await api.ended(id_)
    assert status["status"] == "completed", status["error"]
    assert got["/archive"].get_data() == PDF
    assert (await api.http.get(f"/v1/orchestrations/{id_}/blobs/{DIGEST}")).content == PDF
    got.clear()
    history = await api.history(id_)
    before = next(each["version"] for each in history if each["type"] == "wait.started")
    answer = await api.http.post(
        f"/v1/orchestrations/{id_}/fork", json={"from_version": before, "reason": "again", "force": True}
    )
    assert answer.status_code == 201, answer.text
    forked = await api.ended(answer.json()["id"])
    assert forked["status"] == "completed", forked["error"]
    assert got["/archive"].get_data() == PDF


PARENT = """
document: {dsl: '1.0.3', namespace: default, name: parent, version: '1.0.0'}
do:
  - child: {run: {workflow: {namespace: default, name: patient, version: latest}}}
"""


async def test_a_file_that_many_have_is_found_within_the_family(database, monkeypatch):
    monkeypatch.setattr("application.files._LOOKED_AT", 1)
    async with serving(database, partitions=1) as (node, api):
        await api.deploy(PARENT)
        parent = (await api.start("default/parent"))["id"]
        await api.reached(parent, lambda status: status["tasks"] and status["tasks"][0]["status"] != "scheduled")
        [child] = [
            each["id"] for each in (await api.done("GET", "/v1/orchestrations"))["items"] if each["id"] != parent
        ]
        others = [(await api.start("default/patient"))["id"] for _ in range(8)]
        for content, holder, reader in ((b"a", parent, child), (b"b", child, parent)):
            reference = await node.files.write(holder, content, "image/png")
            for each in others:
                await node.files.write(each, content, "image/png")
            assert (await node.files.read(reader, reference["digest"])).content == content
        for each in (*others, parent):
            await api.done("POST", f"/v1/orchestrations/{each}/terminate", json={"reason": "enough"})
