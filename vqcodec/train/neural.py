"""Training of a neural model: the base model's parts as they are, and a synthesis fitted to what its quantiser delivers."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec import codec, dct, networks, registry
from vqcodec.bands import COLOR_8X8, GREY
from vqcodec.errors import MissingExtraError, OutputError
from vqcodec.files import check_new_folder, new_folder
from vqcodec.model import TENSORS, Model, save_model
from vqcodec.rate import RATE
from vqcodec.symbols import SymbolWriter, search_rates
from vqcodec.train.data import TrainingImage, identity, load_corpus
from vqcodec.train.sessions import Progress, open_session, pick

try:
    from vqcodec.neural import synthesis
except ImportError as error:  # torch is an extra
    raise MissingExtraError("training a neural model needs torch: pip install 'vqcodec[neural]'") from error

_SAMPLE_PIXELS: Final = 160_000_000
_HELD_OUT_PIXELS: Final = 6_000_000
_LARGEST_STEP: Final = 180.0
_DEFAULT_MINUTES: Final = 20.0


def draw_restored_steps(count: int, rng: np.random.Generator) -> list[float]:
    """Steps in grey levels at which the synthesis is used, log-uniform, evenly spread, in random order."""
    low, high = np.log(networks.MIN_STEP), np.log(_LARGEST_STEP)
    places = (rng.permutation(count) + rng.random(count)) / max(count, 1)
    return [float(step) for step in np.exp(low + (high - low) * places)]


def make_sample(image: TrainingImage, step: float, model: Model) -> synthesis.Sample:
    """An image coded as `encode` does, at a step in grey levels: what the network sees, and what the plain decode lacks."""
    session = open_session(image, step, model.color)
    grid = session.grid
    codec.walk(grid, model, session.step, 1, SymbolWriter(model, session.targets, search_rates(model, RATE)))
    grey = grid.layout is GREY
    full = GREY if grey else COLOR_8X8
    wanted = dct.forward(image.pixels, full, model.color) * np.float32(64 / session.step)
    wanted[: grid.layout.channels] -= grid.latents * np.float32(1 / networks.UNIT)
    missing = np.zeros((networks.OUTPUTS, grid.h * grid.w), np.float32)
    missing[networks.shared_channels(full, COLOR_8X8)[1]] = wanted
    features = networks.features(grid.latents, grid.layout, session.step / 64)
    shape = (-1, grid.h, grid.w)
    return synthesis.Sample(features.astype(np.float16).reshape(shape), missing.astype(np.float16).reshape(shape))


def make_samples(images: list[TrainingImage], model: Model, seed: int, what: str, progress: Progress) -> list[synthesis.Sample]:
    """A sample of every image, each at its own step."""
    samples = []
    for done, (image, step) in enumerate(zip(images, draw_restored_steps(len(images), np.random.default_rng(seed)), strict=True)):
        progress(what, done, len(images))
        samples.append(make_sample(image, step, model))
    progress(what, len(images), len(images))
    return samples


def train_neural(
    folder: Path,
    output: Path,
    *,
    init: str,
    seed: int = 0,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    log: Path | None = None,
) -> dict[str, Any]:
    """Train a synthesis for the model `init` on a folder (or a .tar) and write the model folder `output`; returns model.json.

    If `init` has a synthesis, training goes on from it. `log` gets a JSON line every 50 steps. With `resume` a checkpoint
    beside `output` is gone on from. Raises InputError, ModelError, OutputError.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS)
    synthesis.check_device(device)
    checkpoint = output.with_name(output.name + ".checkpoint")
    if checkpoint.exists() and not resume:
        if not overwrite:
            raise OutputError(f"{checkpoint}: exists (--resume goes on from it, -f starts anew)")
        checkpoint.unlink()
    tell: Progress = progress or (lambda what, done, total: None)
    base = registry.find(init)
    corpus = load_corpus(folder, tell)
    rng = np.random.default_rng(seed)
    chosen = pick(corpus.train, _SAMPLE_PIXELS, rng)
    train = make_samples(chosen, base, seed, "samples", tell)
    held_out = make_samples(pick(corpus.held_out or corpus.train, _HELD_OUT_PIXELS, rng), base, seed + 1, "held-out samples", tell)
    lines: list[dict[str, float]] = []

    def report(facts: dict[str, float]) -> None:
        lines.append(facts)
        tell("synthesis", round(1000 * facts["share"]), 1000)
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(facts) + "\n")

    start = base.tensors if "synthesis.head" in base.tensors else None
    if minutes is None and steps is None:
        minutes = _DEFAULT_MINUTES
    settings = synthesis.SynthesisSettings(seed, minutes=minutes, steps=steps)
    if start is not None:  # its size goes on, too
        settings = replace(settings, width=len(start["synthesis.head"]), blocks=len(start["synthesis.first"]))
    started = time.monotonic()
    found = synthesis.fit_synthesis(train, held_out, settings, start=start, device=device, checkpoint=checkpoint, report=report)
    model = Model(output.name, {**base.tensors, **found})
    model.check()
    gain = -synthesis.held_out_error(synthesis.load_tensors(found), held_out, "cpu")
    options = {"kind": "neural", "init": init, "seed": seed, "minutes": minutes, "steps": steps}
    summary: dict[str, Any] = {
        **identity(model.id, "neural", (folder, output), options),
        "base": base.name,
        "settings": asdict(settings),
        "seconds": round(time.monotonic() - started),
        "optimiser_steps": lines[-1]["step"] if lines else 0,
        "macs_per_pixel": round(networks.Synthesis.from_tensors(found).macs_per_pixel),
        "parameters": sum(array.size for array in found.values()),
        "corpus": corpus.facts(),
        "held_out_gain_db": round(gain, 4),
    }
    with new_folder(output, overwrite=overwrite, marker=TENSORS) as folder_of_model:
        save_model(folder_of_model, Model(output.name, model.tensors, summary))
    checkpoint.unlink(missing_ok=True)
    return summary
