"""The command `tocsin`: one file a verb. Nothing heavy is imported before a verb is known."""

from __future__ import annotations

import typer

from tocsin import __version__
from tocsin.cli.dev import dev

app = typer.Typer(
    name="tocsin",
    help="A message store that notifies, in the wire format of RingCentral's messaging API.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command("dev")(dev)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tocsin {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """A message store that notifies, in the wire format of RingCentral's messaging API."""


def main() -> None:
    """Entry point of the command."""
    app()
