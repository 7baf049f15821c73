"""What every test can ask for: the event loop, golden files, the reference material; and the rule about skips in CI."""

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.goldens import GOLDEN_DIR, Golden

# `make test-quick` asks for it; a property is tried on few examples then.
settings.register_profile("quick", max_examples=15)

PEERS = Path(__file__).parent / "peers"
JOURNEYS = Path(__file__).parent / "journeys"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="rewrite tests/golden from what the code emits now")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the journeys, which start servers of their own: what is quick leaves them out."""
    for item in items:
        if item.path.is_relative_to(JOURNEYS):
            item.add_marker(pytest.mark.journey)


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run async tests on the loop that the server runs on."""
    return "asyncio", {"use_uvloop": sys.platform != "win32"}


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare with a golden file, or rewrite it under --golden."""
    return Golden(GOLDEN_DIR, rewrite=bool(request.config.getoption("--golden")))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Return the directory that holds RingCentral's own material (`reference/…`), which is not ours to ship."""
    named = os.environ.get("TOCSIN_REFERENCE", "")
    if not named:
        pytest.skip("TOCSIN_REFERENCE does not name the reference material")
    path = Path(named)
    assert path.is_dir(), f"TOCSIN_REFERENCE names {named}, which is no directory"
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail an SDK test that skips itself in CI: a peer that was not tried proves nothing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and _in_ci() and item.get_closest_marker("sdk"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where SDK tests must run: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail, in CI, a peers' module that skips itself as a whole, before its tests can carry a marker."""
    report = yield
    if report.skipped and _in_ci() and collector.path.is_relative_to(PEERS):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where SDK tests must run: {report.longrepr}"
    return report


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
