"""No committed file names a package registry or a place that only some machines have.

A lock that names a registry sends everyone who installs from it there, whatever index they have configured.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Spelled in two halves, so that this file does not name them either.
REGISTRIES = [
    *("pypi" + ".org", "pypi" + ".python.org", "python" + "hosted.org"),
    *("npm" + "js.org", "npm" + "js.com", "yarn" + "pkg.com"),
    *("--index" + "-url", "--extra-index" + "-url", "--find" + "-links"),
]
PLACES = ["/wo" + "rk/", "/opt/" + "pypi", "/opt/" + "wheels", "/ro" + "ot/", "../sha" + "red"]

# CI alone looks for the reference material beside the checkout.
ALLOWED = {".ci/run": {"../sha" + "red"}}


def committed_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of committed files")
    return {name: (ROOT / name).read_text(encoding="utf-8", errors="replace") for name in committed_files()}


@pytest.mark.parametrize("forbidden", [*REGISTRIES, *PLACES])
def test_no_committed_file_names(forbidden: str, texts: dict[str, str]) -> None:
    assert "pyproject.toml" in texts
    naming = [name for name, text in texts.items() if forbidden in text and forbidden not in ALLOWED.get(name, ())]
    assert naming == []


def test_the_locks_hold_versions_and_hashes_only(texts: dict[str, str]) -> None:
    locks = [name for name in texts if name.startswith("requirements/") and name.endswith(".txt")]
    assert sorted(locks) == ["requirements/dev.txt", "requirements/node.txt", "requirements/run.txt"]
    line = re.compile(r"^([a-z0-9._-]+==[^ ]+( ; .*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?)$")
    for name in locks:
        assert [odd for odd in texts[name].splitlines() if not line.match(odd)] == []


def test_the_node_lock_has_integrity_and_no_address(texts: dict[str, str]) -> None:
    lock = texts["tests/peers/node/package-lock.json"]
    assert '"integrity": "sha512-' in lock
    assert '"resolved"' not in lock
