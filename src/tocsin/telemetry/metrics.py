"""The numbers that /metrics shows: counted here in plain numbers, put into Prometheus's words only when somebody asks.

Labels are closed sets (types, outcomes), never numbers, ids or addresses: a label value is kept for as long as the
process lives. Never measures anything itself; whoever does the work counts it here. For one thread, the event loop's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ATTEMPT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMIT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Number:
    """A counter or a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, by: float = 1) -> None:
        """Add `by`; of a counter never a negative one."""
        self.value += by

    def set(self, value: float) -> None:
        """Of a gauge: be `value` from now on."""
        self.value = value


class Labelled:
    """Numbers told apart by the values of labels."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.numbers: dict[tuple[str, ...], Number] = {}

    def labels(self, *values: str) -> Number:
        """Return the number for these values, which are in the order of `names`."""
        number = self.numbers.get(values)
        if number is None:
            number = self.numbers[values] = Number()
        return number


class Distribution:
    """How many observations fell at or below each of `bounds`, which ascend."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count `value`."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """Every counter, gauge and histogram of one server; the attribute names are the metrics' without `tocsin_`."""

    def __init__(self) -> None:
        self.messages_total = Labelled("type", "direction")
        self.entries_total = Number()
        self.notifications_total = Labelled("transport", "outcome")
        self.attempt_seconds = Distribution(_ATTEMPT_SECONDS)
        self.lanes = Number()
        self.lagging_lanes = Number()
        self.writer_group_size = Distribution(_GROUP_SIZES)
        self.writer_commit_seconds = Distribution(_COMMIT_SECONDS)
        self.ws_sessions = Number()
        self.removed_total = Labelled("part")

    def render(self) -> bytes:
        """Return all of them in the Prometheus text format, to be served with CONTENT_TYPE."""
        # Its client brings an HTTP server and a WSGI one with it: a twentieth of a start, for what few starts need.
        from prometheus_client import CollectorRegistry, ProcessCollector
        from prometheus_client.exposition import generate_latest

        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client.registry.Collector."""
        yield _counter("messages", "Messages stored, by type and direction", self.messages_total)
        yield _counter("entries", "Entries appended to account logs", self.entries_total)
        yield _counter(
            "notifications", "Notifications by transport and how their attempt ended", self.notifications_total
        )
        yield _histogram("attempt_seconds", "Duration of one attempt to deliver a notification", self.attempt_seconds)
        yield _gauge("lanes", "Lanes that have work", self.lanes)
        yield _gauge("lagging_lanes", "Lanes that read from the database, not from memory", self.lagging_lanes)
        yield _histogram("writer_group_size", "Units committed together", self.writer_group_size)
        yield _histogram("writer_commit_seconds", "Duration of one commit of the writer", self.writer_commit_seconds)
        yield _gauge("ws_sessions", "WebSocket sessions that are connected", self.ws_sessions)
        yield _counter("removed", "Old things that housekeeping has removed, by part", self.removed_total)


def _counter(name: str, documentation: str, numbers: Number | Labelled) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    names, values = _taken(numbers)
    family = CounterMetricFamily(f"tocsin_{name}", documentation, labels=names)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _gauge(name: str, documentation: str, numbers: Number | Labelled) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    names, values = _taken(numbers)
    family = GaugeMetricFamily(f"tocsin_{name}", documentation, labels=names)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _histogram(name: str, documentation: str, distribution: Distribution) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    bounds = [*(str(float(bound)) for bound in distribution.bounds), "+Inf"]
    counts = accumulate(distribution.counts)
    buckets = [(bound, float(count)) for bound, count in zip(bounds, counts, strict=True)]
    return HistogramMetricFamily(f"tocsin_{name}", documentation, buckets=buckets, sum_value=distribution.total)


def _taken(numbers: Number | Labelled) -> tuple[tuple[str, ...], list[tuple[tuple[str, ...], float]]]:
    if isinstance(numbers, Number):
        return (), [((), numbers.value)]
    return numbers.names, [(labels, number.value) for labels, number in numbers.numbers.items()]
