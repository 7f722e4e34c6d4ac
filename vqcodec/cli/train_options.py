"""Options of `train`: their types and help, and the checks of those that depend on each other."""

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from vqcodec.cli.options import MAX_SEED, UsageError, finite, not_a_stream, path_argument, path_option, positive

Kind = Literal["lite", "graphic", "neural", "refiner", "token", "token-prior", "denoiser"]
TrainingDevice = Literal["cpu", "cuda"]
CellSide = Literal["8", "16"]
NEURAL_KINDS: Final[tuple[Kind, ...]] = ("neural", "refiner", "token", "token-prior", "denoiser")
"""Kinds with networks in torch."""
_PARTS: Final[dict[Kind, tuple[str, ...]]] = {"neural": ("context", "synthesis", "synthesis-ssim"), "token": ("encoder", "decoder")}
"""Networks that --parts can name."""
_DEFAULT_PARTS: Final[dict[Kind, tuple[str, ...]]] = {"neural": ("context", "synthesis"), "token": ("encoder", "decoder")}
"""Networks that can be trained separately."""
_MOST_MINUTES: Final = 1_000_000
"""Two years."""
_NETWORKS: Final = "Networks (all kinds but lite)"
_LOSSES: Final = "Losses (refiner and token)"
_TOKENS: Final = "Token models"
"""Groups of options in the help."""

_option = partial(typer.Option, show_default=False)
_network = partial(typer.Option, show_default=False, rich_help_panel=_NETWORKS)
_loss = partial(typer.Option, show_default=False, rich_help_panel=_LOSSES)
_weight = partial(_loss, callback=finite, min=0, metavar="X")
_token = partial(typer.Option, show_default=False, rich_help_panel=_TOKENS)

Folder = Annotated[
    Path,
    path_argument(
        metavar="FOLDER",
        help="Pictures to train on: a folder with its subfolders and .tar files, a .tar file, or a gzipped idx file.",
    ),
]
ModelOutput = Annotated[
    Path, path_option("-o", "--output", callback=not_a_stream, metavar="MODEL", help="Write the model to MODEL.")
]
KindOption = Annotated[
    Kind,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Train this kind of model: neural (context and synthesis networks of a model such as photo, the default of encode),"
        " lite (predictors and codebooks of one such as photo-lite, which decodes faster; needs numpy only), graphic (what"
        " screenshots, scans of text and the like have in common), refiner (sharpens decoded pictures), token (one index per"
        " cell, at a low rate), token-prior (generates pictures for a token model), or denoiser.",
    ),
]
Init = Annotated[
    str | None,
    _option(
        "--init",
        metavar="MODEL",
        help="Start from this model, a name or a folder; none starts from scratch. [default: photo for neural and refiner,"
        " photo-lite for lite, none for token and denoiser; required for token-prior]",
    ),
]
Minutes = Annotated[
    float | None,
    _option(
        "--minutes",
        callback=positive,
        max=_MOST_MINUTES,
        metavar="N",
        help="Stop after N minutes in total. [default: 20; no limit for lite and graphic]",
    ),
]
TrainingSeed = Annotated[
    int,
    typer.Option("--seed", min=0, max=MAX_SEED, metavar="N", help="Random seed; equal seeds give equal models."),
]
Parts = Annotated[
    str | None,
    _network(
        "--parts",
        metavar="PARTS",
        help="Train only these networks, separated by commas: context, synthesis, synthesis-ssim (neural); encoder,decoder, or"
        " decoder with --init (token). [default: context,synthesis; encoder,decoder]",
    ),
]
Distil = Annotated[
    str | None,
    _network(
        "--distil",
        metavar="WxB[xI]",
        help="Replace the synthesis networks that --parts names by others with W channels, B blocks, and I channels inside a block"
        " (default 2 W), such as 224x6x160. They learn from those of --init, and start from them if only I is less; neural only.",
    ),
]
Steps = Annotated[int | None, _network("--steps", min=1, metavar="N", help="Stop after N steps of the optimiser.")]
DeviceOption = Annotated[
    TrainingDevice, typer.Option("--device", metavar="DEVICE", help="Train on cpu or cuda.", rich_help_panel=_NETWORKS)
]
Resume = Annotated[bool, _network("--resume", help="Continue from the checkpoint of an interrupted training, MODEL.checkpoint.")]
Log = Annotated[
    Path | None,
    path_option(
        "--log",
        callback=not_a_stream,
        metavar="FILE",
        help="Append JSON lines to FILE: the plan, figures every 50 steps of a network, and the result.",
    ),
]
Keep = Annotated[
    bool,
    typer.Option("--keep", help="Write the model even if it does not pay: if it saves nothing, or too little for its own size."),
]
Board = Annotated[
    Path | None,
    path_option(
        "--tensorboard",
        callback=not_a_stream,
        metavar="DIR",
        help="Write curves and pictures for TensorBoard to DIR.",
        rich_help_panel=_NETWORKS,
    ),
]
Sheets = Annotated[
    Path | None,
    path_option(
        "--sheets",
        callback=not_a_stream,
        metavar="DIR",
        help="Write held-out crops as PNG to DIR every 500 steps.",
        rich_help_panel=_LOSSES,
    ),
]
Perceptual = Annotated[
    Path | None,
    path_option(
        "--perceptual",
        metavar="DIR",
        help="Use LPIPS, with the SqueezeNet weights in DIR, as the perceptual distance. [default: gradient statistics]",
        rich_help_panel=_LOSSES,
    ),
]
LambdaR = Annotated[float | None, _weight("--lambda-r", help="Weight of the squared error. [default: 1]")]
LambdaP = Annotated[
    float | None, _weight("--lambda-p", help="Weight of the perceptual distance. [default: 4 for refiner, 0 for token]")
]
LambdaA = Annotated[
    float | None, _weight("--lambda-a", help="Weight of the adversarial loss. [default: 0.8 for refiner, 0 for token]")
]
Adaptive = Annotated[bool, _loss("--adaptive", help="Scale the adversarial loss by the ratio of gradients, as VQGAN does.")]
LambdaC = Annotated[
    float | None,
    _weight(
        "--lambda-c",
        help="Weight of colour shifts (refiner) or of the codebook loss (token). [default: 10 for refiner, 1 for token]",
    ),
]
LambdaT = Annotated[float | None, _weight("--lambda-t", help="Weight of the texture statistics; refiner only. [default: 0.5]")]
StartRefiner = Annotated[
    str | None, _loss("--refiner", metavar="MODEL", help="Continue this refiner, a name or a folder; refiner only.")
]
Cell = Annotated[CellSide | None, _token("--cell", metavar="SIDE", help="Side of a cell in pixels, 8 or 16. [default: 8]")]
Codewords = Annotated[int | None, _token("--codewords", min=2, max=65536, metavar="K", help="Number of codewords. [default: 256]")]
Cosine = Annotated[bool, _token("--cosine", help="Use codewords of unit length, compared by angle.")]
Batch = Annotated[int | None, _token("--batch", min=1, metavar="N", help="Crops per step. [default: 64]")]
Beta = Annotated[
    float | None,
    _token(
        "--beta",
        callback=finite,
        min=0,
        metavar="B",
        help="Weight of the encoder's commitment in the codebook loss. [default: 0.25]",
    ),
]


