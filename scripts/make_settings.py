"""Make docs/settings.md of server/settings.py; with --check, only say whether it is current."""

import sys
from dataclasses import fields
from pathlib import Path

from tocsin.server.settings import PREFIX, Settings

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"


def render() -> str:
    """The page, in Markdown."""
    rows = [
        f"| `{one.name}` | `{PREFIX}{one.name.upper()}` | {_shown(one.default)} | {one.metadata['meaning']} |"
        for one in fields(Settings)
    ]
    head = [
        "# Settings",
        "",
        "Each can be a variable of the environment or a line in the file that `--config` names; some are options of",
        "`tocsin dev`, too. Precedence: option, variable, file, default. An unknown key in the file is an error, an",
        "unknown variable that begins with `TOCSIN_` is told.",
        "",
        "| Key in the file | Variable | Default | Meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def _shown(default: object) -> str:
    if default is None or default == ():
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def main() -> int:
    """Write the page, or check it; return the exit code."""
    page = render()
    if "--check" not in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/settings.md is out of date: run `python -m scripts.make_settings`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
