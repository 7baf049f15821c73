"""The sandbox's clock across restarts: how far it was moved is kept with the data, for wall time never goes back."""

from __future__ import annotations

from pathlib import Path

from tocsin.domain.clock import SystemClock
from tocsin.server.env_file import read_env, write_env

FILE = "clock"
_KEY = "OFFSET_MS"


def open_clock(folder: Path) -> SystemClock:
    """The clock as far ahead as the data in `folder` has seen it."""
    path = folder / FILE
    kept = read_env(path.read_text(encoding="ascii")) if path.exists() else {}
    return SystemClock(int(kept.get(_KEY, "0")))


def keep_clock(folder: Path, clock: SystemClock) -> None:
    """Keep how far ahead `clock` is."""
    write_env(folder / FILE, {_KEY: str(clock.offset_ms)})
