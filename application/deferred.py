"""The arguments of an attempt as they are sent: what is recorded, and the parts that mention secrets or the callback, which
are evaluated at every sending and recorded nowhere.
"""

from __future__ import annotations

import re
from typing import Any

from application.callbacks import Callbacks
from application.ports import Expressions, Secrets
from domain import events as e
from domain.data import planted
from domain.errors import Fault, fault
from domain.expressions import Evaluation, EvaluationFailed

_SECRET = re.compile(r'\$secrets\s*(?:\.\s*([A-Za-z_]\w*)|\.?\s*\[\s*"([^"]+)"\s*\])')


class NotEvaluatedError(Exception):
    """A secret is missing, or an expression with one failed; `fault` says which."""

    def __init__(self, why: Fault) -> None:
        self.fault = why
        super().__init__(why.detail)


async def arguments_of(
    attempt: e.AttemptStarted, public_id: str, expressions: Expressions, secrets: Secrets, callbacks: Callbacks
) -> Any:
    """What goes out. Raises NotEvaluatedError."""
    if not attempt.deferred:
        return attempt.arguments
    batch = []
    for _, program, names, values in attempt.deferred:
        known = {}
        for name in _mentioned(program):
            secret = secrets.get(name)
            if secret is None:
                raise NotEvaluatedError(fault("authorization", f"there is no secret named {name}"))
            known[name] = secret
        late: dict[str, Any] = {"secrets": known}
        if attempt.callback:
            late["callback"] = callbacks.told(public_id, attempt.run)
        batch.append(Evaluation(program, (*names, *late), (*values, *late.values())))
    filled: dict[tuple[str | int, ...], Any] = {}
    for (path, *_), result in zip(attempt.deferred, await expressions.evaluate(batch), strict=True):
        if isinstance(result, EvaluationFailed):
            detail = str(secrets.redact(result.detail))
            raise NotEvaluatedError(fault("expression", f"with/{'/'.join(map(str, path))}: {detail}"))
        filled[tuple(path)] = result.value
    return planted(attempt.arguments, filled)


def _mentioned(program: str) -> list[str]:
    """Names of the secrets that a program reads, as ``$secrets.name`` or ``$secrets["name"]``."""
    return list(dict.fromkeys(a or b for a, b in _SECRET.findall(program)))
