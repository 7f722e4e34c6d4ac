"""Commands that make files of pictures, and pictures of files or of nothing."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcodec.cli.options import (
    DEFAULT_TEMPERATURE,
    Force,
    Input,
    Jobs,
    Json,
    KeepTimes,
    Manifest,
    MaxPixels,
    Model,
    Output,
    OutputFolder,
    Prior,
    Quiet,
    Seed,
    Shard,
    Strict,
    Temperature,
    Threads,
    UsageError,
    finite,
    known_device,
    known_picture,
    known_refine,
    known_scale,
    known_tile,
    known_tune,
    path_argument,
    path_option,
    percentage,
    positive,
    region_of,
    shard_of,
    sigma_of,
    size_of,
)
from vqcodec.cli.printing import console, print_json, progress_line, tell
from vqcodec.errors import InputError, printable
from vqcodec.format.header import MAX_PIXELS
from vqcodec.io.files import STDOUT, STREAM, name_of, why_no_file
from vqcodec.runtime.blas import begin_with_one_thread

if TYPE_CHECKING:
    from vqcodec.io.batch import BatchSettings, Skipped
    from vqcodec.io.convert import Converted

_MOST_SKIPPED = 100
"""Skipped files that are named one by one; more are counted by their reasons."""


def encode(
    source: Annotated[Path, path_argument(metavar="IN", help="The picture or folder to read; - is standard input.")],
    others: Annotated[
        list[Path] | None,
        path_argument(
            metavar="[OUT]",
            help="The .vqz file or folder to write; - is standard output. With -o, more pictures to read. [default: IN's name with"
            " .vqz]",
        ),
    ] = None,
    into: OutputFolder = None,
    quality: Annotated[
        float | None,
        typer.Option(
            "-q",
            "--quality",
            callback=percentage,
            metavar="0..100",
            help="Encode at this quality. [default: 60]",
            show_default=False,
        ),
    ] = None,
    bpp: Annotated[
        float | None,
        typer.Option("--bpp", callback=positive, metavar="X", help="Use at most X bits per pixel.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", parser=size_of, metavar="BYTES", help="Use at most so many bytes: 20000, 20k, 20KiB.", show_default=False
        ),
    ] = None,
    psnr: Annotated[
        float | None,
        typer.Option("--psnr", callback=positive, metavar="DB", help="Reach at least so many dB of PSNR.", show_default=False),
    ] = None,
    model: Model = None,
    effort: Annotated[
        int,
        typer.Option(
            "--effort",
            min=1,
            max=9,
            metavar="1..9",
            help="Take more time for fewer bytes. 7 takes four to five times as long as 5, and saves 1.5 %.",
        ),
    ] = 5,
    tune: Annotated[
        str,
        typer.Option(
            "--tune", callback=known_tune, metavar="psnr|ssim", help="At equal bytes keep the error low, or the look to eyes."
        ),
    ] = "psnr",
    tile: Annotated[
        int | None,
        typer.Option(
            "--tile",
            callback=known_tile,
            metavar="N",
            help="Make tile groups of N pixels a side, which can be decoded one by one. [default: none; 1024 above 4 megapixels]",
            show_default=False,
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Keep the colours of fully transparent pixels, which are replaced otherwise.")
    ] = False,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out colour profile, EXIF and XMP.")] = False,
    keep_times: KeepTimes = False,
    force: Force = False,
    jobs: Jobs = None,
    shard: Shard = None,
    manifest: Manifest = None,
    strict: Strict = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Encode a picture to a .vqz file, or a folder to a folder.

    PNG, JPEG, WebP, AVIF, TIFF and other formats are read. Every picture of a folder is encoded, whatever its name; other files are
    named, with the reason. Several inputs go to one folder: -o DIR.
    """
    targets = {"--quality": quality, "--bpp": bpp, "--size": size, "--psnr": psnr}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    sources, output, many = _sources_and_output("encode", source, others or [], into, ".vqz")
    _check_json(as_json, output)

    begin_with_one_thread()
    from vqcodec.io.convert import EncodeOptions, encode_file
    from vqcodec.io.kinds import is_picture_name

    options = EncodeOptions(
        quality=quality,
        bpp=bpp,
        size=size,
        psnr=psnr,
        model=model,
        effort=effort,
        tune=tune,
        tile=tile,
        exact=exact,
        strip=strip,
        keep_times=keep_times,
        threads=threads,
        max_pixels=max_pixels,
    )
    if many:
        from vqcodec.io.batch import BatchSettings

        settings = BatchSettings(_folder_or_files(sources), output, options, ".vqz", jobs or 1, _part(shard), manifest, force)
        _convert_many(settings, strict=strict, as_json=as_json, quiet=quiet)
        return
    _only_for_many({"-j": jobs, "--shard": shard, "--manifest": manifest, "--strict": strict or None})
    if is_picture_name(output.name) and output != source:
        hint = "OUT.vqz, or -o DIR for several inputs"
        raise UsageError(f"{printable(output)} is a picture's name, and encode writes .vqz files: {hint}")
    with progress_line(quiet=quiet):
        done = encode_file(source, output, options, overwrite=force)
    bpp_made = 8 * done.bytes_out / (done.width * done.height)
    summary = f"{done.width} x {done.height} pixels, {done.bytes_out} bytes, {bpp_made:.3f} bpp"
    facts = {"bpp": bpp_made, "encode_s": done.seconds, "grew": done.grew}
    _tell_of_one(source, output, done, facts, as_json=as_json, quiet=quiet)
    if not quiet:
        tell(summary)


