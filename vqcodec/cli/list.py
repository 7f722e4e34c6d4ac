"""The command that lists the pictures of a pack."""

from pathlib import Path
from typing import Annotated

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.options import Json, MaxPixels, Quiet, path_argument
from vqcodec.cli.printing import print_json, progress_line, tell
from vqcodec.errors import FormatError, printable


def list(  # (the name of the command)
    source: Annotated[Path, path_argument(metavar="PACK", help="Read this pack.")],
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="List what is left of a damaged or truncated pack, and what is lost.")
    ] = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the pictures of a pack: width, height, bytes and name."""
    from vqcodec.io.pack_reader import facts_of

    with progress_line(quiet=quiet):
        facts = facts_of(source, allow_partial=allow_partial, max_pixels=max_pixels)
    if as_json:
        print_json(pictures=facts.pictures, lost=[lost._asdict() for lost in facts.lost], models=facts.models, bytes=facts.bytes)
    else:
        for one in facts.pictures:
            print(f"{one['width']:>6} {one['height']:>6} {one['bytes']:>9}  {printable(one['name'])}")
    for lost in facts.lost:
        tell(f"lost: {lost.name}: {lost.reason}")
    if not quiet and not as_json:
        for model in facts.models:
            tell(f"model {printable(model['name'])} ({model['id']}) is in the pack")
        count = len(facts.pictures)
        tell(f"{count} picture{'' if count == 1 else 's'}, {facts.bytes} bytes{f', {len(facts.lost)} lost' if facts.lost else ''}")
    raise typer.Exit(FormatError.exit_code if facts.lost and not allow_partial else 0)
