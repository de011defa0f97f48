"""Small random definitions: every kind of task, nested a little, with compensations, retries and pivots."""

from __future__ import annotations

import random
from typing import Any

Json = dict[str, Any]
TYPES = ("ordered", "paid", "shipped")
REFUSED = {"with": {"type": "https://test.invalid/errors/refused"}}
QUICK = {"delay": {"milliseconds": 300}, "limit": {"attempt": {"count": 2}}}


class Author:
    """Writes definitions from a seed. `children`: names of definitions that may be run as children; `workers`: whether some
    calls are for remote workers; `people`: whether some tasks, and some undos, are for people, and some events in order.
    """

    def __init__(
        self, chance: random.Random, children: tuple[str, ...] = (), *, workers: bool = False, people: bool = False
    ) -> None:
        self._workers = workers
        self._people = people
        self._chance = chance
        self._children = children
        self._count = 0
        self._wide = random.Random(
            chance.getstate()[1][1]
        )  # what came later leaves the programs of older seeds as they are

    def definition(self, name: str) -> Json:
        chance = self._chance
        document: Json = {"document": {"dsl": "1.0.3", "namespace": "sim", "name": name, "version": "1.0.0"}}
        if chance.random() < 0.15:
            document["compensation"] = {"order": "parallel"}
        if chance.random() < 0.15:
            document["timeout"] = {"after": {"seconds": chance.randint(5, 120)}}
        if self._people and chance.random() < 0.6:
            order: Json = {"order": {"by": "${ .sequence }"}}
            if chance.random() < 0.6:
                order["gap"] = {
                    "after": {"seconds": chance.randint(2, 30)},
                    "then": chance.choice(["fault", "continue"]),
                }
            document["streams"] = {"numbered": {"with": {"type": TYPES[0]}, **order}}
        document["do"] = self._tasks(0, sequential=True)
        return document

    def _tasks(self, depth: int, *, sequential: bool) -> list[Json]:
        tasks = [self._task(depth, sequential=sequential) for _ in range(self._chance.randint(1, 4 - min(depth, 2)))]
        return [{self._name(kind): task} for kind, task in tasks]

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _task(self, depth: int, *, sequential: bool) -> tuple[str, Json]:
        chance = self._chance
        kinds = ["call"] * 6 + ["set", "wait", "emit", "listen"]
        if depth < 2:
            kinds += ["do", "for", "fork", "try", "try"]
        if self._people:
            kinds += ["human"] * 4 + ["for", "fork"] * (depth < 2)
        if self._children:
            kinds += ["run"]
        if depth:
            kinds += ["raise"]
        kind = chance.choice(kinds)
        task: Json = getattr(self, f"_{kind}")(depth, sequential)
        if kind in ("do", "call", "run") and chance.random() < 0.1:
            task["if"] = "${ true }"
        return kind, task

    def _call(self, depth: int, sequential: bool) -> Json:
        chance = self._chance
        remote = self._workers and chance.random() < 0.6
        task: Json = {"call": "work" if remote else "act", "with": {"n": chance.randint(1, 9)}}
        if sequential and chance.random() < 0.06:
            return {**task, "pivot": True}
        if chance.random() < 0.75:
            remote_undo = self._workers and chance.random() < 0.5
            undo: Json = {"call": "unwork" if remote_undo else "undo", "with": {"of": "${ $task.key }"}}
            after = chance.choice(["completed", "uncertain", "attempted", None, None, None])
            task["compensate"] = undo | ({"after": after} if after else {})
        if chance.random() < 0.4:
            task["retry"] = QUICK
        if chance.random() < 0.3:
            task["timeout"] = {"after": {"seconds": chance.randint(1, 20)}}
        if chance.random() < 0.1:
            task["idempotent"] = False
        return task

    def _human(self, depth: int, sequential: bool) -> Json:
        chance = self._chance
        asked: Json = {"title": "Is it so?", "due": {"seconds": chance.randint(1, 30)}}
        if chance.random() < 0.5:
            asked["candidates"] = ["ann"]
        if chance.random() < 0.2:
            asked["assignee"] = "bob"
        if chance.random() < 0.5:
            asked["escalation"] = [{"candidates": ["bob"], "remind": chance.random() < 0.5}]
        task: Json = {"call": "human", "with": asked}
        if chance.random() < 0.5:
            task["timeout"] = {"after": {"seconds": chance.randint(1, 60)}}
        if chance.random() < 0.5:
            by_hand: Json = {"call": "human", "with": {"title": "Undo it"}}
            task["compensate"] = chance.choice([by_hand, {"call": "undo", "with": {"of": "${ $task.key }"}}])
        return task

    def _set(self, depth: int, sequential: bool) -> Json:
        return {"set": {"n": self._chance.randint(1, 9), "before": "${ . }"}}

    def _wait(self, depth: int, sequential: bool) -> Json:
        return {"wait": {"milliseconds": self._chance.randint(1, 30_000)}}

    def _emit(self, depth: int, sequential: bool) -> Json:
        return {"emit": {"event": {"with": {"source": "https://sim.test", "type": self._chance.choice(TYPES)}}}}

    def _listen(self, depth: int, sequential: bool) -> Json:
        chance = self._chance
        one = {"with": {"type": chance.choice(TYPES)}}
        to: Json = chance.choice(
            [{"one": one}, {"any": [one]}, {"all": [one, {"with": {"type": chance.choice(TYPES)}}]}]
        )
        task: Json = {"listen": {"to": to}}
        if chance.random() < 0.5:
            task["timeout"] = {"after": {"seconds": chance.randint(1, 60)}}
        return task

    def _raise(self, depth: int, sequential: bool) -> Json:
        return {"raise": {"error": {"type": "https://test.invalid/errors/refused", "status": 409}}}

    def _do(self, depth: int, sequential: bool) -> Json:
        task: Json = {"do": self._tasks(depth + 1, sequential=sequential)}
        if self._chance.random() < 0.2:
            task["timeout"] = {"after": {"seconds": self._chance.randint(1, 60)}}
        return task

    def _for(self, depth: int, sequential: bool) -> Json:
        count = self._chance.randint(0, 3)
        task: Json = {
            "for": {"each": "item", "in": f"${{ [range({count})] }}"},
            "do": self._tasks(depth + 1, sequential=False),
        }
        if self._wide.random() < 0.5:
            task["for"]["in"] = f"${{ [range({2 * count})] }}"
            task["parallel"] = self._side_by_side()
        return task

    def _side_by_side(self) -> Json:
        chance, found = self._wide, dict[str, Any]()
        if chance.random() < 0.7:
            found["limit"] = chance.randint(1, 3)
        if chance.random() < 0.4:
            found["completion"] = chance.choice(["first", {"at_least": 2}])
        if chance.random() < 0.5:
            found["tolerate"] = chance.choice(["all", 1])
        return found

    def _fork(self, depth: int, sequential: bool) -> Json:
        branches = [{self._name("branch"): {"do": self._tasks(depth + 1, sequential=False)}} for _ in range(2)]
        return {"fork": {"branches": branches, "compete": self._chance.random() < 0.3}}

    def _try(self, depth: int, sequential: bool) -> Json:
        chance = self._chance
        catch: Json = {}
        if chance.random() < 0.4:
            catch["errors"] = REFUSED
        if chance.random() < 0.4:
            catch["compensate"] = True
        if chance.random() < 0.5:
            catch["retry"] = QUICK
        if chance.random() < 0.5 or not catch:
            catch["do"] = self._tasks(2, sequential=False)
        return {"try": self._tasks(depth + 1, sequential=sequential), "catch": catch}

    def _run(self, depth: int, sequential: bool) -> Json:
        child = {"namespace": "sim", "name": self._chance.choice(self._children), "version": "1.0.0"}
        return {"run": {"workflow": child, "await": self._chance.random() < 0.9}}