def decode(
    source: Annotated[Path, path_argument(metavar="IN", help="The .vqz file or folder to read; - is standard input.")],
    others: Annotated[
        list[Path] | None,
        path_argument(
            metavar="[OUT]",
            help="The picture or folder to write; - is standard output. With -o, more .vqz files to read. [default: IN's name with"
            " .png]",
        ),
    ] = None,
    into: OutputFolder = None,
    model: Model = None,
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            callback=known_refine,
            metavar="none|best|gan",
            help="Decode exactly (none), with the model's network (best), or with made-up sharpness (gan). [default: best if the"
            " model has a network, else none]",
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
            help="Sharpen with gan by so much. [default: 0.7 below 0.2 bpp, falling to 0 at 1]",
            show_default=False,
        ),
    ] = None,
    refiner: Annotated[
        str | None,
        typer.Option(
            "--refiner", metavar="M", help="Sharpen with this refiner, a name or a folder. [default: photo-gan]", show_default=False
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", callback=known_device, metavar="cpu|cuda|auto", help="Run networks there; cuda needs torch."),
    ] = "cpu",
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="X,Y,W,H", help="Decode this part only. [default: all]", show_default=False),
    ] = None,
    scale: Annotated[
        int,
        typer.Option(
            "--scale", callback=known_scale, metavar="1|2|4|8", help="Decode so many times smaller; 8 is much faster, 2 hardly."
        ),
    ] = 1,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Decode what is left of a damaged or truncated file with tile groups.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            callback=known_picture,
            metavar="png|...",
            help="Write this format where OUT does not say it. [default: png]",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            min=0,
            max=100,
            metavar="0..100",
            help="Write JPEG or WebP at this quality. [default: 95 for JPEG, lossless for WebP]",
            show_default=False,
        ),
    ] = None,
    keep_times: KeepTimes = False,
    force: Force = False,
    jobs: Jobs = None,
    shard: Shard = None,
    manifest: Manifest = None,
    strict: Strict = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decode a .vqz file to a picture, or a folder to a folder.

    The name of the picture says its format: .png .ppm .pgm .jpg .webp .tif .bmp, and PNG for a stream. Several inputs go to one
    folder: -o DIR.
    """
    if scale > 1 and (region is not None or refine in ("best", "gan")):
        raise UsageError("--scale goes neither with --region nor with --refine best or gan")
    if refine != "gan" and (strength is not None or refiner is not None):
        raise UsageError("--strength and --refiner are for --refine gan")
    part = None if region is None else region_of(region)
    suffix = to or ".png"
    sources, output, many = _sources_and_output("decode", source, others or [], into, suffix)
    _check_json(as_json, output)

    begin_with_one_thread()
    from vqcodec.io.convert import DecodeOptions, decode_file

    options = DecodeOptions(
        model=model,
        refine=refine,
        strength=strength,
        refiner=refiner,
        device=device,
        region=part,
        scale=scale,
        allow_partial=allow_partial,
        quality=quality,
        keep_times=keep_times,
        threads=threads,
        max_pixels=max_pixels,
    )
    if quality is not None and (suffix if many else output.suffix.lower()) not in (".jpg", ".jpeg", ".webp"):
        raise UsageError("--quality is for JPEG and WebP outputs")
    if many:
        from vqcodec.io.batch import BatchSettings

        settings = BatchSettings(_folder_or_files(sources), output, options, suffix, jobs or 1, _part(shard), manifest, force)
        _convert_many(settings, strict=strict, as_json=as_json, quiet=quiet)
        return
    _only_for_many({"-j": jobs, "--shard": shard, "--manifest": manifest, "--strict": strict or None})
    if to is not None and (others or into):
        raise UsageError("--to is for folders, and where OUT is not given: its name says the format")
    _check_picture("decode", output)
    with progress_line(quiet=quiet):
        done = decode_file(source, output, options, overwrite=force)
    _tell_of_one(source, output, done, {"decode_s": done.seconds}, as_json=as_json, quiet=quiet)


def denoise(
    source: Input,
    output: Output,
    model: Annotated[
        str | None,
        typer.Option(
            "-m", "--model", metavar="M", help="Use this denoiser, a name or a folder. [default: photo-denoise]", show_default=False
        ),
    ] = None,
    sigma: Annotated[
        str, typer.Option("--sigma", metavar="S|auto", help="Take the noise to have this standard deviation, in grey levels.")
    ] = "auto",
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take white Gaussian noise out of a picture.

    The picture has 8 bits a sample and is in any format that encode reads; the output is in one that decode writes.
    """
    _check_json(as_json, output)
    _check_picture("denoise", output)
    begin_with_one_thread()
    level = sigma_of(sigma)
    from vqcodec.io.convert import denoise_file

    with progress_line(quiet=quiet):
        done = denoise_file(source, output, model, level, threads=threads, max_pixels=max_pixels, overwrite=force)
    _tell_of_one(source, output, done, {"denoise_s": done.seconds}, as_json=as_json, quiet=quiet)


