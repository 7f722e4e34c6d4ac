"""The command that shows what .vqz files hold."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vqcodec.checks import MAX_PIXELS
from vqcodec.cli.options import Files, Force, Json, MaxPixels, ModelOfFiles, Quiet, UsageError, not_a_picture, path_option
from vqcodec.cli.printing import console, print_json, progress_line, tell
from vqcodec.cli.search import find_files, skipped_text
from vqcodec.cli.single import check_not_stdout
from vqcodec.errors import VqcodecError, printable
from vqcodec.io.files import attributes_of, check_output, naming, read_input, stream_limit, write_atomic
from vqcodec.runtime.progress import stage, steps


def info(
    files: Files,
    streams: Annotated[
        bool, typer.Option("-v", "--streams", help="Decode each file, and show its streams and the bytes of each band.")
    ] = False,
    model: ModelOfFiles = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    indices: Annotated[
        Path | None,
        path_option(
            "--indices",
            callback=not_a_picture,
            metavar="NPZ",
            help="Write all indices of one file with their codebook, class, channel and cell to a .npz file.",
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Show what .vqz files hold, without decoding them.

    "lossless" is yes if a file holds exactly the pixels that the encoder was given. Files of layout "pixels" need no model.
    """
    from vqcodec import api

    found = find_files(files)
    alone = files == found.files and len(files) == 1
    if indices is not None:
        check_not_stdout(indices)
        if not alone:
            raise UsageError("--indices is for one file")
        check_output(indices, overwrite=force, source=files[0])
    failed: list[VqcodecError] = [*found.unread]
    entries: list[dict[str, Any]] = []
    with progress_line(quiet=quiet) as clear:
        for file in steps(found.files):
            try:
                with naming(file), stage(printable(file)):
                    data = read_input(file, limit_bytes=stream_limit(max_pixels))
                    facts = api.info(data, model=model, streams=streams, max_pixels=max_pixels)
                    if indices is not None:
                        _write_indices(indices, file, data, model, max_pixels, overwrite=force)
            except VqcodecError as error:
                if alone:
                    raise
                failed.append(error)
                entries.append({"file": os.fspath(file), "error": str(error), "exit_code": error.exit_code})
                continue
            entries.append({"file": os.fspath(file), **facts})
            if not as_json:
                clear()
                _print_info(None if alone else file, facts)
    if as_json:
        print_json(**(facts if alone else {"files": entries, "skipped": list(map(os.fspath, found.skipped))}))
    for one in failed:
        tell(str(one))
    if streams and not quiet:
        for entry in entries:
            if entry.get("model", "") is None:
                tell(f"note: {entry['file']}: its streams are not shown, as its model is not installed")
    if found.skipped and not quiet:
        tell(f"note: {skipped_text(found.skipped)}")
    raise typer.Exit(failed[0].exit_code if failed else 0)


def _write_indices(output: Path, file: Path, data: bytes, model: str | None, max_pixels: int, *, overwrite: bool) -> None:
    """Write the indices of a file (api.indices) to a .npz file."""
    import io

    import numpy as np

    from vqcodec import api

    stream = io.BytesIO()
    np.savez_compressed(stream, **api.indices(data, model=model, max_pixels=max_pixels))  # type: ignore[arg-type]  # mypy: an array may be named "allow_pickle"
    write_atomic(output, stream.getvalue(), overwrite=overwrite, attributes=attributes_of(file, keep_times=False))


def _print_info(file: Path | None, facts: Mapping[str, Any]) -> None:
    """Print a line for each fact of a file, named first unless `file` is None, and tables of its streams and shares if there are
    any."""
    if file is not None:
        print(f"{'file':<12} {printable(file)}")
    lines = dict(facts)
    layers, groups = lines.pop("layers", 1), lines.pop("groups", 1)
    lines["layout"] += f", {layers} layers" if layers > 1 else ""
    lines["layout"] += f", {groups} tile groups" if groups > 1 else ""
    lines["model"] = facts["model"] or "not installed"
    if not facts["model_id"]:
        lines.pop("model_id")
    lines["lossless"] = "yes" if facts["lossless"] else "no"
    if "graphic_cells" in facts:
        lines["cells"] = f"{facts['cells']}, {lines.pop('graphic_cells')} graphic"
    lines["sections"] = _sections_text(facts["sections"])
    if lines.pop("best_is_plain", False):
        lines["best decode"] = "the plain one"
    for name in ("merge_map", "masking", "streams", "shares"):
        lines.pop(name, None)
    for name, value in lines.items():
        print(f"{name:<12} {value:.4g}" if isinstance(value, float) else f"{name:<12} {printable(str(value))}")
    if "streams" in facts:
        from vqcodec.cli.tables import print_streams

        print_streams(facts, console())
    if file is not None:
        print()


def _sections_text(sections: Sequence[Mapping[str, Any]]) -> str:
    """Bytes of each type of section, and the number of sections of that type if there are several."""
    kinds: dict[str, list[int]] = {}
    for section in sections:
        kinds.setdefault(section["type"], []).append(section["bytes"])
    texts = [f"{kind} {sum(sizes)}" + (f" (in {len(sizes)})" if len(sizes) > 1 else "") for kind, sizes in kinds.items()]
    return ", ".join(texts) + " bytes" if texts else "none"
