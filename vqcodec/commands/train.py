"""The command that trains models."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vqcodec.options import MAX_SEED, Force, UsageError, a_file, finite, path_argument, path_option, positive
from vqcodec.printing import console, tell

if TYPE_CHECKING:
    from vqcodec.train.course import Course

_KINDS: Final = ("lite", "neural", "refiner", "token", "token-prior", "denoiser")
"""What can be trained."""
_PARTS: Final = {"neural": ("context", "synthesis"), "token": ("encoder", "decoder")}
"""The networks of a model, by its kind."""


def _known_kind(value: str) -> str:
    if value not in _KINDS:
        raise typer.BadParameter(f"{value!r} cannot be trained by this version; {', '.join(map(repr, _KINDS))} can")
    return value


def _known_device(value: str) -> str:
    if value not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{value!r} cannot be trained on; 'cpu' and 'cuda' can")
    return value


def _known_cell(value: int | None) -> int | None:
    """Pixels a side of a token model's cells."""
    if value not in (None, 8, 16):
        raise typer.BadParameter(f"{value} is not 8 or 16")
    return value


_option = partial(typer.Option, show_default=False)
_weight = partial(typer.Option, show_default=False, callback=finite, min=0)


def train(
    folder: Annotated[
        Path, path_argument(metavar="FOLDER", help="Pictures of one kind; subfolders and .tar are read, or a gzipped idx file.")
    ],
    output: Annotated[
        Path, path_option("-o", "--output", callback=a_file, metavar="MODEL", help="The model's folder, to be made.")
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            callback=_known_kind,
            metavar="|".join(_KINDS),
            help="lite needs only numpy, the others torch: neural adds networks to the model it starts from, refiner sharpens "
            "decodes, token has one index a cell and a low rate, token-prior makes pictures of such, denoiser takes noise out.",
        ),
    ] = "lite",
    init: Annotated[
        str | None,
        _option(
            "--init",
            metavar="MODEL",
            help="Start from it, or none (lite: photo-lite; neural, refiner: photo; token-prior: its token model; others: none).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, metavar="N", help="Same seed and pictures, same model.")] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", callback=positive, metavar="N", help="Length of training; 20. Lite: no attempt is begun after half of it."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, metavar="N", help="Not lite: steps of the optimiser, instead of minutes.")
    ] = None,
    parts: Annotated[
        str | None,
        _option(
            "--parts",
            metavar="PARTS",
            help="Which networks to train. neural: context,synthesis; token: encoder,decoder, or decoder alone, with --init.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", callback=_known_device, metavar="cpu|cuda", help="Not lite: where to train.")
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
    refiner: Annotated[str | None, _option("--refiner", metavar="M", help="refiner: go on from this one.")] = None,
    perceptual: Annotated[
        Path | None, path_option("--perceptual", metavar="DIR", help="refiner, token: LPIPS's weights over SqueezeNet.")
    ] = None,
    cell: Annotated[
        int | None, _option("--cell", callback=_known_cell, metavar="8|16", help="token: pixels a side of a cell; 8.")
    ] = None,
    codewords: Annotated[int | None, _option("--codewords", min=2, max=65536, metavar="K", help="token: codewords; 256.")] = None,
    batch: Annotated[int | None, _option("--batch", min=1, metavar="N", help="token: crops a step; 64.")] = None,
    beta: Annotated[float | None, _weight("--beta", metavar="B", help="token: weight of the commitment, in L_c; 0.25.")] = None,
    cosine: Annotated[bool, typer.Option("--cosine", help="token: codewords of unit length, told apart by angle.")] = False,
    lambda_r: Annotated[
        float | None, _weight("--lambda-r", metavar="X", help="Weight of the squared error; refiner, token 1.")
    ] = None,
    lambda_p: Annotated[
        float | None, _weight("--lambda-p", metavar="X", help="Of the perceptual distance; refiner 4, token 0.")
    ] = None,
    lambda_t: Annotated[float | None, _weight("--lambda-t", metavar="X", help="Of the texture's statistics; refiner 0.5.")] = None,
    lambda_a: Annotated[
        float | None, _weight("--lambda-a", metavar="X", help="Of the adversarial loss; refiner 0.8, token 0.")
    ] = None,
    lambda_c: Annotated[
        float | None, _weight("--lambda-c", metavar="X", help="Of shifts of colour, refiner 10; of L_c, token 1.")
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
    networks = {"--steps": steps, "--device": device != "cpu", "--resume": resume, "--log": log, "--tensorboard": board}
    losses = {
        "--lambda-r": lambda_r,
        "--lambda-p": lambda_p,
        "--lambda-a": lambda_a,
        "--lambda-c": lambda_c,
        "--adaptive": adaptive,
    }
    shape: dict[str, float | None] = {"--cell": cell, "--codewords": codewords, "--cosine": cosine}
    own = {"--batch": batch, "--beta": beta}
    _of_kinds(kind, networks, *_KINDS[1:])
    _of_kinds(kind, losses | {"--perceptual": perceptual, "--sheets": sheets}, "refiner", "token")
    _of_kinds(kind, {"--refiner": refiner, "--lambda-t": lambda_t}, "refiner")
    _of_kinds(kind, shape | own, "token")
    base, trained = _base_of(kind, init), _parts_of(kind, parts)
    if kind == "token":
        _check_tokens(base, trained, shaped=bool(_given(shape)), unweighed=adaptive and not lambda_a)
    if kind in ("refiner", "token-prior") and base is not None and _is_same_folder(base, output):
        raise UsageError("--init and -o are one folder: the model that this one is for would be lost")
    if steps is not None and minutes is not None:
        raise UsageError("--steps and --minutes exclude each other")

    from vqcodec.tables import print_training, stage_progress

    with stage_progress(console(stderr=True)) as progress:
        if kind == "lite":
            from vqcodec.train.lite import train_lite

            facts = train_lite(folder, output, init=base, seed=seed, minutes=minutes, overwrite=force, progress=progress)
        else:
            from vqcodec.train.course import Course

            course = Course(folder, output, seed, minutes, steps, device, resume, force, progress, log, board, sheets)
            chosen = _given(losses | {"--lambda-t": lambda_t} | shape | own)
            settings = {name.removeprefix("--").replace("-", "_"): value for name, value in chosen.items()}
            facts = _train_networks(kind, course, base, trained, refiner, perceptual, settings)
    if count := facts["corpus"]["skipped"]:
        tell(f"note: {count} files were left out, first {facts['corpus']['skipped_files'][0]}")
    print_training(facts, output, console())


def _train_networks(
    kind: str,
    course: "Course",
    base: Any,
    parts: Sequence[str],
    refiner: str | None,
    perceptual: Path | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """A model of a kind that needs torch; returns its model.json. `settings` are those of the kind, by name."""
    if kind == "neural":
        from vqcodec.train.neural import train_neural

        return train_neural(course, init=base, parts=parts)
    if kind == "refiner":
        from vqcodec.train.refiner import train_refiner

        return train_refiner(course, init=base, refiner=refiner, perceptual=perceptual, weights=settings)
    if kind == "token":
        from vqcodec.train.token import train_token

        return train_token(course, init=base, parts=parts, perceptual=perceptual, given=settings)
    if kind == "token-prior":
        from vqcodec.train.token_prior import train_prior

        return train_prior(course, init=base)
    from vqcodec.train.denoiser import train_denoiser

    return train_denoiser(course, init=base)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given: neither None nor a flag that is not set."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def _of_kinds(kind: str, options: Mapping[str, object], *kinds: str) -> None:
    """Raise UsageError for options, by name, that are given and that the `kind` to be trained does not have."""
    if kind not in kinds and (given := _given(options)):
        raise UsageError(f"{' and '.join(given)}: only for --kind {', '.join(kinds)}")


def _base_of(kind: str, init: str | None) -> str | Path | None:
    """The model that training starts from, by name or by path; None for none. Raises ModelError, UsageError."""
    from vqcodec.registry import DEFAULT_MODEL, LITE_MODEL, installed

    known = {"lite": LITE_MODEL, "neural": DEFAULT_MODEL, "refiner": DEFAULT_MODEL}
    if init is None and kind in known:
        return installed(known[kind])
    base = None if init == "none" else init
    if base is None and kind in ("neural", "refiner", "token-prior"):
        what = "token model: --init MODEL" if kind == "token-prior" else "model: --init photo-lite"
        raise UsageError(f"--kind {kind} starts from a {what}")
    return base


def _parts_of(kind: str, value: str | None) -> list[str]:
    """The networks to train: all of the kind unless some are named. Raises UsageError."""
    known = _PARTS.get(kind, ())
    if value is None:
        return list(known)
    _of_kinds(kind, {"--parts": value}, *_PARTS)
    for part in value.split(","):
        if part not in known:
            raise UsageError(f"{part!r} is not a network of --kind {kind}; {' and '.join(known)} are")
    if kind == "token" and "decoder" not in value.split(","):
        raise UsageError("--parts encoder: a decoder has to follow its codebook")
    return value.split(",")


def _check_tokens(base: str | Path | None, parts: Sequence[str], *, shaped: bool, unweighed: bool) -> None:
    """Raise UsageError where the options of a token model contradict each other: `shaped`, some say how large it is; `unweighed`,
    there is no adversarial loss to adapt."""
    if base is not None and shaped:
        raise UsageError("--cell, --codewords and --cosine are those of the model that --init names")
    if base is None and "encoder" not in parts:
        raise UsageError("--parts decoder goes on from a token model: name it by --init")
    if unweighed:
        raise UsageError("--adaptive weighs the adversarial loss, which --kind token has by --lambda-a")


def _is_same_folder(first: str | Path, second: Path) -> bool:
    return os.path.isdir(second) and os.path.realpath(first) == os.path.realpath(second)
