"""Stages of `--kind neural`: samples, fits and comparisons of the context and synthesis networks. pipeline.py has their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, TypeVar

import numpy as np

from vqcodec.arrays import Float64
from vqcodec.errors import ModelError
from vqcodec.neural import context, context_fit, synthesis
from vqcodec.neural.context_samples import ContextSamples
from vqcodec.neural.loop import LoopOptions, Schedule
from vqcodec.neural.networks import ConvNetwork, Size, load_tensors
from vqcodec.neural.synthesis import Goal
from vqcodec.train.assembly import Fitted
from vqcodec.train.data import Corpus, TrainingImage, count_pixels
from vqcodec.train.held_out import CHECKING, NO_BETTER, Figures, is_better, is_beyond_chance, measure
from vqcodec.train.samples import make_context_samples, make_samples
from vqcodec.train.selection import cut_in_pieces, pick, shuffled
from vqcodec.train.training_run import TrainingRun
from vqcodec.train.watch import OutOfTimeError, Watch
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import Tensors

S = TypeVar("S", bound=Schedule)
CHECKPOINTS: Final = {
    "tiles": "training the context network of tiles",
    "dcs": "training the context network of means",
    "synthesis": "training the synthesis network",
    "synthesis_ssim": "training the synthesis network for eyes",
}
"""Networks that have a checkpoint of their own, and their names in the progress display."""
BASE, CONTEXT, CONTEXT_AND_CODEBOOKS = "base", "context", "context and codebooks"
"""Candidates after the fit of the context network."""
_CONTEXT_PIXELS: Final = 300_000_000
"""Most pixels of all context samples, 13 bytes each."""
_SYNTHESIS_PIXELS: Final = 320_000_000
"""Most pixels of all synthesis samples, 9 bytes each."""
_MOST_SAMPLES: Final = 8
"""Most samples of one image, each at its own quantiser step."""
_HELD_OUT_PIXELS: Final = 6_000_000
_HELD_OUT_PIXELS_A_MINUTE: Final = 500_000
_SCORED_PIXELS: Final = 2_000_000
"""Pixels of held-out pictures that are coded to files, before and after."""
_SHOWN: Final = 4
"""Held-out pictures in the log."""
_SAMPLED, _HELD_OUT_SAMPLED = 0.2, 0.1
"""Shares of a part's time left for its samples, and for those of held-out pictures."""
_FITTED: Final = {"tiles": 0.45, "dcs": 0.3, "synthesis": 0.85}
"""Share of a part's time left when the fit of each network starts."""
_EYES_SAMPLED: Final = 0.5
"""Share of the time left for the samples that tell whether a synthesis for eyes should be moved along."""
_MATRIX_RATE: Final = 0.02
"""Peak learning rate of Muon in new synthesis networks. Those that continue are trained by Adam alone, as they always were."""
_THINNED: Final = 0.5
"""Factor on the rates of a student that starts from its teacher's channels."""
_CONTINUED: Final = 0.25
"""Factor on the peak learning rate when a trained network continues: at the full rate it first loses what it knew."""
REFIT_PIXELS: Final = 40_000_000
REFIT_STRENGTH: Final = 300.0
"""Pull of new codebooks towards the base model's, in samples."""


@dataclass(frozen=True)
class NeuralTraining:
    """The run, base model and pictures that all stages share."""

    run: TrainingRun
    base: ExactModel
    corpus: Corpus

    @property
    def seed(self) -> int:
        return self.run.seed

    def scheduled(self, settings: Callable[..., S]) -> S:
        """Settings with the seed and length of the run."""
        return self.run.scheduled(settings, self.corpus, self.base)

    def loop_options(self, name: str) -> LoopOptions:
        """Device, checkpoint and report of one of CHECKPOINTS."""
        return self.run.loop_options(name, CHECKPOINTS[name], part=name, counted=f"{name}_steps")

    def held_out(self) -> list[TrainingImage]:
        """A random selection of held-out pictures."""
        pixels = self.run.limited(_HELD_OUT_PIXELS, _HELD_OUT_PIXELS_A_MINUTE)
        return pick(self.corpus.held_out, pixels, np.random.default_rng(self.seed))

    def measure(self, name: str, model: ExactModel, pieces: list[TrainingImage], watch: Watch, share: float = 1.0) -> Figures:
        """Figures of a model on held-out pieces, logged as `name`."""
        figures = measure(model, pieces, watch, share)
        for point in figures.points():
            self.run.training_log.facts(name, point)
        return figures


