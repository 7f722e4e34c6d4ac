"""The command that shows what .vqz files hold."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vqcodec.cli.options import Files, Force, Json, MaxPixels, ModelOfFiles, Quiet, UsageError, no_picture, path_option
from vqcodec.cli.printing import console, print_json, progress_line, tell
from vqcodec.cli.search import find_files, skipped_text
from vqcodec.cli.single import not_beside_the_report
from vqcodec.errors import VqcodecError, printable
from vqcodec.format.header import MAX_PIXELS
from vqcodec.io.files import attributes_of, check_output, naming, read_input, stream_limit, write_atomic
from vqcodec.runtime.progress import stage, steps


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
    found, skipped, unread = find_files(files)
    alone = files == found and len(files) == 1
    if indices is not None:
        not_beside_the_report(indices)
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
        tell(f"note: {skipped_text(skipped)}")
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
