"""Credentials as KEY=value lines that a shell can source."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from tocsin.server.private_file import write_private


def render_env(values: Mapping[str, str]) -> str:
    """Return the lines, values quoted where a shell needs it."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def read_env(text: str) -> dict[str, str]:
    """Read lines that `render_env` wrote."""
    assignments = (assignment.partition("=") for assignment in shlex.split(text))
    return {name: value for name, _, value in assignments}


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Replace `path` by the lines, atomically, mode 0600. Raises OSError."""
    write_private(path, render_env(values).encode())
