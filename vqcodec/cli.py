"""The command line: options -> one call of api, bench or train -> a report. `vqcodec --help` lists the commands.

Results go to standard output, logs and progress to standard error. An error is one line, `vqcodec: <message>`, and an
exit code: 0 ok, 1 internal (or a process that died on a file), 2 usage (or an optional package that is missing), 3 corrupt,
unsupported or unreadable input, 4 model missing, damaged or mismatched, 5 output refused or unwritable, 6 limit or memory
exceeded, 130 interrupted. Of several files the first that fails decides.

Start-up is most of the time that a small picture takes: what one command needs is imported inside that command.
"""

import errno
import os
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcodec.blas import begin_with_one_thread
from vqcodec.errors import InputError, ModelError, VqcodecError
from vqcodec.files import (
    MAX_PIXELS,
    STREAM,
    check_output,
    open_closed_streams,
    printable,
    read_input,
    stdout_error,
    stream_limit,
    write_atomic,
)
from vqcodec.options import (
    DEFAULT_TEMPERATURE,
    KINDS,
    MAX_SEED,
    USAGE,
    Force,
    Input,
    Jobs,
    Json,
    Manifest,
    MaxPixels,
    Model,
    Output,
    Prior,
    Seed,
    Shard,
    Temperature,
    Threads,
    UsageError,
    a_file,
    base_of,
    finite,
    known_cell,
    known_device,
    known_kind,
    known_picture,
    known_refine,
    known_scale,
    known_tile,
    known_training_device,
    known_tune,
    of_kinds,
    parts_of,
    path_argument,
    path_option,
    percentage,
    positive,
    region_of,
    shard_of,
    sigma_of,
    size_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from vqcodec.convert import Options

INTERNAL, OUT_OF_MEMORY, INTERRUPTED = 1, 6, 130
_NARROWEST, _UNLIMITED = 40, 10_000
"""Columns."""
_OF_PRINTING = {errno.ENOSPC, errno.EPIPE, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT}
"""What writing to standard output may fail of: rooms that use files have errors of their own."""

app = typer.Typer(
    add_completion=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="An image codec that learns its codebooks from images.",
    epilog="'-' stands for standard input or standard output. --debug, anywhere, shows the traceback of an error.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no exception gets out."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    names_from = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:names_from]
    words = [word for word in words[:names_from] if word != "--debug"] + words[names_from:]
    warnings.filterwarnings("ignore", module="PIL")  # remarks on files; what matters of them is in ImageData.notes
    open_closed_streams()
    try:
        try:
            return _run(words or ["--help"])
        except Exception as error:
            if debug:
                traceback.print_exc()
            return _report(error)
    except KeyboardInterrupt:  # outside of it all: it may also come while an error is told
        return INTERRUPTED


def _run(words: list[str]) -> int:
    if any(word == "" or (word.startswith("--") and word.endswith("=")) for word in words):
        raise UsageError("an argument is empty: is it a variable that is not set?")  # pathlib takes it for the current folder
    words = [os.path.abspath(word) if word == "./-" else word for word in words]  # pathlib drops what makes it a file
    try:
        code = int(app(words, prog_name="vqcodec", standalone_mode=False) or 0)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # Typer would end silently, and lose what is still to be told
            raise stdout_error(error.__context__) from error
        raise
    sys.stdout.flush()
    return code


def _report(error: Exception) -> int:
    """One line on standard error; the exit code."""
    if isinstance(error, OSError) and error.filename is None and error.errno in _OF_PRINTING:
        error = stdout_error(error)
    if isinstance(error, VqcodecError):
        code, message = error.exit_code, str(error)
    elif isinstance(error, typer.TyperException):
        code, message = USAGE, error.format_message()
    elif isinstance(error, MemoryError):
        code, message = OUT_OF_MEMORY, "not enough memory"
    else:
        code, message = INTERNAL, f"internal error ({type(error).__name__}: {error}); --debug shows where"
    _log(message)
    return code


# ------------------------------------------------------------------------------------------------ options of all


def _print_version(wanted: bool) -> None:
    if wanted:
        from vqcodec import __version__

        print(f"vqcodec {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


# ------------------------------------------------------------------------------------------------ pictures


@app.command()
def encode(
    source: Input,
    output: Output,
    quality: Annotated[
        float | None,
        typer.Option("-q", "--quality", callback=percentage, metavar="0..100", help="60 if nothing else is asked."),
    ] = None,
    bpp: Annotated[float | None, typer.Option("--bpp", callback=positive, metavar="X", help="At most X bits per pixel.")] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", parser=size_of, metavar="BYTES", help="At most so many bytes: 20000, 20k, 20KiB."),
    ] = None,
    psnr: Annotated[
        float | None, typer.Option("--psnr", callback=positive, metavar="DB", help="At least so many dB of PSNR.")
    ] = None,
    model: Model = None,
    effort: Annotated[int, typer.Option("--effort", min=1, max=9, metavar="1..9", help="1-4 faster; 7-9 slower, smaller.")] = 5,
    tune: Annotated[
        str,
        typer.Option("--tune", callback=known_tune, metavar="psnr|ssim", help="At equal bytes: least error, or likeness to eyes."),
    ] = "psnr",
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            callback=known_tile,
            metavar="N",
            help="Tile groups of N pixels a side, decoded one by one; 1024 above 4 megapixels.",
            show_default=False,
        ),
    ] = None,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out colour profile, EXIF and XMP.")] = False,
    force: Force = False,
    jobs: Jobs = None,
    shard: Shard = None,
    manifest: Manifest = None,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No summary and no notes.")] = False,
) -> None:
    """Encode a picture (PNG, JPEG, WebP, AVIF, TIFF, ...) to a .vqz file, or a folder of them to a folder."""
    targets = {"--quality": quality, "--bpp": bpp, "--size": size, "--psnr": psnr}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    if as_json and output == STREAM:
        raise UsageError("--json and an output on standard output exclude each other")

    begin_with_one_thread()
    from vqcodec.convert import EncodeOptions, encode_file

    options = EncodeOptions(quality, bpp, size, psnr, model, effort, tune, tile, strip, threads, max_pixels)
    if os.path.isdir(source):
        _convert_folder(source, output, options, ".vqz", jobs, shard, manifest, force, as_json, quiet)
        return
    _only_for_folders({"-j": jobs, "--shard": shard, "--manifest": manifest})
    done = encode_file(source, output, options, overwrite=force)
    bits_per_pixel = 8 * done.bytes_out / (done.width * done.height)
    if as_json:
        _print_json(
            input=str(source),
            output=str(output),
            width=done.width,
            height=done.height,
            channels=done.channels,
            bytes=done.bytes_out,
            bpp=bits_per_pixel,
            encode_s=done.seconds,
            notes=list(done.notes),
        )
    if not quiet:
        for note in done.notes:
            _log(f"note: {note}")
        _log(f"{done.width} x {done.height} pixels, {done.bytes_out} bytes, {bits_per_pixel:.3f} bpp")


