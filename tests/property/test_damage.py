"""Each kind of damage is found, named, and placed; a sound log never gives a finding."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.audit_log import LogHead, LogRow
from application.chain import GENESIS, PLACE
from application.diagnosis import Mark
from application.partition_check import MOST_FINDINGS, PartitionCheck
from tests.support.verified import check_rows

TOPICS = ("orchestration.started", "task.scheduled", "attempt.started", "task.completed")
PARTITION = 3


def chained(rows: list[LogRow]) -> list[LogRow]:
    """The rows with positions and hashes as the service makes them."""
    chain = GENESIS
    last: dict[bytes, bytes] = {}
    made = []
    for position, (_, identity, version, topic, state, _, _, state_hash) in enumerate(rows, 1):
        digest = sha256(state).digest() if state_hash is None else state_hash
        place = PLACE(PARTITION, position, identity, version)
        last[identity] = sha256(last.get(identity, GENESIS) + place + topic.encode() + digest).digest()
        chain = sha256(chain + last[identity]).digest()
        made.append((position, identity, version, topic, state, last[identity], chain, state_hash))
    return made


def a_log(seed: int, length: int = 60) -> list[LogRow]:
    """Orchestrations side by side, of five events each; some have ended, some go on after it, some are archived."""
    chance = random.Random(seed)
    open_: list[Any] = []
    rows: list[LogRow] = []
    archived = {chance.randbytes(16) for _ in range(4)}
    names = list(archived)
    while len(rows) < length:
        if len(open_) < 5:
            open_.append([names.pop() if names else chance.randbytes(16), 0])
        one = chance.choice(open_)
        one[1] += 1
        topic = "orchestration.completed" if one[1] == 5 else chance.choice(TOPICS)
        state = chance.randbytes(chance.randrange(1, 60))
        state_hash = sha256(state).digest() if one[0] in archived else None
        rows.append((0, one[0], one[1], topic, b"" if state_hash else state, b"", b"", state_hash))
        if (one[1] == 5 and chance.random() < 0.7) or one[1] == 6:
            open_.remove(one)
    return chained(rows)


def head_of(rows: list[LogRow], last: int | None = None, **members: object) -> LogHead:
    position, log_hash = (rows[-1][0], rows[-1][6]) if rows else (0, GENESIS)
    return LogHead(
        *(
            members.get(name, value)
            for name, value in (  # type: ignore[arg-type]
                ("position", position),
                ("log_hash", log_hash),
                ("last", last or position),
                ("projected", 0),
            )
        )
    )


def found(rows: list[LogRow], head: LogHead, marks: list[Mark] | None = None) -> list[tuple[str, int, int | None]]:
    check = check_rows(PARTITION, rows, head, marks or [])
    return [(each.kind, each.position, each.until) for each in check.findings] + [
        ("gap", first, last) for first, last in check.gaps
    ]


def changed(row: LogRow, index: int, value: object) -> LogRow:
    return (*row[:index], value, *row[index + 1 :])  # type: ignore[return-value]


def flipped(value: bytes, bit: int) -> bytes:
    spot = bit % (8 * len(value))
    return bytes(each ^ (1 << spot % 8) if at == spot // 8 else each for at, each in enumerate(value))


seeds = st.integers(0, 2**32)
places = st.integers(0, 59)


def mark(rows: list[LogRow], index: int, signed: bool = True) -> Mark:
    return Mark(rows[index][0], rows[index][6], "noon", signed)


@given(seeds, st.lists(places))
def test_a_sound_log_gives_no_finding(seed, marked):
    rows = a_log(seed)
    assert found(rows, head_of(rows), [mark(rows, each) for each in sorted(marked)]) == []


@given(seeds, places, st.integers(0))
def test_a_bit_of_a_payload(seed, at, bit):
    rows = a_log(seed)
    head = head_of(rows)
    column = 7 if rows[at][7] is not None else 4
    rows[at] = changed(rows[at], column, flipped(rows[at][column], bit))
    assert found(rows, head, [mark(rows, 59)]) == [("payload_changed", at + 1, None)]


@given(seeds, places, st.sampled_from([2, 3]))
def test_another_kind_or_version(seed, at, column):
    rows = a_log(seed)
    head = head_of(rows)
    rows[at] = changed(rows[at], column, "task.failed" if column == 3 else rows[at][2] + 100)
    kinds = {(kind, position) for kind, position, _ in found(rows, head)}
    assert kinds >= {("payload_changed" if column == 3 else "event_missing", at + 1)}


@given(seeds, places)
def test_another_orchestration(seed, at):
    rows = a_log(seed)
    head = head_of(rows)
    rows[at] = changed(rows[at], 1, bytes(16))
    assert at + 1 in {position for _, position, _ in found(rows, head)}


@given(seeds, places, st.sampled_from([5, 6]), st.integers(0))
def test_a_bit_of_a_hash(seed, at, column, bit):
    rows = a_log(seed)
    head = head_of(rows)
    rows[at] = changed(rows[at], column, flipped(rows[at][column], bit))
    assert found(rows, head, [mark(a_log(seed), 59)]) == [("hash_changed", at + 1, None)]


@given(seeds, st.integers(0, 58), st.booleans())
def test_a_payload_with_its_hashes(seed, at, both):
    rows = a_log(seed)
    head = head_of(rows)
    before = rows[at - 1][6] if at else GENESIS
    first = next((each for each in rows[:at][::-1] if each[1] == rows[at][1]), None)
    place = PLACE(PARTITION, at + 1, rows[at][1], rows[at][2])
    state = b"forged"
    forged = sha256((first[5] if first else GENESIS) + place + rows[at][3].encode() + sha256(state).digest()).digest()
    rows[at] = changed(changed(changed(rows[at], 4, state), 5, forged), 7, None)
    if both:
        rows[at] = changed(rows[at], 6, sha256(before + forged).digest())
    [(kind, position, until)] = found(rows, head)
    assert kind == "payload_changed" or (at == 58 and kind == "event_replaced")
    assert position <= at + 1 <= (until or position)


@given(seeds, st.integers(0, 58), st.integers(1, 3))
def test_rows_deleted(seed, at, count):
    rows = a_log(seed)
    head = head_of(rows)
    last = min(at + count, 59)
    del rows[at:last]
    assert found(rows, head) == [("gap", at + 1, last)]


@given(seeds, st.integers(1, 59))
def test_the_tail_cut(seed, at):
    rows = a_log(seed)
    head, signed = head_of(rows), mark(rows, 59)
    assert found(rows[:at], head) == [("tail_cut", at + 1, 60)]
    mended = head_of(rows[:at])
    assert found(rows[:at], mended, [signed]) == [("tail_cut", at + 1, 60)]
    assert found(rows[:at], head_of(rows[:at], projected=60)) == [("tail_cut", at + 1, 60)]
    assert found(rows[:at], mended) == []


def test_everything_gone():
    rows = a_log(1)
    assert found([], head_of(rows)) == [("tail_cut", 1, 60)]
    assert found([], head_of([]), [mark(rows, 9)]) == [("tail_cut", 1, 10)]


@given(seeds, places, places)
def test_two_rows_swapped(seed, one, other):
    if one == other:
        return
    one, other = sorted((one, other))
    rows = a_log(seed)
    head, marks = head_of(rows), [mark(rows, each) for each in (29, 59)]
    rows[one], rows[other] = changed(rows[other], 0, one + 1), changed(rows[one], 0, other + 1)
    assert found(rows, head, marks) == [("events_swapped", one + 1, other + 1)]


@given(seeds, places, places)
def test_two_payloads_swapped(seed, one, other):
    rows = a_log(seed)
    one, other = sorted((one, other))
    if rows[one][4] == rows[other][4]:
        return
    head = head_of(rows)
    states = rows[one][4], rows[other][4]
    if not all(states):
        return
    rows[one], rows[other] = changed(rows[one], 4, states[1]), changed(rows[other], 4, states[0])
    expected = ("events_swapped", one + 1, other + 1)
    same_kind = rows[one][3] == rows[other][3]
    assert found(rows, head) == (
        [expected] if same_kind else [("payload_changed", each + 1, None) for each in (one, other)]
    )


def a_foreign_row(rows: list[LogRow], at: int, known: bool) -> LogRow:
    versions = {row[1]: row[2] for row in rows}
    identity = rows[at][1] if known else b"0123456789abcdef"
    return (at + 1, identity, versions.get(identity, 0) + 1, "task.completed", b"forged", b"e" * 32, b"l" * 32, None)


@given(seeds, places, st.booleans(), st.integers(0, 2))
def test_a_row_inserted_and_the_others_moved_up(seed, at, known, hashed):
    rows = a_log(seed)
    fake = a_foreign_row(rows, at, known)
    if hashed:
        before = rows[at - 1][6] if at else GENESIS
        fake = changed(fake, 6, sha256(before + fake[5]).digest())
    moved = [changed(each, 0, each[0] + 1) for each in rows[at:]]
    rows = [*rows[:at], fake, *moved]
    [(kind, position, _)] = [each for each in found(rows, head_of(rows)) if each[0] != "event_missing"]
    assert (kind, position) == ("event_inserted", at + 1)


@given(seeds, st.integers(0, 58))
def test_a_row_removed_and_the_others_moved_down(seed, at):
    rows = a_log(seed)
    rows = [*rows[:at], *[changed(each, 0, each[0] - 1) for each in rows[at + 1 :]]]
    assert ("event_missing", at + 1, None) in found(rows, head_of(rows))


@given(seeds, st.booleans(), st.booleans())
def test_a_row_added_at_the_end(seed, known, with_head):
    rows = a_log(seed)
    head = head_of(rows)
    rows.append(a_foreign_row(rows, 59, known))
    rows[-1] = changed(rows[-1], 0, 61)
    expected = ("event_replaced", 60, 61) if with_head else ("event_inserted", 61, None)
    assert found(rows, head_of(rows) if with_head else head) == [expected]


@given(seeds)
def test_a_row_added_at_the_end_with_hashes_that_fit(seed):
    rows = chained([*a_log(seed), (0, b"0123456789abcdef", 1, "task.completed", b"forged", b"", b"", None)])
    assert found(rows, head_of(rows[:60])) == [("event_inserted", 61, None)]


@given(seeds, st.integers(0, 58))
def test_written_anew_from_some_event_on(seed, at):
    rows = a_log(seed)
    marks = [mark(rows, each) for each in (9, 19, 29, 39, 49, 59)]
    rows[at] = changed(changed(rows[at], 4, b"forged"), 7, None)
    anew = chained(rows)
    [(kind, first, until)] = found(anew, head_of(anew), marks)
    assert kind == "log_rewritten"
    assert first <= at + 1 <= until
    assert (until or first) - first <= 9
    assert found(anew, head_of(anew)) == []


@given(seeds, st.integers(0, 58))
def test_a_head_altered(seed, at):
    rows = a_log(seed)
    assert found(rows, head_of(rows, log_hash=b"x" * 32)) == [("head_altered", 60, None)]
    assert found(rows, head_of(rows, position=61)) == [("head_altered", 60, None)]
    earlier = head_of(rows, position=at + 1, log_hash=rows[at][6], projected=60)
    assert [kind for kind, *_ in found(rows, earlier)] == ["head_altered"]


@given(seeds, places)
def test_a_checkpoint_that_is_not_signed_may_be_what_was_changed(seed, at):
    rows = a_log(seed)
    assert found(rows, head_of(rows), [Mark(at + 1, b"x" * 32, "noon", False)]) == [
        ("checkpoint_altered", at + 1, None)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_several_damages_are_told_apart(seed):
    rows = a_log(seed, 200)
    head = head_of(rows)
    rows[20] = changed(changed(rows[20], 4, b"forged"), 7, None)
    rows[90] = changed(rows[90], 6, bytes(32))
    rows[140], rows[170] = changed(rows[170], 0, 141), changed(rows[140], 0, 171)
    del rows[110]
    assert {(kind, position) for kind, position, _ in found(rows, head)} == {
        ("payload_changed", 21),
        ("hash_changed", 91),
        ("gap", 111),
        ("events_swapped", 141),
    }


def test_a_log_that_is_all_wrong_is_given_up():
    rows = a_log(1, 1000)
    head = head_of(rows)
    rows = [changed(changed(row, 4, b"forged"), 7, None) for row in rows]
    check = PartitionCheck(PARTITION)
    index = 0
    while not check.hopeless and (index := check.feed(rows, index)) < len(rows):
        check.examine(
            rows[index], next((each[5] for each in rows if each[1:3] == (rows[index][1], rows[index][2] - 1)), GENESIS)
        )
        index += 1
    assert check.hopeless
    check.give_up()
    assert {each.kind for each in check.findings} == {"payload_changed"}
    assert [each.position for each in check.findings] == list(range(1, MOST_FINDINGS + 1))
    assert len(found(rows, head)) == 1000


@given(seeds, st.lists(st.tuples(st.integers(0, 7), places, st.integers(0, 2**16)), min_size=1, max_size=6))
def test_whatever_is_done_something_is_found(seed, damages):
    """Any number of changes at any places, also one over another: it never fails, and never finds nothing."""
    rows = sound = a_log(seed)
    head, marks = head_of(rows), [mark(rows, each) for each in (19, 39, 59)]
    for what, where, detail in damages:
        rows = changed_somehow(rows, what, where % max(1, len(rows)), detail)
    if rows != sound:
        assert found(rows, head, marks)


def changed_somehow(rows: list[LogRow], what: int, at: int, detail: int) -> list[LogRow]:
    if not rows:
        return rows
    row = rows[at]
    match what:
        case 0 | 1 | 2:
            value = flipped((row[4], row[5], row[6])[what] or b"\0", detail)
            return [*rows[:at], changed(row, what + 4, value), *rows[at + 1 :]]
        case 3:
            return [*rows[:at], *rows[at + 1 :]]
        case 4:
            other = detail % len(rows)
            one, two = changed(row, 0, rows[other][0]), changed(rows[other], 0, row[0])
            return sorted([two if each is row else one if each is rows[other] else each for each in rows])
        case 5:
            return [*rows[:at], *[changed(each, 0, each[0] - 1) for each in rows[at + 1 :]]]
        case 6:
            fake = (row[0], b"0123456789abcdef", detail % 5 + 1, "note.added", b"x", b"e" * 32, b"l" * 32, None)
            return [*rows[:at], fake, *[changed(each, 0, each[0] + 1) for each in rows[at:]]]
        case _:
            return rows[: at + 1]
