"""Opens bundles: from their JSON to a history that can be walked, on any machine, with nothing but this program."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from adapters.documents import compile_plan
from adapters.stored_events import EventMapper
from application.bundles import FORMAT, Bundle, BundledDefinition
from application.large_values import Contents, named
from application.walking import Walk
from domain import events as e
from domain.errors import InvalidDefinitionError, RetraceError
from domain.plan import Plan


class UnusableBundleError(ValueError):
    """What was given is not a bundle that can be replayed; the text says why."""


def open_bundle(document: Any) -> tuple[Bundle, Walk]:
    """A bundle and its history. Raises UnusableBundleError."""
    if not isinstance(document, dict) or "format" not in document:
        raise UnusableBundleError("this is no bundle; make one with: retrace bundle ID")
    if document["format"] != FORMAT:
        raise UnusableBundleError(
            f"its format is {document['format']}, and this version of Retrace reads {FORMAT}; use the version that made it"
        )
    try:
        bundle = msgspec.convert(document, Bundle)
    except msgspec.ValidationError as error:
        raise UnusableBundleError(f"the bundle is damaged: {error}") from None
    history = list(_events(bundle))
    plans = {each.digest: _plan(bundle, each) for each in (bundle.definition, *bundle.earlier)}
    for event in history:
        if isinstance(event, e.Beginning | e.OrchestrationMigrated) and event.digest not in plans:
            raise UnusableBundleError(f"the bundle is damaged: it has no definition with the digest {event.digest}")
    try:
        walk = Walk(plans, history)
        walk.picture(len(history))
    except UnusableBundleError:
        raise
    except Exception as error:  # whatever a history leads to that was put together by hand
        raise UnusableBundleError(f"its history cannot be folded: {type(error).__name__}: {error}") from error
    return bundle, walk


def broken_links(bundle: Bundle) -> list[str]:
    """Places where an event does not follow the one before; nothing is looked at in a redacted bundle."""
    if bundle.redacted is not None:
        return []
    pairs = zip(bundle.history, bundle.history[1:], strict=False)
    return [
        f"version {one.version} does not follow the event before" for prev, one in pairs if one.previous != prev.hash
    ]


def _events(bundle: Bundle) -> Iterator[e.Event]:
    codec, contents = EventMapper(), _contents(bundle)
    for expected, each in enumerate(bundle.history, 1):
        if each.version != expected:
            raise UnusableBundleError(f"the bundle is damaged: version {each.version} stands where {expected} must be")
        try:
            yield codec.decode(each.type, base64.b64decode(each.stored, validate=True), contents)
        except (binascii.Error, msgspec.MsgspecError, RetraceError) as error:
            raise UnusableBundleError(f"the event of version {each.version} cannot be read: {error}") from None
    if not bundle.history:
        raise UnusableBundleError("the bundle is damaged: its history is empty")


def _contents(bundle: Bundle) -> Contents:
    found = Contents()
    for name, blob in bundle.blobs.items():
        try:
            content = base64.b64decode(blob.content, validate=True)
        except binascii.Error:
            content = b""
        if named(digest := sha256(content).digest()) != name:
            raise UnusableBundleError(f"the bundle is damaged: the content {name} is not what it was")
        found[digest] = content
    return found


def _plan(bundle: Bundle, definition: BundledDefinition) -> Plan:
    try:
        return compile_plan(definition.document, definition.digest)[0]
    except InvalidDefinitionError as error:
        problem = error.problems[0]
        detail = f"{problem.pointer}: {problem.detail}"
        if bundle.redacted is not None:
            detail += " (it is redacted; name fewer places)"
        raise UnusableBundleError(f"its definition cannot be compiled: {detail}") from None
