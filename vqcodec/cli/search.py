"""The .vqz files that `info` and `verify` find."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vqcodec.errors import InputError, printable

_NAMED: Final = 20
"""Skipped files of a folder that are named; JSON has all."""


def find_files(paths: Sequence[Path]) -> tuple[list[Path], list[Path], list[InputError]]:
    """Every path that is no folder, and of each folder the .vqz files, by their name or by how they begin; the other files of the
    folders; and errors of folders that cannot be read. Raises InputError if there is nothing of the first and the last."""
    from vqcodec.io.jobs import why_not_decoded

    found: list[Path] = []
    skipped: list[Path] = []
    unread: list[InputError] = []

    def cannot_read(error: OSError) -> None:
        unread.append(InputError(f"cannot read {printable(error.filename)}: {error.strerror}"))

    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        for place, folders, names in os.walk(path, onerror=cannot_read):
            folders.sort()
            skipped += [Path(place, name) for name in folders if os.path.islink(Path(place, name))]
            for file in (Path(place, name) for name in sorted(names)):
                (skipped if why_not_decoded(file) else found).append(file)
    if not found and not unread:
        raise InputError(f"no .vqz files in {', '.join(printable(path) for path in paths)}")
    return found, skipped, unread


def skipped_text(skipped: Sequence[Path]) -> str:
    named = ", ".join(printable(path) for path in skipped[:_NAMED])
    more = f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    return f"{len(skipped)} skipped, which are no .vqz files: {named}{more}"
