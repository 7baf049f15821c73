"""The numbers that /metrics shows, in a registry of our own: two servers in one process never mix them.

Labels are closed sets (types, outcomes), never numbers, ids or addresses: a label value is kept for as long as the
process lives. Never measures anything itself; whoever does the work counts it here.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ATTEMPT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COMMIT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Every counter, gauge and histogram of one server; the attribute names are the metrics' without `tocsin_`."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        self.messages_total = Counter(
            "tocsin_messages", "Messages stored, by type and direction", ["type", "direction"], registry=registry
        )
        self.entries_total = Counter("tocsin_entries", "Entries appended to account logs", registry=registry)
        self.notifications_total = Counter(
            "tocsin_notifications",
            "Notifications by transport and how their attempt ended",
            ["transport", "outcome"],
            registry=registry,
        )
        self.attempt_seconds = Histogram(
            "tocsin_attempt_seconds",
            "Duration of one attempt to deliver a notification",
            buckets=_ATTEMPT_SECONDS,
            registry=registry,
        )
        self.lanes = Gauge("tocsin_lanes", "Lanes that have work", registry=registry)
        self.lagging_lanes = Gauge(
            "tocsin_lagging_lanes", "Lanes that read from the database, not from memory", registry=registry
        )
        self.writer_group_size = Histogram(
            "tocsin_writer_group_size", "Units committed together", buckets=_GROUP_SIZES, registry=registry
        )
        self.writer_commit_seconds = Histogram(
            "tocsin_writer_commit_seconds",
            "Duration of one commit of the writer",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.ws_sessions = Gauge("tocsin_ws_sessions", "WebSocket sessions that are connected", registry=registry)
        self.subscriptions = Gauge("tocsin_subscriptions", "Subscriptions by status", ["status"], registry=registry)

    def render(self) -> bytes:
        """Return all of them in the Prometheus text format, to be served with CONTENT_TYPE."""
        return generate_latest(self._registry)
