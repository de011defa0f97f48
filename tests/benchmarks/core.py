"""``python -m tests.benchmarks.core``: processor time of the pure core, without an engine, a database or a clock.

Three lives are decided again and again: W1 (three steps that succeed), W2 (the third step refuses, two undos), and one
``for`` of many turns. The events are hashed, so that two runs can be seen to decide the same.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from adapters.documents import read_definition
from adapters.expressions.inline import evaluate
from adapters.system import calm_collector
from application.live import agenda_of, subscribers_in
from domain import commands as c
from domain import events as e
from domain.decision import Limits
from domain.errors import Fault
from domain.evolve import evolve
from domain.expressions import Evaluation
from domain.orchestration import opened, step
from domain.plan import Plan
from domain.state import State
from tests.benchmarks.node import DEFINITIONS

W1 = (DEFINITIONS / "steps.yaml").read_bytes()
W2 = b"""
document: {dsl: '1.0.3', namespace: bench, name: refused, version: '1.0.0'}
do:
  - first: {call: step, with: {n: '${ $workflow.input.n }'}, compensate: {do: [{undo: {call: step, with: {n: 1}}}]}}
  - second: {call: step, with: {n: '${ .n }'}, compensate: {do: [{undo: {call: step, with: {n: 2}}}]}}
  - third: {call: refuse, with: {n: '${ .n }'}}
"""
LOOP = b"""
document: {dsl: '1.0.3', namespace: bench, name: loop, version: '1.0.0'}
do:
  - turns: {for: {in: .items}, do: [{turn: {call: step, with: {n: '${ $item }'}}}]}
"""
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_REFUSED = Fault("https://bench.invalid/refused", 409, "Refused")


def live(plan: Plan, input_: Any, watch: bool = True) -> list[e.Event]:
    """One whole life; participants answer at once. With `watch` the engine's looks at the state are part of it."""
    state, history, seed = State(), [], 0
    pending: list[c.Command] = [c.Start(at=_AT, seed=bytes(16), id="o_bench", input=input_)]
    limits = Limits()
    while pending:
        decision = opened(plan, state, pending.pop(0), limits)
        questions = step(decision)
        while questions:
            asked = [question.ask for question in questions]
            questions = step(decision, [evaluate(ask) for ask in asked if isinstance(ask, Evaluation)])
        if watch:
            agenda_of(state)
            subscribers_in(state)
        for event in decision.events:
            if isinstance(event, e.AttemptStarted):
                seed += 1
                pending.append(_answer(event, seed.to_bytes(16, "big")))
        history += decision.events
    assert state.final, state.status
    return history


def _answer(event: e.AttemptStarted, seed: bytes) -> c.ReportResult:
    if event.function == "refuse":
        return c.ReportResult(at=_AT, seed=seed, run=event.run, number=event.number, outcome="refused", fault=_REFUSED)
    output = {"n": event.arguments["n"]}
    return c.ReportResult(at=_AT, seed=seed, run=event.run, number=event.number, outcome="completed", output=output)


def fold(history: list[e.Event]) -> None:
    state = State()
    for event in history:
        evolve(state, event)


def cpu_us(work: Callable[[], object], times: int, rounds: int = 5) -> float:
    """Processor time of one call in microseconds, the least of some rounds: the others were disturbed."""
    found = []
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        for _ in range(times):
            work()
        found.append((time.process_time() - start) / times * 1e6)
    return min(found)


def _report(name: str, plan: Plan, input_: Any, times: int) -> None:
    history = live(plan, input_)
    digest = sha256(b"".join(msgspec.msgpack.encode(event) for event in history)).hexdigest()[:12]
    decided = cpu_us(lambda: live(plan, input_), times)
    folded = cpu_us(lambda: fold(history), times)
    print(
        f"| {name} | {len(history)} | {decided:,.1f} | {decided / len(history):.2f} | {folded:,.1f} | {digest} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="core", description=__doc__)
    parser.add_argument("--profile", choices=["W1", "W2", "loop"])
    parser.add_argument("--turns", type=int, action="append")
    chosen = parser.parse_args()
    calm_collector()  # as the command line does
    w1, w2, loop = (read_definition(text.decode(), "application/yaml").plan for text in (W1, W2, LOOP))
    if chosen.profile:
        lives = {"W1": (w1, {"n": 1}, 3000), "W2": (w2, {"n": 1}, 1500), "loop": (loop, {"items": [1] * 2000}, 1)}
        plan, input_, times = lives[chosen.profile]
        with cProfile.Profile() as profile:
            for _ in range(times):
                live(plan, input_)
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    print("| life | events | decide us | us/event | fold us | events' hash |")
    print("|---|---|---|---|---|---|")
    _report("W1", w1, {"n": 1}, 1000)
    _report("W2", w2, {"n": 1}, 500)
    for turns in chosen.turns or [2000]:
        _report(f"for {turns}", loop, {"items": list(range(turns))}, 1)


if __name__ == "__main__":
    main()
