"""The command that lists models."""

import typer

from vqcodec.cli.options import Json, Quiet
from vqcodec.cli.printing import console, print_json, tell
from vqcodec.errors import ModelError


def models(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the installed models."""
    from vqcodec.weights import registry

    entries = registry.list_models()
    if as_json:
        print_json(models=[{**vars(entry), "path": str(entry.path)} for entry in entries])
    else:
        from vqcodec.cli.tables import print_models

        print_models([entry for entry in entries if not entry.error], console())
    damaged = [entry for entry in entries if entry.error]
    for entry in damaged:
        tell(f"{entry.path}: {entry.error}")
    raise typer.Exit(ModelError.exit_code if damaged else 0)
