"""The rules of tests/conftest.py, tried on small suites of their own in a process of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.journey  # each starts a pytest of its own: not quick

TESTS = Path(__file__).parents[1]
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
pythonpath = ["."]
markers = ["sdk: drives an SDK", "journey: starts processes"]
"""


class Suite:
    """A checkout in miniature: our conftest, one test file, and what running it printed."""

    def __init__(self, root: Path, path: str, test: str) -> None:
        self.root = root
        (root / "tests" / path).parent.mkdir(parents=True)
        (root / "pyproject.toml").write_text(SETTINGS)
        for name in ("conftest.py", "goldens.py"):
            shutil.copy(TESTS / name, root / "tests" / name)
        (root / "tests" / path).write_text(test)

    def run(self, *options: str, ci: str = "", reference: str = "") -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TOCSIN"))}
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "anyio.pytest_plugin", "-q", "-rs", *options],
            cwd=self.root,
            env=kept | {"CI": ci, "TOCSIN_REFERENCE": reference, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return ran.stdout + ran.stderr


SKIPS_ITSELF = """
import pytest

@pytest.mark.sdk
def test_sdk() -> None:
    pytest.skip("no node here")

def test_other() -> None:
    pytest.skip("not on this platform")
"""
SKIPS_AS_A_WHOLE = """
import pytest

pytest.skip("no node here", allow_module_level=True)
"""


def test_a_skipped_sdk_test_fails_in_ci_only(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "peers/test_one.py", SKIPS_ITSELF)
    assert "2 skipped" in suite.run()
    in_ci = suite.run(ci="true")
    assert "1 failed, 1 skipped" in in_ci
    assert "no node here" in in_ci


def test_a_peers_module_that_skips_itself_fails_in_ci_only(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "peers/test_one.py", SKIPS_AS_A_WHOLE)
    assert "1 skipped" in suite.run()
    assert "1 error" in suite.run(ci="true")


def test_a_golden_file_is_written_on_request_and_compared_byte_for_byte(tmp_path: Path) -> None:
    test = 'def test_it(golden):\n    golden("room/value", {"b": 1, "a": "ö"})\n    golden("room/bytes", b"[1,2]")\n'
    suite = Suite(tmp_path, "room/test_one.py", test)
    assert "make golden" in suite.run()
    assert "1 passed" in suite.run("--golden")
    value = tmp_path / "tests" / "golden" / "room" / "value.json"
    assert value.read_text(encoding="utf-8") == '{\n  "a": "ö",\n  "b": 1\n}\n'
    assert (tmp_path / "tests" / "golden" / "room" / "bytes.json").read_bytes() == b"[1,2]"
    assert "1 passed" in suite.run()
    value.write_text("{}")
    assert "1 failed" in suite.run()


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for Windows")
def test_async_tests_run_on_uvloop(tmp_path: Path) -> None:
    test = (
        "import asyncio, pytest\n\n@pytest.mark.anyio\nasync def test_it():\n"
        "    assert type(asyncio.get_running_loop()).__module__.startswith('uvloop')\n"
    )
    assert "1 passed" in Suite(tmp_path, "room/test_one.py", test).run()


def test_the_reference_is_the_named_directory_or_a_skip_with_its_reason(tmp_path: Path) -> None:
    suite = Suite(tmp_path, "room/test_one.py", "def test_it(reference):\n    assert reference.is_dir()\n")
    assert "TOCSIN_REFERENCE does not name" in suite.run()
    assert "1 passed" in suite.run(reference=str(tmp_path))
    assert "is no directory" in suite.run(reference=str(tmp_path / "absent"))
