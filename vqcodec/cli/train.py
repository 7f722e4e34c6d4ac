"""The command that trains models."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vqcodec.cli import train_options as given
from vqcodec.cli.options import NO_GAIN, Force, Json, Quiet, UsageError
from vqcodec.cli.printing import console, print_json, tell, tell_at_once

if TYPE_CHECKING:
    from vqcodec.train.options import RefinerOptions, TokenOptions
    from vqcodec.train.result import Plan, Trained
    from vqcodec.train.training_run import TrainingRun


def train(
    folder: given.Folder,
    output: given.ModelOutput,
    kind: given.KindOption = "neural",
    init: given.Init = None,
    minutes: given.Minutes = None,
    seed: given.TrainingSeed = 0,
    force: Force = False,
    keep: given.Keep = False,
    quiet: Quiet = False,
    as_json: Json = False,
    parts: given.Parts = None,
    distil: given.Distil = None,
    steps: given.Steps = None,
    device: given.DeviceOption = "cpu",
    resume: given.Resume = False,
    log: given.Log = None,
    board: given.Board = None,
    sheets: given.Sheets = None,
    perceptual: given.Perceptual = None,
    lambda_r: given.LambdaR = None,
    lambda_p: given.LambdaP = None,
    lambda_a: given.LambdaA = None,
    adaptive: given.Adaptive = False,
    lambda_c: given.LambdaC = None,
    lambda_t: given.LambdaT = None,
    refiner: given.StartRefiner = None,
    cell: given.Cell = None,
    codewords: given.Codewords = None,
    cosine: given.Cosine = False,
    batch: given.Batch = None,
    beta: given.Beta = None,
) -> None:
    """Train a model on a folder of pictures."""
    of_networks = {"--steps": steps, "--device": device != "cpu", "--resume": resume, "--tensorboard": board}
    losses = {
        "--lambda-r": lambda_r,
        "--lambda-p": lambda_p,
        "--lambda-a": lambda_a,
        "--lambda-c": lambda_c,
        "--adaptive": adaptive,
    }
    size = {"--cell": cell, "--codewords": codewords, "--cosine": cosine}
    given.only_for(kind, of_networks, *given.NEURAL_KINDS)
    given.only_for(kind, losses | {"--perceptual": perceptual, "--sheets": sheets}, "refiner", "token")
    given.only_for(kind, {"--refiner": refiner, "--lambda-t": lambda_t}, "refiner")
    given.only_for(kind, {"--distil": distil}, "neural")
    size_of_students = None if distil is None else given.network_size(distil)
    given.only_for(kind, size | {"--batch": batch, "--beta": beta}, "token")
    base = given.base_of(kind, init)
    if kind in ("neural", "refiner", "token-prior"):
        base = given.required_base(kind, base)
    networks = given.parts_of(kind, parts)
    if kind == "token":
        given.check_token_options(base, networks, sized=bool(given.given(size)), adaptive_alone=adaptive and not lambda_a)
    if kind in ("refiner", "token-prior") and base is not None and given.is_same_folder(base, output):
        raise UsageError("--init and -o name the same folder: -o would replace the model that the new one depends on")
    if steps is not None and minutes is not None:
        raise UsageError("--steps and --minutes exclude each other")

    started = time.monotonic()
    from vqcodec.cli.tables import stage_progress
    from vqcodec.runtime.interrupts import first_interrupt
    from vqcodec.train import options
    from vqcodec.train.watch import DEFAULT_MINUTES, OutOfTimeError, Stop, StoppedError

    refiner_options = options.RefinerOptions(
        lambda_r=lambda_r, lambda_p=lambda_p, lambda_a=lambda_a, lambda_c=lambda_c, adaptive=adaptive, lambda_t=lambda_t
    )
    token_options = options.TokenOptions(
        lambda_r=lambda_r,
        lambda_p=lambda_p,
        lambda_a=lambda_a,
        lambda_c=lambda_c,
        adaptive=adaptive,
        cell=None if cell is None else int(cell),
        codewords=codewords,
        cosine=cosine,
        batch=batch,
        beta=beta,
    )

    limit = minutes if kind in ("lite", "graphic") or minutes or steps else DEFAULT_MINUTES
    stop = Stop()
    plans: list[Plan] = []

    def announce(plan: "Plan") -> None:
        plans.append(plan)
        if not quiet:
            for line in plan.lines():
                tell(line)

    def ask_to_stop() -> None:
        if not quiet:
            tell_at_once("stopping with the best so far; Ctrl-C again stops at once")
        stop.ask()

    with first_interrupt(ask_to_stop), stage_progress(console(stderr=True, quiet=quiet), limit) as progress:
        if kind == "lite":
            from vqcodec.train.lite import train_lite

            trained = train_lite(
                folder,
                output,
                init=base,
                seed=seed,
                minutes=minutes,
                overwrite=force,
                keep=keep,
                progress=progress,
                announce=announce,
                stop=stop,
                log=log,
            )
        elif kind == "graphic":
            from vqcodec.train.graphic import train_graphic

            trained = train_graphic(
                folder,
                output,
                minutes=minutes,
                overwrite=force,
                keep=keep,
                progress=progress,
                announce=announce,
                stop=stop,
                log=log,
            )
        else:
            from vqcodec.train.training_run import TrainingRun as Run  # needs torch

            run = Run(
                folder,
                output,
                seed=seed,
                minutes=minutes,
                steps=steps,
                device=device,
                resume=resume,
                overwrite=force,
                keep=keep,
                progress=progress,
                announce=announce,
                stop=stop,
                log=log,
                board=board,
                sheets=sheets,
                started=started,
            )
            trained = _train_networks(
                kind,
                run,
                base,
                networks,
                distil=size_of_students,
                refiner=refiner,
                perceptual=perceptual,
                refiner_options=refiner_options,
                token_options=token_options,
            )
    _report(trained, plans[-1], output, quiet=quiet, as_json=as_json)
    if trained.stopped:
        raise typer.Exit(StoppedError.exit_code)
    if not trained.written:
        raise typer.Exit(OutOfTimeError.exit_code if trained.unfinished else NO_GAIN)


def _train_networks(
    kind: given.Kind,
    run: "TrainingRun",
    base: str | Path | None,
    parts: Sequence[str],
    *,
    distil: tuple[int, int, int] | None,
    refiner: str | None,
    perceptual: Path | None,
    refiner_options: "RefinerOptions",
    token_options: "TokenOptions",
) -> "Trained":
    """Train a kind that needs torch."""
    if kind == "neural":
        from vqcodec.neural.networks import Size
        from vqcodec.train.neural import train_neural

        return train_neural(run, init=given.required_base(kind, base), parts=parts, distil=Size(*distil) if distil else None)
    if kind == "refiner":
        from vqcodec.train.refiner import train_refiner

        init = given.required_base(kind, base)
        return train_refiner(run, init=init, refiner=refiner, perceptual=perceptual, options=refiner_options)
    if kind == "token":
        from vqcodec.train.token import train_token

        return train_token(run, init=base, parts=parts, perceptual=perceptual, options=token_options)
    if kind == "token-prior":
        from vqcodec.train.token_prior import train_prior

        return train_prior(run, init=given.required_base(kind, base))
    from vqcodec.train.denoiser import train_denoiser

    return train_denoiser(run, init=base)


def _report(trained: "Trained", plan: "Plan", output: Path, *, quiet: bool, as_json: bool) -> None:
    """Print the notes of a training, its comparison with other formats, and where the model is."""
    from vqcodec.cli.tables import plain_facts, print_training

    notes = list(trained.summary.get("notes", []))
    if not quiet:
        if trained.refusal:
            tell(f"{trained.refusal}; nothing is written (--keep writes a model anyway)")
        else:
            for note in notes:
                tell(f"note: {note}")
    if as_json:
        facts = plain_facts(trained.summary)
        print_json(output=os.fspath(output), **facts, notes=notes, plan=plan.facts(), **trained.facts())
    elif not quiet:
        print_training(trained, output, console())
