"""Credentials as KEY=value lines that a shell can source: written whole or not at all, readable by their owner."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path


def render_env(values: Mapping[str, str]) -> str:
    """Return the lines, values quoted where a shell needs it."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def read_env(text: str) -> dict[str, str]:
    """Read lines that `render_env` wrote."""
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        values[name] = "".join(shlex.split(value))
    return values


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Replace `path` by the lines, atomically, mode 0600. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(render_env(values))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o600)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
