"""However a log is cut into batches, and wherever a fold fails and is tried again, the rows are one fold over all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.projections import PythonFold
from application.folding import Seen, fold_batch, keyed
from application.projection_store import Row
from tests.support.projected import made, plain

AT = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = st.sampled_from(["a", "b", "c", None])
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
)
EVENTS = st.lists(st.tuples(KEYS, st.sampled_from(["put", "drop", "add"]), VALUES), max_size=30)


def fold(row: dict[str, Any] | None, event: Any) -> dict[str, Any] | None:
    what, value = event.data["what"], event.data["value"]
    if what == "drop":
        return None
    if what == "put" or row is None:
        return {"value": [value], "n": event.version}
    row["value"].append(value)
    return {**row, "n": row["n"] + 1}


def of_log(events: list[tuple[str | None, str, Any]]) -> list[Seen]:
    return [
        Seen(number, AT, {"orchestration": "o", "definition": "d", "version": number, "type": "x.y", "actor": None,
                          "data": {"key": key, "what": what, "value": value}})
        for number, (key, what, value) in enumerate(events, 1)
    ]  # fmt: skip


@given(EVENTS, st.lists(st.integers(1, 7), min_size=1), st.sets(st.integers(1, 30)))
def test_batches_and_failures_change_nothing(events, sizes, failing):
    failures = set(failing)

    def sometimes(row: dict[str, Any] | None, event: Any) -> dict[str, Any] | None:
        if event.version in failures:
            failures.discard(event.version)  # it is tried again
            if row is not None:
                row["value"].clear()
            raise RuntimeError
        return fold(row, event)

    projection = PythonFold(made("x", sometimes, by=lambda event: event.data["key"], value=list, n=int))
    log, at, turn = of_log(events), 0, 0
    stored: dict[str, Row] = {}
    while at < len(log):
        page = log[at : at + sizes[turn % len(sizes)]]
        batch = keyed(projection, page)
        folded = fold_batch(projection, batch, {key: stored[key] for key in batch.keys if key in stored})
        for key, row in folded.rows.items():
            if row is None:
                stored.pop(key, None)
            else:
                stored[key] = row
        at = page[-1].position if folded.failed is None else folded.failed[0].position - 1
        turn += 1

    expected: dict[str, dict[str, Any]] = {}
    for each in of_log(events):
        key = each.item["data"]["key"]
        if key is not None:
            now = fold(expected.pop(key, None), projection.event(each.item, AT))
            if now is not None:
                expected[key] = now
    found = plain(projection, (((0, key), row) for key, row in stored.items()))
    assert found == {(0, key): (row["value"], row["n"]) for key, row in expected.items()}
