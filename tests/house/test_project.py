"""What the project says of itself in several places agrees: version, layers, targets, locks."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tocsin
from scripts.check_licences import locked

ROOT = Path(__file__).parents[2]
MAKE_COMMAND = re.compile(r"(?:^|[`\s(])make(?: -C \S+)? (?P<target>[a-z][a-z-]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_room_is_in_the_layers(project: dict[str, Any]) -> None:
    rooms = {path.name for path in (ROOT / "src" / "tocsin").iterdir() if any(path.glob("**/*.py"))}
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    assert rooms <= {room.strip() for line in layers for room in line.split("|")}


def test_every_room_is_a_package() -> None:
    rooms = [path for path in (ROOT / "src" / "tocsin").iterdir() if any(path.glob("*.py"))]
    # The layers are checked among packages only: a folder without __init__.py would escape them.
    assert [room.name for room in rooms if not (room / "__init__.py").exists()] == []


def test_the_changelog_opens_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[(?P<version>[^]]+)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest["version"] == tocsin.__version__
    assert version("tocsin") == tocsin.__version__


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_every_make_command_is_a_target(page: str) -> None:
    named = {found["target"] for found in MAKE_COMMAND.finditer(_commands(ROOT / page))}
    assert named
    assert named <= targets()


def test_every_target_is_phony_and_every_phony_target_has_its_line_of_help() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets()


def test_the_locks_hold_what_the_project_asks_for(project: dict[str, Any]) -> None:
    wanted = [Requirement(line) for line in project["project"]["dependencies"]]
    versions = locked()
    for requirement in wanted:
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_development_lock_holds_the_run_time_lock(project: dict[str, Any]) -> None:
    development = (ROOT / "requirements" / "dev.txt").read_text()
    missing = [name for name, pinned in locked().items() if f"\n{name}=={pinned} " not in f"\n{development}"]
    assert missing == []
    for line in project["dependency-groups"]["dev"]:
        assert f"\n{canonicalize_name(Requirement(line).name)}==" in f"\n{development}"


def _commands(page: Path) -> str:
    """Return the code of a Markdown page, fenced, indented or inline; any other file whole, comments left out."""
    text = page.read_text()
    if page.suffix != ".md":
        return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    return "\n".join(re.findall(r"```.*?```|`[^`]+`|^ {4}[^\n]*", text, re.DOTALL | re.MULTILINE))
