"""The command that checks .vqz files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.options import Files, Json, MaxPixels, ModelOfFiles
from vqcodec.cli.printing import print_json, progress_line, tell
from vqcodec.cli.search import find_files, skipped_text
from vqcodec.errors import CorruptError, VqcodecError, printable
from vqcodec.io.files import read_input, stream_limit
from vqcodec.runtime.progress import stage, steps

_MOST_NAMED: Final = 20
"""Damaged pictures of a pack that are named."""


def verify(
    files: Files,
    model: ModelOfFiles = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print no notes, summary or progress, and only the files that fail.")
    ] = False,
) -> None:
    """Check .vqz files and packs: all checksums and all pixels.

    "ok, lossless" is a file that holds exactly the pixels that the encoder was given.
    """
    found = find_files(files, packs=True)
    if not as_json:
        for one in found.unread:
            print(f"FAILED: {one}")
    failed: list[VqcodecError] = [*found.unread]
    entries: list[dict[str, Any]] = []
    with progress_line(quiet=quiet) as clear:
        for file in steps(found.files):
            facts: dict[str, Any] = {"file": os.fspath(file), "ok": True}
            try:
                with stage(printable(file)):
                    facts |= _facts_of(file, model, max_pixels)
            except VqcodecError as error:
                failed.append(error)
                facts |= {"ok": False, "error": str(error), "exit_code": error.exit_code}
            entries.append(facts)
            clear()
            if not as_json and not (quiet and facts["ok"]):
                print(f"{printable(file)}: {_verdict(facts)}")
    passed = sum(facts["ok"] for facts in entries)
    if as_json:
        print_json(files=entries, ok=passed, failed=len(failed), skipped=list(map(os.fspath, found.skipped)))
    if not quiet and (len(entries) > 1 or files != found.files):
        tell(f"{passed} ok, {len(failed)} failed{f'; {skipped_text(found.skipped)}' if found.skipped else ''}")
    raise typer.Exit(failed[0].exit_code if failed else 0)


def _facts_of(file: Path, model: str | None, max_pixels: int) -> dict[str, Any]:
    """Facts of a .vqz file, or of a pack named on the command line, all of which decodes. Raises VqcodecError."""
    from vqcodec.io.jobs import is_pack

    if is_pack(file):
        from vqcodec.io.pack_reader import verify_pack

        result = verify_pack(file, model=model, max_pixels=max_pixels)
        if result.lost:
            named = ", ".join(f"{printable(lost.name)} ({lost.reason})" for lost in result.lost[:_MOST_NAMED])
            more = f" and {len(result.lost) - _MOST_NAMED} more" if len(result.lost) > _MOST_NAMED else ""
            raise CorruptError(f"{result.passed} pictures are intact, and these are not: {named}{more}")
        return {"pictures": result.passed, "lossless": False}
    from vqcodec import api

    data = read_input(file, limit_bytes=stream_limit(max_pixels))
    api.verify(data, model=model, max_pixels=max_pixels)
    return {"lossless": api.open_vqz(data, max_pixels=max_pixels).header.lossless}


def _verdict(facts: Mapping[str, Any]) -> str:
    """The result for a file in words."""
    if not facts["ok"]:
        return f"FAILED: {printable(facts['error'])}"
    if "pictures" in facts:
        return f"ok, {facts['pictures']} picture{'' if facts['pictures'] == 1 else 's'}"
    return "ok, lossless" if facts["lossless"] else "ok"
