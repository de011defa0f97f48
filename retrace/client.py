"""A client of the REST API, for scripts and services that start and follow orchestrations.

One method per call, blocking, answers as the API gives them (`retrace.representations`). Everything that is not a
success raises `RetraceProblem` with the members of the problem; a connection that fails raises httpx2's own errors,
since then nobody knows what the server did: repeat a start with the same ``idempotency_key``, and it is done once.

    with Client("http://127.0.0.1:8080") as client:
        trip = client.start("trip-booking", {"city": "Lisbon"}, idempotency_key="trip-4711")
        print(client.wait(trip["id"])["status"])
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, cast
from urllib.parse import quote

import httpx2

from retrace.audit import Audit
from retrace.connection import Connection, RetraceProblem, structured_string
from retrace.people import HumanTasks
from retrace.representations import (
    FINAL,
    CalledFunction,
    Circuit,
    CommandResult,
    Deployed,
    DryRun,
    EventOutcome,
    EventRefused,
    HistoryEvent,
    NodeList,
    Operation,
    Orchestration,
    ProjectionStatus,
    RollbackPlan,
    ScheduleStatus,
)

__all__ = ["LONGEST_WAIT_S", "Client", "RetraceProblem"]

LONGEST_WAIT_S = 60
"""The most that the server holds one long poll or one ``Prefer: wait``."""


class Client:
    """A connection to one Retrace service; close it, or use it in a ``with``."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout_s: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._server = Connection(url, token, timeout_s, transport)
        self.audit = Audit(self._server)
        """The log of everything."""
        self.people = HumanTasks(self._server)
        """What people are asked."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    # --- definitions

    def deploy(self, document: str | bytes | Mapping[str, Any]) -> Deployed:
        """Deploy a definition: YAML or JSON text, or a parsed document. The same content again changes nothing."""
        return cast("Deployed", self._server.call("POST", "/v1/definitions", **_document(document)))

    def check(self, document: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
        """What a deployment would say: ``{valid, errors, warnings}``; nothing is stored."""
        request = _document(document)
        return cast(
            "dict[str, Any]", self._server.call("POST", "/v1/definitions", params={"dry_run": "true"}, **request)
        )

    def definitions(self, namespace: str | None = None, name: str | None = None) -> Iterator[Deployed]:
        """The latest version of each definition; with both arguments every version of one."""
        yield from self._listed("/v1/definitions", {"namespace": namespace, "name": name}, None)

    def document(self, definition: str) -> str:
        """The document of ``name`` or ``namespace/name``, ``@version`` or the latest, as it was sent."""
        return self._server.text(_definition_path(definition), "application/yaml, application/json")

    def diagram(self, definition: str, kind: Literal["mermaid", "svg"] = "mermaid") -> str:
        """A definition drawn."""
        accept = "image/svg+xml" if kind == "svg" else "text/vnd.mermaid, text/plain"
        return self._server.text(_definition_path(definition) + "/diagram", accept)

    def rehearse(
        self,
        definition: str | Mapping[str, Any],
        input: Any = None,  # noqa: A002 - the member's name in the API
        *,
        outputs: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """What a definition (deployed, or a parsed document) does when each thing in turn goes wrong; nobody is called."""
        members = {"definition": definition, "input": input, "outputs": outputs, "limit": limit}
        return cast("dict[str, Any]", self._server.call("POST", "/v1/rehearsals", json=_given(members)))

    # --- nodes

    def nodes(self) -> NodeList:
        """Every node at work on the service's database, and the partitions that each owns."""
        return cast("NodeList", self._server.call("GET", "/v1/nodes"))

    # --- circuits

    def circuits(self) -> list[Circuit]:
        """Hosts that callouts have failed at, as the processes behind this address see them."""
        return cast("list[Circuit]", self._server.call("GET", "/v1/circuits")["items"])

    def close_circuit(self, host: str) -> list[Circuit]:
        """Let requests to a host (scheme, name and port) pass again. Raises RetraceProblem (404) when it is not known."""
        return cast("list[Circuit]", self._server.call("POST", "/v1/circuits/close", json={"host": host})["items"])

    def open_circuit(self, host: str, reason: str | None = None) -> list[Circuit]:
        """Send nothing to a host until `close_circuit`."""
        body = {"host": host} if reason is None else {"host": host, "reason": reason}
        return cast("list[Circuit]", self._server.call("POST", "/v1/circuits/open", json=body)["items"])

    # --- functions

    def functions(self) -> list[CalledFunction]:
        """Functions that definitions call or that remote workers asked for."""
        found: list[CalledFunction] = []
        params: dict[str, Any] = {"limit": 500}
        while True:
            page = self._server.call("GET", "/v1/functions", params=params)
            found += page["items"]
            if page.get("next") is None:
                return found
            params["after"] = page["next"]

    def control_function(self, name: str, verb: Literal["pause", "drain", "resume"]) -> CalledFunction:
        """Hold back what waits for workers of a function, or hand it out again; on all nodes."""
        return cast("CalledFunction", self._server.call("POST", f"/v1/functions/{quote(name, safe='')}/{verb}"))

    def limit_function(
        self, name: str, max_concurrent: int | None = None, max_per_second: float | None = None
    ) -> CalledFunction:
        """Limit what workers get of a function, over all nodes; None: no limit."""
        limits = {"max_concurrent": max_concurrent, "max_per_second": max_per_second}
        path = f"/v1/functions/{quote(name, safe='')}/limits"
        return cast("CalledFunction", self._server.call("PUT", path, json=limits))

    # --- long-running operations

    def operations(self, kind: str | None = None, limit: int | None = None) -> Iterator[Operation]:
        """Operations, newest first, without their results."""
        yield from self._listed("/v1/operations", {"kind": kind}, limit)

    def operation(self, operation: str, *, wait_s: int = 0) -> Operation:
        """How an operation stands; with `wait_s` (at most 60) when it has ended or the time is over."""
        path = f"/v1/operations/{quote(operation, safe='')}"
        params = {"wait": wait_s} if wait_s else {}
        return cast("Operation", self._server.call("GET", path, params=params, held_s=wait_s))

    def cancel_operation(self, operation: str) -> Operation:
        """Stop an operation; one that has ended stays as it is."""
        return cast("Operation", self._server.call("POST", f"/v1/operations/{quote(operation, safe='')}/cancel"))

    # --- the log

    def verify_log(
        self,
        *,
        orchestration: str | None = None,
        since: str | None = None,
        checkpoints: Sequence[Mapping[str, Any]] | None = None,
        archive: bool | None = None,
    ) -> Operation:
        """Begin to verify the log; what was found is the result of the operation that this gives."""
        given = {"orchestration": orchestration, "since": since, "checkpoints": checkpoints, "archive": archive}
        return cast("Operation", self._server.call("POST", "/v1/audit/verify", json=_given(given)))

    def checkpoints(self, partition: int | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Signed checkpoints, by partition and position."""
        yield from self._listed("/v1/audit/checkpoints", {"partition": partition}, limit, "after")

    def audit_keys(self) -> dict[str, Any]:
        """The public keys whose checkpoints count, and the fingerprint of the database."""
        return cast("dict[str, Any]", self._server.call("GET", "/v1/audit/keys"))

    # --- projections

    def projections(self) -> list[ProjectionStatus]:
        """Every projection, its state and how far it has seen the log."""
        return cast("list[ProjectionStatus]", self._server.call("GET", "/v1/projections")["items"])

    def projection_rows(
        self, name: str, where: Iterable[str] = (), limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Rows of its live version, at most `limit`; `where` has filters of the form ``column:value``."""
        yield from self._listed(f"/v1/projections/{quote(name, safe='')}/rows", {"where": list(where)}, limit)

    def rebuild_projection(self, name: str) -> ProjectionStatus:
        """Build it anew beside the live one; gives the new build."""
        path = f"/v1/projections/{quote(name, safe='')}/rebuild"
        return cast("ProjectionStatus", self._server.call("POST", path, json={}))

    def retry_projection(self, name: str) -> ProjectionStatus:
        """Go on at the event where it failed."""
        path = f"/v1/projections/{quote(name, safe='')}/retry"
        return cast("ProjectionStatus", self._server.call("POST", path, json={}))

    def drop_projection(self, name: str) -> None:
        """Remove it and its tables; whoever has its code builds it again at its next start."""
        self._server.response("DELETE", f"/v1/projections/{quote(name, safe='')}")

    # --- schedules

    def schedules(self) -> list[ScheduleStatus]:
        """What starts by itself, by namespace and name."""
        return cast("list[ScheduleStatus]", self._server.call("GET", "/v1/schedules")["items"])

    def schedule(self, definition: str) -> ScheduleStatus:
        """That of ``name`` or ``namespace/name``."""
        return cast("ScheduleStatus", self._server.call("GET", _schedule_path(definition)))

    def pause_schedule(self, definition: str, reason: str | None = None) -> ScheduleStatus:
        """Start nothing until it is resumed."""
        path = f"{_schedule_path(definition)}/pause"
        return cast("ScheduleStatus", self._server.call("POST", path, json=_given({"reason": reason})))

    def resume_schedule(self, definition: str, reason: str | None = None) -> ScheduleStatus:
        """Go on with the next occurrence."""
        path = f"{_schedule_path(definition)}/resume"
        return cast("ScheduleStatus", self._server.call("POST", path, json=_given({"reason": reason})))

    def trigger_schedule(self, definition: str, reason: str | None = None) -> dict[str, Any]:
        """Start one now; gives its ``id``."""
        path = f"{_schedule_path(definition)}/trigger"
        return cast("dict[str, Any]", self._server.call("POST", path, json=_given({"reason": reason})))

    # --- orchestrations

    def start(
        self,
        definition: str,
        input: Any = None,  # noqa: A002 - the member's name in the API
        *,
        business_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        wait_s: int | None = None,
    ) -> Orchestration:
        """Start an orchestration of ``name``, ``namespace/name`` or ``namespace/name@version``.

        Returns once the start is committed. With `wait_s` (at most 60), when it has ended or the time is over.
        """
        members = {"definition": definition, "input": input, "business_key": business_key, "tags": tags}
        headers = {} if idempotency_key is None else {"Idempotency-Key": structured_string(idempotency_key)}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
        answer = self._server.call(
            "POST", "/v1/orchestrations", json=_given(members), headers=headers, held_s=wait_s or 0
        )
        return cast("Orchestration", answer)

    def get(self, orchestration: str, *, at_version: int | None = None, at: str | None = None) -> Orchestration:
        """The status now, or as it was at a version or an instant (RFC 3339)."""
        params = _given({"at_version": at_version, "at": at})
        return cast("Orchestration", self._server.call("GET", _path(orchestration), params=params))

    def orchestrations(self, filters: Mapping[str, Any], limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Orchestrations, newest first, at most `limit`. Filters by the names of the API; a list repeats its name."""
        yield from self._listed("/v1/orchestrations", filters, limit)

    def held_events(self, filters: Mapping[str, Any], limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Events that wait for somebody, oldest first, at most `limit`: those for anybody, or (``orchestration``) those that
        one keeps. Further filters: ``type``, ``source``.
        """
        yield from self._listed("/v1/events/held", filters, limit)

    def wait(self, orchestration: str, timeout_s: float = 300.0) -> Orchestration:
        """The status once the orchestration has ended.

        Raises:
            TimeoutError: it has not ended within `timeout_s`.
        """
        give_up_at = self._clock() + timeout_s
        status = self.get(orchestration)
        while status["status"] not in FINAL:
            left_s = give_up_at - self._clock()
            if left_s <= 0:
                raise TimeoutError(f"{orchestration} is still {status['status']} after {timeout_s:g} s")
            status = self._later(status, max(1, min(LONGEST_WAIT_S, int(left_s))))
        return status

    def follow(self, orchestration: str) -> Iterator[Orchestration]:
        """The status now and whenever it has changed, until the orchestration has ended."""
        status = self.get(orchestration)
        yield status
        while status["status"] not in FINAL:
            known, status = status["version"], self._later(status, LONGEST_WAIT_S)
            if status["version"] != known:
                yield status

    def history(
        self, orchestration: str, *, after: int = 0, limit: int = 100, archive: bool = False
    ) -> Iterator[HistoryEvent]:
        """The events after a version, oldest first; further pages are fetched as they are needed.

        With `archive` also of an orchestration that ended so long ago that it was archived; it is not found otherwise.
        """
        path, position = _path(orchestration, "history"), cast("int | None", after)
        more = {"archive": "true"} if archive else {}
        while position is not None:
            page = self._server.call("GET", path, params={"after": position, "limit": limit, **more})
            yield from page["items"]
            position = page["next_after"]

    def follow_history(self, orchestration: str, *, after: int = 0) -> Iterator[HistoryEvent]:
        """The events after a version, and those to come, until the orchestration has ended."""
        for status in self.follow(orchestration):
            for event in self.history(orchestration, after=after):
                after = event["version"]
                yield event
            if status["status"] in FINAL:
                return

    def rollback_plan(self, orchestration: str) -> RollbackPlan:
        """What a cancel would undo now, in which order, and what it would not."""
        return cast("RollbackPlan", self._server.call("GET", _path(orchestration, "rollback-plan")))

    def bundle(self, orchestration: str, *, redact: Sequence[str] = ()) -> dict[str, Any]:
        """The history as one document that `retrace.replay` opens anywhere, also of what was archived. `redact`: names of
        members, or JSON Pointers into the bundle, whose values the service leaves out.
        """
        params = {"redact": list(redact)} if redact else {}
        return cast("dict[str, Any]", self._server.call("GET", _path(orchestration, "bundle"), params=params))

    def blob(self, orchestration: str, digest: str) -> tuple[bytes, str]:
        """A file, or a large value, by the digest in its reference (``sha256:...``): its bytes and their media type."""
        path = _path(orchestration, f"blobs/{digest}")
        response = self._server.response("GET", path, headers={"Accept": "*/*"})
        return response.content, response.headers.get("content-type", "application/octet-stream")

    def what_if(self, orchestration: str, **supposed: Any) -> dict[str, Any]:
        """How it would have gone: `definition`, `changes`, `input` and `assume` as the API has them; nothing is changed."""
        return cast("dict[str, Any]", self._server.call("POST", _path(orchestration, "what-if"), json=supposed))

    def what_if_fleet(self, definition: str | Mapping[str, Any], **chosen: Any) -> Operation:
        """Begins to look at the latest orchestrations of a definition (`for`, `status`, `last`, `changes`, `assume`); the
        operation's result is the table.
        """
        body = {"definition": definition, **chosen}
        return cast("Operation", self._server.call("POST", "/v1/what-if", json=body))

    # --- what changes an orchestration

    def send_event(self, orchestration: str, event: Mapping[str, Any]) -> EventOutcome:
        """Send a CloudEvent to an orchestration, awaited yet or not. Its `source` and `id` make it unique."""
        return self._event(_path(orchestration, "events"), event)

    def publish_event(self, event: Mapping[str, Any]) -> EventOutcome:
        """Send a CloudEvent to whoever waits for it, now or later."""
        return self._event("/v1/events", event)

    def publish_events(
        self, events: Sequence[Mapping[str, Any]], *, orchestration: str | None = None
    ) -> list[EventOutcome | EventRefused]:
        """Send several CloudEvents, at most 500, to an orchestration or to whoever waits; what became of each, in order."""
        path = "/v1/events" if orchestration is None else _path(orchestration, "events")
        content = json.dumps(list(events)).encode()
        headers = {"Content-Type": "application/cloudevents-batch+json"}
        answer = self._server.call("POST", path, content=content, headers=headers)
        return cast("list[EventOutcome | EventRefused]", answer["items"])

    def cancel(self, orchestration: str, reason: str | None = None, *, override_pivot: bool = False) -> CommandResult:
        """Undo what was done, then end as ``cancelled``; answers when that is recorded, not when it is done."""
        return self._command(orchestration, "cancel", reason, override_pivot=override_pivot or None)

    def rehearse_cancel(self, orchestration: str, reason: str | None = None, *, override_pivot: bool = False) -> DryRun:
        """What a cancel would record now; nothing is done."""
        body = _given({"reason": reason, "override_pivot": override_pivot or None})
        params = {"dry_run": "true"}
        return cast("DryRun", self._server.call("POST", _path(orchestration, "cancel"), params=params, json=body))

    def terminate(self, orchestration: str, reason: str | None = None) -> CommandResult:
        """End at once as ``terminated``; nothing is undone."""
        return self._command(orchestration, "terminate", reason)

    def suspend(self, orchestration: str, reason: str | None = None) -> CommandResult:
        """Decide nothing more until it is resumed."""
        return self._command(orchestration, "suspend", reason)

    def resume(self, orchestration: str, reason: str | None = None) -> CommandResult:
        """Go on after a suspend."""
        return self._command(orchestration, "resume", reason)

    def fork(
        self,
        orchestration: str,
        from_version: int,
        reason: str,
        *,
        idempotency_key: str | None = None,
        **more: Any,
    ) -> Orchestration:
        """Start another orchestration with what this one had done up to a version; it is not done again.

        `more`: members of the API's body (`input`, `definition`, `mapping`, `business_key`, `force`). A given `input` of None
        is null.
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": structured_string(idempotency_key)}
        body = {"from_version": from_version, "reason": reason, **more}
        answer = self._server.call("POST", _path(orchestration, "fork"), json=body, headers=headers)
        return cast("Orchestration", answer)

    def rehearse_fork(self, orchestration: str, from_version: int, reason: str, **more: Any) -> DryRun:
        """What a fork would record at its start; nothing is begun."""
        body = {"from_version": from_version, "reason": reason, **more}
        params = {"dry_run": "true"}
        return cast("DryRun", self._server.call("POST", _path(orchestration, "fork"), params=params, json=body))

    def migrate(
        self, orchestration: str, definition: str, reason: str, mapping: Mapping[str, str] | None = None
    ) -> CommandResult:
        """Go on under another version of its definition. `mapping`: old task -> new task where names do not tell."""
        return self._command(orchestration, "migrate", reason, definition=definition, mapping=mapping)

    def rehearse_migration(
        self, orchestration: str, definition: str, reason: str, mapping: Mapping[str, str] | None = None
    ) -> DryRun:
        """What a migration would record; nothing is changed."""
        body = _given({"definition": definition, "reason": reason, "mapping": mapping})
        params = {"dry_run": "true"}
        return cast("DryRun", self._server.call("POST", _path(orchestration, "migrate"), params=params, json=body))

    def resolve(
        self,
        orchestration: str,
        incident: int,
        action: Literal["retry", "skip", "complete", "fail"],
        reason: str,
        output: Any = None,
    ) -> CommandResult:
        """Settle an open incident; `output` is what the task is taken to have given, for ``complete``."""
        return self._command(orchestration, f"incidents/{incident}/{action}", reason, output=output)

    def add_note(self, orchestration: str, text: str) -> CommandResult:
        """Record a note in the history, before or after the end."""
        return self._command(orchestration, "notes", None, text=text)

    def _command(self, orchestration: str, command: str, reason: str | None, **more: Any) -> CommandResult:
        body = _given({"reason": reason, **more})
        return cast("CommandResult", self._server.call("POST", _path(orchestration, command), json=body))

    def _event(self, path: str, event: Mapping[str, Any]) -> EventOutcome:
        content = json.dumps({"specversion": "1.0", **event}).encode()
        headers = {"Content-Type": "application/cloudevents+json"}
        return cast("EventOutcome", self._server.call("POST", path, content=content, headers=headers))

    def _later(self, status: Orchestration, held_s: int) -> Orchestration:
        """The status when it has changed, or after `held_s`."""
        params = {"wait": held_s, "after": status["version"]}
        answer = self._server.call("GET", _path(status["id"]), params=params, held_s=held_s)
        return cast("Orchestration", answer)

    def _listed(
        self, path: str, filters: Mapping[str, Any], limit: int | None, cursor: str = "cursor"
    ) -> Iterator[Any]:
        """The items of a list, page by page."""
        params, left = _given(filters), limit
        while left is None or left > 0:
            page = self._server.call(
                "GET", path, params=params if left is None else {**params, "limit": min(left, 500)}
            )
            yield from page["items"]
            if page.get("next") is None:
                return
            params[cursor] = page["next"]
            left = None if left is None else left - len(page["items"])


def _schedule_path(definition: str) -> str:
    namespace, slash, name = definition.partition("/")
    namespace, name = (namespace, name) if slash else ("default", namespace)
    return f"/v1/schedules/{quote(namespace, safe='')}/{quote(name, safe='')}"


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _document(document: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(document, Mapping):
        content, media_type = json.dumps(document).encode(), "application/json"
    else:
        content = document.encode() if isinstance(document, str) else document
        # JSON is YAML; only a document that is an object in braces is said to be JSON.
        media_type = "application/json" if content.lstrip().startswith(b"{") else "application/yaml"
    return {"content": content, "headers": {"Content-Type": media_type}}


def _definition_path(definition: str) -> str:
    address, _, version = definition.partition("@")
    namespace, separator, name = address.rpartition("/")
    parts = (namespace if separator else "default", name, version or "latest")
    return "/v1/definitions/" + "/".join(quote(part, safe="") for part in parts)


def _path(orchestration: str, rest: str = "") -> str:
    path = f"/v1/orchestrations/{quote(orchestration, safe='')}"
    return f"{path}/{rest}" if rest else path
