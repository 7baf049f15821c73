import pytest

from tocsin.telemetry.health import Finding, Health, Verdict


def test_the_worst_finding_is_the_verdict_and_what_is_degraded_still_serves() -> None:
    health = Health()
    health.add("writer", lambda: Finding(Verdict.OK))
    health.add("notifier", lambda: Finding(Verdict.DEGRADED, "12 lanes lag"))
    report = health.ready()
    assert report.verdict is Verdict.DEGRADED
    assert report.http_status == 200
    assert report.findings["notifier"] == Finding(Verdict.DEGRADED, "12 lanes lag")


def test_only_a_vital_check_asks_for_a_restart() -> None:
    health = Health()
    health.add("writer", lambda: Finding(Verdict.OK), vital=True)
    health.add("database", lambda: Finding(Verdict.FAILED, "no connection"))
    assert health.live().http_status == 200
    assert list(health.live().findings) == ["writer"]
    assert health.ready().http_status == 503


def test_a_check_that_breaks_has_failed_and_its_error_text_stays_inside() -> None:
    def broken() -> Finding:
        raise RuntimeError("password=hunter2")

    health = Health()
    health.add("database", broken)
    assert health.ready().findings["database"] == Finding(Verdict.FAILED, "the check itself broke: RuntimeError")


def test_without_checks_all_is_well() -> None:
    assert Health().live().verdict is Verdict.OK


def test_a_name_is_given_once() -> None:
    health = Health()
    health.add("writer", lambda: Finding(Verdict.OK))
    with pytest.raises(ValueError, match="writer"):
        health.add("writer", lambda: Finding(Verdict.OK))
