"""Files of a folder: which are converted, to which outputs, and why the others are skipped.

Content decides whether a file is a picture or a .vqz file (kinds.py). Every other file is listed with a reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vqcodec.io.files import read_head, why_no_file
from vqcodec.io.kinds import HEAD_BYTES, PACK, VQZ, kind_of, why_not_vqz


@dataclass(frozen=True)
class Job:
    """A file to convert, and its output. `depth` is the number of folders between the file and the folder that is converted.
    `retry`: an earlier attempt that was cut short may have left the output, which may then be overwritten."""

    source: Path
    output: Path
    retry: bool = False
    depth: int = 0


@dataclass(frozen=True)
class Skipped:
    """A file that is not converted, or a folder that is not entered, and the reason."""

    source: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """Shard number `index`, from 1 on, of `count`."""

    index: int
    count: int


WHOLE: Final = Shard(1, 1)
"""The shard with all files."""


@dataclass
class Tree:
    """The content of a folder: files to convert, files and links to skip, and folders that cannot be read."""

    jobs: list[Job] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    unread: list[OSError] = field(default_factory=list)


def find_jobs(folder: Path, output: Path, suffix: str, why_not: Callable[[Path], str], manifest: Path | None = None) -> Tree:
    """The files below `folder`, sorted. Files for which `why_not` (`why_not_encoded` or `why_not_decoded`) gives no reason get an
    output in the mirror below `output`; the others are skipped.

    `photo.png` becomes `photo.vqz`. If two files of a folder would get the same output, each keeps its whole name:
    `photo.png.vqz`. The run's own files are left out: the folder `output`, the outputs if `folder` is its own mirror, and the
    manifest.
    """
    inside = output.resolve()
    tree = Tree()
    for place, folders, names in os.walk(folder, onerror=tree.unread.append):
        here = Path(place)
        below = here.relative_to(folder)
        folders[:] = sorted(name for name in folders if (here / name).resolve() != inside)
        reasons = {name: why_not(here / name) for name in sorted(names)}
        wanted = [name for name, reason in reasons.items() if not reason]
        outputs = output_names(wanted, suffix)
        for name, made in zip(wanted, outputs, strict=True):
            tree.jobs.append(Job(here / name, output / below / made, depth=len(below.parts)))
        own = _own_files(here.resolve(), output / below, outputs, manifest)
        reasons |= {name: "a link to a folder is not followed" for name in folders if os.path.islink(here / name)}
        tree.skipped += [Skipped(os.fspath(here / name), reasons[name]) for name in sorted(reasons.keys() - own) if reasons[name]]
    return tree


def list_jobs(files: tuple[Path, ...], output: Path | None, suffix: str) -> Tree:
    """Jobs for different files that are named one by one. Outputs are in the folder `output`, for which no two files may have the
    same name, or if it is None beside each file."""
    groups: dict[Path, list[Path]] = {}
    for file in files:
        groups.setdefault(output or file.parent, []).append(file)
    outputs: dict[Path, Path] = {}
    for folder, group in groups.items():
        for file, name in zip(group, output_names([file.name for file in group], suffix), strict=True):
            outputs[file] = folder / name if output or name != file.name else folder / f"{name}{suffix}"
    return Tree([Job(file, outputs[file]) for file in files])


def _own_files(place: Path, mirror: Path, outputs: list[str], manifest: Path | None) -> set[str]:
    """Names of the files that the run itself writes to the folder `place`, whose mirror is `mirror`."""
    written = set(outputs) if mirror.resolve() == place else set()
    if manifest is not None and manifest.resolve().parent == place:
        written.add(manifest.resolve().name)
    return written


def output_names(names: list[str], suffix: str) -> list[str]:
    """Distinct output names for the files of a folder. Names that differ in case only count as equal, for file systems that ignore
    case, unless the files' own names do."""
    made = [Path(name).stem + suffix for name in names]
    whole = [name + suffix for name in names]
    while True:
        counts = Counter(name.casefold() for name in made)
        changed = [full if counts[one.casefold()] > 1 else one for one, full in zip(made, whole, strict=True)]
        if changed == made:
            return made
        made = changed


def why_not_encoded(path: Path) -> str:
    """The reason why a file of a folder is not encoded; empty if it is, and if the error will come from reading it."""
    from vqcodec.io.image_reader import why_not_read  # imports Pillow, which decoding a folder needs later or never

    if reason := why_no_file(path):
        return reason
    head = _head(path)
    return "" if head is None else why_not_read(path.name, head)


def why_not_decoded(path: Path) -> str:
    """The reason why a file of a folder is not decoded; empty if it is, and if the error will come from reading it."""
    if reason := why_no_file(path):
        return reason
    head = _head(path)
    if head is None or path.suffix.lower() == ".vqz":
        return ""
    kind = kind_of(path.name, head)
    return "" if kind == VQZ else why_not_vqz(kind)


def is_pack(path: Path) -> bool:
    """Whether a path is a pack, by its first bytes; False if it cannot be read."""
    head = _head(path) if os.path.isfile(path) else None
    return head is not None and kind_of("", head) == PACK


def _head(path: Path) -> bytes | None:
    """The first bytes of a file; None if it cannot be read."""
    try:
        return read_head(path, HEAD_BYTES)
    except OSError:
        return None
