"""Circuits: a host that is away is left alone for a while, and asked by one request whether it is back.

A host is scheme, name and port. Closed: requests pass. After so many failures in a row it opens: nothing is sent for a pause.
Then it is half-open: one request, the probe, passes and decides, or the next one, when it has taken long; the pause doubles
with each probe that fails. A failure says something of the host: no connection, no answer, or 502, 503 and 504, by which a
gateway says the same. Any other answer is a sign of life, a 500 too: that may be the fault of one request, which must not
shut the host for all others.

Who is turned away has sent nothing, and is told when to come again: not before the pause is over, and not all at once. The
state is this process's own and begins closed. After M. Nygard, "Release It!", and the gateway failures of Envoy's outlier
detection.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec
import structlog
from yarl import URL

State: TypeAlias = Literal["closed", "open", "half_open"]
STATES: Final[tuple[State, ...]] = ("closed", "open", "half_open")
LONGEST_PAUSE_S: Final = 30.0
GATEWAY_STATUSES: Final = frozenset({502, 503, 504})
_KNOWN: Final = 500
_MEASURED: Final = 100
_RETURNING_PER_S: Final = 500.0
"""So many of those that were turned away come again in a second, once they may."""
_PROBING_S: Final = 1.0
"""How long others wait while a probe is under way, before they look again."""
_log = structlog.get_logger(__name__)


class TurnedAwayError(Exception):
    """The circuit is open, nothing was sent; it is worth a try after `after_s`."""

    def __init__(self, detail: str, after_s: float) -> None:
        self.after_s = after_s
        super().__init__(detail)


class Circuit(msgspec.Struct):
    """What is known of one host. Times of `until` and `turn` are of the monotonic clock."""

    host: str
    state: State = "closed"
    failures: int = 0
    """In a row."""
    last_failure: str | None = None
    last_failure_at: datetime | None = None
    changed_at: datetime | None = None
    pause_s: float = 0.0
    until: float = 0.0
    """When the pause is over."""
    turn: float = 0.0
    """When the last of those that were turned away may come again."""
    probe: int = 0
    """Number of the probe under way; 0: none is."""
    probe_until: float = 0.0
    """Until when others leave it to that probe."""
    turned_away: int = 0
    held_by: str | None = None
    """Who opened it by hand, and only a hand closes it."""
    held_because: str | None = None


class Circuits:
    """The circuits of one process, of at most 500 hosts that have failed; without any of them everything passes."""

    def __init__(
        self, *, failures: int, pause_s: float, time: Callable[[], float], now: Callable[[], datetime]
    ) -> None:
        """`failures`: so many in a row open a circuit; 0: only hands do."""
        self._failures = failures
        self._pause_s = pause_s
        self._time = time
        self._now = now
        self._known: OrderedDict[str, Circuit] = OrderedDict()
        self._probes = 0
        self.turned_away = 0
        """Since the process began."""

    # Requests ---------------------------------------------------------------------------------------------------------

    def enter(self, host: str) -> int:
        """Before a request is sent: the number of the probe that it is, 0 if it is none. Its outcome has to be told.

        Raises:
            TurnedAwayError: it must not be sent.
        """
        circuit = self._known.get(host)
        if circuit is None or circuit.state == "closed":
            return 0
        now = self._time()
        if circuit.held_by is None and now >= max(circuit.until, circuit.probe_until if circuit.probe else 0.0):
            self._probes += 1
            circuit.probe, circuit.probe_until = self._probes, now + LONGEST_PAUSE_S
            self._become(circuit, "half_open", "one request finds out whether it is back")
            return circuit.probe
        circuit.turned_away += 1
        self.turned_away += 1
        earliest = max(circuit.until, now + _PROBING_S)
        circuit.turn = max(circuit.turn + 1 / _RETURNING_PER_S, earliest)
        raise TurnedAwayError(_why(circuit), circuit.turn - now)

    def succeeded(self, host: str, probe: int) -> None:
        """The host showed that it lives."""
        circuit = self._known.get(host)
        if circuit is None:
            return
        if circuit.state == "closed":
            circuit.failures = 0
        elif probe and circuit.probe == probe:
            self._close(circuit, "it is back")

    def failed(self, host: str, probe: int, why: str) -> None:
        """The host seems to be away."""
        circuit = self._known.get(host)
        if circuit is None:
            if not self._failures:
                return
            circuit = self._known[host] = Circuit(host)
            self._forget_some()
        if circuit.state != "closed" and not (probe and circuit.probe == probe):
            return  # sent before it opened: what counts is the probe
        circuit.failures += 1
        circuit.last_failure, circuit.last_failure_at = why, self._now()
        self._known.move_to_end(host)
        if circuit.state == "half_open":
            circuit.pause_s = min(circuit.pause_s * 2, max(LONGEST_PAUSE_S, self._pause_s))
            self._open(circuit)
        elif self._failures and circuit.failures >= self._failures:
            circuit.pause_s = self._pause_s
            self._open(circuit)

    def unknown(self, host: str, probe: int) -> None:
        """Its outcome says nothing of the host: it was cancelled, or never came that far. Another may be the probe."""
        circuit = self._known.get(host)
        if circuit is not None and probe and circuit.probe == probe:
            circuit.probe = 0

    # Operators --------------------------------------------------------------------------------------------------------

    def shown(self) -> list[dict[str, Any]]:
        """Every host that has failed or was opened by hand, by name."""
        return [self._shown(self._known[host]) for host in sorted(self._known)]

    def close(self, host: str) -> dict[str, Any] | None:
        """Let requests pass again at once; what waits comes in its turn. None: nothing is known of this host."""
        circuit = self._known.get(host)
        if circuit is None:
            return None
        if circuit.state != "closed":
            self._close(circuit, "closed by hand")
        return self._shown(circuit)

    def hold_open(self, host: str, actor: str, reason: str | None) -> dict[str, Any]:
        """Send nothing to this host until `close`, or until the process ends."""
        circuit = self._known.setdefault(host, Circuit(host))
        circuit.held_by, circuit.held_because, circuit.probe = actor, reason, 0
        self._become(circuit, "open", f"opened by {actor}" + (f": {reason}" if reason else ""))
        self._forget_some()
        return self._shown(circuit)

    def lately_open(self) -> list[tuple[str, bool]]:
        """(host, whether it is open or half-open) of at most 100 hosts whose state has changed, the latest."""
        changed = [each for each in self._known.values() if each.changed_at is not None]
        changed.sort(key=lambda each: each.changed_at or self._now())
        return [(each.host, each.state != "closed") for each in changed[-_MEASURED:]]

    def count(self, state: State) -> int:
        """How many are in a state; closed ones count while they are remembered."""
        return sum(1 for circuit in self._known.values() if circuit.state == state)

    # Changes ----------------------------------------------------------------------------------------------------------

    def _open(self, circuit: Circuit) -> None:
        circuit.probe = 0
        circuit.until = self._time() + circuit.pause_s
        self._become(circuit, "open", circuit.last_failure)

    def _close(self, circuit: Circuit, why: str) -> None:
        circuit.failures, circuit.probe, circuit.turn, circuit.held_by, circuit.held_because = 0, 0, 0.0, None, None
        self._become(circuit, "closed", why)

    def _become(self, circuit: Circuit, state: State, why: str | None) -> None:
        before, circuit.state = circuit.state, state
        if before == state:
            return
        circuit.changed_at = self._now()
        told = _log.warning if state == "open" else _log.info
        told(f"circuit.{state}", host=circuit.host, before=before, failures=circuit.failures, why=why)

    def _forget_some(self) -> None:
        while len(self._known) > _KNOWN:
            quiet = next((host for host, each in self._known.items() if each.state == "closed"), None)
            del self._known[quiet if quiet is not None else next(iter(self._known))]

    def _shown(self, circuit: Circuit) -> dict[str, Any]:
        waits = circuit.state == "open" and circuit.held_by is None
        left_s = max(0.0, circuit.until - self._time())
        return {
            "host": circuit.host,
            "state": circuit.state,
            "failures": circuit.failures,
            "last_failure": circuit.last_failure,
            "last_failure_at": circuit.last_failure_at,
            "changed_at": circuit.changed_at,
            "probe_at": self._now() + timedelta(seconds=left_s) if waits else None,
            "turned_away": circuit.turned_away,
            "opened_by": circuit.held_by,
            "reason": circuit.held_because,
        }


def host_of(url: URL) -> str:
    """``https://api.example:443``: what has a circuit of its own."""
    name = (url.raw_host or "").lower().rstrip(".")
    return f"{url.scheme}://{f'[{name}]' if ':' in name else name}:{url.port or 0}"


def _why(circuit: Circuit) -> str:
    if circuit.held_by is not None:
        because = f" ({circuit.held_because})" if circuit.held_because else ""
        return f"the circuit of {circuit.host} was opened by {circuit.held_by}{because}"
    return f"the circuit of {circuit.host} is open after {circuit.failures} failures in a row: {circuit.last_failure}"
