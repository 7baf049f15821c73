"""The env file: a shell reads what was written, only its owner can, and it is never half there."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tocsin.server.env_file import read_env, render_env, write_env

VALUES = {
    "RINGCENTRAL_SERVER_URL": "http://127.0.0.1:8765",
    "RINGCENTRAL_SENDER": "+16505550101",
    "SPACED": "a b  c",
    "QUOTED": 'it\'s $HOME `id` "x" \\ #',
    "EMPTY": "",
    "LINES": "one\ntwo",
}


def test_a_shell_that_sources_it_has_the_values(tmp_path: Path) -> None:
    path = tmp_path / "env"
    write_env(path, VALUES)
    shell = subprocess.run(
        ["/bin/sh", "-c", f"set -a; . {path}; env -0"],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    seen = dict(line.split("=", 1) for line in shell.stdout.decode().split("\0") if line)
    assert {name: seen[name] for name in VALUES} == VALUES


def test_what_was_rendered_is_read_again() -> None:
    assert read_env(render_env(VALUES)) == VALUES
    assert render_env({"A": "plain"}) == "A=plain\n"


def test_only_its_owner_reads_it_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "env"
    write_env(path, {"A": "1"})
    path.chmod(0o644)
    write_env(path, {"A": "2"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "A=2\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "env"
    write_env(path, {"A": "1"})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("tocsin.server.private_file.os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_env(path, {"A": "2"})
    assert path.read_text() == "A=1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    write_env(link, {"A": "1"})
    assert link.is_symlink()
    assert target.read_text() == "A=1\n"
    reading, writing = os.pipe()
    write_env(Path(f"/dev/fd/{writing}"), {"A": "2"})
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "A=2\n"
