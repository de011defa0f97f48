"""Addresses that tasks with ``callback: true`` are called back at.

A token names the orchestration and the run, sealed under a key of the database: every node can read it, nobody can make one
up, and no table has to keep it. It is made anew at each sending and stands in no event; whether it still counts is a matter
of the orchestration's state (`domain.callbacks`).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, Literal

import msgspec

from application.cursors import MalformedCursorError, Seal
from application.identity import Identity
from application.ports import CalloutResult, Declined, Doubtful, Postponed
from application.storage import canonical
from domain.errors import Fault, NotFoundError

LATE: Final = "late"
"""What became of a callback that came too late: it was recorded, and nobody waited for it."""
_LONGEST: Final = 4096
_NO_SUCH: Final = "There is no such callback."


class CallbackReport(msgspec.Struct, frozen=True):
    """What is posted: the task's output, or why it failed. `retryable`: whether another attempt may help."""

    outcome: Literal["completed", "refused", "uncertain"]
    output: Any = None
    fault: Fault | None = None
    retryable: bool = False

    def members(self) -> dict[str, Any]:
        """Members of `domain.commands.ReportCallback`."""
        told: dict[str, Any] = {"outcome": self.outcome, "output": self.output, "retryable": self.retryable}
        if self.fault is not None:
            told["error"] = msgspec.to_builtins(self.fault)
        return told | {"digest": sha256(canonical(told)).digest()}


class Callbacks:
    """Makes tokens and reads them."""

    def __init__(self, identity: Identity, public_url: str) -> None:
        self._seal = Seal(identity.sealing_key(), "callback")
        self.public_url = public_url
        """Where others reach this service."""

    def token(self, orchestration: str, run: str) -> str:
        """The token of a run."""
        return self._seal.sealed((orchestration, run))

    def told(self, orchestration: str, run: str) -> dict[str, str]:
        """``$callback`` of a run."""
        token = self.token(orchestration, run)
        return {"url": f"{self.public_url.rstrip('/')}/v1/callbacks/{token}", "token": token}

    def opened(self, token: str) -> tuple[str, str]:
        """(public id, run) of a token. Raises NotFoundError."""
        if len(token) > _LONGEST or not token.isascii():
            raise NotFoundError(_NO_SUCH)
        try:
            return self._seal.opened(token, tuple[str, str])
        except (MalformedCursorError, msgspec.MsgspecError):
            raise NotFoundError(_NO_SUCH) from None

    def without_token(self, orchestration: str, run: str, result: CalloutResult) -> CalloutResult:
        """The result of a call that is called back, as it may be recorded: who knows the token can end the task, so it must
        not come into the history by an answer that repeats it. What a good answer says is not kept at all.
        """
        if not isinstance(result, Declined | Doubtful | Postponed):
            return msgspec.structs.replace(result, output=None)
        token = self.token(orchestration, run)
        masked = msgspec.json.decode(msgspec.json.encode(result.fault.as_json()).replace(token.encode(), b"***"))
        return msgspec.structs.replace(result, fault=Fault(**masked))
