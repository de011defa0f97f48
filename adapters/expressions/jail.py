"""The jail: jq programs run in a small pool of child processes that may die so that the service does not.

A batch goes to one free child; callers wait for one in the order they came. The budget (processor time, memory) is
per program and enforced in the child; a death is blamed on the first program without an answer:

- it overran its deadline, or it was the first thing a fresh child did: it fails, and a fresh child takes the rest;
- otherwise what came before may have left the child short of memory: it is run once more, first, on a fresh child.

So exactly the culprit fails, every neighbour is answered, and an honest program survives any other's end. A caller
that is cancelled costs its child: answers still on the pipe would otherwise be read as those of the next caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from adapters.expressions import frames, payload
from adapters.expressions.worker import Limits, Worker
from domain.expressions import Evaluand, Evaluation, EvaluationFailed

_FRAME_REQUESTS = 256


class JqJail:
    """`application.ports.Expressions` in child processes.

    Args:
        size: Children at most; they are started when needed.
        deadline_s: Processor time of one program, in seconds.
        memory_bytes: Address space of one child; below 100 MB jq itself hardly starts.
    """

    def __init__(self, size: int = 2, deadline_s: float = 2.0, memory_bytes: int = 512 << 20) -> None:
        self._limits = Limits(deadline_s, memory_bytes, payload.PAYLOAD_BYTES)
        self.evaluations = 0
        """Programs that were answered, or ended their child."""
        self.killed: dict[str, int] = {"overrun": 0, "death": 0}
        """Programs that used up their processor time, and those that ended their child in another way (memory)."""
        self._closed = False
        self._alive: set[Worker] = set()
        # Last in, first out: with little to do one warm child does it all, and its compiled programs are at hand.
        self._free: asyncio.LifoQueue[_Seat] = asyncio.LifoQueue()
        for _ in range(size):
            self._free.put_nowait(_Seat())

    async def start(self) -> None:
        """Start the first child and try it, so that a broken installation shows at once.

        Raises:
            RuntimeError: No child could be made to work.
        """
        self._closed = False
        if complaint := await self.check(".", ()):
            raise RuntimeError(f"the expression jail does not work: {complaint}")

    async def close(self) -> None:
        """End every child. Evaluations under way raise RuntimeError."""
        self._closed = True
        while self._alive:
            worker = next(iter(self._alive))
            worker.kill()
            await worker.gone()
            self._alive.discard(worker)

    async def evaluate(self, batch: Sequence[Evaluation]) -> list[Evaluand]:
        results: list[Evaluand | None] = []
        requests: list[bytes] = []
        for item in batch:
            text = payload.input_text(item)
            if isinstance(text, EvaluationFailed):
                results.append(text)
                continue
            results.append(None)
            requests.append(frames.request(item.program, item.names, text))
        answers = iter(await self._ask(requests))
        return [_evaluand(next(answers)) if known is None else known for known in results]

    async def check(self, program: str, names: Sequence[str]) -> str | None:
        [(status, text)] = await self._ask([frames.request(program, names, None)])
        return text.decode() if status == frames.FAILED else None

    async def _ask(self, requests: list[bytes]) -> list[frames.Answer]:
        """An answer to each request; in place of a culprit's stands what its child died of."""
        answers: list[frames.Answer] = []
        for portion in _portions(requests):
            seat = await self._free.get()
            try:
                answers += await self._answers(seat, portion)
                self.evaluations += len(portion)
            except BaseException:
                if seat.worker is not None:
                    seat.worker.kill()
                raise
            finally:
                self._free.put_nowait(seat)
        return answers

    async def _answers(self, seat: _Seat, requests: list[bytes]) -> list[frames.Answer]:
        answers: list[frames.Answer] = []
        suspected = False
        while len(answers) < len(requests):
            worker = await self._working(seat)
            fresh = worker.served == 0
            rest = requests[len(answers) :]
            given = await worker.exchange(rest[:1] if suspected else rest)
            answers += given
            suspected = False
            if self._closed:  # before blame: a child that we ended ourselves says nothing about its program
                raise RuntimeError("the expression jail is closed")
            if worker.ended and len(answers) < len(requests):
                if worker.overran or (fresh and not given):
                    answers.append((frames.FAILED, worker.verdict().encode()))
                    self.killed["overrun" if worker.overran else "death"] += 1
                else:
                    suspected = True
        return answers

    async def _working(self, seat: _Seat) -> Worker:
        """The seat's worker, a new one if there is none alive."""
        if seat.worker is not None and seat.worker.ended:
            self._alive.discard(seat.worker)
            seat.worker = None
        if self._closed:
            raise RuntimeError("the expression jail is closed")
        if seat.worker is None:
            seat.worker = await Worker.start(self._limits)
            self._alive.add(seat.worker)
            if self._closed:
                await self.close()
                raise RuntimeError("the expression jail is closed")
        return seat.worker


class _Seat:
    """A place in the pool; who takes it may use or replace the worker on it."""

    worker: Worker | None = None


def _portions(requests: list[bytes]) -> Iterator[list[bytes]]:
    """The requests in order, as frames of bounded size."""
    portion: list[bytes] = []
    size_bytes = 0
    for request in requests:
        if portion and (size_bytes + len(request) > payload.PAYLOAD_BYTES or len(portion) == _FRAME_REQUESTS):
            yield portion
            portion, size_bytes = [], 0
        portion.append(request)
        size_bytes += len(request)
    if portion:
        yield portion


def _evaluand(answer: frames.Answer) -> Evaluand:
    status, text = answer
    return EvaluationFailed(text.decode()) if status == frames.FAILED else payload.result(text)
