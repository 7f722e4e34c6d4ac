"""Options of commands: their types, and what their values may be."""

import math
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vqcodec.errors import VqcodecError, printable
from vqcodec.io.files import STREAM

USAGE = 2


class UsageError(VqcodecError):
    """The options contradict each other or name what does not exist."""

    exit_code = USAGE


def size_of(text: str) -> int:
    """Bytes: 20000, 20k (1000 each), 20KiB (1024 each), also M."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kM])(i?)B?|B?)", text, re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size: write 20000, 20k or 20KiB")
    number, prefix, binary = match.groups()
    power = {"": 0, "k": 1, "m": 2}[(prefix or "").lower()]
    size = round(float(number) * float(1024 if binary else 1000) ** power)
    if size < 1:
        raise typer.BadParameter(f"{text!r} is no size for a file")
    return size


def percentage(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 100:
        raise typer.BadParameter(f"{value:g} is not between 0 and 100")
    return value


def positive(value: float | None) -> float | None:
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise typer.BadParameter(f"{value:g} is not a positive number")
    return value


def finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value:g} is not a number to reckon with")
    return value


def known_refine(value: str | None) -> str | None:
    if value is not None and value not in ("none", "best", "gan"):
        raise typer.BadParameter(f"{value!r} is not a decoder of this version; 'none', 'best' and 'gan' are")
    return value


def known_tune(value: str) -> str:
    if value not in ("psnr", "ssim"):
        raise typer.BadParameter(f"{value!r} is not a tune; 'psnr' and 'ssim' are")
    return value


def known_device(value: str) -> str:
    if value not in ("cpu", "cuda", "auto"):
        raise typer.BadParameter(f"{value!r} is not a device; 'cpu', 'cuda' and 'auto' are")
    return value


def region_of(text: str) -> tuple[int, int, int, int]:
    """Left, top, width, height: 0,0,640,480."""
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a region: write x,y,width,height", param_hint="--region")
    x, y, width, height = map(int, match.groups())
    return x, y, width, height


def known_tile(value: int | None) -> int | None:
    """A power of two that a file can have for the side of its tile groups."""
    if value is not None and (value not in range(64, 65537) or value & (value - 1)):
        raise typer.BadParameter(f"{value} is not 64, 128, 256, ... or 65536")
    return value


def known_scale(value: int) -> int:
    """A divisor of the size."""
    if value not in (1, 2, 4, 8):
        raise typer.BadParameter(f"{value} is not 1, 2, 4 or 8")
    return value


def known_picture(value: str | None) -> str | None:
    """A suffix of pictures, with or without its dot."""
    if value is None:
        return None
    suffix = "." + value.removeprefix(".").lower()
    if suffix not in (".png", ".ppm", ".jpg", ".webp", ".tif", ".bmp"):
        raise typer.BadParameter(f"{value!r} is not png, ppm, jpg, webp, tif or bmp")
    return suffix


def a_file(value: Path | None) -> Path | None:
    """A file or folder that a stream cannot stand for, and that is no picture."""
    if value == STREAM:
        raise typer.BadParameter("'-' is a stream, which this cannot be: ./- is a file of that name")
    return no_picture(value)


def no_picture(value: Path | None) -> Path | None:
    """An output whose name does not say that it is a picture or a .vqz file, as it is neither."""
    from vqcodec.io.kinds import is_picture_name

    if value is not None and (value.suffix.lower() == ".vqz" or is_picture_name(value.name)):
        what = ".vqz file" if value.suffix.lower() == ".vqz" else "picture"
        raise typer.BadParameter(f"{printable(value)} is a {what}'s name, and something else is written there")
    return value


def sigma_of(text: str) -> float | None:
    """Standard deviation of noise in grey levels; None for auto."""
    from vqcodec.codec.denoising import MAX_SIGMA

    if text == "auto":
        return None
    try:
        sigma = float(text)
    except ValueError:
        sigma = -1
    if not 0 <= sigma <= MAX_SIGMA:
        raise typer.BadParameter(f"{text!r} is neither auto nor 0 to {MAX_SIGMA:g} grey levels", param_hint="--sigma")
    return sigma


class GroupedCommand(TyperCommand):
    """A command whose plain help has a section for each `rich_help_panel` of its options."""

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


path_argument = partial(typer.Argument, readable=False, show_default=False)
path_option = partial(typer.Option, readable=False, show_default=False)
"""Paths, of which files.py tells what the system refuses, not Typer: with an exit code of ours, and one at a time."""
Input = Annotated[Path, path_argument(metavar="IN", help="The file to read; - is standard input.")]
Output = Annotated[Path, path_argument(metavar="OUT", help="The file to write; - is standard output.")]
OutputFolder = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Write to this file or, for several inputs, to this folder; all other names are inputs then. A new name without a"
        " suffix is a folder.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="M",
        help="Use this model, a name or a folder. [default: photo, or the file's own]",
        show_default=False,
    ),
]
Prior = Annotated[
    str, typer.Option("-m", "--model", metavar="M", help="Use this token prior, a name or a folder.", show_default=False)
]
DEFAULT_TEMPERATURE = 1.0
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        callback=finite,
        min=0.01,
        max=100,
        metavar="T",
        help="Draw at this temperature: pictures below 1 are likelier, and less various.",
    ),
]
MAX_SEED = 2**64 - 1
"""Of torch."""
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=MAX_SEED, metavar="S", help="Start from this seed: the same one makes the same picture.")
]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite the output if it exists.")]
Jobs = Annotated[
    int | None,
    typer.Option("-j", "--jobs", min=1, metavar="N", help="Use N processes for a folder. [default: 1]", show_default=False),
]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Convert only part I of N of a folder. [default: 1/1]", show_default=False),
]
Manifest = Annotated[
    Path | None,
    path_option(
        "--manifest",
        callback=a_file,
        metavar="FILE",
        help="Add a JSON line for each file of a folder; a later run goes on from them.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 3 if a file of a folder is skipped.")]
KeepTimes = Annotated[
    bool, typer.Option("--keep-times", help="Give outputs the times of last change and last access of their sources.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="Use N cores. [default: all; 1 for each process of a folder]",
        show_default=False,
    ),
]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, metavar="N", help="Refuse pictures with more pixels.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no notes, no summary and no progress; errors are still printed.")]
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
