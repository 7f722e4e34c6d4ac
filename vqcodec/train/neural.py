"""Training of a neural model: a base model's parts, and networks fitted to what its quantiser delivers.

The *context* network corrects the base model's linear predictions; then codebooks and streams are fitted anew in the contexts
that it makes. The *synthesis* restores what the quantiser lost; it does not touch the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec.arrays import Float32, Float64
from vqcodec.codec import walk
from vqcodec.codec.rate_control import RATE
from vqcodec.entropy.predictor_shapes import predictor_shapes
from vqcodec.neural import context, context_fit, synthesis
from vqcodec.neural.loop import check_device, join_processes, leave_processes
from vqcodec.train import codebooks
from vqcodec.train.assembly import base_books, train_books
from vqcodec.train.course import Course
from vqcodec.train.data import Corpus, TrainingImage
from vqcodec.train.lite import (
    NO_BETTER,
    cut_in_pieces,
    finish,
    held_out_points,
    is_better,
    is_beyond_chance,
    mean_cost,
    measure,
    shuffled,
)
from vqcodec.train.samples import in_processes, make_context_samples, make_samples
from vqcodec.train.sessions import Collector, Fit, LiteSettings, draw_steps, open_aimed, pick
from vqcodec.train.watch import OutOfTimeError, Watch
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import Tensors

PARTS: Final = ("context", "synthesis")
_CONTEXT_PIXELS: Final = 300_000_000
"""Of all samples of the context; one takes 13 bytes a pixel."""
_SYNTHESIS_PIXELS: Final = 320_000_000
"""Of all samples of the synthesis; one takes 9 bytes a pixel."""
_MOST_SAMPLES: Final = 8
"""Of one image, each at a step of its own."""
_HELD_OUT_PIXELS: Final = 6_000_000
_SCORED_PIXELS: Final = 2_000_000
"""Of held-out pictures that are coded to files, before and after."""
_SHOWN: Final = 4
"""Held-out pictures in the log."""
_STAGES: Final = {
    "tiles": "training the context network of tiles",
    "dcs": "training the context network of means",
    "synthesis": "training the synthesis network",
}
"""Names of the networks, each with a checkpoint of its own, and what the display says."""
_CONTEXT: Final = 0.45
"""Share of the time for the context, with its codebooks, where both parts are trained."""
_SAMPLED, _HELD_OUT_SAMPLED = 0.2, 0.1
"""Shares of the time that a part has left, for samples, and for those of held-out pictures."""
_FITTED: Final = {"tiles": 0.45, "dcs": 0.3, "synthesis": 0.85}
"""Shares of the time that a part has left when the fit of a network begins."""
_COUNTED_AGAIN: Final = 0.7
"""Share of the time that the context has left behind its networks, for codebooks and streams."""
_RESIDUALS: Final = 0.3
"""Share of that time for residuals."""
_HELD_OUT_PIXELS_A_MINUTE: Final = 500_000
_CONTINUED: Final = 0.25
"""Of the peak learning rate, where training goes on from a network: with all of it the network is lost before it is better."""
_REFIT_PIXELS: Final = 40_000_000
_REFIT_PULL: Final = 300.0
"""Samples' worth of the base model's codebooks."""


def train_neural(course: Course, *, init: str | Path, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """Train networks for the model `init` and write the model's folder; returns model.json.

    `parts` are those of PARTS that are trained; the others stay as `init` has them. A network that `init` has is gone on from. What
    `init` has is kept where there are too few pictures, where the time ends, and unless the held-out pictures are served better by
    more than chance; "notes" say why. Minutes are shared among the parts, steps are of each. Of the processes that torchrun starts
    the first one writes the model. Raises InputError, ModelError, OutputError, MissingExtraError, OutOfTimeError.
    """
    check_device(course.device)
    rank = join_processes(course.device)
    if rank:
        course = replace(course, log=None, board=None)
    base = registry.find(init)
    run = _Run(course, base, course.begin(tuple(_STAGES)))
    tensors = dict(base.tensors)
    if run.corpus.shortage:
        course.notes.append(f"{base.name} is kept as it is: {run.corpus.shortage}")
    else:
        fits = {"context": _fit_context, "synthesis": _fit_synthesis}
        for name in parts:
            watch = course.watch.part(_CONTEXT) if name == "context" and "synthesis" in parts else course.watch
            try:
                tensors = fits[name](run, tensors, watch)
            except OutOfTimeError as error:
                course.notes.append(f"the {name} of {base.name} is kept as it is: {error}")
    model = ExactModel(course.output.name, tensors)
    model.check()
    facts = {"base": base.name, "base_id": base.id, **sizes(model)}
    summary = course.summary(model, "neural", {"init": init, "parts": ",".join(parts)}, facts, run.corpus)
    if rank == 0:
        course.write(model, summary, tuple(_STAGES))
    leave_processes()
    return summary


@dataclass(frozen=True)
class _Run:
    """State that the parts of one training share."""

    course: Course
    base: ExactModel
    corpus: Corpus

    @property
    def seed(self) -> int:
        return self.course.seed

    @property
    def schedule(self) -> dict[str, Any]:
        """Seed, length and origin of all schedules."""
        return self.course.schedule | {"origin": self.course.origin(self.corpus, self.base)}

    def options(self, name: str) -> dict[str, Any]:
        """Where a network is trained, and where it reports to."""
        return self.course.options(name, _STAGES[name], part=name, counted=f"{name}_steps")

    def held_out(self) -> list[TrainingImage]:
        pixels = self.course.limited(_HELD_OUT_PIXELS, _HELD_OUT_PIXELS_A_MINUTE)
        return pick(self.corpus.held_out, pixels, np.random.default_rng(self.seed))

    def measure(self, what: str, model: ExactModel, pieces: list[TrainingImage], watch: Watch, share: float = 1.0) -> Float64:
        """Figures of held-out pieces as training of lite models has them, for the log, too."""
        figures = measure(model, pieces, watch, share)
        for point in held_out_points(figures):
            self.course.diary.facts(what, point)
        return figures


def _fit_context(run: _Run, tensors: Tensors, watch: Watch) -> Tensors:
    """The base's tensors with a trained context, with codebooks refitted, too, or as they are: what serves held-out images best."""
    settings = context_fit.ContextSettings(**run.schedule)
    start_tiles, start_dcs = None, None
    if run.base.context:
        start_tiles, start_dcs = context.load_tensors(tensors)
        settings = replace(settings, rate=settings.rate * _CONTINUED)
    images, kept_out = _some(run.corpus.train, _CONTEXT_PIXELS, run.seed), run.held_out()
    stages = f"coding {len(images)} pictures", f"coding {len(kept_out)} held-out pictures"
    train = make_context_samples(images, run.base, run.seed, stages[0], watch, _SAMPLED)
    held_out = make_context_samples(kept_out, run.base, run.seed + 1, stages[1], watch, _HELD_OUT_SAMPLED)
    tile_settings = run.course.timed(settings, watch, _FITTED["tiles"])
    tiles = context_fit.fit_tiles(train[0], held_out[0], tile_settings, start=start_tiles, **run.options("tiles"))
    dc_settings = run.course.timed(settings, watch, _FITTED["dcs"])
    dcs = context_fit.fit_dcs(train[1], held_out[1], dc_settings, start=start_dcs, **run.options("dcs"))
    run.course.results.update(context_fit.saved(tiles, dcs, held_out[0], held_out[1], settings))
    del train, held_out
    others = {name: array for name, array in tensors.items() if not name.startswith("context.")}
    candidates = {"context": ExactModel("in training", others | context.to_tensors(tiles, dcs))}
    report_of_books: list[dict[str, Any]] = []
    try:
        own = watch.part(_COUNTED_AGAIN)
        candidates["context and codebooks"], report_of_books = refit(candidates["context"], run.corpus.train, run.seed, own)
        run.course.diary.codebooks(report_of_books)
    except OutOfTimeError as error:
        run.course.notes.append(f"the codebooks are kept as they are: {error}")
    pieces = shuffled(cut_in_pieces(pick(kept_out, _SCORED_PIXELS, np.random.default_rng(0))))
    before = run.measure("base", run.base, pieces, watch, 1 / (2 + len(candidates)))
    pieces = pieces[: len(before)]
    figures = {what: run.measure(what, model, pieces, watch) for what, model in candidates.items()}
    better = [what for what in candidates if len(figures[what]) == len(pieces) and is_better(figures[what], before)]
    kept = min(better, key=lambda what: mean_cost(figures[what]), default="base")  # a small folder may teach nothing
    costs = {what: round(mean_cost(found), 4) for what, found in {"base": before, **figures}.items() if len(found)}
    run.course.results.update({"held_out_costs": costs, "kept": kept})
    if kept == "base":
        run.course.notes.append(f"the context of {run.base.name} is kept: on {len(pieces)} held-out pictures {NO_BETTER}")
        return tensors
    if kept == "context and codebooks":
        run.course.results["codebooks"] = report_of_books
    return candidates[kept].tensors