def repeated(images: list[TrainingImage]) -> list[TrainingImage]:
    """The images of a small folder up to eight times, each time to be coded at another step, so that codebooks fit all steps."""
    return images * max(1, min(_MOST_SAMPLES, REFIT_PIXELS // count_pixels(images)))


def _selection(images: list[TrainingImage], pixels: int, seed: int) -> list[TrainingImage]:
    return pick(images * _MOST_SAMPLES, pixels, np.random.default_rng(seed))


# ---------------------------------------------------------------------------------------------------- context


@dataclass(frozen=True)
class ContextSplit:
    """Samples for training and held-out ones, and the held-out pictures that the latter were made from."""

    train: ContextSamples
    held_out: ContextSamples
    pictures: list[TrainingImage]


def context_samples(training: NeuralTraining, watch: Watch) -> ContextSplit:
    """Code pictures with the base model and record the inputs and targets of a context network. Raises OutOfTimeError."""
    images, pictures = _selection(training.corpus.train, _CONTEXT_PIXELS, training.seed), training.held_out()
    stage, held_out_stage = f"coding {len(images)} pictures", f"coding {len(pictures)} held-out pictures"
    train = make_context_samples(images, training.base, training.seed, stage, watch, _SAMPLED)
    held_out = make_context_samples(pictures, training.base, training.seed + 1, held_out_stage, watch, _HELD_OUT_SAMPLED)
    return ContextSplit(train, held_out, pictures)


def fit_context_network(training: NeuralTraining, samples: ContextSplit, tensors: Tensors, watch: Watch) -> ExactModel:
    """The base model with a context network, new or continued: first the part for tiles, then the part for DC passes."""
    settings = training.scheduled(context_fit.ContextSettings)
    start_tiles, start_dcs = None, None
    if training.base.context:
        start_tiles, start_dcs = context.load_tensors(tensors)
        settings = replace(settings, rate=settings.rate * _CONTINUED)
    train, held_out, timed = samples.train, samples.held_out, training.run.timed
    tile_settings = timed(settings, watch, _FITTED["tiles"])
    tiles = context_fit.fit_tiles(train.tiles, held_out.tiles, tile_settings, training.loop_options("tiles"), start=start_tiles)
    dc_settings = timed(settings, watch, _FITTED["dcs"])
    dcs = context_fit.fit_dcs(train.passes, held_out.passes, dc_settings, training.loop_options("dcs"), start=start_dcs)
    training.run.results.update(context_fit.saved(tiles, dcs, held_out.tiles, held_out.passes, settings))
    others = {name: array for name, array in tensors.items() if not name.startswith("context.")}
    return ExactModel("in training", others | context.to_tensors(tiles, dcs))


def best_context(
    training: NeuralTraining, pictures: list[TrainingImage], tensors: Tensors, candidates: Mapping[str, Fitted], watch: Watch
) -> Tensors:
    """Tensors of the candidate that codes held-out pictures at the lowest cost, or `tensors` if none is better than the base."""
    pieces = shuffled(cut_in_pieces(pick(pictures, _SCORED_PIXELS, np.random.default_rng(0))))
    before = training.measure(BASE, training.base, pieces, watch, 1 / (2 + len(candidates)))
    pieces = pieces[: len(before)]
    figures = {name: training.measure(name, one.model, pieces, watch) for name, one in candidates.items()}
    better = [name for name in candidates if len(figures[name]) == len(pieces) and is_better(figures[name], before)]
    kept = min(better, key=lambda name: figures[name].mean_cost, default=BASE)  # a small folder may teach nothing
    costs = {name: round(found.mean_cost, 4) for name, found in {BASE: before, **figures}.items() if len(found)}
    training.run.results.update({"held_out_costs": costs, "kept": kept})
    if kept == BASE:
        training.run.notes.append(f"the context of {training.base.name} is kept: on {len(pieces)} held-out pictures {NO_BETTER}")
        return tensors
    if kept == CONTEXT_AND_CODEBOOKS:
        training.run.results["codebooks"] = candidates[kept].codebooks
    return candidates[kept].model.tensors


# ---------------------------------------------------------------------------------------------------- synthesis


@dataclass(frozen=True)
class SynthesisSplit:
    """Samples for training and held-out ones."""

    train: list[synthesis.Sample]
    held_out: list[synthesis.Sample]


def synthesis_samples(training: NeuralTraining, tensors: Tensors, goal: Goal, watch: Watch) -> SynthesisSplit:
    """Code pictures and record the error of the plain decode. Raises OutOfTimeError."""
    model = ExactModel("in training", tensors)
    images, pieces = _selection(training.corpus.train, _SYNTHESIS_PIXELS, training.seed), cut_in_pieces(training.held_out())
    stage, held_out_stage = f"coding {len(images)} pictures", f"coding {len(pieces)} held-out pictures"
    train = make_samples(images, model, goal.tune, training.seed, stage, watch, _SAMPLED)
    held_out = make_samples(pieces, model, goal.tune, training.seed + 1, held_out_stage, watch, _HELD_OUT_SAMPLED)
    return SynthesisSplit(train, held_out)


def fit_synthesis_network(training: NeuralTraining, samples: SynthesisSplit, goal: Goal, tensors: Tensors, watch: Watch) -> Tensors:
    """Tensors of a synthesis network of the goal's kind, new or continued."""
    run, start = training.run, _synthesis_of(tensors, goal)
    settings = training.scheduled(synthesis.SynthesisSettings)
    if start is None:
        settings = replace(settings, matrix_rate=_MATRIX_RATE)
    if goal is synthesis.FOR_EYES:  # SSIMULACRA2 sees eighths of larger crops, and takes as long as the network
        settings = replace(settings, batch=6, crop=24, rate=1.6e-3)
    if start is not None:  # grows to the settings' size, and never shrinks
        width, blocks = max(settings.width, len(start.head.weight)), max(settings.blocks, len(start.body))
        settings = replace(settings, rate=settings.rate * _CONTINUED, width=width, blocks=blocks)

    settings = run.timed(settings, watch, _FITTED["synthesis"])
    run.results[f"{goal.kind}_settings"] = asdict(settings)
    options, show = training.loop_options(goal.kind), _shower(training, samples, goal)
    return synthesis.fit_synthesis(samples.train, samples.held_out, settings, options, goal=goal, start=start, show=show)


def teacher_of(training: NeuralTraining, goal: Goal) -> ConvNetwork:
    """The base model's network that a new one for `goal` learns from. Raises ModelError if it has none."""
    teacher = _synthesis_of(training.base.tensors, goal)
    if teacher is None:
        raise ModelError(f"--distil: {training.base.name} has no synthesis network that a new one could learn from")
    return teacher


def fit_student_network(
    training: NeuralTraining, samples: SynthesisSplit, goal: Goal, teacher: ConvNetwork, size: Size, watch: Watch
) -> Tensors:
    """Tensors of a new synthesis network of a size, of the goal's kind, that learns from the teacher; `samples` become its own."""
    run, settings = training.run, training.scheduled(synthesis.SynthesisSettings)
    student = synthesis.new_student(teacher, size, samples.train, training.seed)
    factor = _THINNED if size[:2] == teacher.size[:2] else 1.0
    settings = replace(
        settings, rate=settings.rate * factor, matrix_rate=_MATRIX_RATE * factor, width=size.width, blocks=size.blocks
    )
    for number, sample in enumerate(synthesis.taught(samples.train, teacher, run.device)):
        run.tell("asking the teacher", number, len(samples.train))
        samples.train[number] = sample  # in place: they are gigabytes
    settings = run.timed(settings, watch, _FITTED["synthesis"])
    run.results[f"{goal.kind}_settings"] = asdict(settings)
    options, show = training.loop_options(goal.kind), _shower(training, samples, goal)
    network = synthesis.fit_student(student, samples.train, samples.held_out, settings, options, goal=goal, show=show)
    _note_gains(run, samples, goal, teacher, network)
    return network


def _shower(training: NeuralTraining, samples: SynthesisSplit, goal: Goal) -> Callable[[ConvNetwork], None]:
    """A function that logs what a network makes of some held-out pictures."""

    def show(network: ConvNetwork) -> None:
        number = int(training.run.results.get(f"{goal.kind}_steps", 0))
        for place, sample in enumerate(samples.held_out[:_SHOWN]):
            sheet = synthesis.compare(network, sample, training.base.color)
            training.run.training_log.picture(f"original, plain, refined/{place}", number, sheet)

    return show


def _note_gains(run: TrainingRun, samples: SynthesisSplit, goal: Goal, before: ConvNetwork | None, network: Tensors) -> Float64:
    """Gain of each held-out sample over the network `before`, float64 [samples]; the means of both go to the run's results."""
    held_out = samples.held_out
    count = len(held_out)
    total = count if before is None else 2 * count
    new = -synthesis.held_out_errors(
        load_tensors(network, goal.kind), held_out, "cpu", goal, lambda done: run.tell(CHECKING, done, total)
    )
    old = np.zeros(count)
    if before is not None:
        old = -synthesis.held_out_errors(before, held_out, "cpu", goal, lambda done: run.tell(CHECKING, count + done, total))
    run.results[f"held_out_gain_{goal.unit}_before"] = round(float(old.mean()), 4)
    run.results[f"held_out_gain_{goal.unit}"] = round(float(new.mean()), 4)
    return new - old


def best_synthesis(
    training: NeuralTraining, samples: SynthesisSplit, goal: Goal, tensors: Tensors, network: Tensors, watch: Watch
) -> Tensors:
    """`tensors` with the new synthesis network if held-out pictures gain by more than chance, else unchanged."""
    run, start = training.run, _synthesis_of(tensors, goal)
    if not is_beyond_chance(_note_gains(run, samples, goal, start, network)):
        pictures = len(samples.held_out)
        run.notes.append(f"the {goal.kind} of {training.base.name} is kept: on {pictures} held-out pictures {NO_BETTER}")
        return tensors
    others = best_for_eyes(training, tensors, network, watch) if goal is synthesis.FOR_PSNR else tensors
    return {**others, **network}


def best_for_eyes(training: NeuralTraining, tensors: Tensors, network: Tensors, watch: Watch) -> Tensors:
    """`tensors` with `synthesis_ssim.*` moved along with `network`, if held-out pictures gain by more than chance, else unchanged.

    They gain in a folder of one kind, but not where both networks had learned these pictures before.
    """
    goal, moved = synthesis.FOR_EYES, moved_along(tensors, network)
    if f"{goal.kind}.head" not in moved:
        return moved
    pieces = cut_in_pieces(pick(training.held_out(), _SCORED_PIXELS, np.random.default_rng(0)))
    try:
        model = ExactModel("in training", tensors)
        samples = make_samples(pieces, model, goal.tune, training.seed + 1, CHECKING, watch, _EYES_SAMPLED)
    except OutOfTimeError:
        return tensors
    before, after = (synthesis.held_out_errors(load_tensors(each, goal.kind), samples, "cpu", goal) for each in (tensors, moved))
    training.run.results["held_out_gain_percent_before"] = round(-float(before.mean()), 4)
    training.run.results["held_out_gain_percent_moved"] = round(-float(after.mean()), 4)
    return moved if is_beyond_chance(before - after) else tensors


def moved_along(tensors: Tensors, network: Tensors) -> Tensors:
    """`tensors` with `synthesis_ssim.*` changed as `network` changes `synthesis.*` (task arithmetic, Ilharco et al. 2023).

    Both networks learn the same pictures, so what one learned serves the other. Without it if the network has grown.
    """
    others = {name: array for name, array in tensors.items() if not name.startswith("synthesis_ssim.")}
    if len(others) == len(tensors) or any(network[name].shape != tensors[name].shape for name in network):
        return others
    for name, array in network.items():
        for_eyes = name.replace("synthesis.", "synthesis_ssim.")
        change = array.astype(np.float32) - tensors[name]
        others[for_eyes] = (tensors[for_eyes] + change).astype(np.float16)
    return others


def _synthesis_of(tensors: Tensors, goal: Goal) -> ConvNetwork | None:
    """The network that a training for `goal` continues: that of its kind, else the synthesis, if the model has one."""
    kinds = (kind for kind in (goal.kind, synthesis.FOR_PSNR.kind) if f"{kind}.head" in tensors)
    return next((load_tensors(tensors, kind) for kind in kinds), None)