def given(options: Mapping[str, Any]) -> list[str]:
    """Names of the options that were given: neither None nor False."""
    return [name for name, value in options.items() if value is not None and value is not False]


def only_for(kind: Kind, options: Mapping[str, object], *kinds: Kind) -> None:
    """Raise UsageError if any of the options, by name, is given and `kind` is not one of `kinds`."""
    if kind not in kinds and (names := given(options)):
        raise UsageError(f"{' and '.join(names)}: only for --kind {', '.join(kinds)}")


def base_of(kind: Kind, init: str | None) -> str | Path | None:
    """The model that training starts from, by name or by path; None for none. Raises ModelError, UsageError."""
    from vqcodec.weights.kinds import DEFAULT_MODEL
    from vqcodec.weights.registry import LITE_MODEL, installed

    defaults: dict[Kind, str] = {"lite": LITE_MODEL, "neural": DEFAULT_MODEL, "refiner": DEFAULT_MODEL}
    if init is None and kind in defaults:
        return installed(defaults[kind])
    return None if init == "none" else init


def required_base(kind: Kind, base: str | Path | None) -> str | Path:
    """`base` of a kind that cannot start from scratch. Raises UsageError if it is None."""
    if base is None:
        what = "token model: --init MODEL" if kind == "token-prior" else "model: --init photo-lite"
        raise UsageError(f"--kind {kind} starts from a {what}")
    return base


def parts_of(kind: Kind, value: str | None) -> list[str]:
    """The networks to train: the usual ones of the kind unless some are named. Raises UsageError."""
    known = _PARTS.get(kind, ())
    if value is None:
        return list(_DEFAULT_PARTS.get(kind, ()))
    only_for(kind, {"--parts": value}, *_PARTS)
    parts = value.split(",")
    for part in parts:
        if part not in known:
            raise UsageError(f"{part!r} is not a network of --kind {kind}: choose from {', '.join(known)}")
    if kind == "token" and "decoder" not in parts:
        raise UsageError("--parts encoder: add decoder, which must be trained with its codebook")
    return parts


def network_size(value: str) -> tuple[int, int, int]:
    """Channels, blocks and channels inside a block in the value of --distil. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,4})x(\d{1,2})(?:x(\d{1,4}))?", value)
    width, blocks, inside = (int(found[1]), int(found[2]), int(found[3] or 2 * int(found[1]))) if found else (0, 0, 0)
    if not width * blocks * inside:
        raise UsageError(f"--distil {value!r}: give channels, blocks and channels inside a block, such as 144x4 or 224x6x160")
    return width, blocks, inside


def check_token_options(base: str | Path | None, parts: Sequence[str], *, sized: bool, adaptive_alone: bool) -> None:
    """Raise UsageError if options of a token model contradict each other.

    `sized`: an option sets the model's size. `adaptive_alone`: --adaptive is given without an adversarial loss.
    """
    if base is not None and sized:
        raise UsageError("--cell, --codewords and --cosine are fixed by the model that --init names")
    if base is None and "encoder" not in parts:
        raise UsageError("--parts decoder continues a token model: name it by --init")
    if adaptive_alone:
        raise UsageError("--adaptive scales the adversarial loss, which --kind token has with --lambda-a")


def is_same_folder(first: str | Path, second: Path) -> bool:
    """Whether both paths are the same existing folder."""
    return os.path.isdir(second) and os.path.realpath(first) == os.path.realpath(second)