def _fit_synthesis(run: _Run, tensors: Tensors, watch: Watch) -> Tensors:
    """A model's tensors with its synthesis trained, or as they are where that is no better."""
    model = ExactModel("in training", tensors)
    start = tensors if "synthesis.head" in tensors else None
    settings = synthesis.SynthesisSettings(**run.schedule)
    if start is not None:  # grows to the settings' size, and never shrinks
        width, blocks = max(settings.width, len(start["synthesis.head"])), max(settings.blocks, len(start["synthesis.expand"]))
        settings = replace(settings, rate=settings.rate * _CONTINUED, width=width, blocks=blocks)
    images, kept_out = _some(run.corpus.train, _SYNTHESIS_PIXELS, run.seed), cut_in_pieces(run.held_out())
    stages = f"coding {len(images)} pictures", f"coding {len(kept_out)} held-out pictures"
    samples = make_samples(images, model, run.seed, stages[0], watch, _SAMPLED)
    kept = make_samples(kept_out, model, run.seed + 1, stages[1], watch, _HELD_OUT_SAMPLED)

    def show(network: synthesis.SynthesisNetwork) -> None:
        step = int(run.course.results.get("synthesis_steps", 0))
        for number, sample in enumerate(kept[:_SHOWN]):
            run.course.diary.picture(f"original, plain, refined/{number}", step, synthesis.compare(network, sample, model.color))

    settings = run.course.timed(settings, watch, _FITTED["synthesis"])
    found = synthesis.fit_synthesis(samples, kept, settings, start=start, show=show, **run.options("synthesis"))
    run.course.tell("checking on held-out pictures", 0, 1)
    after = -synthesis.held_out_errors(synthesis.load_tensors(found), kept, "cpu")
    before = np.zeros(len(kept)) if start is None else -synthesis.held_out_errors(synthesis.load_tensors(start), kept, "cpu")
    gains = {"held_out_gain_db_before": round(float(before.mean()), 4), "held_out_gain_db": round(float(after.mean()), 4)}
    run.course.results.update(gains | {"synthesis_settings": asdict(settings)})
    if not is_beyond_chance(after - before):
        run.course.notes.append(f"the synthesis of {run.base.name} is kept: on {len(kept)} held-out pictures {NO_BETTER}")
        return tensors
    return {**tensors, **found}


