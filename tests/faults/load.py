"""Clients that start sagas over HTTP, through any node, and do not give up: what well-behaved clients do in bad times.

Each start has an Idempotency-Key and is repeated until it is acknowledged. A saga books a car, a hotel and a flight,
which may be refused; some wait for an event in between, which a client sends and repeats in the same way. `complaints`
has what such a client should never see: an answer that says the request is wrong, two ids for one start, no answer for
too long.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import aiohttp

_BOOKING = """\
  - KIND:
      call: http
      with: {method: put, endpoint: '${ "PARTICIPANTS/KIND/\\($workflow.input.number)" }'}
      retry: patiently
      timeout: {after: {seconds: 1}}
      compensate: {call: http, with: {method: delete, endpoint: '${ "PARTICIPANTS/KIND/\\($workflow.input.number)" }'}}
"""
_DEFINITION = (
    """\
document: {dsl: '1.0.3', namespace: faults, name: trip, version: '1.0.0'}
use: {retries: {patiently: {delay: {milliseconds: 100}, limit: {attempt: {count: 12}}}}}
compensation: {retry: patiently}
do:
"""
    + _BOOKING.replace("KIND", "car")
    + """\
  - confirmation:
      if: ${ $workflow.input.waits }
      listen: {to: {one: {with: {type: trip.confirmed}}}}
"""
    + _BOOKING.replace("KIND", "hotel")
    + _BOOKING.replace("KIND", "flight")
)
WAITING_SHARE: Final = 0.2
AT_ONCE: Final = 8
_GIVE_UP_S: Final = 90.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_COME_AGAIN = frozenset({429, 500, 503})
"""500 says that nobody knows; whether a node had a reason is seen in its log (`Node.complaints`)."""


class Load:
    """`count` sagas. `nodes` gives the addresses of those who serve now."""

    def __init__(self, nodes: Callable[[], list[str]], count: int, seed: int) -> None:
        self._nodes = nodes
        self._count = count
        self._seed = seed
        self._chance = random.Random(f"load {seed}")
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.acknowledged: dict[str, str] = {}
        """Name of the start -> public id that the client was given."""
        self.complaints: list[str] = []
        self.attempts: Counter[str] = Counter()
        """What requests ended with: a status, or the error of a connection."""
        self.longest_s = 0.0

    def waits(self, number: int) -> bool:
        return random.Random(f"waits {self._seed} {number}").random() < WAITING_SHARE

    async def run(self) -> None:
        """Start them all; return when every start and every event is acknowledged."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            await asyncio.gather(*(self._saga(session, number) for number in range(self._count)))

    async def _saga(self, session: aiohttp.ClientSession, number: int) -> None:
        name = f"start {number}"
        async with self._slots:
            body = {"definition": "faults/trip", "input": {"number": number, "waits": self.waits(number)}}
            started = await self._insist(session, "/v1/orchestrations", body, {"Idempotency-Key": f'"{name}"'})
            if started is None:
                return
            self.acknowledged[name] = started["id"]
            if self.waits(number):
                event = {"specversion": "1.0", "id": name, "source": "/load", "type": "trip.confirmed", "data": {}}
                headers = {"Content-Type": "application/cloudevents+json"}
                await self._insist(session, f"/v1/orchestrations/{started['id']}/events", event, headers)

    async def _insist(
        self, session: aiohttp.ClientSession, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> dict[str, Any] | None:
        """The answer of a success; None once it is hopeless."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while loop.time() < began_s + _GIVE_UP_S:
            nodes = self._nodes()
            if nodes:
                status, answer = await self._once(session, self._chance.choice(nodes) + path, body, headers)
                if 200 <= status < 300:
                    self.longest_s = max(self.longest_s, loop.time() - began_s)
                    return answer
                in_use = status == 409 and str(answer.get("type", "")).endswith("idempotency-key-in-use")
                if status and status not in _COME_AGAIN and not in_use:
                    self.complaints.append(f"POST {path} was answered {status}: {answer}")
                    return None
            await asyncio.sleep(self._chance.uniform(0.05, 0.3))
        self.complaints.append(f"POST {path} {headers} was not answered within {_GIVE_UP_S} s")
        return None

    async def _once(
        self, session: aiohttp.ClientSession, url: str, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """(status, body); status 0 when there was no answer."""
        try:
            async with session.post(url, json=body, headers=headers) as response:
                answer = await response.json(content_type=None)
                self.attempts[str(response.status)] += 1
                return response.status, answer
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self.attempts[type(error).__name__] += 1
            return 0, {}


def definition(participants: str) -> str:
    """The saga, for participants at this address."""
    return _DEFINITION.replace("PARTICIPANTS", participants)
