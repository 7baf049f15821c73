"""A start imports nothing heavy that it can do without. Not a timing, since a machine may be busy."""

import subprocess
import sys
from pathlib import Path

HEAVY = (
    "alembic",
    "anyio",
    "argon2",
    "cryptography",
    "joserfc",
    "mako",
    "phonenumbers",
    "picows",
    "prometheus_client",
    "rich",
    "sqlalchemy.orm",
    "starlette",
    "trustme",
)


def test_a_start_imports_nothing_heavy(tmp_path: Path) -> None:
    told = tmp_path / "imports"
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "tocsin",
        "dev",
        "--port",
        "0",
        "--data",
        str(tmp_path / "data"),
    ]
    with (
        told.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        ready = any("tocsin is ready" in line for line in process.stdout)
        process.terminate()
        process.wait(30)
    assert ready, told.read_text()
    imported = {line.rpartition("|")[2].strip() for line in told.read_text().splitlines() if line.startswith("import ")}
    assert "tocsin.server.run" in imported
    # By their modules: rich itself is told as imported where it was kept from being (telemetry/logs.py).
    assert not [name for name in imported if name.startswith(tuple(f"{heavy}." for heavy in HEAVY))]