@app.command()
def decode(
    source: Input,
    output: Output,
    model: Model = None,
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            callback=known_refine,
            metavar="none|best|gan",
            help="none is exact on every machine; best, the default, adds the model's network, gan sharpness that is made up.",
            show_default=False,
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            callback=finite,
            min=0,
            max=1,
            metavar="0..1",
            help="Of gan; 0.7 below 0.2 bpp, falling to 0 at 1.",
            show_default=False,
        ),
    ] = None,
    refiner: Annotated[
        str | None, typer.Option("--refiner", metavar="M", help="Of gan: a name or folder, not photo-gan.", show_default=False)
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", callback=known_device, metavar="cpu|cuda|auto", help="Where the network runs; cuda needs torch."),
    ] = "cpu",
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="X,Y,W,H", help="This part alone.", show_default=False),
    ] = None,
    scale: Annotated[
        int, typer.Option("--scale", callback=known_scale, metavar="1|2|4|8", help="So many times smaller, and faster.")
    ] = 1,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Decode what is left of a damaged or truncated file with tile groups.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", callback=known_picture, metavar="png|...", help="Folders: the format of the pictures; png."),
    ] = None,
    force: Force = False,
    jobs: Jobs = None,
    shard: Shard = None,
    manifest: Manifest = None,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Decode a .vqz file to a picture: .png .ppm .pgm .jpg .webp .tif .bmp, PNG for a stream; or a folder to a folder."""
    begin_with_one_thread()
    from vqcodec.convert import DecodeOptions, decode_file

    if scale > 1 and (region is not None or refine in ("best", "gan")):
        raise UsageError("--scale goes neither with --region nor with --refine best or gan")
    if refine != "gan" and (strength is not None or refiner is not None):
        raise UsageError("--strength and --refiner are for --refine gan")
    part = None if region is None else region_of(region)
    options = DecodeOptions(model, refine, strength, refiner, device, part, scale, allow_partial, threads, max_pixels)
    if os.path.isdir(source):
        _convert_folder(source, output, options, to or ".png", jobs, shard, manifest, force, as_json=False, quiet=False)
        return
    _only_for_folders({"-j": jobs, "--shard": shard, "--manifest": manifest, "--to": to})
    for note in decode_file(source, output, options, overwrite=force).notes:
        _log(f"note: {note}")


@app.command()
def denoise(
    source: Input,
    output: Output,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", metavar="M", help="A denoiser's name or folder; photo-denoise.", show_default=False),
    ] = None,
    sigma: Annotated[
        str, typer.Option("--sigma", metavar="S|auto", help="The noise's standard deviation in grey levels; estimated if auto.")
    ] = "auto",
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Take white Gaussian noise out of a picture (of 8 bits, formats as of encode) and write it as one (formats as of decode)."""
    begin_with_one_thread()
    level = sigma_of(sigma)
    from vqcodec.convert import denoise_file

    for note in denoise_file(source, output, model, level, threads=threads, max_pixels=max_pixels, overwrite=force).notes:
        _log(f"note: {note}")


