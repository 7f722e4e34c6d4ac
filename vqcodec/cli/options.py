"""Options that several commands share, and parsers and checks of option values."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand

from vqcodec.errors import InputError, VqcodecError, printable
from vqcodec.io.files import STREAM
from vqcodec.options import REFINES, TUNES, Refine, Region, Tune

USAGE: Final = 2
"""Exit code for wrong usage."""
NO_GAIN: Final = 7
"""Exit code of a training that brings no gain: nothing is written."""


class UsageError(VqcodecError):
    """Options that contradict each other or name something that does not exist."""

    exit_code = USAGE


@contextmanager
def as_usage_errors() -> Iterator[None]:
    """Turn an InputError in the block into a UsageError: impossible option values are wrong usage."""
    try:
        yield
    except InputError as error:
        raise UsageError(error.for_option) from error


class GroupedCommand(TyperCommand):
    """A command whose plain help has a section for each `rich_help_panel` of its options, and required arguments without braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


# ------------------------------------------------------------------------------------------------ parsers


def size_of(text: str) -> int:
    """A number of bytes: 20000, 20k (1000 each) or 20KiB (1024 each), also with M."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kM])(i?)B?|B?)", text, re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size: write 20000, 20k or 20KiB")
    number, prefix, binary = match.groups()
    power = {"": 0, "k": 1, "m": 2}[(prefix or "").lower()]
    size = round(float(number) * float(1024 if binary else 1000) ** power)
    if size < 1:
        raise typer.BadParameter(f"{text!r} is less than one byte")
    return size


def region_of(text: str) -> Region:
    """Left, top, width and height in pixels: 0,0,640,480."""
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a region: write x,y,width,height", param_hint="--region")
    x, y, width, height = map(int, match.groups())
    return x, y, width, height


def sigma_of(text: str) -> float | None:
    """Standard deviation of noise in grey levels; None for "auto"."""
    from vqcodec.codec.denoising import MAX_SIGMA

    if text == "auto":
        return None
    try:
        sigma = float(text)
    except ValueError:
        sigma = -1
    if not 0 <= sigma <= MAX_SIGMA:
        raise typer.BadParameter(f"{text!r} is not auto or a number from 0 to {MAX_SIGMA:g} grey levels", param_hint="--sigma")
    return sigma


def picture_suffix(value: str | None) -> str | None:
    """The suffix for the name of a picture format, which may be given with or without its dot."""
    if value is None:
        return None
    suffix = "." + value.removeprefix(".").lower()
    if suffix not in (".png", ".ppm", ".jpg", ".webp", ".tif", ".bmp"):
        raise typer.BadParameter(f"{value!r} is not png, ppm, jpg, webp, tif or bmp")
    return suffix


# ------------------------------------------------------------------------------------------------ checks


def positive(value: float | None) -> float | None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter(f"{value:g} is not a positive number")
    return value


def finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value:g} is not a finite number")
    return value


def not_a_stream(value: Path | None) -> Path | None:
    """An output that is neither a stream nor named like a picture."""
    if value == STREAM:
        raise typer.BadParameter("'-' is a stream, and a file is needed: ./- is a file of that name")
    return not_a_picture(value)


def not_a_picture(value: Path | None) -> Path | None:
    """An output that is not named like a picture or a .vqz file, as its content is something else."""
    from vqcodec.io.kinds import is_picture_name

    if value is not None and (value.suffix.lower() == ".vqz" or is_picture_name(value.name)):
        kind = ".vqz file" if value.suffix.lower() == ".vqz" else "picture"
        raise typer.BadParameter(f"{printable(value)} is a {kind}'s name, and this output is something else: name another file")
    return value


# ------------------------------------------------------------------------------------------------ options

path_argument = partial(typer.Argument, readable=False, show_default=False)
path_option = partial(typer.Option, readable=False, show_default=False)
"""Paths that Typer does not check: files.py reports what the system refuses, with our exit codes and one error at a time."""
Input = Annotated[Path, path_argument(metavar="IN", help="Read this file; - is standard input.")]
Output = Annotated[Path, path_argument(metavar="OUT", help="Write this file; - is standard output.")]
OutputFolder = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Write to this file or, for several inputs, to this folder. A new name without a suffix is a folder.",
        show_default=False,
    ),
]
Files = Annotated[
    list[Path],
    path_argument(metavar="FILE...", help="Read these .vqz files, and those in these folders; - is standard input."),
]
ModelOfFiles = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="M",
        help="Use this model, by name or folder. [default: the one that the file was encoded with]",
        show_default=False,
    ),
]
Prior = Annotated[
    str, typer.Option("-m", "--model", metavar="M", help="Use this token prior, by name or folder.", show_default=False)
]
DEFAULT_TEMPERATURE: Final = 1.0
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        callback=finite,
        min=0.01,
        max=100,
        metavar="T",
        help="Sample at this temperature. Below 1, pictures are more likely and less varied.",
    ),
]
MAX_SEED: Final = 2**64 - 1
"""The largest seed that torch takes."""
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=MAX_SEED, metavar="S", help="Start from this seed. Equal seeds make equal pictures.")
]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite the output if it exists.")]
Jobs = Annotated[
    int | None,
    typer.Option("-j", "--jobs", min=1, metavar="N", help="Use N processes for many files. [default: 1]", show_default=False),
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Convert only part I of N of a folder. [default: 1/1]", show_default=False),
]
Manifest = Annotated[
    Path | None,
    path_option(
        "--manifest",
        callback=not_a_stream,
        metavar="FILE",
        help="Append a JSON line to FILE for each of many files. A later run with the same FILE resumes.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 3 if a file of a folder is skipped.")]
KeepTimes = Annotated[bool, typer.Option("--keep-times", help="Copy modification and access times from source to output.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="Use N cores. [default: all; 1 for each process of -j]",
        show_default=False,
    ),
]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, metavar="N", help="Refuse pictures with more than N pixels.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no notes, summary or progress. Errors are still printed.")]

# ------------------------------------------------------------------------------------------------ options of encoding

Quality = Annotated[
    float | None,
    typer.Option(
        "-q",
        "--quality",
        metavar="0..100",
        help="Encode at this quality. [default: 60]",
        show_default=False,
    ),
]
Bpp = Annotated[
    float | None,
    typer.Option("--bpp", metavar="X", help="Use at most X bits per pixel.", show_default=False),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size", parser=size_of, metavar="BYTES", help="Use at most this many bytes: 20000, 20k, 20KiB.", show_default=False
    ),
]
Psnr = Annotated[
    float | None,
    typer.Option("--psnr", metavar="DB", help="Reach a PSNR of at least DB.", show_default=False),
]
Ssimulacra2 = Annotated[
    float | None,
    typer.Option(
        "--ssimulacra2",
        metavar="0..100",
        help="Reach at least this SSIMULACRA2, such as 70 for high quality. Needs vqcodec[metrics].",
        show_default=False,
    ),
]
Lossless = Annotated[
    bool,
    typer.Option(
        "--lossless",
        help="Keep every pixel exactly. Such a file has no quality, --tune has no effect, and -m takes graphic models only.",
    ),
]
ModelForFiles = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="M", help="Use this model, by name or folder. [default: photo]", show_default=False),
]
Effort = Annotated[
    int,
    typer.Option(
        "--effort",
        metavar="1..9",
        help="Spend more time to save bytes. 7 takes four to five times as long as 5, and saves 1.5 %.",
    ),
]
TuneFor = Annotated[
    Tune | None,
    typer.Option(
        "--tune",
        metavar="|".join(TUNES),
        help="Optimise for perceived quality (ssim) or for PSNR. [default: ssim; psnr with --psnr]",
        show_default=False,
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        "--tile",
        metavar="N",
        help="Make tile groups of N pixels a side, which can be decoded alone. [default: none; 1024 above 4 megapixels]",
        show_default=False,
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Keep the colours of fully transparent pixels instead of replacing them.")]
Strip = Annotated[bool, typer.Option("--strip", help="Leave out the ICC profile, EXIF and XMP.")]

# ------------------------------------------------------------------------------------------------ options of decoding

RefineBy = Annotated[
    Refine | None,
    typer.Option(
        "--refine",
        metavar="|".join(REFINES),
        help="Decode exactly (none), with the model's network (best), or with invented sharpness (gan). [default: best if the"
        " model has a network, else none] Files without a model are always decoded exactly.",
        show_default=False,
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        callback=picture_suffix,
        metavar="png|...",
        help="Write this format if no OUT names one. [default: png]",
        show_default=False,
    ),
]
PictureQuality = Annotated[
    int | None,
    typer.Option(
        "--quality",
        min=0,
        max=100,
        metavar="0..100",
        help="Write JPEG or WebP at this quality. [default: 95 for JPEG, lossless for WebP]",
        show_default=False,
    ),
]
