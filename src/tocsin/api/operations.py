"""What operators and probes ask: health, metrics; and, in the sandbox alone, the clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from tocsin.api.call import Access, Call, Reply, Route, json_reply
from tocsin.domain.errors import InvalidParameter
from tocsin.telemetry.health import Health, HealthReport
from tocsin.telemetry.metrics import CONTENT_TYPE, Metrics
from tocsin.wire.times import render_time

MAX_JUMP_S = 10 * 366 * 86_400
"""Ten years: the longest lifetime that a subscription may have."""


class AdvanceRequest(msgspec.Struct):
    """Body of `POST /tocsin/v1/clock/advance`."""

    seconds: float


class Operations:
    """Health and metrics; open to probes, they tell nothing of any account."""

    def __init__(self, health: Health, metrics: Metrics) -> None:
        self._health = health
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """Their lines of the route table."""
        return [
            Route("GET", "/healthz", "getLiveness", self.get_liveness, Access.PUBLIC),
            Route("GET", "/readyz", "getReadiness", self.get_readiness, Access.PUBLIC),
            Route("GET", "/metrics", "getMetrics", self.get_metrics, Access.PUBLIC),
        ]

    async def get_liveness(self, call: Call) -> Reply:
        """200 while a restart would not help."""
        return _report(self._health.live())

    async def get_readiness(self, call: Call) -> Reply:
        """200 while requests are served, 503 else."""
        return _report(self._health.ready())

    async def get_metrics(self, call: Call) -> Reply:
        """Prometheus text format."""
        return Reply(200, self._metrics.render(), CONTENT_TYPE)


def _report(report: HealthReport) -> Reply:
    findings = {
        name: {"status": finding.verdict.value, "detail": finding.detail} for name, finding in report.findings.items()
    }
    return json_reply({"status": report.verdict.value, "checks": findings}, report.http_status)


class ClockControl:
    """The sandbox's clock; the server leaves it out elsewhere."""

    def __init__(self, advance: Callable[[float], Awaitable[int]]) -> None:
        self._advance = advance

    def routes(self) -> list[Route]:
        """Its line of the route table."""
        return [Route("POST", "/tocsin/v1/clock/advance", "advanceClock", self.advance_clock, Access.ADMIN)]

    async def advance_clock(self, call: Call) -> Reply:
        """Jump forward, doing on the way all that falls due; answers with the time then."""
        seconds = call.decode(AdvanceRequest).seconds
        if not 0 <= seconds <= MAX_JUMP_S:
            raise InvalidParameter(
                f"Parameter [seconds] value is invalid: between 0 and {MAX_JUMP_S}", parameter="seconds"
            )
        return json_reply({"now": render_time(await self._advance(seconds))})
