"""`tocsin dev`: the sandbox. One command, offline, no account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def dev(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks one.", show_default="8765")] = None,
    data: Annotated[Path | None, typer.Option(help="Keep data and credentials in this folder.")] = None,
    env_file: Annotated[Path | None, typer.Option(help="Write the credentials here once ready.")] = None,
    tls: Annotated[bool | None, typer.Option("--tls", help="Serve https with a local CA.")] = None,
    seed: Annotated[Path | None, typer.Option(help="TOML file with the company to start with.")] = None,
    public_url: Annotated[str | None, typer.Option(help="Base of every absolute uri.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
) -> None:
    """Start the sandbox: a seeded company, its credentials printed, no account needed.

    Example: tocsin dev --env-file .env   (then: set -a; . ./.env; python your_app.py)
    """
    from tocsin.server.run import run_dev
    from tocsin.server.settings import SettingError, load_settings

    flags = {
        "host": host,
        "port": port,
        "data": data,
        "env_file": env_file,
        "tls": tls,
        "seed": seed,
        "public_url": public_url,
    }
    try:
        effective = load_settings(flags, file=config)
    except SettingError as wrong:
        typer.echo(f"tocsin: {wrong}", err=True)
        raise typer.Exit(2) from wrong
    for name in effective.unknown:
        typer.echo(f"tocsin: {name} is no setting and is ignored; see --help", err=True)
    raise typer.Exit(run_dev(effective.settings))
