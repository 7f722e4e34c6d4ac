"""The command that trains models."""

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vqcodec.cli.options import MAX_SEED, Force, Json, Quiet, UsageError, finite, not_a_stream, path_argument, path_option, positive
from vqcodec.cli.printing import console, print_json, tell

if TYPE_CHECKING:
    from vqcodec.train.course import Course

_KINDS: Final = ("lite", "neural", "refiner", "token", "token-prior", "denoiser")
"""What can be trained."""
_MOST_MINUTES: Final = 1_000_000
"""Two years."""
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


_NETWORKS: Final = "Networks (all kinds but lite)"
_LOSSES: Final = "Losses (refiner and token)"
_TOKENS: Final = "Token models"
"""Groups of options in the help."""

_option = partial(typer.Option, show_default=False)
_network = partial(typer.Option, show_default=False, rich_help_panel=_NETWORKS)
_loss = partial(typer.Option, show_default=False, rich_help_panel=_LOSSES)
_weight = partial(_loss, callback=finite, min=0, metavar="X")
_token = partial(typer.Option, show_default=False, rich_help_panel=_TOKENS)


def train(
    folder: Annotated[
        Path,
        path_argument(
            metavar="FOLDER", help="The pictures: a folder with its subfolders and .tar files, a .tar file, or a gzipped idx file."
        ),
    ],
    output: Annotated[
        Path, path_option("-o", "--output", callback=not_a_stream, metavar="MODEL", help="Write the model to MODEL.")
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            callback=_known_kind,
            metavar="KIND",
            help="Train this kind of model: lite (predictors and codebooks; all others need torch), neural (networks for a model"
            " that there is), refiner (sharpens decoded pictures), token (one index for each cell, a low rate), token-prior"
            " (draws pictures of a token model), or denoiser.",
        ),
    ] = "lite",
    init: Annotated[
        str | None,
        _option(
            "--init",
            metavar="MODEL",
            help="Start from this model, a name or a folder; none starts from nothing. [default: photo-lite for lite, photo for"
            " neural and refiner, none for token and denoiser; required for token-prior]",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        _option(
            "--minutes",
            callback=positive,
            max=_MOST_MINUTES,
            metavar="N",
            help="End after N minutes, reading and checking included. [default: 20; for lite as long as it takes]",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            max=MAX_SEED,
            metavar="N",
            help="Start from this seed: the same one makes the same model.",
        ),
    ] = 0,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    parts: Annotated[
        str | None,
        _network(
            "--parts",
            metavar="PARTS",
            help="Train these networks, separated by commas: context and synthesis of neural; encoder and decoder of token,"
            " or decoder alone with --init. [default: all]",
        ),
    ] = None,
    steps: Annotated[int | None, _network("--steps", min=1, metavar="N", help="End after N steps of the optimiser.")] = None,
    device: Annotated[
        str,
        typer.Option("--device", callback=_known_device, metavar="DEVICE", help="Train on cpu or cuda.", rich_help_panel=_NETWORKS),
    ] = "cpu",
    resume: Annotated[
        bool, _network("--resume", help="Go on from the checkpoint of an interrupted training, MODEL.checkpoint, if there is one.")
    ] = False,
    log: Annotated[
        Path | None,
        path_option(
            "--log",
            callback=not_a_stream,
            metavar="FILE",
            help="Append a JSON line to FILE every 50 steps.",
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
    board: Annotated[
        Path | None,
        path_option(
            "--tensorboard",
            callback=not_a_stream,
            metavar="DIR",
            help="Write curves and pictures for TensorBoard to DIR.",
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
    sheets: Annotated[
        Path | None,
        path_option(
            "--sheets",
            callback=not_a_stream,
            metavar="DIR",
            help="Write held-out crops as PNG to DIR every 500 steps.",
            rich_help_panel=_LOSSES,
        ),
    ] = None,
    perceptual: Annotated[
        Path | None,
        path_option(
            "--perceptual",
            metavar="DIR",
            help="Measure the perceptual distance by LPIPS, with the SqueezeNet weights in DIR. [default: by gradient statistics]",
            rich_help_panel=_LOSSES,
        ),
    ] = None,
    lambda_r: Annotated[float | None, _weight("--lambda-r", help="Weigh the squared error by X. [default: 1]")] = None,
    lambda_p: Annotated[
        float | None, _weight("--lambda-p", help="Weigh the perceptual distance by X. [default: 4 for refiner, 0 for token]")
    ] = None,
    lambda_a: Annotated[
        float | None, _weight("--lambda-a", help="Weigh the adversarial loss by X. [default: 0.8 for refiner, 0 for token]")
    ] = None,
    adaptive: Annotated[bool, _loss("--adaptive", help="Weigh the adversarial loss by gradients, too, as VQGAN does.")] = False,
    lambda_c: Annotated[
        float | None,
        _weight(
            "--lambda-c",
            help="Weigh shifts of colour (refiner) or the codebook loss (token) by X. [default: 10 for refiner, 1 for token]",
        ),
    ] = None,
    lambda_t: Annotated[
        float | None, _weight("--lambda-t", help="Weigh the statistics of texture by X; refiner only. [default: 0.5]")
    ] = None,
    refiner: Annotated[
        str | None, _loss("--refiner", metavar="MODEL", help="Go on from this refiner, a name or a folder; refiner only.")
    ] = None,
    cell: Annotated[
        int | None,
        _token("--cell", callback=_known_cell, metavar="SIDE", help="Code cells of 8 or 16 pixels a side. [default: 8]"),
    ] = None,
    codewords: Annotated[
        int | None, _token("--codewords", min=2, max=65536, metavar="K", help="Make a codebook of K codewords. [default: 256]")
    ] = None,
    cosine: Annotated[bool, _token("--cosine", help="Give all codewords unit length, so that angles tell them apart.")] = False,
    batch: Annotated[int | None, _token("--batch", min=1, metavar="N", help="Take N crops in a step. [default: 64]")] = None,
    beta: Annotated[
        float | None,
        _token(
            "--beta",
            callback=finite,
            min=0,
            metavar="B",
            help="Weigh the commitment of the encoder by B in the codebook loss. [default: 0.25]",
        ),
    ] = None,
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

    started = time.monotonic()
    from vqcodec.cli.tables import plain_facts, print_training, stage_progress
    from vqcodec.train.watch import DEFAULT_MINUTES

    limit = minutes if kind == "lite" or minutes or steps else DEFAULT_MINUTES
    with stage_progress(console(stderr=True, quiet=quiet), limit) as progress:
        if kind == "lite":
            from vqcodec.train.lite import train_lite

            facts = train_lite(folder, output, init=base, seed=seed, minutes=minutes, overwrite=force, progress=progress)
        else:
            from vqcodec.train.course import Course

            course = Course(folder, output, seed, minutes, steps, device, resume, force, progress, log, board, sheets, started)
            chosen = _given(losses | {"--lambda-t": lambda_t} | shape | own)
            settings = {name.removeprefix("--").replace("-", "_"): value for name, value in chosen.items()}
            facts = _train_networks(kind, course, base, trained, refiner, perceptual, settings)
    notes = list(facts.get("notes", []))
    if count := facts["corpus"]["skipped"]:
        notes.append(f"{count} files were left out, first {facts['corpus']['skipped_files'][0]}")
    if not quiet:
        for note in notes:
            tell(f"note: {note}")
    if as_json:
        print_json(output=os.fspath(output), **plain_facts(facts), notes=notes)
    elif not quiet:
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
    from vqcodec.weights.kinds import DEFAULT_MODEL
    from vqcodec.weights.registry import LITE_MODEL, installed

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
