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
from numpy.typing import NDArray

from vqcodec import codec, registry
from vqcodec.model import Model, predictor_names
from vqcodec.neural import context, context_fit, synthesis
from vqcodec.neural.loop import check_device, join_processes, leave_processes
from vqcodec.rate import RATE
from vqcodec.train import codebooks
from vqcodec.train.assembly import base_books, train_books
from vqcodec.train.course import Course
from vqcodec.train.data import Corpus, TrainingImage
from vqcodec.train.lite import finish, held_out_points
from vqcodec.train.samples import in_processes, make_context_samples, make_samples
from vqcodec.train.sessions import Collector, Fit, LiteSettings, Progress, draw_steps, open_aimed, pick
from vqcodec.weights import Tensors

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
_SHARES: Final = {"tiles": 0.2, "dcs": 0.1, "synthesis": 0.7}
"""Of the time."""
_CONTINUED: Final = 0.25
"""Of the peak learning rate, where training goes on from a network: with all of it the network is lost before it is better."""
_REFIT_PIXELS: Final = 40_000_000
_REFIT_PULL: Final = 300.0
"""Samples' worth of the base model's codebooks."""


def train_neural(course: Course, *, init: str | Path, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """Train networks for the model `init` and write the model's folder; returns model.json.

    `parts` are those of PARTS that are trained; the others stay as `init` has them. A network that `init` has is gone on
    from; where the held-out images are served no better, what `init` has is kept. Minutes are shared among the parts, steps are of
    each. Of the processes that torchrun starts the first one writes the model. Raises InputError, ModelError, OutputError,
    MissingExtraError.
    """
    check_device(course.device)
    rank = join_processes(course.device)
    if rank:
        course = replace(course, log=None, board=None)
    base = registry.find(init)
    trained = [name for name in _SHARES if ("synthesis" if name == "synthesis" else "context") in parts]
    run = _Run(course, base, course.begin(tuple(_SHARES)), trained)
    tensors = dict(base.tensors)
    if "context" in parts:
        tensors = _fit_context(run, tensors)
    if "synthesis" in parts:
        tensors = _fit_synthesis(run, tensors)
    model = Model(course.output.name, tensors)
    model.check()
    facts = {"base": base.name, "base_id": base.id, **sizes(model)}
    summary = course.summary(model, "neural", {"init": init, "parts": ",".join(parts)}, facts, run.corpus)
    if rank == 0:
        course.write(model, summary, tuple(_SHARES))
    leave_processes()
    return summary


@dataclass(frozen=True)
class _Run:
    """What the parts of one training share; `trained` are names of _SHARES."""

    course: Course
    base: Model
    corpus: Corpus
    trained: list[str]

    @property
    def seed(self) -> int:
        return self.course.seed

    def schedule(self, name: str) -> dict[str, Any]:
        """Seed, length and origin of a part's schedule."""
        whole, share = self.course.schedule, sum(_SHARES[other] for other in self.trained)
        length = None if whole["minutes"] is None else whole["minutes"] * _SHARES[name] / share
        return whole | {"minutes": length, "origin": self.course.origin(self.corpus, self.base)}

    def options(self, name: str) -> dict[str, Any]:
        """Where a part is trained, and where it reports to."""
        return self.course.options(name, part=name, counted=f"{name}_steps")

    def held_out(self) -> list[TrainingImage]:
        return pick(self.corpus.held_out or self.corpus.train, _HELD_OUT_PIXELS, np.random.default_rng(self.seed))

    def cost(self, what: str, model: Model) -> float:
        """As training of lite models counts: mean log of rate plus that of squared error of held-out files, over three steps."""
        self.course.tell("held-out images", 0, 1)
        model.check()
        points = held_out_points(model, pick(self.held_out(), _SCORED_PIXELS, np.random.default_rng(0)))
        for point in points:
            self.course.diary.facts(what, point)
        self.course.tell("held-out images", 1, 1)
        return float(np.mean([point["cost"] for point in points]))


def _fit_context(run: _Run, tensors: Tensors) -> Tensors:
    """The base's tensors with a trained context, with codebooks refitted, too, or as they are: what serves held-out images best."""
    settings = context_fit.ContextSettings(**run.schedule("tiles"))
    start_tiles, start_dcs = None, None
    if run.base.context:
        start_tiles, start_dcs = context.load_tensors(tensors)
        settings = replace(settings, rate=settings.rate * _CONTINUED)
    dc_settings = replace(settings, **run.schedule("dcs"))
    images = _some(run.corpus.train, _CONTEXT_PIXELS, run.seed)
    train = make_context_samples(images, run.base, run.seed, "samples", run.course.tell)
    held_out = make_context_samples(run.held_out(), run.base, run.seed + 1, "held-out samples", run.course.tell)
    tiles = context_fit.fit_tiles(train[0], held_out[0], settings, start=start_tiles, **run.options("tiles"))
    dcs = context_fit.fit_dcs(train[1], held_out[1], dc_settings, start=start_dcs, **run.options("dcs"))
    run.course.results.update(context_fit.saved(tiles, dcs, held_out[0], held_out[1], settings))
    del train, held_out
    others = {name: array for name, array in tensors.items() if not name.startswith("context.")}
    trained = Model("in training", others | context.to_tensors(tiles, dcs))
    refitted, report_of_books = refit(trained, run.corpus.train, run.seed, run.course.tell)
    run.course.diary.codebooks(report_of_books)
    candidates = {"base": run.base, "context": trained, "context and codebooks": refitted}
    costs = {what: run.cost(what, model) for what, model in candidates.items()}
    kept = min(costs, key=lambda what: costs[what])  # a small folder may teach nothing that holds elsewhere
    run.course.results.update({"held_out_costs": {what: round(cost, 4) for what, cost in costs.items()}, "kept": kept})
    if kept == "context and codebooks":
        run.course.results["codebooks"] = report_of_books
    return candidates[kept].tensors


def _fit_synthesis(run: _Run, tensors: Tensors) -> Tensors:
    """A model's tensors with its synthesis trained, or as they are where that is no better."""
    model = Model("in training", tensors)
    start = tensors if "synthesis.head" in tensors else None
    settings = synthesis.SynthesisSettings(**run.schedule("synthesis"))
    if start is not None:  # grows to the settings' size, and never shrinks
        width, blocks = max(settings.width, len(start["synthesis.head"])), max(settings.blocks, len(start["synthesis.expand"]))
        settings = replace(settings, rate=settings.rate * _CONTINUED, width=width, blocks=blocks)
    samples = make_samples(_some(run.corpus.train, _SYNTHESIS_PIXELS, run.seed), model, run.seed, "samples", run.course.tell)
    kept = make_samples(run.held_out(), model, run.seed + 1, "held-out samples", run.course.tell)

    def show(network: synthesis.SynthesisNetwork) -> None:
        step = int(run.course.results.get("synthesis_steps", 0))
        for number, sample in enumerate(kept[:_SHOWN]):
            run.course.diary.picture(f"original, plain, refined/{number}", step, synthesis.compare(network, sample, model.color))

    found = synthesis.fit_synthesis(samples, kept, settings, start=start, show=show, **run.options("synthesis"))
    gain = -synthesis.held_out_error(synthesis.load_tensors(found), kept, "cpu")
    before = 0.0 if start is None else -synthesis.held_out_error(synthesis.load_tensors(start), kept, "cpu")
    run.course.results.update({"held_out_gain_db_before": round(before, 4), "held_out_gain_db": round(gain, 4)})
    run.course.results["synthesis_settings"] = asdict(settings)
    return {**tensors, **found} if gain > before else tensors


def sizes(model: Model) -> dict[str, Any]:
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


def refit(model: Model, images: list[TrainingImage], seed: int, progress: Progress) -> tuple[Model, list[dict[str, Any]]]:
    """The model with codebooks and streams fitted to the contexts that its network makes, in closed loop; and their report."""
    rng = np.random.default_rng(seed)
    table, keys = codebooks.book_table()
    weights: dict[str, Tensors] = {name: {} for name in predictor_names()}
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
    for found in in_processes(jobs, "residuals", progress):
        for number, vectors in enumerate(found):
            collector.keep(number, vectors)
    books = train_books(collector, fit, base_books(model), settings, progress)
    return finish(fit, books, images, settings, model, progress, rng)


def _residuals(model: Model, image: TrainingImage, step: float) -> list[NDArray[np.float32]]:
    """Of every codebook, as the encoder meets them in an image."""
    collector = Collector(model, *codebooks.book_table(), RATE)
    session = open_aimed(image, step, model)
    collector.open(session.targets)
    codec.walk(session.grid, model, session.step, session.fine_dcs, 1, collector)
    return [collector.vectors(number) for number in range(len(collector.keys))]
