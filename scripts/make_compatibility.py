"""Make docs/compatibility.md of spec/support.toml; with --check, only say whether it is current."""

import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "spec" / "support.toml"
PAGE = ROOT / "docs" / "compatibility.md"
STATES = ("Yes", "Partial", "Roadmap", "No")


def render(spec: dict[str, list[dict[str, Any]]]) -> str:
    """The page, in Markdown."""
    lines = [
        "# Compatibility",
        "",
        "Which of RingCentral's messaging operations and events Tocsin has. Made of `spec/support.toml`; a test holds",
        "the list against the routes that the server really has.",
        "",
        *_counts(spec["operation"], "operations"),
        *_counts(spec["filter"], "event filters"),
        "",
        "## Event filters",
        "",
        "| Filter | Support | Note |",
        "|---|---|---|",
        *(f"| `{one['text']}` | {one['support']} | {one.get('note', '')} |" for one in spec["filter"]),
    ]
    for group in dict.fromkeys(one["group"] for one in spec["operation"]):
        lines += ["", f"## {group}", "", "| Operation | Request | Support | Note |", "|---|---|---|---|"]
        lines += [
            f"| {one['id']} | `{one['method']} {one['path']}` | {one['support']} | {one.get('note', '')} |"
            for one in spec["operation"]
            if one["group"] == group
        ]
    return "\n".join(lines) + "\n"


def _counts(entries: list[dict[str, Any]], what: str) -> list[str]:
    found = Counter(one["support"] for one in entries)
    return [f"- {what}: " + ", ".join(f"{found[state]} {state}" for state in STATES if found[state])]


def main() -> int:
    """Write the page, or check it; return the exit code."""
    page = render(tomllib.loads(SPEC.read_text(encoding="utf-8")))
    if "--check" not in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/compatibility.md is out of date: run `python -m scripts.make_compatibility`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
