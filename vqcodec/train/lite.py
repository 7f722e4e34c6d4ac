"""Training of a lite model: predictors, codebooks, streams. Numpy only, reads top to bottom.

A *sweep* codes many images side by side, each at its own step, tile by tile: when a tile's turn comes its predictor is
fitted on samples from all images, then every image is coded with it before the next tile. So contexts are always those of
the decoder (closed loop). The first sweep has no codebooks yet and rounds with a dead zone instead; each sweep's residuals
train the codebooks that the next one uses. The DC pyramid is fitted first, on rounded DCs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import codec, dc, dct, prior, registry
from vqcodec.bands import COLOR_8X8, Tile
from vqcodec.color import OPPONENT
from vqcodec.files import check_new_folder, new_folder
from vqcodec.model import TENSORS, Model, mean_rows, predictor_names, save_model, scale_rows, tile_name
from vqcodec.prior import Cells, Grid
from vqcodec.rate import RATE, Encoder, layout_for
from vqcodec.train import codebooks, predictors, streams
from vqcodec.train.codebooks import Trained
from vqcodec.train.data import TrainingImage, load_corpus
from vqcodec.vq import UNIT

Progress = Callable[[str, int, int], None]
STEPS: Final = (2.0, 180.0)
"""Steps of training, in grey levels, log-uniform."""
_SAMPLES_PER_FIT: Final = 40_000
_VECTORS_PER_BOOK: Final = 120_000
_SWEEP_PIXELS: Final = 40_000_000
_STATISTICS_PIXELS: Final = 80_000_000
SMALL_SIDES: Final = (48.0, 256.0)
"""Pixels a side of the small files that the streams are trained for besides whole images, log-uniform."""
_SMALL_FILES: Final = 1200
_SKIPPED_NAMED: Final = 20
_DEAD_ZONE: Final = 0.36
_SIZE_LOG2: Final = {1: 0, 2: 1, 4: 2, 8: 3}


@dataclass(frozen=True)
class LiteSettings:
    """Everything that decides the outcome, with the corpus."""

    seed: int = 0
    sweeps: int = 2
    rate: float = RATE
    strength: float = 0.0
    """Samples' worth of pull towards the base model, per fit and per book; 0 without one."""


@dataclass
class Session:
    """One image in a sweep."""

    grid: Grid
    targets: NDArray[np.float32]
    step: int
    magnitude: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass
class Fit:
    """What training has found so far."""

    color: NDArray[np.int32]
    weights: dict[str, dict[str, NDArray[np.int32]]]
    books: list[Trained] | None
    keys: list[tuple[int, int, int]]
    table: NDArray[np.int16]


class Collector(codec.ByClass):
    """Codes with the current books (or a dead-zone rounding) and keeps samples of the residuals of every book."""

    def __init__(self, model: Model | None, table: NDArray[np.int16], keys: list[tuple[int, int, int]], rate: float) -> None:
        self.table, self.keys, self.rate = table, keys, rate
        self.full_model = model
        self.pools: list[list[NDArray[np.float32]]] = [[] for _ in range(len(keys) + 1)]
        self.seen = np.zeros(len(keys) + 1, np.int64)
        self.writer: codec.SymbolWriter | None = None
        self.targets = np.zeros((0, 0), np.float32)
        self.rng = np.random.default_rng(0)
        self.keep = 1.0

    def start_layer(self, layer: int) -> None:
        """Samples are kept whatever the layer."""

    def begin(self, targets: NDArray[np.float32]) -> None:
        """Go on with another image."""
        self.targets = targets
        if self.full_model is not None:
            self.writer = codec.SymbolWriter(self.full_model, targets, self.rate)
            self.writer.start_layer(0)

    def book_of(self, book_set: int, size: int) -> list[int]:
        return [int(b) for b in self.table[book_set, _SIZE_LOG2[size]]]

    def dim_of(self, number: int) -> int:
        return self.keys[number][1]

    def pieces(self, number: int, channels: slice, cells: Cells, means: NDArray[np.int32], chosen: Cells) -> NDArray[np.int32]:
        x = self.targets[channels, cells[chosen]] - means[:, chosen] * np.float32(1 / UNIT)
        split = codec.split_pieces(x, self.dim_of(number))
        self._keep(number, split)
        if self.writer is not None:
            return self.writer.pieces(number, channels, cells, means, chosen)
        return (np.sign(split) * np.floor(np.abs(split) + _DEAD_ZONE)).astype(np.int32) * UNIT

    def _keep(self, number: int, split: NDArray[np.float32]) -> None:
        count = split.shape[1]
        self.seen[number] += count
        share = min(1.0, _VECTORS_PER_BOOK * self.keep / max(1, self.seen[number]))
        chosen = self.rng.random(count) < share
        self.pools[number].append(split[:, chosen].T.copy())

    def vectors(self, number: int) -> NDArray[np.float32]:
        """Samples float32 [n, d] of a book's residuals, in steps."""
        pool = self.pools[number]
        x = np.concatenate(pool) if pool else np.zeros((0, self.keys[number][1]), np.float32)
        if len(x) > _VECTORS_PER_BOOK:
            x = x[self.rng.choice(len(x), _VECTORS_PER_BOOK, replace=False)]
        return np.ascontiguousarray(x)


