"""docs/operations/log-events.md names every event that is logged, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LOGGED = re.compile(r"""log\.(?:debug|info|warning|error|exception)\(\s*"([a-z_]+\.[a-z_]+)\"""")


def test_every_logged_event_is_on_the_page() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "tocsin").rglob("*.py"))
    source = re.sub(r'"""[\s\S]*?"""', "", source)
    page = (ROOT / "docs" / "operations" / "log-events.md").read_text(encoding="utf-8")
    assert set(LOGGED.findall(source)) == set(re.findall(r"^\| `([a-z_.]+)`", page, re.MULTILINE))