def _sources_and_output(
    command: str, first: Path, others: list[Path], into: str | None, suffix: str
) -> tuple[tuple[Path, ...], Path, bool]:
    """The inputs, the output, and whether that is a folder; `into` is the value of -o. Raises UsageError."""
    name = name_of(first)
    if into is None and len(others) > 1:
        raise UsageError(f"{command} IN OUT has two names, not {1 + len(others)}: several inputs go to a folder, -o DIR")
    if into is None and not others:
        if first == STREAM or os.path.isdir(first) or why_no_file(first):
            raise UsageError(f"{name}: the output must be named, too")
        beside = first.with_suffix(suffix)
        return (first,), Path(f"{first}{suffix}") if beside == first else beside, False
    sources, output = ((first,), others[0]) if into is None else ((first, *others), Path(into))
    is_folder = len(sources) == 1 and os.path.isdir(first)
    if not is_folder and (into is None or (len(sources) == 1 and not _is_folder_name(into))):
        return sources, output, False
    from vqcodec.io.kinds import is_picture_name

    what = f"{name} is a folder" if is_folder else "several inputs"
    if output == STREAM or (os.path.lexists(output) and not os.path.isdir(output)):
        raise UsageError(f"{what}: the output must be a folder, too")
    named_as_file = output.suffix.lower() == ".vqz" or is_picture_name(output.name)
    if named_as_file and not os.path.isdir(output) and not (into or "").endswith(os.sep):
        raise UsageError(f"{what}: the output must be a folder, too, and {printable(output)} is a file's name")
    if STREAM in sources:
        raise UsageError("standard input goes to a file, not to a folder")
    names = [source.name for source in sources]
    if twice := [printable(source) for source in sources if names.count(source.name) > 1]:
        raise UsageError(f"{twice[0]} and {twice[1]} would have the same output")
    return sources, output, True


def _folder_or_files(sources: tuple[Path, ...]) -> Path | tuple[Path, ...]:
    return sources[0] if len(sources) == 1 and os.path.isdir(sources[0]) else sources


def _is_folder_name(name: str) -> bool:
    """Whether an output of this name is a folder: one that is there, or a new one without a suffix or with a slash at its end."""
    path = Path(name)
    return os.path.isdir(path) or name.endswith(os.sep) or not (path == STREAM or path.suffix or os.path.lexists(path))


def _part(shard: str | None) -> tuple[int, int]:
    return (1, 1) if shard is None else shard_of(shard)


def _check_json(as_json: bool, output: Path) -> None:
    if as_json and output in STDOUT:
        raise UsageError("--json and an output on standard output exclude each other")


def _check_picture(command: str, output: Path) -> None:
    if output.suffix.lower() == ".vqz":
        hint = ", or -o DIR for several inputs" if command == "decode" else "; encode makes a .vqz file of it"
        raise UsageError(f"{printable(output)} is a .vqz file's name, and {command} writes pictures: OUT.png, OUT.jpg, ...{hint}")


def _only_for_many(options: Mapping[str, object]) -> None:
    if found := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{' and '.join(found)}: for folders only")