def open_session(image: TrainingImage, step: float, color: NDArray[np.int32]) -> Session:
    """Transform an image and set it up for coding at a step (grey levels)."""
    whole = int(np.clip(round(step * 64), 1, 65535))
    layout = layout_for(image.pixels.shape[2], step)
    height, width = image.pixels.shape[:2]
    grid = Grid(-(-height // 8), -(-width // 8), layout)
    targets = dct.forward(image.pixels, layout, color) * np.float32(64 / whole)
    return Session(grid, targets, whole)


def draw_steps(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Steps for `count` images: log-uniform, evenly spread, in random order."""
    low, high = np.log(STEPS[0]), np.log(STEPS[1])
    return np.exp(low + (high - low) * (rng.permutation(count) + rng.random(count)) / max(count, 1))


def pick(images: list[TrainingImage], pixels: int, rng: np.random.Generator) -> list[TrainingImage]:
    """A random selection of about so many pixels."""
    chosen, total = [], 0
    for index in rng.permutation(len(images)):
        if total < pixels:
            chosen.append(images[index])
            total += images[index].pixels.shape[0] * images[index].pixels.shape[1]
    return chosen


def cut_small(images: list[TrainingImage], each: int, rng: np.random.Generator) -> list[TrainingImage]:
    """`each` rectangles of 48 to 256 pixels a side out of every image, or the whole of a side that is shorter.

    Every fourth is made grey: small pictures often are, and a model should know them.
    """
    low, high = np.log(SMALL_SIDES[0]), np.log(SMALL_SIDES[1])
    small: list[TrainingImage] = []
    for image in images:
        for _ in range(each):
            sides = [min(int(np.exp(rng.uniform(low, high))), side) for side in image.pixels.shape[:2]]
            top, left = (int(rng.integers(side - s + 1)) for s, side in zip(sides, image.pixels.shape[:2], strict=True))
            part = image.pixels[top : top + sides[0], left : left + sides[1]]
            if len(small) % 4 == 3:
                part = np.rint(part.mean(axis=2, keepdims=True)).astype(np.uint8)
            small.append(TrainingImage(image.name, np.ascontiguousarray(part)))
    return small


def fit_dc(fit: Fit, sessions: list[Session], base: Model | None, settings: LiteSettings, rng: np.random.Generator) -> None:
    """Predictors of the DC pyramid, from rounded DCs."""
    planes = [np.rint(s.targets[: s.grid.layout.components]).astype(np.int32) * UNIT for s in sessions]
    sizes = [np.zeros_like(p) for p in planes]
    for component in range(3):
        users = [i for i, s in enumerate(sessions) if component < s.grid.layout.components]
        roots = [np.abs(sessions[i].targets[component, :1]) for i in users]
        inputs = [np.array([prior.step_features(sessions[i].step)], np.float32) for i in users]
        _fit_scale(fit, f"dc.root.{component}", "scale", np.zeros((len(users), 0), np.float32), roots, inputs, base, settings)
        by_name: dict[str, list[tuple[int, dc.Pass]]] = {name: [] for name in dc.pass_names(component)}
        for i in users:
            for this in dc.passes(sessions[i].grid.h, sessions[i].grid.w, component):
                by_name[this.name].append((i, this))
        for name in reversed(by_name):  # coarse to fine: a pass sees the sizes of coarser residuals
            collected = []
            for i, this in by_name[name]:
                grid = sessions[i].grid
                found = dc.inputs(planes[i], sizes[i], grid.h, grid.w, this)
                target = sessions[i].targets[component, this.cells] * UNIT - found.base
                chosen = _sample(len(this.cells), len(by_name[name]), rng)
                collected.append(
                    (
                        found.mean[:, chosen].T,
                        found.scale[:, chosen].T,
                        target[chosen],
                        sessions[i].step,
                        i,
                        this,
                        found,
                    )
                )
            rows = dc.MEAN_ROWS[component][int(name[-1])]
            features = np.concatenate([c[0] for c in collected]) if collected else np.zeros((0, rows), np.float32)
            targets = np.concatenate([c[2] for c in collected]) if collected else np.zeros(0, np.float32)
            start = None if base is None else base.tensors[f"{name}.mean"][0]
            mean = predictors.fit_mean(predictors.Samples(features, targets), start, settings.strength)
            fit.weights[name] = {"mean": mean[None]}
            for _, _, _, _, i, this, found in collected:
                predicted = found.base + prior.means_of(mean.astype(np.float32)[None] @ found.mean)[0]
                sizes[i][component, this.cells] = np.abs(planes[i][component, this.cells] - predicted)
            magnitudes, scales, steps = [], [], []
            for m, scale, target, step, *_ in collected:
                magnitudes.append(np.abs(target / UNIT - m @ mean.astype(np.float32) / (UNIT << prior.MEAN_SHIFT)))
                scales.append(scale)
                steps.append(np.tile(np.array([prior.step_features(step)], np.float32), (len(target), 1)))
            stacked = np.concatenate(scales) if scales else np.zeros((0, dc.SCALE_ROWS[component]), np.float32)
            _fit_scale(fit, name, "scale", stacked, magnitudes, steps, base, settings)


def _fit_scale(
    fit: Fit,
    name: str,
    kind: str,
    features: NDArray[np.float32],
    magnitudes: list[NDArray[np.float32]],
    steps: list[NDArray[np.float32]],
    base: Model | None,
    settings: LiteSettings,
) -> None:
    """Fit a one-pass scale predictor into `fit.weights[name]`."""
    start = None
    if base is not None:
        start = np.concatenate([base.tensors[f"{name}.scale"][0], base.tensors[f"{name}.bias"][0]])
    target = np.concatenate(magnitudes) if magnitudes else np.zeros(0, np.float32)
    inputs = np.concatenate(steps) if steps else np.zeros((0, 3), np.float32)
    found = predictors.fit_scale(predictors.Samples(features, target), inputs, start, settings.strength)
    weights = fit.weights.setdefault(name, {})
    weights[kind] = found[None, :-3]
    weights["scale_own"] = np.zeros(0, np.int32)
    weights["bias"] = found[None, -3:]


def _sample(cells: int, images: int, rng: np.random.Generator) -> Cells:
    share = min(1.0, _SAMPLES_PER_FIT / max(1, images) / max(1, cells))
    return np.flatnonzero(rng.random(cells) < share)


def sweep(
    fit: Fit,
    sessions: list[Session],
    collector: Collector,
    base: Model | None,
    settings: LiteSettings,
    progress: Progress,
) -> None:
    """Fit all predictors while coding all sessions; the collector keeps what the codebooks need."""
    rng = np.random.default_rng(settings.seed + 1)
    fit_dc(fit, sessions, base, settings, rng)
    model = Model("in training", _predictor_tensors(fit))
    for session in sessions:
        collector.begin(session.targets)
        codec.walk_dc(session.grid, model, session.step, collector)
        session.grid.dc_done()
    for tile in COLOR_8X8.tiles:
        progress("predictors", tile.number, len(COLOR_8X8.tiles))
        users = [(s, t) for s in sessions for t in s.grid.layout.tiles if t.number == tile.number]
        _fit_tile(fit, tile, users, collector, base, settings, rng)
    progress("predictors", len(COLOR_8X8.tiles), len(COLOR_8X8.tiles))


def _fit_tile(
    fit: Fit,
    tile: Tile,
    users: list[tuple[Session, Tile]],
    collector: Collector,
    base: Model | None,
    settings: LiteSettings,
    rng: np.random.Generator,
) -> None:
    name, size = tile_name(tile), tile.size
    rows, mean_count = scale_rows()[tile.number], mean_rows().get(tile.number)
    scale = np.zeros((2, rows), np.int32)
    scale_own = np.zeros(2, np.int32)
    bias = np.zeros((2, 3), np.int32)
    mean = None if mean_count is None else np.zeros((2 * size, mean_count), np.int32)
    mean_own = None if mean_count is None else np.zeros((size, 4), np.int32)
    for session, _ in users:
        session.magnitude = np.zeros(session.grid.h * session.grid.w, np.int32)
    for half in (0, 1):
        gathered = [_gather(session, own, half, _sample(len(session.grid.halves[half]), len(users), rng)) for session, own in users]
        targets = np.concatenate([g.targets for g in gathered], axis=1) if gathered else np.zeros((size, 0), np.float32)
        if mean is not None and mean_own is not None:
            for j in range(size):
                features = (
                    np.concatenate([np.concatenate([g.mean, *([g.own[j]] if half else [])]).T for g in gathered])
                    if gathered
                    else np.zeros((0, mean.shape[1] + 4 * half), np.float32)
                )
                start = None
                if base is not None:
                    start = base.tensors[f"{name}.mean"][half * size + j]
                    start = np.concatenate([start, base.tensors[f"{name}.mean_own"][j]]) if half else start
                found = predictors.fit_mean(predictors.Samples(features, targets[j] * UNIT), start, settings.strength)
                mean[half * size + j] = found[: mean.shape[1]]
                if half:
                    mean_own[j] = found[mean.shape[1] :]
                targets[j] -= features @ found.astype(np.float32) / (UNIT << prior.MEAN_SHIFT)
        features = np.concatenate([g.scale.T for g in gathered]) if gathered else np.zeros((0, rows + 2 * half), np.float32)
        steps = (
            np.concatenate(
                [np.tile(np.array([prior.step_features(g.step)], np.float32), (g.targets.shape[1], 1)) for g in gathered]
            )
            if gathered
            else np.zeros((0, 3), np.float32)
        )
        start = None
        if base is not None:
            parts = [base.tensors[f"{name}.scale"][half]] + ([base.tensors[f"{name}.scale_own"]] if half else [])
            start = np.concatenate([*parts, base.tensors[f"{name}.bias"][half]])
        magnitudes = np.abs(targets).mean(axis=0)
        found = predictors.fit_scale(predictors.Samples(features, magnitudes), steps, start, settings.strength)
        scale[half], bias[half] = found[:rows], found[-3:]
        if half:
            scale_own[:] = found[rows : rows + 2]
        predictor = prior.Predictor(
            None if mean is None else mean.astype(np.float32),
            None if mean_own is None else mean_own.astype(np.float32),
            scale.astype(np.float32),
            scale_own.astype(np.float32),
            bias.astype(np.int64),
        )
        for session, own in users:
            collector.begin(session.targets)
            shared = prior.products(session.grid, own, predictor)
            means, classes = prior.expect(session.grid, own, predictor, shared, session.step, half, session.magnitude)
            codec.code_half(session.grid, own, half, means, classes, session.magnitude, collector)
    for session, own in users:
        session.grid.tile_done(own, session.magnitude)
    fit.weights[name] = {"scale": scale, "scale_own": scale_own, "bias": bias}
    if mean is not None and mean_own is not None:
        fit.weights[name] |= {"mean": mean, "mean_own": mean_own}


@dataclass(frozen=True)
class _Gathered:
    mean: NDArray[np.float32]  # [rows, n]
    own: list[NDArray[np.float32]]  # T of [4, n], odd half only
    scale: NDArray[np.float32]  # [rows (+ 2), n]
    targets: NDArray[np.float32]  # [T, n] in steps
    step: int


def _gather(session: Session, tile: Tile, half: int, chosen: Cells) -> _Gathered:
    """Features and targets of some cells of one half."""
    grid = session.grid
    cells = grid.halves[half][chosen]
    scale = [bank[:, cells] for bank in grid.activity(tile.component)]
    own = []
    if half:
        scale.append(grid.own_activity(session.magnitude)[:, chosen])
        own = [grid.own_latents(channel)[:, chosen] for channel in range(tile.first, tile.first + tile.size)]
    mean = grid.mean_features(tile.component)[:, cells]
    return _Gathered(mean, own, np.concatenate(scale), session.targets[tile.channels, cells], session.step)


def train_books(
    collector: Collector, fit: Fit, base: list[Trained] | None, settings: LiteSettings, progress: Progress
) -> list[Trained]:
    """All codebooks from the collected residuals; the last one is the escape's."""
    rng = np.random.default_rng(settings.seed + 2)
    result = []
    for number, (_, dim, cls) in enumerate(fit.keys):
        progress("codebooks", number, len(fit.keys))
        x = collector.vectors(number)
        start = None if base is None else base[number]
        if dim == 1:
            scale = codebooks.scale_of_class(cls)
            result.append(codebooks.train_scalar_book(x[:, 0], scale, settings.rate, start, settings.strength))
        else:
            result.append(codebooks.train_vector_book(x, settings.rate, rng, start, settings.strength))
    progress("codebooks", len(fit.keys), len(fit.keys))
    escaped = np.zeros(0, np.float32)
    result.append(codebooks.train_scalar_book(escaped, 4.0, settings.rate, None if base is None else base[-1], settings.strength))
    return result


def _predictor_tensors(fit: Fit) -> dict[str, NDArray[Any]]:
    names = predictor_names()
    tensors: dict[str, NDArray[Any]] = {"color": fit.color}
    rows = scale_rows()
    for name in names:
        weights = fit.weights.get(name)
        if weights is None:  # not reached yet: silent weights of the right shape
            count = rows[int(name[5:])] if name.startswith("tile.") else 0
            weights = {
                "scale": np.zeros((2, count), np.int32),
                "scale_own": np.zeros(2, np.int32),
                "bias": np.zeros((2, 3), np.int32),
            }
        for kind, array in weights.items():
            tensors[f"{name}.{kind}"] = array.astype(np.int32)
    return tensors


def assemble(
    fit: Fit, books: list[Trained], stream_model: streams.StreamModel | None
) -> tuple[dict[str, NDArray[Any]], list[NDArray[np.int64]]]:
    """Tensors of a model, and the order of each book's old indices by rank."""
    tensors = _predictor_tensors(fit)
    ranked = [codebooks.ranked(book) for book in books]
    parts = [book for book, _ in ranked]
    tensors["book.table"] = fit.table
    tensors["book.dim"] = np.array([b.dim for b in parts], np.uint8)
    tensors["book.size"] = np.array([b.size for b in parts], np.uint16)
    tensors["book.escape"] = np.array([b.escape for b in parts], np.int16)
    tensors["book.words"] = np.concatenate([b.words.reshape(-1) for b in parts])
    tensors["book.bits"] = np.concatenate([np.rint(b.bits * 256) for b in parts]).astype(np.uint16)
    tensors["book.alphabet"] = np.concatenate([b.alphabet for b in parts if b.alphabet is not None])
    if stream_model is None:
        stream_model = streams.StreamModel(
            np.zeros((1, len(books)), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1, 2), np.uint16), [], []
        )
    tensors["merge.maps"], tensors["merge.form"] = stream_model.maps, stream_model.form
    tensors["merge.dictionary"] = stream_model.dictionary
    tensors["pairs.zeros"] = np.array([p.zeros for p in stream_model.pairs], np.uint8).reshape(-1, 256)
    tensors["pairs.tails"] = np.array([p.tails for p in stream_model.pairs], np.int16).reshape(-1, 256)
    tensors["dictionary.lengths"] = np.array([d.lengths for d in stream_model.dictionaries], np.uint8).reshape(-1, 256)
    for number, dictionary in enumerate(stream_model.dictionaries):
        tensors[f"dictionary.{number:03d}"] = np.frombuffer(dictionary.content, np.uint8)
    return tensors, [order for _, order in ranked]


def code_files(model: Model, images: list[TrainingImage], steps: NDArray[np.float64], progress: Progress) -> list[streams.File]:
    """Calls of every image coded as one file."""
    files = []
    for done, (image, step) in enumerate(zip(images, steps, strict=True)):
        progress("statistics", done, len(images))
        session = open_session(image, step, model.color)
        writer = codec.SymbolWriter(model, session.targets, RATE)
        codec.walk(session.grid, model, session.step, 1, writer)
        files.append(writer.calls[0])
    progress("statistics", len(images), len(images))
    return files


def recount(books: list[Trained], orders: list[NDArray[np.int64]], files: list[streams.File], pull: float) -> list[Trained]:
    """The same books with counts from coded files; `pull` samples' worth of the counts before."""
    counts = [np.zeros(book.words.shape[1]) for book in books]
    for calls in files:
        for number, symbols in calls:
            counts[number] += np.bincount(orders[number][symbols], minlength=len(counts[number]))
    result = []
    for book, found in zip(books, counts, strict=True):
        before = book.counts / max(book.counts.sum(), 1e-9) * pull
        result.append(Trained(book.words, found + before, book.escape))
    return result


def fit_model(
    images: list[TrainingImage], settings: LiteSettings, base: Model | None, progress: Progress
) -> tuple[Model, list[dict[str, Any]]]:
    """A lite model and a report of its codebooks; every fit is pulled towards `base` by `settings.strength` samples."""
    rng = np.random.default_rng(settings.seed)
    table, keys = codebooks.book_table()
    fit = Fit(OPPONENT if base is None else base.color, {}, None, keys, table)
    start = None if base is None else base_books(base)
    model, books = base, start or []
    for number in range(settings.sweeps):
        chosen = pick(images, _SWEEP_PIXELS, rng)
        sessions = [open_session(i, s, fit.color) for i, s in zip(chosen, draw_steps(len(chosen), rng), strict=True)]
        collector = Collector(model, table, keys, settings.rate)

        def tell(what: str, done: int, total: int, number: int = number) -> None:
            progress(f"sweep {number + 1}/{settings.sweeps}: {what}", done, total)

        sweep(fit, sessions, collector, base, settings, tell)
        del sessions
        books = train_books(collector, fit, start, settings, tell)
        model = Model("in training", assemble(fit, books, None)[0])
    return finish(fit, books, images, settings, base, progress, rng)


def base_books(base: Model) -> list[Trained]:
    """A model's books as they were in training: scalar books by letter, escapes last; probabilities for counts."""
    result = []
    for book in base.books:
        counts = np.exp2(-book.bits.astype(np.float64))
        order = np.arange(book.size)
        if book.alphabet is not None:
            order = np.argsort(book.alphabet)
        elif book.escape >= 0:
            order = np.append(np.delete(order, book.escape), book.escape)
        words = book.words[:, order].astype(np.float32) * np.float32(1 / UNIT)
        if book.dim > 1:  # the zero word leads
            zero = int(np.flatnonzero((words[:, :-1] == 0).all(axis=0))[0])
            lead = np.append(zero, np.delete(np.arange(book.size), zero))
            words, order = words[:, lead], order[lead]
        result.append(Trained(words, counts[order], book.dim > 1))
    return result


def finish(
    fit: Fit,
    books: list[Trained],
    images: list[TrainingImage],
    settings: LiteSettings,
    base: Model | None,
    progress: Progress,
    rng: np.random.Generator,
) -> tuple[Model, list[dict[str, Any]]]:
    """Statistics of the final pipeline: ranks, code lengths, merge maps, forms, dictionaries."""
    tensors, orders = assemble(fit, books, None)
    chosen = pick(images, _STATISTICS_PIXELS, rng)
    if base is not None:  # few images: each at several steps
        chosen = chosen * max(1, min(8, 400 // len(chosen)))
    steps = draw_steps(len(chosen), rng)
    files = code_files(Model("in training", tensors), chosen, steps, progress)
    books = recount(books, orders, files, 16.0 + settings.strength)
    tensors, _ = assemble(fit, books, None)
    small = cut_small(images, max(1, _SMALL_FILES // len(images)), rng)
    pixels = sum(image.pixels.shape[0] * image.pixels.shape[1] for image in small)
    mixed = small + pick(images, pixels, rng)  # as many pixels in small files as in large ones
    files = code_files(Model("in training", tensors), mixed, draw_steps(len(mixed), rng), progress)
    progress("streams", 0, 1)
    tensors, _ = assemble(fit, books, streams.train_streams(files, tensors["book.size"].astype(np.int64)))
    progress("streams", 1, 1)
    report = [
        {
            "set": ("dc", "ac")[key[0]],
            "dim": key[1],
            "class": key[2],
            "used": b.used,
            "entropy_bits": round(b.entropy_bits, 3),
        }
        for key, b in zip(fit.keys, books, strict=False)
    ]
    return Model("in training", tensors), report


HELD_OUT_STEPS: Final = (12.0, 28.0, 64.0)
STRENGTHS: Final = (300.0, 5000.0)
"""Pulls towards the base model that are tried; the best on the held-out images is kept, or the base itself."""


def held_out_points(model: Model, images: list[TrainingImage]) -> list[dict[str, float]]:
    """Bytes and squared error of the held-out images at fixed steps: means of bpp and PSNR, and a cost in nats.

    The cost is mean over steps of log(bpp) + log(MSE): equal changes in rate and in distortion count the same.
    """
    points = []
    for step in HELD_OUT_STEPS:
        bpp, psnr, cost = [], [], []
        for image in images:
            encoder = Encoder(image.pixels, model, 1)
            whole = round(step * 64)
            size, quality = 8 * len(encoder.file(whole)) / image.pixels[:, :, 0].size, encoder.psnr_db(whole)
            bpp.append(size)
            psnr.append(quality)
            cost.append(float(np.log(size)) - quality / 10 * float(np.log(10)))
        points.append({"step": step, "bpp": float(np.mean(bpp)), "psnr_db": float(np.mean(psnr)), "cost": float(np.mean(cost))})
    return points


def train_lite(
    folder: Path,
    output: Path,
    *,
    init: str | None,
    seed: int = 0,
    minutes: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train on a folder (or a .tar) and write the model folder `output`; returns the content of model.json.

    With `init` the base model is refined, and never made worse: the candidate with the lowest held-out cost wins, and the
    base is one of them. `minutes` limits the number of candidates. Raises InputError, ModelError, OutputError.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS)
    tell: Progress = progress or (lambda what, done, total: None)
    started = time.monotonic()
    corpus = load_corpus(folder, tell)
    held_out = corpus.held_out or corpus.train
    base = None if init is None else registry.find(init)
    candidates: list[tuple[str, Model, list[dict[str, Any]]]] = []
    if base is None:
        model, report = fit_model(corpus.train, LiteSettings(seed), None, tell)
        candidates.append(("from scratch", model, report))
    else:
        candidates.append((f"{base.name} unchanged", base, []))
        for strength in STRENGTHS:
            if minutes is None or time.monotonic() - started < 60 * minutes / 2:
                model, report = fit_model(corpus.train, LiteSettings(seed, 1, strength=strength), base, tell)
                candidates.append((f"{base.name} with a pull of {strength:g} samples", model, report))
    scored = []
    for number, (what, model, report) in enumerate(candidates):
        tell("held-out images", number, len(candidates))
        model.check()
        points = held_out_points(model, held_out)
        scored.append((float(np.mean([p["cost"] for p in points])), what, model, report, points))
    tell("held-out images", len(candidates), len(candidates))
    _, what, model, report, points = min(scored, key=lambda entry: entry[0])
    summary: dict[str, Any] = {
        "name": output.name,
        "kind": "lite",
        "format": "0.1",
        "id": model.id,
        "command": f"vqcodec train {folder.name} -o {output.name} --init {init or 'none'} --seed {seed}"
        + (f" --minutes {minutes:g}" if minutes else ""),
        "method": what,
        "seed": seed,
        "corpus": {
            "images": len(corpus.train) + len(corpus.held_out),
            "trained_on": len(corpus.train),
            "held_out": len(corpus.held_out),
            "pixels": corpus.pixels,
            "skipped": len(corpus.skipped),
            "skipped_files": [f"{name}: {reason}" for name, reason in corpus.skipped[:_SKIPPED_NAMED]],
            "licences": corpus.licences,
        },
        "held_out_results": points,
        "candidates": {entry[1]: round(entry[0], 4) for entry in scored},
        "codebooks": report,
    }
    with new_folder(output, overwrite=overwrite, marker=TENSORS) as folder_of_model:
        save_model(folder_of_model, Model(output.name, model.tensors, summary))
    return summary