def _only_for_folders(options: Mapping[str, object]) -> None:
    if found := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{' and '.join(found)}: for folders only")


def _convert_folder(
    source: Path,
    output: Path,
    options: "Options",
    suffix: str,
    jobs: int | None,
    shard: str | None,
    manifest: Path | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """A folder by batch.py; ends with the exit code of the first failure."""
    from vqcodec.batch import BatchSettings, run_batch
    from vqcodec.tables import batch_progress, print_batch

    if output == STREAM or os.path.isfile(output):
        raise UsageError(f"{printable(source)} is a folder: the output must be one, too")
    part = (1, 1) if shard is None else shard_of(shard)
    settings = BatchSettings(source, output, options, suffix, jobs or 1, part, manifest, force)
    start = time.perf_counter()
    with batch_progress(_console(stderr=True, quiet=quiet)) as (started, progress):
        summary = run_batch(settings, started, progress)
    if as_json:
        _print_json(
            done=summary.done,
            left_out=summary.left_out,
            bytes_in=summary.bytes_in,
            bytes_out=summary.bytes_out,
            seconds=time.perf_counter() - start,
            failed=[{"source": outcome.source, "error": outcome.error} for outcome in summary.failed],
        )
    if not quiet:
        for source_of_note, note in summary.notes:
            _log(f"note: {source_of_note}: {note}")
    for outcome in summary.failed:
        _log(outcome.error if outcome.source in outcome.error else f"{outcome.source}: {outcome.error}")
    if not quiet:
        print_batch(summary, time.perf_counter() - start, _console(stderr=True))
    raise typer.Exit(summary.failed[0].exit_code if summary.failed else 0)


# ------------------------------------------------------------------------------------------------ pictures made up


@app.command()
def generate(
    prior: Prior,
    output: Annotated[
        Path,
        path_option("-o", "--output", metavar="OUT", help="A picture of them all, or a folder for one file each."),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10000, metavar="N", help="How many.")] = 64,
    label: Annotated[
        str | None, typer.Option("--label", metavar="L", help="Of this class alone; else of all in turn.", show_default=False)
    ] = None,
    temperature: Temperature = DEFAULT_TEMPERATURE,
    guidance: Annotated[
        float,
        typer.Option(
            "--guidance",
            callback=finite,
            min=0,
            max=100,
            metavar="G",
            help="More of what tells the class from others; 0 is as learnt.",
        ),
    ] = 1.0,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Make pictures up, of the kind that a token prior was trained on."""
    begin_with_one_thread()
    from vqcodec.convert import generate_files

    generate_files(prior, output, count, label, temperature, guidance, seed, overwrite=force)


@app.command()
def repair(
    source: Input,
    output: Output,
    mask: Annotated[Path, path_option("--mask", metavar="MASK", help="A picture of the same size, white where to repair.")],
    prior: Prior,
    label: Annotated[
        str | None, typer.Option("--label", metavar="L", help="The picture's class, where it is known.", show_default=False)
    ] = None,
    temperature: Temperature = DEFAULT_TEMPERATURE,
    seed: Seed = 0,
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Replace a part of a picture by what a token prior makes up; all other pixels stay as they are."""
    begin_with_one_thread()
    from vqcodec.convert import repair_file

    if source == mask == STREAM:
        raise UsageError("standard input is one picture: name a file for the mask")
    options: dict[str, Any] = {"label": label, "temperature": temperature, "seed": seed, "threads": threads}
    options["max_pixels"] = max_pixels
    for note in repair_file(source, output, mask, prior, **options, overwrite=force):
        _log(f"note: {note}")


# ------------------------------------------------------------------------------------------------ about files


@app.command()
def info(
    file: Input,
    model: Model = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    indices: Annotated[
        Path | None,
        path_option(
            "--indices", metavar="FILE", help="Write all indices with their codebook, class, channel and cell to a .npz file."
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Show what a .vqz file holds and where its bytes go."""
    from vqcodec import api

    if indices is not None:
        _not_beside_the_report(indices)
        check_output(indices, overwrite=force, source=file)
    data = read_input(file, limit_bytes=stream_limit(max_pixels))
    facts = api.info(data, model=model, max_pixels=max_pixels)
    if indices is not None:
        import io

        import numpy as np

        stream = io.BytesIO()
        np.savez_compressed(stream, **api.indices(data, model=model, max_pixels=max_pixels))  # type: ignore[arg-type]  # an array may be named "allow_pickle" to mypy
        write_atomic(indices, stream.getbuffer(), overwrite=force)
    if as_json:
        _print_json(**facts)
    else:
        from vqcodec.tables import print_info

        print_info(facts, _console())


def _not_beside_the_report(output: Path) -> None:
    if output == STREAM:
        raise UsageError("standard output is for the report: write the file by its name")


@app.command()
def verify(
    files: Annotated[list[Path], path_argument(metavar="FILE...", help="The files to check.")],
    model: Model = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Check files completely: checksums, and that every pixel can be decoded."""
    from vqcodec import api

    failed = 0
    for file in files:
        try:
            api.verify(read_input(file, limit_bytes=stream_limit(max_pixels)), model=model, max_pixels=max_pixels)
        except VqcodecError as error:
            failed = failed or error.exit_code
            print(f"{printable(file)}: FAILED: {printable(str(error))}")
        else:
            print(f"{printable(file)}: ok")
    raise typer.Exit(failed)


@app.command()
def models(as_json: Json = False) -> None:
    """List the models that are installed."""
    from vqcodec import registry

    entries = registry.list_models()
    if as_json:
        _print_json(models=[{**vars(entry), "path": str(entry.path)} for entry in entries])
    else:
        from vqcodec.tables import print_models

        print_models([entry for entry in entries if not entry.error], _console())
    damaged = [entry for entry in entries if entry.error]
    for entry in damaged:
        _log(f"{entry.path}: {entry.error}")
    raise typer.Exit(ModelError.exit_code if damaged else 0)


@app.command()
def compare(
    first: Annotated[Path, path_argument(metavar="A", help="A picture or a .vqz file.")],
    second: Annotated[Path, path_argument(metavar="B", help="Another, of the same size.")],
    output: Annotated[
        Path | None,
        path_option("-o", "--output", metavar="FILE", help="Write a picture of the difference, 8 times as large, around grey."),
    ] = None,
    model: Model = None,
    force: Force = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
) -> None:
    """Compare two pictures: PSNR, SSIM, MS-SSIM (needs vqcodec[bench])."""
    import io
    import math

    from vqcodec.bench.compare import compare as compared
    from vqcodec.bench.compare import read_any
    from vqcodec.imageio import format_of, write_image

    picture_format = "" if output is None else format_of(output)
    if output is not None:
        _not_beside_the_report(output)
        for source in (first, second):
            check_output(output, overwrite=force, source=source)
    facts, difference = compared(*(read_any(path, max_pixels, model) for path in (first, second)))
    if output is not None:
        stream = io.BytesIO()
        write_image(difference, stream, format=picture_format)
        write_atomic(output, stream.getbuffer(), overwrite=force)
    if as_json:
        _print_json(**{name: value if math.isfinite(value) else None for name, value in facts.items()})
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):<20} {value:.6g}")


# ------------------------------------------------------------------------------------------------ many pictures


@app.command()
def bench(
    paths: Annotated[list[Path], path_argument(metavar="PATH...", help="Pictures, or folders of them.")],
    codecs: Annotated[
        str, typer.Option("--codecs", metavar="A,B", help="Which to compare; vqz:MODEL:EFFORT:TUNE is vqz with these.")
    ] = "vqz,jpeg,webp,avif",
    qualities: Annotated[
        str | None, typer.Option("--qualities", metavar="LIST", help="10,50,90, or per codec: jpeg=10,50;vqz=20,60.")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="CODEC", help="What BD-rates compare with; jpeg if it is there.")
    ] = None,
    json_path: Annotated[
        Path | None, path_option("--json", metavar="FILE", help="Write the results; - for standard output.")
    ] = None,
    report_dir: Annotated[
        Path | None, path_option("-o", "--output", metavar="DIR", help="Write results, tables and a plot.")
    ] = None,
    psnr_only: Annotated[bool, typer.Option("--psnr-only", help="Skip SSIM and MS-SSIM.")] = False,
    refine: Annotated[
        str | None,
        typer.Option("--refine", metavar="A,B", help="none,best,gan: every vqz with each of these decoders.", show_default=False),
    ] = None,
    perceptual: Annotated[
        Path | None,
        path_option("--perceptual", metavar="DIR", help="LPIPS, too, with the weights there."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Threads for each codec.")] = 1,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", min=1, metavar="N", help="Pictures at once; speeds are those of a busy machine then.")
    ] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Take the first N pictures.")] = None,
    force: Force = False,
) -> None:
    """Compare rate, distortion and speed with other codecs on the same pictures."""
    from vqcodec.bench.codecs import with_decoders
    from vqcodec.bench.run import BenchSettings, parse_qualities, run_bench

    settings = BenchSettings(
        paths=tuple(paths),
        codecs=tuple(with_decoders(codecs.split(","), refine.split(",")) if refine else codecs.split(",")),
        qualities=parse_qualities(qualities) if qualities else {},
        anchor=anchor,
        json_path=json_path,
        report_dir=report_dir,
        psnr_only=psnr_only,
        perceptual=perceptual,
        threads=threads,
        jobs=jobs,
        limit=limit,
        overwrite=force,
        command=shlex.join(["vqcodec", *sys.argv[1:]]),
    )
    results = run_bench(settings, _console(stderr=json_path == STREAM))
    raise typer.Exit(0 if results.rows else InputError.exit_code)


@app.command()
def train(
    folder: Annotated[
        Path,
        path_argument(metavar="FOLDER", help="Pictures of one kind; subfolders and .tar are read, or a gzipped idx file."),
    ],
    output: Annotated[
        Path,
        path_option("-o", "--output", callback=a_file, metavar="MODEL", help="The model's folder, to be made."),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            callback=known_kind,
            metavar="|".join(KINDS),
            help="lite needs only numpy, the others torch: neural adds networks to the model it starts from, refiner sharpens "
            "decodes, token has one index a cell and a low rate, token-prior makes pictures of such, denoiser takes noise out.",
        ),
    ] = "lite",
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Start from it, or none (lite: photo-lite; neural, refiner: photo; token-prior: its token model; others: none).",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, metavar="N", help="Same seed and pictures, same model.")] = 0,
    minutes: Annotated[
        float | None, typer.Option("--minutes", callback=positive, metavar="N", help="Stop refining after N minutes.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Not lite: steps of the optimiser, instead of minutes.")
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            "--parts",
            metavar="PARTS",
            help="Which networks to train. neural: context,synthesis; token: encoder,decoder, or decoder alone, with --init.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", callback=known_training_device, metavar="cpu|cuda", help="Not lite: where to train."),
    ] = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Not lite: go on from the checkpoint beside MODEL, if there is one.")
    ] = False,
    log: Annotated[
        Path | None, path_option("--log", callback=a_file, metavar="FILE", help="Not lite: append a JSON line every 50 steps.")
    ] = None,
    board: Annotated[
        Path | None,
        path_option("--tensorboard", callback=a_file, metavar="DIR", help="Not lite: curves and pictures for TensorBoard."),
    ] = None,
    refiner: Annotated[
        str | None, typer.Option("--refiner", metavar="M", help="refiner: go on from this one.", show_default=False)
    ] = None,
    perceptual: Annotated[
        Path | None,
        path_option("--perceptual", metavar="DIR", help="refiner, token: LPIPS's weights over SqueezeNet."),
    ] = None,
    cell: Annotated[
        int | None,
        typer.Option("--cell", callback=known_cell, metavar="8|16", help="token: pixels a side of a cell; 8.", show_default=False),
    ] = None,
    codewords: Annotated[
        int | None, typer.Option("--codewords", min=2, max=65536, metavar="K", help="token: codewords; 256.", show_default=False)
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, metavar="N", help="token: crops a step; 64.", show_default=False)
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            "--beta", callback=finite, min=0, metavar="B", help="token: weight of the commitment, in L_c; 0.25.", show_default=False
        ),
    ] = None,
    cosine: Annotated[bool, typer.Option("--cosine", help="token: codewords of unit length, told apart by angle.")] = False,
    lambda_r: Annotated[
        float | None,
        typer.Option(
            "--lambda-r",
            callback=finite,
            min=0,
            metavar="X",
            help="Weight of the squared error; refiner, token 1.",
            show_default=False,
        ),
    ] = None,
    lambda_p: Annotated[
        float | None,
        typer.Option(
            "--lambda-p",
            callback=finite,
            min=0,
            metavar="X",
            help="Of the perceptual distance; refiner 4, token 0.",
            show_default=False,
        ),
    ] = None,
    lambda_t: Annotated[
        float | None,
        typer.Option(
            "--lambda-t", callback=finite, min=0, metavar="X", help="Of the texture's statistics; refiner 0.5.", show_default=False
        ),
    ] = None,
    lambda_a: Annotated[
        float | None,
        typer.Option(
            "--lambda-a",
            callback=finite,
            min=0,
            metavar="X",
            help="Of the adversarial loss; refiner 0.8, token 0.",
            show_default=False,
        ),
    ] = None,
    lambda_c: Annotated[
        float | None,
        typer.Option(
            "--lambda-c",
            callback=finite,
            min=0,
            metavar="X",
            help="Of shifts of colour, refiner 10; of L_c, token 1.",
            show_default=False,
        ),
    ] = None,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="refiner, token: weigh the adversarial loss by gradients, too (VQGAN).")
    ] = False,
    sheets: Annotated[
        Path | None,
        path_option("--sheets", callback=a_file, metavar="DIR", help="refiner, token: held-out crops as PNG, every 500 steps."),
    ] = None,
    force: Force = False,
) -> None:
    """Train a model on a folder of pictures."""
    from vqcodec.tables import stage_progress

    networks = {"--steps": steps, "--device": device != "cpu", "--resume": resume, "--log": log, "--tensorboard": board}
    pictures = {"--perceptual": perceptual, "--adaptive": adaptive, "--sheets": sheets}
    weights = {"lambda_r": lambda_r, "lambda_p": lambda_p, "lambda_t": lambda_t, "lambda_a": lambda_a, "lambda_c": lambda_c}
    shape = {"--cell": cell, "--codewords": codewords, "--cosine": cosine}
    of_kinds(kind, networks, *KINDS[1:])
    of_kinds(kind, pictures | {f"--{name.replace('_', '-')}": weight for name, weight in weights.items()}, "refiner", "token")
    of_kinds(kind, {"--refiner": refiner, "--lambda-t": lambda_t}, "refiner")
    of_kinds(kind, shape | {"--batch": batch, "--beta": beta}, "token")
    base, trained = base_of(kind, init), parts_of(kind, parts)
    if kind == "token" and base is not None and any(shape.values()):
        raise UsageError("--cell, --codewords and --cosine are those of the model that --init names")
    if kind == "token" and base is None and "encoder" not in trained:
        raise UsageError("--parts decoder goes on from a token model: name it by --init")
    if (
        kind in ("refiner", "token-prior")
        and base is not None
        and os.path.isdir(output)
        and os.path.realpath(base) == os.path.realpath(output)
    ):
        raise UsageError("--init and -o are one folder: the model that this one is for would be lost")
    if kind == "token" and adaptive and not lambda_a:
        raise UsageError("--adaptive weighs the adversarial loss, which --kind token has by --lambda-a")
    if steps is not None and minutes is not None:
        raise UsageError("--steps and --minutes exclude each other")
    with stage_progress(_console(stderr=True)) as progress:
        given = {name: value for name, value in weights.items() if value is not None} | {"adaptive": adaptive}
        if kind == "lite":
            from vqcodec.train.lite import train_lite

            facts = train_lite(folder, output, init=base, seed=seed, minutes=minutes, overwrite=force, progress=progress)
            _tell_of_training(facts, output)
            return
        from vqcodec.train.course import Course

        course = Course(folder, output, seed, minutes, steps, device, resume, force, progress, log, board, sheets)
        start: dict[str, Any] = {"init": base}
        if kind == "neural":
            from vqcodec.train.neural import train_neural

            facts = train_neural(course, parts=trained, **start)
        elif kind == "refiner":
            from vqcodec.train.refiner import train_refiner

            facts = train_refiner(course, refiner=refiner, perceptual=perceptual, weights=given, **start)
        elif kind == "token":
            from vqcodec.train.token import train_token

            own = {"cell": cell, "codewords": codewords, "batch": batch, "beta": beta}
            given |= {"cosine": cosine} | {name: value for name, value in own.items() if value is not None}
            facts = train_token(course, parts=trained, perceptual=perceptual, given=given, **start)
        elif kind == "token-prior":
            from vqcodec.train.token_prior import train_prior

            facts = train_prior(course, **start)
        else:
            from vqcodec.train.denoiser import train_denoiser

            facts = train_denoiser(course, **start)
    _tell_of_training(facts, output)


def _tell_of_training(facts: dict[str, Any], output: Path) -> None:
    from vqcodec.tables import print_training

    if count := facts["corpus"]["skipped"]:
        _log(f"note: {count} files were left out, first {facts['corpus']['skipped_files'][0]}")
    print_training(facts, output, _console())


# ------------------------------------------------------------------------------------------------ printing


def _print_json(**facts: Any) -> None:
    import json

    print(json.dumps(facts))


def _log(message: str) -> None:
    print(f"vqcodec: {printable(message)}", file=sys.stderr)


def _console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, quiet=quiet)
    if not console.is_terminal:
        console.width = _UNLIMITED  # a line of a file is one line
    elif console.width < _NARROWEST:  # what some terminals say that do not know
        console.width = _NARROWEST
    return console