def _tell_of_one(
    source: Path | None, output: Path, done: "Converted", facts: Mapping[str, object], *, as_json: bool, quiet: bool
) -> None:
    """The result of one file: JSON if asked for, and notes unless quiet."""
    if as_json:
        print_json(
            input=None if source is None else str(source),
            output=str(output),
            width=done.width,
            height=done.height,
            channels=done.channels,
            bytes=done.bytes_out,
            **facts,
            notes=list(done.notes),
        )
    if not quiet:
        for note in done.notes:
            tell(f"note: {note}")


def _convert_many(settings: "BatchSettings", *, strict: bool, as_json: bool, quiet: bool) -> None:
    """A folder or several files by batch.py; ends with the exit code of the first failure, else with 3 if files were skipped that
    must not be."""
    from vqcodec.cli.tables import batch_progress, print_batch
    from vqcodec.io.batch import run_batch

    start = time.perf_counter()
    with batch_progress(console(stderr=True, quiet=quiet)) as (started, progress):
        summary = run_batch(settings, started, progress)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(
            done=summary.done,
            left_out=summary.left_out,
            grew=summary.grew,
            bytes_in=summary.bytes_in,
            bytes_out=summary.bytes_out,
            seconds=seconds,
            skipped=[{"source": skipped.source, "reason": skipped.reason} for skipped in summary.skipped],
            failed=[{"source": outcome.source, "error": outcome.error} for outcome in summary.failed],
        )
    if not quiet:
        for source, note in summary.notes:
            tell(f"note: {source}: {note}")
    if not quiet or strict:
        _tell_of_skipped(summary.skipped)
    for outcome in summary.failed:
        name = printable(outcome.source)
        tell(outcome.error if name in outcome.error else f"{name}: {outcome.error}")
    if not quiet:
        print_batch(summary, seconds, console(stderr=True))
    unwanted = InputError.exit_code if strict and summary.skipped else 0
    raise typer.Exit(summary.failed[0].exit_code if summary.failed else unwanted)


def _tell_of_skipped(skipped: "list[Skipped]") -> None:
    """A line for each file or, if there are many, for each reason."""
    if len(skipped) <= _MOST_SKIPPED:
        for one in skipped:
            tell(f"skipped: {one.source}: {one.reason}")
        return
    by_reason: dict[str, list[str]] = {}
    for one in skipped:
        by_reason.setdefault(one.reason, []).append(one.source)
    for reason, sources in by_reason.items():
        tell(f"skipped: {sources[0]}{f' and {len(sources) - 1} more' if len(sources) > 1 else ''}: {reason}")
    tell(f"skipped: {len(skipped)} files; --manifest and --json name them all")


def generate(
    prior: Prior,
    output: Annotated[
        Path,
        path_option("-o", "--output", metavar="OUT", help="Write one picture of them all or, if OUT has no suffix, a folder."),
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=10000, metavar="N", help="Make N pictures.")] = 64,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="L", help="Draw pictures of this class. [default: all in turn]", show_default=False),
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
            help="Bring out what tells the class from others; 0 is as learnt.",
        ),
    ] = 1.0,
    seed: Seed = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make pictures up, of the kind that a token prior was trained on."""
    _check_json(as_json, output)
    _check_picture("generate", output)
    begin_with_one_thread()
    from vqcodec.io.convert import generate_files

    with progress_line(quiet=quiet):
        done = generate_files(prior, output, count, label, temperature, guidance, seed, overwrite=force)
    facts = {"count": count, "generate_s": done.seconds}
    _tell_of_one(None, output, done, facts, as_json=as_json, quiet=quiet)


def repair(
    source: Input,
    output: Output,
    mask: Annotated[Path, path_option("--mask", metavar="MASK", help="Repair where this picture of the same size is white.")],
    prior: Prior,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="L", help="Take the picture to be of this class. [default: unknown]", show_default=False),
    ] = None,
    temperature: Temperature = DEFAULT_TEMPERATURE,
    seed: Seed = 0,
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Replace a part of a picture by what a token prior makes up.

    All other pixels stay as they are.
    """
    if source == mask == STREAM:
        raise UsageError("standard input is one picture: name a file for the mask")
    _check_json(as_json, output)
    _check_picture("repair", output)
    begin_with_one_thread()
    from vqcodec.io.convert import repair_file

    options: dict[str, Any] = {"label": label, "temperature": temperature, "seed": seed, "threads": threads}
    options["max_pixels"] = max_pixels
    with progress_line(quiet=quiet):
        done = repair_file(source, output, mask, prior, **options, overwrite=force)
    _tell_of_one(source, output, done, {"repair_s": done.seconds}, as_json=as_json, quiet=quiet)
