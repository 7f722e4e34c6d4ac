"""Commands that say what files, models and pictures are."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vqcodec.cli.options import Force, Json, MaxPixels, Quiet, UsageError, no_picture, path_argument, path_option
from vqcodec.cli.printing import console, print_json, progress_line, tell
from vqcodec.errors import InputError, ModelError, VqcodecError, printable
from vqcodec.format.header import MAX_PIXELS
from vqcodec.io.files import (
    STREAM,
    Attributes,
    attributes_of,
    check_output,
    name_of,
    naming,
    read_input,
    stream_limit,
    write_atomic,
)
from vqcodec.runtime.progress import stage, steps

Files = Annotated[
    list[Path], path_argument(metavar="FILE...", help=".vqz files, folders that are searched for them, or - for standard input.")
]
ModelOfFiles = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="M",
        help="Use this model, a name or a folder.  [default: the installed one that the file was made with]",
        show_default=False,
    ),
]
_NAMED: Final = 20
"""Skipped files of a folder that are named; JSON has all."""


def _find(paths: Sequence[Path]) -> tuple[list[Path], list[Path], list[InputError]]:
    """Every path that is no folder, and of each folder the .vqz files, by their name or by how they begin; the other files of the
    folders; and errors of folders that cannot be read. Raises InputError if there is nothing of the first and the last."""
    from vqcodec.io.batch import not_decoded

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
                (skipped if not_decoded(file) else found).append(file)
    if not found and not unread:
        raise InputError(f"no .vqz files in {', '.join(printable(path) for path in paths)}")
    return found, skipped, unread


def _skipped_text(skipped: Sequence[Path]) -> str:
    named = ", ".join(printable(path) for path in skipped[:_NAMED])
    more = f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    return f"{len(skipped)} skipped, which are no .vqz files: {named}{more}"


def info(
    files: Files,
    streams: Annotated[
        bool, typer.Option("-v", "--streams", help="Decode each file, and show its streams and the share of each band.")
    ] = False,
    model: ModelOfFiles = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    indices: Annotated[
        Path | None,
        path_option(
            "--indices",
            callback=no_picture,
            metavar="NPZ",
            help="Write all indices of one file with their codebook, class, channel and cell to a .npz file.",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Show what .vqz files hold, without decoding them."""
    found, skipped, unread = _find(files)
    alone = files == found and len(files) == 1
    if indices is not None:
        _not_beside_the_report(indices)
        if not alone:
            raise UsageError("--indices is for one file")
        check_output(indices, overwrite=force, source=files[0])
    failed: list[VqcodecError] = [*unread]
    told: list[dict[str, Any]] = []
    with progress_line(quiet=quiet) as clear:
        for file in steps(found):
            try:
                with naming(file), stage(printable(file)):
                    facts = _facts(file, model, max_pixels, streams=streams, indices=indices, overwrite=force)
            except VqcodecError as error:
                if alone:
                    raise
                failed.append(error)
                told.append({"file": os.fspath(file), "error": str(error), "exit_code": error.exit_code})
                continue
            told.append({"file": os.fspath(file), **facts})
            if not as_json:
                clear()
                _print_info(None if alone else file, facts)
    if as_json:
        print_json(**(facts if alone else {"files": told, "skipped": list(map(os.fspath, skipped))}))
    for one in failed:
        tell(str(one))
    if streams and not quiet:
        for facts in told:
            if facts.get("model", "") is None:
                tell(f"note: {facts['file']}: its streams are not shown, as its model is not installed")
    if skipped and not quiet:
        tell(f"note: {_skipped_text(skipped)}")
    raise typer.Exit(failed[0].exit_code if failed else 0)


def _facts(
    file: Path, model: str | None, max_pixels: int, *, streams: bool, indices: Path | None, overwrite: bool
) -> dict[str, Any]:
    """The facts of one file (api.info); with `indices`, a file of them is written, too."""
    from vqcodec import api

    data = read_input(file, limit_bytes=stream_limit(max_pixels))
    facts = api.info(data, model=model, streams=streams, max_pixels=max_pixels)
    if indices is not None:
        import io

        import numpy as np

        stream = io.BytesIO()
        np.savez_compressed(stream, **api.indices(data, model=model, max_pixels=max_pixels))  # type: ignore[arg-type]  # an array may be named "allow_pickle" to mypy
        write_atomic(indices, stream.getvalue(), overwrite=overwrite, attributes=attributes_of(file, keep_times=False))
    return facts


def _print_info(file: Path | None, facts: Mapping[str, Any]) -> None:
    """A line for each fact, the name of the file first if there are several, and tables of streams and shares if they are there."""
    if file is not None:
        print(f"{'file':<12} {printable(file)}")
    told = dict(facts)
    layers, groups, model = told.pop("layers", 1), told.pop("groups", 1), told["model"]
    if layers > 1 or groups > 1:
        told["layout"] += f", {layers} layers, {groups} tile groups"
    told["model"] = model or "not installed"
    told["sections"] = _sections_text(told["sections"])
    for name in ("merge_map", "masking", "streams", "shares"):
        told.pop(name, None)
    for name, value in told.items():
        print(f"{name:<12} {value:.4g}" if isinstance(value, float) else f"{name:<12} {printable(str(value))}")
    if "streams" in facts:
        from vqcodec.cli.tables import print_streams

        print_streams(facts, console())
    if file is not None:
        print()


