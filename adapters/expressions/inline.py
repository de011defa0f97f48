"""jq in this process, without a jail: for pure tests and simulations only.

Never for documents of others: a program here may run for ever or take all memory of the process. Values, errors and
messages are those of the jail, from the same wrapping; the contract suite runs against both.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.expressions import payload
from adapters.expressions.programs import ProgramError, compiled, run
from domain.expressions import Evaluand, Evaluation, EvaluationFailed


class InlineJq:
    """`application.ports.Expressions` without any protection."""

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def evaluate(self, batch: Sequence[Evaluation]) -> list[Evaluand]:
        return [evaluate(item) for item in batch]

    async def check(self, program: str, names: Sequence[str]) -> str | None:
        try:
            compiled(program, tuple(names))
        except ProgramError as error:
            return str(error)
        return None


def evaluate(item: Evaluation) -> Evaluand:
    """One evaluation, at once."""
    text = payload.input_text(item)
    if isinstance(text, EvaluationFailed):
        return text
    try:
        answer = run(compiled(item.program, item.names), text.decode()).encode()
    except ProgramError as error:
        return EvaluationFailed(str(error))
    if len(answer) > payload.PAYLOAD_BYTES:
        return EvaluationFailed(f"the result is larger than {payload.PAYLOAD_BYTES >> 20} MB")
    return payload.result(answer)
