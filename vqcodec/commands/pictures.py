"""Commands that make files of pictures, and pictures of files or of nothing."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqcodec.blas import begin_with_one_thread
from vqcodec.files import MAX_PIXELS, STREAM, printable
from vqcodec.options import (
    DEFAULT_TEMPERATURE,
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
    finite,
    known_device,
    known_picture,
    known_refine,
    known_scale,
    known_tile,
    known_tune,
    path_option,
    percentage,
    positive,
    region_of,
    shard_of,
    sigma_of,
    size_of,
)
from vqcodec.printing import console, print_json, tell

if TYPE_CHECKING:
    from vqcodec.batch import BatchSettings
    from vqcodec.convert import Options


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
    effort: Annotated[
        int, typer.Option("--effort", min=1, max=9, metavar="1..9", help="1-4 faster; 7-9 slower, more PSNR for the bytes.")
    ] = 5,
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
        folder = _folder(source, output, options, ".vqz", jobs, shard, manifest, overwrite=force)
        _convert_folder(folder, as_json=as_json, quiet=quiet)
        return
    _only_for_folders({"-j": jobs, "--shard": shard, "--manifest": manifest})
    done = encode_file(source, output, options, overwrite=force)
    bits_per_pixel = 8 * done.bytes_out / (done.width * done.height)
    if as_json:
        print_json(
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
            tell(f"note: {note}")
        tell(f"{done.width} x {done.height} pixels, {done.bytes_out} bytes, {bits_per_pixel:.3f} bpp")


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
            help="The best that the model has. none is exact on every machine; best adds its network, gan made-up sharpness.",
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
        int,
        typer.Option("--scale", callback=known_scale, metavar="1|2|4|8", help="So many times smaller; 8 is much faster, 2 hardly."),
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
        _convert_folder(_folder(source, output, options, to or ".png", jobs, shard, manifest, overwrite=force))
        return
    _only_for_folders({"-j": jobs, "--shard": shard, "--manifest": manifest, "--to": to})
    for note in decode_file(source, output, options, overwrite=force).notes:
        tell(f"note: {note}")


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
        tell(f"note: {note}")


def _only_for_folders(options: Mapping[str, object]) -> None:
    if found := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{' and '.join(found)}: for folders only")


def _folder(
    source: Path,
    output: Path,
    options: "Options",
    suffix: str,
    jobs: int | None,
    shard: str | None,
    manifest: Path | None,
    *,
    overwrite: bool,
) -> "BatchSettings":
    """A folder to be converted. Raises UsageError."""
    from vqcodec.batch import BatchSettings

    if output == STREAM or os.path.isfile(output):
        raise UsageError(f"{printable(source)} is a folder: the output must be one, too")
    part = (1, 1) if shard is None else shard_of(shard)
    return BatchSettings(source, output, options, suffix, jobs or 1, part, manifest, overwrite)


def _convert_folder(settings: "BatchSettings", *, as_json: bool = False, quiet: bool = False) -> None:
    """A folder by batch.py; ends with the exit code of the first failure."""
    from vqcodec.batch import run_batch
    from vqcodec.tables import batch_progress, print_batch

    start = time.perf_counter()
    with batch_progress(console(stderr=True, quiet=quiet)) as (started, progress):
        summary = run_batch(settings, started, progress)
    seconds = time.perf_counter() - start
    if as_json:
        print_json(
            done=summary.done,
            left_out=summary.left_out,
            bytes_in=summary.bytes_in,
            bytes_out=summary.bytes_out,
            seconds=seconds,
            failed=[{"source": outcome.source, "error": outcome.error} for outcome in summary.failed],
        )
    if not quiet:
        for source, note in summary.notes:
            tell(f"note: {source}: {note}")
    for outcome in summary.failed:
        tell(outcome.error if outcome.source in outcome.error else f"{outcome.source}: {outcome.error}")
    if not quiet:
        print_batch(summary, seconds, console(stderr=True))
    raise typer.Exit(summary.failed[0].exit_code if summary.failed else 0)


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
        tell(f"note: {note}")