def _sections_text(sections: Sequence[Mapping[str, Any]]) -> str:
    """The bytes of each kind of section, of how many if there are several."""
    kinds: dict[str, list[int]] = {}
    for section in sections:
        kinds.setdefault(section["type"], []).append(section["bytes"])
    texts = [f"{kind} {sum(sizes)}" + (f" (in {len(sizes)})" if len(sizes) > 1 else "") for kind, sizes in kinds.items()]
    return ", ".join(texts) + " bytes" if texts else "none"


def _not_beside_the_report(output: Path) -> None:
    if output == STREAM:
        raise UsageError("standard output is for the report: write the file by its name")


def verify(
    files: Files,
    model: ModelOfFiles = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print no notes, no summary and no progress, and only the files that fail.")
    ] = False,
) -> None:
    """Check .vqz files completely: all checksums, and that all pixels can be decoded."""
    from vqcodec import api

    found, skipped, unread = _find(files)
    if not as_json:
        for one in unread:
            print(f"FAILED: {one}")
    failed: list[VqcodecError] = [*unread]
    told: list[dict[str, Any]] = []
    with progress_line(quiet=quiet) as clear:
        for file in steps(found):
            facts: dict[str, Any] = {"file": os.fspath(file), "ok": True}
            try:
                with stage(printable(file)):
                    api.verify(read_input(file, limit_bytes=stream_limit(max_pixels)), model=model, max_pixels=max_pixels)
            except VqcodecError as error:
                failed.append(error)
                facts |= {"ok": False, "error": str(error), "exit_code": error.exit_code}
            told.append(facts)
            clear()
            if not as_json and not (quiet and facts["ok"]):
                print(f"{printable(file)}: {'ok' if facts['ok'] else 'FAILED: ' + printable(facts['error'])}")
    passed = sum(facts["ok"] for facts in told)
    if as_json:
        print_json(files=told, ok=passed, failed=len(failed), skipped=list(map(os.fspath, skipped)))
    if not quiet and (len(told) > 1 or files != found):
        tell(f"{passed} ok, {len(failed)} failed{f'; {_skipped_text(skipped)}' if skipped else ''}")
    raise typer.Exit(failed[0].exit_code if failed else 0)


def models(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the models that are installed."""
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


def compare(
    first: Annotated[Path, path_argument(metavar="A", help="A picture or a .vqz file; - for standard input.")],
    second: Annotated[Path, path_argument(metavar="B", help="Another one of the same size.")],
    output: Annotated[
        Path | None,
        path_option(
            "-o", "--output", metavar="FILE", help="Write a picture of the difference, amplified 8 times around middle grey."
        ),
    ] = None,
    model: ModelOfFiles = None,
    force: Force = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two pictures by PSNR, SSIM and MS-SSIM.

    Needs vqcodec[bench]. Pictures with transparency are laid on black and on white, and the figures are those of the background on
    which they differ more; the PSNR of their alpha planes is shown, too. Grey and colour are compared as colour.
    """
    import io
    import math

    from vqcodec.bench.compare import compare as compared
    from vqcodec.bench.compare import read_any, undefined
    from vqcodec.io.images import format_of, write_image

    if first == second == STREAM:
        raise UsageError("standard input is one picture: name a file for the other")
    picture_format = "" if output is None else format_of(output)
    if output is not None:
        _not_beside_the_report(output)
        for source in (first, second):
            check_output(output, overwrite=force, source=source)
    with progress_line(quiet=quiet):
        pictures = [read_any(path, max_pixels, model) for path in (first, second)]
        (height, width), (rows, columns) = (pixels.shape[:2] for pixels in pictures)
        if (height, width) != (rows, columns):
            told = f"{name_of(first)} has {width} x {height} pixels and {name_of(second)} {columns} x {rows}"
            raise InputError(f"{told}: only pictures of one size can be compared")
        facts, difference = compared(*pictures)
    if output is not None:
        stream = io.BytesIO()
        write_image(difference, stream, format=picture_format)
        first_mode, second_mode = (attributes_of(source, keep_times=False).mode for source in (first, second))
        write_atomic(output, stream.getvalue(), overwrite=force, attributes=Attributes(first_mode & second_mode))
    if as_json:
        print_json(
            **{name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()}
        )
    else:
        for name, value in facts.items():
            if isinstance(value, str):
                print(f"{name:<20} {value}")
            elif not math.isnan(value):
                print(f"{name.replace('_', ' '):<20} {value if isinstance(value, int) else format(value, '.6g')}")
    if not quiet:
        for note in undefined(difference.shape):
            tell(f"note: {note}")
