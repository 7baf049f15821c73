"""Starts what is measured in a process of its own, on a core of its own where there are two, and ends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

READY_S = 30.0
STOP_S = 30.0
CORES: tuple[int, ...] = tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else ()


def pin_load() -> None:
    """Put this process, the load, on the last core; servers go on the first."""
    if sys.platform == "linux" and len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[-1]})


def pin_server() -> None:
    """Called in the new process before it becomes the server."""
    if sys.platform == "linux" and len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[0]})


@contextmanager
def started(arguments: Sequence[str], ready: str, log: Path) -> Iterator[tuple[int, str]]:
    """Run `python ARGUMENTS` until the block ends; give its process id, and its output up to the line with `ready`.

    Blocks while it starts and stops. What it writes to standard error goes to the file `log`.
    """
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=None if sys.platform == "win32" else pin_server,
        )
    too_late = Timer(READY_S, process.kill)
    too_late.start()
    try:
        output = _until(process, ready, log)
        too_late.cancel()
        yield process.pid, output
    finally:
        too_late.cancel()
        process.terminate()
        process.wait(STOP_S)


def _until(process: subprocess.Popen[str], ready: str, log: Path) -> str:
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if ready in line:
            return "".join(lines)
    raise RuntimeError(f"it did not start: {log.read_text(encoding='utf-8')[-2000:]}")
