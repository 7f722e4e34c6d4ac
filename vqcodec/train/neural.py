"""`--kind neural`: a base model with a context network, a synthesis network, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec.neural.loop import check_device, join_processes, leave_processes
from vqcodec.neural.networks import Size
from vqcodec.neural.synthesis import FOR_EYES, FOR_PSNR
from vqcodec.train.comparison import GRAPHICS, are_graphics, compare, installed_models
from vqcodec.train.pipeline import distil_synthesis, fit_context, fit_synthesis
from vqcodec.train.result import Trained, why_not_written
from vqcodec.train.stages import CHECKPOINTS, NeuralTraining
from vqcodec.train.training_run import TrainingRun
from vqcodec.train.watch import OutOfTimeError, Watch
from vqcodec.weights import kinds, registry
from vqcodec.weights.exact import SYNTHESES, ExactModel
from vqcodec.weights.folder import Tensors

Fit = Callable[[NeuralTraining, Tensors, Watch], Tensors]
_GOALS: Final = {"synthesis": FOR_PSNR, "synthesis-ssim": FOR_EYES}
"""Purposes of the synthesis networks, by part."""
PARTS: Final = ("context", "synthesis")
"""Networks that are trained unless some are named."""
_CHECKS: Final = ("checks on held-out pictures", "a comparison with other formats")
_TRAINED: Final = 0.93
"""Share of the time for the parts; the rest is for the report."""
_CONTEXT_TIME: Final = 0.45
"""Share of the time for the context and its codebooks, if both parts are trained."""


def train_neural(run: TrainingRun, *, init: str | Path, parts: Sequence[str] = PARTS, distil: Size | None = None) -> Trained:
    """Train networks for the model `init` and write the model's folder.

    Only the `parts` are trained; the others stay those of `init`. A network that `init` has is continued. A part of `init` is kept
    if there are too few pictures, if the time ends, or if held-out pictures do not gain by more than chance; "notes" say why. With
    `distil`, new synthesis networks of that size learn from those of `init` and replace them, also where they restore less. Without
    it, nothing is written if no part gains or if the gain is too small to pay for the model's size, unless the run keeps any model.
    Minutes are divided among the parts; steps count for each. Under torchrun, the first process writes the model. Raises
    InputError, ModelError, OutputError, MissingExtraError, OutOfTimeError.
    """
    check_device(run.device)
    rank = join_processes(run.device)
    if rank:
        run = replace(run, log=None, board=None)
    base = registry.find(init)
    corpus = run.begin(tuple(CHECKPOINTS))
    training = NeuralTraining(run, base, corpus)
    run.tell_plan(corpus, "neural", base, [*(f"{name} network" for name in parts), *_CHECKS])
    tensors, unfinished = dict(base.tensors), False
    if reason := _why_not(training, gate=distil is None and not run.keep):
        run.notes.append(f"{base.name} is kept as it is: {reason}")
    else:
        fits = run.watch.part(_TRAINED)
        for number, name in enumerate(parts):
            share = 1 / (len(parts) - number)  # of the time left
            watch = fits.part(min(share, _CONTEXT_TIME) if name == "context" and share < 1 else share)
            try:
                tensors = _fit_of(name, distil)(training, tensors, watch)
            except OutOfTimeError as error:
                unfinished = True
                run.notes.append(f"the {name} of {base.name} is kept as it is: {error}")
    model = ExactModel(run.output.name, tensors)
    model.check()
    facts = {"base": base.name, "base_id": base.id, "older_ids": replaced_ids(base, model), **network_sizes(model)}
    options = {"init": init, "parts": ",".join(parts), **({"distil": "x".join(map(str, distil))} if distil else {})}
    leave_processes()
    if rank:
        return Trained(run.summary(model, "neural", options, facts, corpus))
    comparison = None
    if not run.stop.asked and set(parts) != {"synthesis-ssim"}:  # which serves files that are not tuned for PSNR
        comparison = compare(base, model, installed_models(kinds.DEFAULT_MODEL), corpus.held_out, run.watch)
        facts |= {} if comparison is None else {"comparison": comparison.facts()}
    refusal = "" if run.keep or distil else why_not_written(base, model, comparison, run.notes, unfinished=unfinished)
    summary = run.summary(model, "neural", options, facts, corpus)
    return run.finish(model, summary, tuple(CHECKPOINTS), refusal=refusal, unfinished=unfinished, comparison=comparison)


def _why_not(training: NeuralTraining, *, gate: bool) -> str:
    """Why nothing is trained: too few pictures, or, if `gate`, graphics; empty otherwise. Raises OutOfTimeError."""
    if training.corpus.shortage:
        return training.corpus.shortage
    return GRAPHICS if gate and are_graphics(training.corpus.train, training.base, training.run.watch) else ""


def _fit_of(part: str, distil: Size | None) -> Fit:
    """The fit of a part."""
    if part == "context":
        return fit_context
    goal = _GOALS[part]
    return partial(fit_synthesis, goal=goal) if distil is None else partial(distil_synthesis, goal=goal, size=distil)


def replaced_ids(base: ExactModel, model: ExactModel) -> list[str]:
    """Ids of models that `model` replaces: `base` and those before it, if it has its name and differs in synthesis networks only.

    A model of another name would show files of `base` in its place where that one is missing.
    """

    def parsing(tensors: Tensors) -> Tensors:
        return {name: array for name, array in tensors.items() if not name.startswith(SYNTHESES)}

    old, new = parsing(base.tensors), parsing(model.tensors)
    same = old.keys() == new.keys() and all(np.array_equal(array, new[name]) for name, array in old.items())
    return [base.id, *base.older_ids] if same and model.name == base.name and model.id != base.id else []


def network_sizes(model: ExactModel) -> dict[str, Any]:
    """Parameters and multiplications per pixel of the networks, for model.json."""
    found: dict[str, Any] = {}
    macs = {name: network.macs_per_pixel for name, network in model.syntheses.items()}
    if model.context is not None:
        macs = {"context": model.context.macs_per_pixel} | macs
    for name, number in macs.items():
        found[f"{name}_parameters"] = sum(a.size for key, a in model.tensors.items() if key.startswith(f"{name}."))
        found[f"{name}_macs_per_pixel"] = round(number)
    return found
