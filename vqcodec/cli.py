"""The command line: options -> one call of api, bench or train -> a report. `vqcodec --help` lists the commands.

Results go to standard output, logs and progress to standard error. An error is one line, `vqcodec: <message>`, and an
exit code: 0 ok, 1 internal, 2 usage, 3 corrupt or unsupported file, 4 model missing or mismatched, 5 output refused or
unwritable, 6 limit exceeded, 130 interrupted.

Start-up is most of the time that a small picture takes: what one command needs is imported inside that command.
"""

import math
import re
import shlex
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vqcodec.errors import VqcodecError
from vqcodec.files import MAX_PIXELS, STREAM, check_output, printable, read_input, stream_limit, write_atomic

if TYPE_CHECKING:
    from rich.console import Console

INTERNAL, USAGE, OUT_OF_MEMORY, INTERRUPTED = 1, 2, 6, 130

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="An image codec that learns its codebooks from images.",
    epilog="'-' stands for standard input or standard output. --debug, anywhere, shows the traceback of an error.",
)


class UsageError(VqcodecError):
    """The options contradict each other or name what does not exist."""

    exit_code = USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no exception gets out."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    warnings.filterwarnings("ignore", module="PIL")  # remarks on files; what matters of them is in ImageData.notes
    try:
        _catch_signals()
        return int(app(words or ["--help"], prog_name="vqcodec", standalone_mode=False) or 0)
    except Exception as error:
        if debug:
            raise
        return _report(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _release_signals()


def _catch_signals() -> None:
    """Termination and hang-up end the program as Ctrl-C does: by an exception, so that temporary files go."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _release_signals() -> None:
    """The inverse: with the work done there is nothing to clean up, and an exception on the way out would be shown."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == _interrupt:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the cleaning up
    raise KeyboardInterrupt


def _report(error: Exception) -> int:
    """One line on standard error; the exit code."""
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


# ------------------------------------------------------------------------------------------------ shared options


def _size(text: str) -> int:
    """Bytes: 20000, 20k (1000 each), 20KiB (1024 each), also M."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kM])(i?)B?|B?)", text, re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size: write 20000, 20k or 20KiB")
    number, prefix, binary = match.groups()
    power = {"": 0, "k": 1, "m": 2}[(prefix or "").lower()]
    return round(float(number) * float(1024 if binary else 1000) ** power)


def _percentage(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 100:
        raise typer.BadParameter(f"{value:g} is not between 0 and 100")
    return value


def _positive(value: float | None) -> float | None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter(f"{value:g} is not a positive number")
    return value


def _known_refine(value: str | None) -> str | None:
    if value is not None and value not in ("none", "best"):
        raise typer.BadParameter(f"{value!r} is not a decoder of this version; 'none' and 'best' are")
    return value


def _known_device(value: str) -> str:
    if value not in ("cpu", "cuda", "auto"):
        raise typer.BadParameter(f"{value!r} is not a device; 'cpu', 'cuda' and 'auto' are")
    return value


PARTS = ("context", "synthesis")
"""The networks of a neural model."""


def _known_parts(value: str) -> str:
    for part in value.split(","):
        if part not in PARTS:
            raise typer.BadParameter(f"{part!r} is not a network; {' and '.join(PARTS)} are")
    return value


def _known_kind(value: str) -> str:
    if value not in ("lite", "neural"):
        raise typer.BadParameter(f"{value!r} cannot be trained by this version; 'lite' and 'neural' can")
    return value


Input = Annotated[Path, typer.Argument(metavar="IN", help="The file to read; - for standard input.", show_default=False)]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; - for standard output.", show_default=False)]
Model = Annotated[str | None, typer.Option("-m", "--model", metavar="M", help="A model's name or folder.", show_default=False)]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite the output if it exists.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, metavar="N", help="Threads to use; all cores if not given.")]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, metavar="N", help="Refuse pictures with more pixels.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


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
        typer.Option("-q", "--quality", callback=_percentage, metavar="0..100", help="60 if nothing else is asked."),
    ] = None,
    bpp: Annotated[float | None, typer.Option("--bpp", callback=_positive, metavar="X", help="At most X bits per pixel.")] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", parser=_size, metavar="BYTES", help="At most so many bytes: 20000, 20k, 20KiB."),
    ] = None,
    psnr: Annotated[
        float | None, typer.Option("--psnr", callback=_positive, metavar="DB", help="At least so many dB of PSNR.")
    ] = None,
    model: Model = None,
    effort: Annotated[
        int, typer.Option("--effort", min=1, max=9, metavar="1..9", help="1-3 faster; 7-9 slower, smaller.")
    ] = 5,
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No summary and no notes.")] = False,
) -> None:
    """Encode a picture (PNG, JPEG, WebP, AVIF, TIFF, ...) to a .vqz file."""
    targets = {"--quality": quality, "--bpp": bpp, "--size": size, "--psnr": psnr}
    given = [name for name, value in targets.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    if as_json and output == STREAM:
        raise UsageError("--json and an output on standard output exclude each other")
    check_output(output, overwrite=force, source=source)

    from vqcodec import api
    from vqcodec.imageio import read_image

    image = read_image(source, max_pixels=max_pixels)
    start = time.perf_counter()
    data = api.encode(image.pixels, quality=quality, bpp=bpp, size=size, psnr=psnr, model=model, effort=effort, threads=threads)
    seconds = time.perf_counter() - start
    write_atomic(output, data, overwrite=force)

    height, width = image.pixels.shape[:2]
    if as_json:
        _print_json(
            input=str(source),
            output=str(output),
            width=width,
            height=height,
            channels=1 if image.pixels.ndim == 2 else 3,
            bytes=len(data),
            bpp=8 * len(data) / (width * height),
            encode_s=seconds,
            notes=list(image.notes),
        )
    if not quiet:
        for note in image.notes:
            _log(f"note: {note}")
        _log(f"{width} x {height} pixels, {len(data)} bytes, {8 * len(data) / (width * height):.3f} bpp")


@app.command()
def decode(
    source: Input,
    output: Output,
    model: Model = None,
    refine: Annotated[
        str | None,
        typer.Option(
            "--refine",
            callback=_known_refine,
            metavar="none|best",
            help="none is exact on every machine; best adds the model's network, and is the default where there is one.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", callback=_known_device, metavar="cpu|cuda|auto", help="Where the network runs; cuda needs torch."),
    ] = "cpu",
    force: Force = False,
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Decode a .vqz file to a picture: .png .ppm .pgm .jpg .webp .tif .bmp, PNG for a stream."""
    import io

    from vqcodec import api
    from vqcodec.imageio import format_of, write_image

    picture_format = format_of(output)
    check_output(output, overwrite=force, source=source)
    data = read_input(source, limit_bytes=stream_limit(max_pixels))
    pixels = api.decode(data, model=model, refine=refine, device=device, max_pixels=max_pixels, threads=threads)
    stream = io.BytesIO()
    write_image(pixels, stream, format=picture_format)
    write_atomic(output, stream.getbuffer(), overwrite=force)


# ------------------------------------------------------------------------------------------------ about files


@app.command()
def info(
    file: Input,
    model: Model = None,
    as_json: Json = False,
    indices: Annotated[
        Path | None,
        typer.Option(
            "--indices",
            metavar="FILE",
            help="Write all indices with their codebook, class, channel and cell to a .npz file.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Show what a .vqz file holds and where its bytes go."""
    from vqcodec import api

    if indices is not None:
        check_output(indices, overwrite=force, source=file)
    data = read_input(file, limit_bytes=stream_limit(MAX_PIXELS))
    facts = api.info(data, model=model)
    if indices is not None:
        import io

        import numpy as np

        stream = io.BytesIO()
        np.savez_compressed(stream, **api.indices(data, model=model))  # type: ignore[arg-type]  # an array may be named "allow_pickle" to mypy
        write_atomic(indices, stream.getbuffer(), overwrite=force)
    if as_json:
        _print_json(**facts)
    else:
        from vqcodec.tables import print_info

        print_info(facts, _console())


@app.command()
def verify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The files to check.", show_default=False)],
    model: Model = None,
) -> None:
    """Check files completely: checksums, and that every pixel can be decoded."""
    from vqcodec import api

    failed = 0
    for file in files:
        try:
            api.verify(read_input(file, limit_bytes=stream_limit(MAX_PIXELS)), model=model)
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

        print_models(entries, _console())


# ------------------------------------------------------------------------------------------------ many pictures


@app.command()
def bench(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of them.", show_default=False)],
    codecs: Annotated[
        str, typer.Option("--codecs", metavar="A,B", help="Which to compare; vqz:MODEL is vqz with that model.")
    ] = "vqz,jpeg,webp,avif",
    qualities: Annotated[
        str | None, typer.Option("--qualities", metavar="LIST", help="10,50,90, or per codec: jpeg=10,50;vqz=20,60.")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="CODEC", help="What BD-rates compare with; jpeg if it is there.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results; - for standard output.")
    ] = None,
    report_dir: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write results, tables and a plot.")
    ] = None,
    psnr_only: Annotated[bool, typer.Option("--psnr-only", help="Skip SSIM and MS-SSIM.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Threads for each codec.")] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="Take the first N pictures.")] = None,
    force: Force = False,
) -> None:
    """Compare rate, distortion and speed with other codecs on the same pictures."""
    from vqcodec.bench.run import BenchSettings, parse_qualities, run_bench

    settings = BenchSettings(
        paths=tuple(paths),
        codecs=tuple(codecs.split(",")),
        qualities=parse_qualities(qualities) if qualities else {},
        anchor=anchor,
        json_path=json_path,
        report_dir=report_dir,
        psnr_only=psnr_only,
        threads=threads,
        limit=limit,
        overwrite=force,
        command=shlex.join(["vqcodec", *sys.argv[1:]]),
    )
    run_bench(settings, _console(stderr=json_path == STREAM))


