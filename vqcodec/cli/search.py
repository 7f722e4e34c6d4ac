"""The .vqz files that `info` and `verify` find in their arguments."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vqcodec.errors import InputError, printable

_MOST_NAMED: Final = 20
"""Skipped files that are named in text output. JSON names all."""


class Found(NamedTuple):
    """Files to read; other files and links in the folders; errors of folders that cannot be read."""

    files: list[Path]
    skipped: list[Path]
    unread: list[InputError]


def find_files(paths: Sequence[Path], *, packs: bool = False) -> Found:
    """All paths that are not folders, and the .vqz files in the folders, known by name or content; with `packs`, packs as well.

    Raises InputError if there is nothing to report.
    """
    from vqcodec.io.jobs import is_pack, why_not_decoded

    def is_wanted(file: Path) -> bool:
        return not why_not_decoded(file) or (packs and (is_pack(file) or file.suffix.lower() == ".vqzs"))

    found = Found([], [], [])

    def cannot_read(error: OSError) -> None:
        found.unread.append(InputError(f"cannot read {printable(error.filename)}: {error.strerror}"))

    for path in paths:
        if not os.path.isdir(path):
            found.files.append(path)
            continue
        for place, folders, names in os.walk(path, onerror=cannot_read):
            folders.sort()
            found.skipped.extend(Path(place, name) for name in folders if os.path.islink(Path(place, name)))
            for file in (Path(place, name) for name in sorted(names)):
                (found.files if is_wanted(file) else found.skipped).append(file)
    if not found.files and not found.unread:
        raise InputError(f"no .vqz files{' or packs' if packs else ''} in {', '.join(printable(path) for path in paths)}")
    return found


def skipped_text(skipped: Sequence[Path]) -> str:
    """The number and the first names of skipped files."""
    named = ", ".join(printable(path) for path in skipped[:_MOST_NAMED])
    more = f" and {len(skipped) - _MOST_NAMED} more" if len(skipped) > _MOST_NAMED else ""
    return f"{len(skipped)} skipped (not .vqz files): {named}{more}"
