"""Metrics of a process for Prometheus: names and labels here, numbers from the objects that count.

Nothing is registered where the work is done; a scrape reads plain numbers on the event loop, asks no database, and so is
answered while that is away. Where several processes share a port, whichever is scraped tells of all of them, each with a
label `process`: sums would seem to run backwards when one is replaced. Names, kinds and labels are a contract (`METRICS`,
docs/names.md). Labels take their values from small sets that the code, the API, the registered projections or the hosts of
circuits (at most 100) give: never ids, names of partitions or paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from adapters.callouts.circuits import STATES, Circuits
from adapters.expressions.jail import JqJail
from adapters.neighbours import Neighbours
from adapters.rest.metering import Meter
from application.measures import Distribution
from application.runtime import Node
from retrace import __version__

Labels: TypeAlias = tuple[str, ...]


class Kind(NamedTuple):
    """What a metric is; `labels` in the order in which their values are given."""

    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()


METRICS: Final[Mapping[str, Kind]] = {
    "retrace_info": Kind("gauge", "Always 1; the version that runs", ("version",)),
    "retrace_orchestrations_started_total": Kind("counter", "Orchestrations begun on this node"),
    "retrace_orchestrations_ended_total": Kind("counter", "Orchestrations ended on this node", ("status",)),
    "retrace_orchestrations_in_memory": Kind("gauge", "Orchestrations in the cache of this node"),
    "retrace_events_committed_total": Kind("counter", "Events written to the log"),
    "retrace_commit_events": Kind("histogram", "Events of a transaction of the log"),
    "retrace_commit_seconds": Kind("histogram", "Duration of a transaction of the log"),
    "retrace_commits_failed_total": Kind("counter", "Transactions that the database did not confirm"),
    "retrace_commits_waiting": Kind("gauge", "Changes that wait for the database"),
    "retrace_callout_seconds": Kind("histogram", "From sending a callout to its outcome", ("kind", "outcome")),
    "retrace_callouts_in_progress": Kind("gauge", "Callouts that are sent or wait for their turn"),
    "retrace_callouts_postponed": Kind("gauge", "Callouts that wait until the circuit of their host lets them pass"),
    "retrace_callouts_turned_away_total": Kind("counter", "How often a circuit let a request not pass"),
    "retrace_circuits": Kind("gauge", "Circuits of hosts that have failed", ("state",)),
    "retrace_circuit_open": Kind("gauge", "1 while a circuit is open or half-open, 0 afterwards", ("host",)),
    "retrace_timer_lateness_seconds": Kind("histogram", "From when a timer was due until it had been handled"),
    "retrace_status_lag_seconds": Kind("gauge", "Age of the oldest commit that the status view does not show"),
    "retrace_projection_lag_events": Kind("gauge", "Events that a projection has not seen", ("projection", "state")),
    "retrace_partitions_held": Kind("gauge", "Partitions that this node owns"),
    "retrace_inbox_waiting": Kind("gauge", "Commands of other nodes without an answer at the last look"),
    "retrace_http_requests_total": Kind("counter", "Requests", ("method", "operation", "status")),
    "retrace_http_request_seconds": Kind("histogram", "Until the answer was taken, long polls aside", ("operation",)),
    "retrace_http_requests_in_progress": Kind("gauge", "Requests, long polls and streams that have no answer yet"),
    "retrace_http_refused_total": Kind("counter", "Requests that were told to come again later", ("status",)),
    "retrace_expression_evaluations_total": Kind("counter", "Expressions evaluated or checked"),
    "retrace_expressions_killed_total": Kind("counter", "Expressions that ended their process", ("reason",)),
    "retrace_checkpoint_age_seconds": Kind("gauge", "Since all that was committed was under a checkpoint"),
    "retrace_outbox_delayed": Kind("gauge", "Emitted events that could not be sent when last tried"),
    "retrace_sink_connected": Kind("gauge", "Whether the last attempt reached the sink", ("sink",)),
    "retrace_sink_events_total": Kind("counter", "Attempts to send an event to a sink", ("sink", "outcome")),
    "retrace_lifecycle_lag_events": Kind("gauge", "Events whose lifecycle events have not been sent"),
    "retrace_source_connected": Kind("gauge", "Whether events are taken from the source", ("source",)),
    "retrace_source_messages_total": Kind("counter", "Messages of a source", ("source", "outcome")),
    "retrace_checkpoints_unsent": Kind("gauge", "Checkpoints that wait for the place outside the database"),
    "retrace_process_up": Kind("gauge", "Of several processes that share a port: whether it answered", ("process",)),
}
Found: TypeAlias = Iterator[tuple[str, Labels, float | Distribution]]


class Exposition:
    """The metrics of one process."""

    def __init__(self, node: Node, jail: JqJail, meter: Meter, circuits: Circuits) -> None:
        self._node = node
        self._jail = jail
        self._meter = meter
        self._circuits = circuits
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self) -> bytes:
        """The text format, version 0.0.4."""
        return generate_latest(self._registry)

    def samples(self) -> list[Any]:
        """Every metric as ``[name, help, type, [[name of the sample, labels, value]]]``, for another process."""
        return [
            [each.name, each.documentation, each.type, [[one.name, one.labels, one.value] for one in each.samples]]
            for each in self._registry.collect()
        ]

    async def text_of_all(self, neighbours: Neighbours) -> bytes:
        """The same of all processes that share the port."""
        if neighbours.count == 1:
            return self.text()
        return generate_latest(_Together(await neighbours.ask("metrics"), neighbours.count))

    def describe(self) -> list[Metric]:
        """Nothing: names are checked by a test, and the numbers need not be there yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric, with what is known of it now."""
        families = {name: _family(name, kind) for name, kind in METRICS.items()}
        for name, labels, value in (
            *self._of_log(),
            *self._of_work(),
            *self._of_requests(),
            *self._of_events(),
            *self._of_audit(),
        ):
            _put(families[name], labels, value)
        yield from families.values()

    def _of_log(self) -> Found:
        journal, node = self._node.journal, self._node
        yield "retrace_events_committed_total", (), journal.committed.total
        yield "retrace_commit_events", (), journal.committed
        yield "retrace_commit_seconds", (), journal.commit_seconds
        yield "retrace_commits_failed_total", (), journal.commits_failed
        yield "retrace_commits_waiting", (), journal.waiting
        yield "retrace_partitions_held", (), len(node.ownership.held)
        yield "retrace_inbox_waiting", (), node.inbox.waiting
        lag = node.world.clock.now() - node.projector.as_of()
        yield "retrace_status_lag_seconds", (), max(0.0, lag.total_seconds())
        for labels, events in node.projections.lags().items():
            yield "retrace_projection_lag_events", labels, events

    def _of_work(self) -> Found:
        node, jail = self._node, self._jail
        yield "retrace_orchestrations_started_total", (), node.lives.started
        for status, ended in node.lives.ended.items():
            yield "retrace_orchestrations_ended_total", (status,), ended
        yield "retrace_orchestrations_in_memory", (), len(node.cache)
        yield "retrace_callouts_in_progress", (), node.effects.in_progress
        for labels, seconds in node.effects.sent.items():
            yield "retrace_callout_seconds", labels, seconds
        yield "retrace_callouts_postponed", (), node.effects.postponed
        yield "retrace_callouts_turned_away_total", (), self._circuits.turned_away
        for state in STATES:
            yield "retrace_circuits", (state,), self._circuits.count(state)
        for host, is_open in self._circuits.lately_open():
            yield "retrace_circuit_open", (host,), int(is_open)
        yield "retrace_timer_lateness_seconds", (), node.timers.lateness
        yield "retrace_expression_evaluations_total", (), jail.evaluations
        for reason, killed in jail.killed.items():
            yield "retrace_expressions_killed_total", (reason,), killed

    def _of_requests(self) -> Found:
        meter = self._meter
        for labels, requests in meter.requests.items():
            yield "retrace_http_requests_total", labels, requests
        for operation, seconds in meter.seconds.items():
            yield "retrace_http_request_seconds", (operation,), seconds
        yield "retrace_http_requests_in_progress", (), meter.in_progress
        for status, refused in meter.refused.items():
            yield "retrace_http_refused_total", (str(status),), refused

    def _of_events(self) -> Found:
        node = self._node
        yield "retrace_outbox_delayed", (), node.outbox.delayed
        for name, sink in node.sinks.items():
            yield "retrace_sink_connected", (name,), int(sink.connected)
            yield "retrace_sink_events_total", (name, "delivered"), sink.sent
            yield "retrace_sink_events_total", (name, "failed"), sink.failed
        if node.lifecycle is not None:
            yield "retrace_lifecycle_lag_events", (), node.lifecycle.lag
        for name, connected in node.intake.connected.items():
            yield "retrace_source_connected", (name,), int(connected)
        for labels, messages in node.intake.outcomes.items():
            yield "retrace_source_messages_total", labels, messages

    def _of_audit(self) -> Found:
        yield "retrace_info", (__version__,), 1
        checkpoints = self._node.checkpoints
        if checkpoints.complete_at is not None:
            age = self._node.world.clock.now() - checkpoints.complete_at
            yield "retrace_checkpoint_age_seconds", (), max(0.0, age.total_seconds())
            yield "retrace_checkpoints_unsent", (), checkpoints.unsent


class _Together:
    """What several processes told, as one registry would give it."""

    def __init__(self, told: Mapping[int, Any], count: int) -> None:
        self._told = told
        self._count = count

    def collect(self) -> Iterator[Metric]:
        """Every metric, by process."""
        families: dict[str, Metric] = {}
        for number, metrics in self._told.items():
            for name, documentation, kind, samples in metrics:
                family = families.setdefault(name, Metric(name, documentation, kind))
                for of, labels, value in samples:
                    family.add_sample(of, {**labels, "process": str(number)}, value)
        up = families["retrace_process_up"]
        for number in range(1, self._count + 1):
            up.add_sample("retrace_process_up", {"process": str(number)}, int(number in self._told))
        yield from families.values()


Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


def _family(name: str, kind: Kind) -> Family:
    made: dict[str, type[Family]] = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
    }
    return made[kind.type](name, kind.help, labels=kind.labels)


def _put(family: Family, labels: Labels, value: float | Distribution) -> None:
    if isinstance(family, HistogramMetricFamily):
        assert isinstance(value, Distribution)
        family.add_metric(labels, _buckets(value), value.total)
    else:
        assert not isinstance(value, Distribution)
        family.add_metric(labels, value)


def _buckets(sizes: Distribution) -> list[tuple[str, float]]:
    """Cumulative, the last for everything."""
    found: list[tuple[str, float]] = []
    so_far = 0
    for bound, count in zip((*map(str, sizes.bounds), "+Inf"), sizes.counts, strict=True):
        so_far += count
        found.append((bound, so_far))
    return found