def sizes(model: ExactModel) -> dict[str, Any]:
    """Parameters and multiplications of the networks, for model.json."""
    found: dict[str, Any] = {}
    for name, network in (("context", model.context), ("synthesis", model.synthesis)):
        if network is not None:
            found[f"{name}_parameters"] = sum(a.size for key, a in model.tensors.items() if key.startswith(f"{name}."))
            found[f"{name}_macs_per_pixel"] = round(network.macs_per_pixel)
    return found


def _some(images: list[TrainingImage], pixels: int, seed: int) -> list[TrainingImage]:
    return pick(images * _MOST_SAMPLES, pixels, np.random.default_rng(seed))


def _samples_each(images: list[TrainingImage]) -> int:
    """How often each image is coded, at a step of its own: a small folder's once would fit its codebooks to the steps it drew."""
    pixels = sum(image.pixels.shape[0] * image.pixels.shape[1] for image in images)
    return max(1, min(_MOST_SAMPLES, _REFIT_PIXELS // pixels))


def refit(model: ExactModel, images: list[TrainingImage], seed: int, watch: Watch) -> tuple[ExactModel, list[dict[str, Any]]]:
    """The model with codebooks and streams fitted to the contexts that its network makes, in closed loop; and their report.

    Raises OutOfTimeError.
    """
    rng = np.random.default_rng(seed)
    table, keys = codebooks.book_table()
    weights: dict[str, Tensors] = {name: {} for name in predictor_shapes()}
    for name, array in model.tensors.items():
        owner, _, kind = name.rpartition(".")
        if owner in weights:
            weights[owner][kind] = array
    others = {name: array for name, array in model.tensors.items() if name.startswith(("context.", "synthesis."))}
    fit = Fit(model.color, weights, None, keys, table, others)
    settings = LiteSettings(seed, 1, strength=_REFIT_PULL)
    collector = Collector(model, table, keys, RATE)
    images = images * _samples_each(images)
    chosen = pick(images, _REFIT_PIXELS, rng)
    jobs = [partial(_residuals, model, *given) for given in zip(chosen, draw_steps(len(chosen), rng), strict=True)]
    for found in in_processes(jobs, f"coding {len(jobs)} pictures for codebooks", watch, _RESIDUALS):
        for number, vectors in enumerate(found):
            collector.keep(number, vectors)
    books = train_books(collector, fit, base_books(model), settings, watch)
    return finish(fit, books, images, settings, model, watch, rng)


def _residuals(model: ExactModel, image: TrainingImage, step: float) -> list[Float32]:
    """Residuals of every codebook, as the encoder meets them in an image."""
    collector = Collector(model, *codebooks.book_table(), RATE)
    session = open_aimed(image, step, model)
    collector.open(session.targets)
    walk.walk(session.grid, model, session.step_64, session.fine_dcs, 1, collector)
    return [collector.vectors(number) for number in range(len(collector.keys))]
