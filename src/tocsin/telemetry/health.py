"""Whether this process should be restarted (/healthz) and whether it should be given traffic (/readyz).

Each part of the server adds a check of its own under a name. Never repairs anything, and never answers from memory:
the checks run when they are asked, so they must be quick and must not block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)


class Verdict(StrEnum):
    """What a check says; DEGRADED works, and a person should look at it."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; the detail is one line for a person, with no secret in it."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The worst verdict of all checks asked, and each finding by the check's name."""

    verdict: Verdict
    findings: dict[str, Finding]

    @property
    def http_status(self) -> int:
        """Return 200, or 503 when a check failed; what is degraded still serves."""
        return 503 if self.verdict is Verdict.FAILED else 200


Check = Callable[[], Finding]
_SEVERITY = (Verdict.OK, Verdict.DEGRADED, Verdict.FAILED)


class Health:
    """The named checks of one server."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._vital: set[str] = set()

    def add(self, name: str, check: Check, *, vital: bool = False) -> None:
        """Ask `check` for readiness, and, where it is vital, for liveness too: only a restart would help.

        Raises ValueError when the name is taken.
        """
        if name in self._checks:
            raise ValueError(f"there is a health check named {name} already")
        self._checks[name] = check
        if vital:
            self._vital.add(name)

    def live(self) -> HealthReport:
        """Run the vital checks."""
        return self._report(sorted(self._vital))

    def ready(self) -> HealthReport:
        """Run all checks."""
        return self._report(list(self._checks))

    def _report(self, names: list[str]) -> HealthReport:
        findings = {name: self._ask(name) for name in names}
        worst = max((finding.verdict for finding in findings.values()), key=_SEVERITY.index, default=Verdict.OK)
        return HealthReport(worst, findings)

    def _ask(self, name: str) -> Finding:
        try:
            return self._checks[name]()
        except Exception as error:
            log.exception("health.check_broke", check=name)
            return Finding(Verdict.FAILED, f"the check itself broke: {type(error).__name__}")
