"""OpenAPI and Swagger documents: fetched at first use, kept, and asked for one operation.

Documents come over the guarded session, or from ``file://`` where the policy allows it. A parsed document is kept per
address and looked at again after ten minutes; when its digest is unchanged, or it cannot be fetched at the moment, the
kept one stands. Whatever goes wrong here is a ``configuration`` fault: the participant was not called.

References are followed one at a time where they stand (never expanded as a whole), so a cyclic document costs nothing;
YAML is read by the reader of definitions, with its limits.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from yarl import URL

from adapters.callouts.authentication import Authenticator
from adapters.callouts.exchange import Exchange, LostError, PostponedError, Request, UnsentError
from adapters.callouts.network import NetworkPolicy
from adapters.callouts.uris import address, expand
from adapters.documents.source import load
from adapters.nesting import DEEPEST, is_deeper
from domain.errors import InvalidDefinitionError, fault

_KEPT = 64
_FRESH_S = 600.0
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_LONGEST_CHAIN = 32


class Operation(msgspec.Struct, frozen=True):
    """One operation of a document, with what it inherits from its path."""

    method: str
    path: str
    item: dict[str, Any]
    parameters: tuple[dict[str, Any], ...]
    servers: Any


class Document:
    """A parsed document: OpenAPI 3.x, or Swagger 2.0."""

    def __init__(self, root: dict[str, Any], location: URL) -> None:
        self.root = root
        self.location = location
        self.is_swagger = str(root.get("swagger", "")).startswith("2")
        if not self.is_swagger and not str(root.get("openapi", "")).startswith("3"):
            raise _problem(location, "it is neither an OpenAPI 3 nor a Swagger 2 document")
        self._operations = self._index()

    def operation(self, name: str) -> Operation:
        """The operation with this operationId. Raises UnsentError."""
        found = self._operations.get(name)
        if found is None:
            raise _problem(self.location, f"it has no operation {name!r}")
        method, path, path_item = found
        item = path_item[method]
        # An operation's parameter replaces its path's parameter of the same name and place.
        merged = {
            (each.get("name"), each.get("in")): each
            for listed in (path_item.get("parameters"), item.get("parameters"))
            for each in map(self.follow, listed or ())
        }
        servers = item.get("servers") or path_item.get("servers") or self.root.get("servers")
        return Operation(method, path, item, tuple(merged.values()), servers)

    def follow(self, value: Any) -> dict[str, Any]:
        """The object that `value` is, or refers to inside this document. Raises UnsentError."""
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(value, dict):
                raise _problem(self.location, "an object is expected where there is none")
            reference = value.get("$ref")
            if reference is None:
                return value
            value = self._at(reference)
        raise _problem(self.location, "its references go round in circles")

    def _at(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _problem(self.location, f"the reference {reference!r} leaves the document, which is not supported")
        value: Any = self.root
        for part in reference[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                value = value[int(key)] if isinstance(value, list) else value[key]
            except (KeyError, IndexError, TypeError, ValueError):
                raise _problem(self.location, f"the reference {reference!r} leads nowhere") from None
        return value

    def _index(self) -> dict[str, tuple[str, str, dict[str, Any]]]:
        paths = self.root.get("paths")
        index: dict[str, tuple[str, str, dict[str, Any]]] = {}
        for path, value in (paths if isinstance(paths, dict) else {}).items():
            path_item = self.follow(value)
            for method in _METHODS:
                if isinstance(item := path_item.get(method), dict) and isinstance(item.get("operationId"), str):
                    index.setdefault(item["operationId"], (method, str(path), path_item))
        return index


class _Kept(msgspec.Struct, frozen=True):
    document: Document
    digest: bytes
    fresh_until: float


class Documents:
    """Fetches and keeps documents, at most 64."""

    def __init__(self, exchange: Exchange, authenticator: Authenticator, policy: NetworkPolicy) -> None:
        self._exchange = exchange
        self._authenticator = authenticator
        self._policy = policy
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def get(self, uri: Any, authentication: Any, variables: Any, deadline: float) -> Document:
        """The document at this address (URI template). Raises UnsentError (configuration)."""
        is_file = isinstance(uri, str) and uri.lower().startswith("file:")
        location = URL(expand(uri, variables)) if is_file else address(uri, variables)
        # Whoever may not fetch a document does not get it from the cache either.
        key = json.dumps([str(location), authentication], sort_keys=True)
        kept, now = self._kept.get(key), asyncio.get_running_loop().time()
        if kept is not None and now < kept.fresh_until:
            self._kept.move_to_end(key)
            return kept.document
        try:
            body = await (
                self._read(location) if is_file else self._fetch(location, authentication, variables, deadline)
            )
        except UnsentError:
            if kept is None:
                raise
            return kept.document
        digest = hashlib.sha256(body).digest()
        if kept is not None and kept.digest == digest:
            document = kept.document
        else:
            # Large YAML takes seconds: not on the loop.
            document = await asyncio.to_thread(_parse, body, location)
        self._kept[key] = _Kept(document, digest, now + _FRESH_S)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return document

    async def _read(self, location: URL) -> bytes:
        if not self._policy.allow_files:
            raise _problem(location, "documents are not read from files here")
        try:
            return await asyncio.to_thread(Path(location.path).read_bytes)
        except (OSError, ValueError) as problem:
            raise _problem(location, str(problem)) from problem

    async def _fetch(self, location: URL, authentication: Any, variables: Any, deadline: float) -> bytes:
        try:
            credentials = await self._authenticator.credentials(authentication, variables, deadline)
            headers = {"Accept": "application/json, application/yaml, text/yaml, */*;q=0.5", **credentials.headers}
            reply = await self._exchange.send(Request("GET", location, headers), deadline, credentials.middlewares)
        except PostponedError:
            raise
        except (UnsentError, LostError) as problem:
            raise _problem(location, problem.fault.detail or "it cannot be fetched") from problem
        if reply.status != 200:
            raise _problem(location, f"it was answered with {reply.status} {reply.reason}".rstrip())
        if reply.damage is not None:
            raise _problem(location, reply.damage)
        return reply.body


def _parse(body: bytes, location: URL) -> Document:
    try:
        root = json.loads(body)
        too_deep = is_deeper(json.dumps(root).encode())
    except RecursionError:
        root, too_deep = None, True
    except ValueError:
        too_deep = False
        try:
            root = load(body, "application/yaml").value
        except InvalidDefinitionError as problem:
            where = problem.problems[0].detail
            raise _problem(location, f"it is neither JSON nor YAML: {where}") from problem
    if too_deep:
        raise _problem(location, f"it is nested deeper than {DEEPEST} levels")
    if not isinstance(root, dict):
        raise _problem(location, "it is not an object")
    return Document(root, location)


def _problem(location: URL, why: str) -> UnsentError:
    shown = location.with_user(None).with_query(None) if location.host else location
    return UnsentError(fault("configuration", f"the OpenAPI document {shown} cannot be used: {why}"))