@app.command()
def train(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Pictures of one kind; subfolders and .tar are read.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="MODEL", help="The model's folder, to be made.", show_default=False),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            callback=_known_kind,
            metavar="lite|neural",
            help="The kind of model. lite needs only numpy; neural adds a network to the model it starts from, with torch.",
        ),
    ] = "lite",
    init: Annotated[
        str | None,
        typer.Option("--init", metavar="MODEL", help="Start from it (photo-lite; neural: photo), or none.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Same seed and pictures, same model.")] = 0,
    minutes: Annotated[
        float | None, typer.Option("--minutes", callback=_positive, metavar="N", help="Stop refining after N minutes.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="neural: steps of the optimiser, instead of minutes.")
    ] = None,
    parts: Annotated[
        str,
        typer.Option("--parts", callback=_known_parts, metavar="PARTS", help="neural: which networks to train."),
    ] = ",".join(PARTS),
    device: Annotated[str, typer.Option("--device", metavar="cpu|cuda", help="neural: where to train.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="neural: go on from the checkpoint beside MODEL.")] = False,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="neural: append a JSON line every 50 steps.", show_default=False)
    ] = None,
    force: Force = False,
) -> None:
    """Train a model on a folder of pictures."""
    from vqcodec.registry import DEFAULT_MODEL, LITE_MODEL
    from vqcodec.tables import print_training, stage_progress

    if kind == "lite" and (steps is not None or device != "cpu" or resume or log is not None):
        raise UsageError("--steps, --device, --resume and --log are for --kind neural")
    if kind == "neural" and init == "none":
        raise UsageError("--kind neural starts from a model: --init photo-lite")
    if init is None:
        init = DEFAULT_MODEL if kind == "neural" else LITE_MODEL
    if steps is not None and minutes is not None:
        raise UsageError("--steps and --minutes exclude each other")
    with stage_progress(_console(stderr=True)) as progress:
        if kind == "lite":
            from vqcodec.train.lite import train_lite

            base = None if init == "none" else init
            facts = train_lite(folder, output, init=base, seed=seed, minutes=minutes, overwrite=force, progress=progress)
        else:
            from vqcodec.train.neural import train_neural

            facts = train_neural(
                folder,
                output,
                init=init,
                parts=parts.split(","),
                seed=seed,
                minutes=minutes,
                steps=steps,
                device=device,
                resume=resume,
                overwrite=force,
                progress=progress,
                log=log,
            )
    print_training(facts, output, _console())


# ------------------------------------------------------------------------------------------------ printing


def _print_json(**facts: Any) -> None:
    import json

    print(json.dumps(facts))


def _log(message: str) -> None:
    print(f"vqcodec: {printable(message)}", file=sys.stderr)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)
