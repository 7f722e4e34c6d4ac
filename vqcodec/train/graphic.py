"""`--kind graphic`: a pattern codebook of what the pictures of a folder have in common, which needs numpy only, and a network that
tells the contexts of their pixels, which needs torch. A check tells which of them are worth their bytes.

Contents are cells of 8x8 pixels in several colours. A picture is worth keeping as a sheet as far as its contents, at any place, are
found in other pictures. These parts are chosen greedily by the bytes that they save in the others. If the model is still small, it
keeps whole pictures, too, those first that have most in common with others: more of them will recur. All else is blank.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64, Int64, Intp, UInt8
from vqcodec.codec import pipeline
from vqcodec.codec.pattern_book import book_of, colours_of, window_hashes
from vqcodec.codec.pattern_search import HashFilter, cells_of
from vqcodec.errors import InputError, MissingExtraError
from vqcodec.format.header import Metadata
from vqcodec.io.files import check_new_folder, make_parent, new_folder
from vqcodec.io.image_reader import read_image
from vqcodec.options import EncodeOptions
from vqcodec.train.comparison import Comparison, compare_graphic, compare_lossless
from vqcodec.train.data import TrainingImage, identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.result import Announce, Plan, Trained
from vqcodec.train.watch import OutOfTimeError, Progress, Stop, Watch, in_processes, some_in_processes
from vqcodec.transform.palette import CELL
from vqcodec.weights import registry
from vqcodec.weights.builtin import BUILT_IN
from vqcodec.weights.folder import SUMMARY, TENSORS, Tensors, packed, save_model
from vqcodec.weights.graphic import MAX_SHEET_PIXELS, PROFILES, GraphicModel, tensors_of
from vqcodec.weights.kinds import AnyModel

_BLOCK: Final = 16
"""Side in pixels of the parts of a sheet that are kept or blank."""
_MOST_BYTES: Final = 1 << 18
"""Estimated bytes of the sheets up to which contents that do not recur are kept."""
_MOST_PIXELS: Final = 1 << 26
"""Most pixels to learn from."""
_LEAST_PICTURES: Final = 3
_CHECKING: Final = "checking on held-out pictures"
_DRAWING: Final = "drawing pixels"
_FITTING: Final = ("fitting contexts", "choosing contexts")
_STAGES: Final = ("search for what recurs", "sheets", "contexts of pixels", "check on held-out pictures")
_NETWORK_SHARE: Final = 0.6
"""Share of the time left after the sheets for the network."""
_STAGE_SHARE: Final = 0.45
"""Share of the network's time for each of its two stages."""
_NETWORK_STEPS: Final = 6000
"""Optimiser steps of each of its two stages without a limit."""
_SEEN_TIMES: Final = 20
"""Most times that each pixel is seen in a stage without a limit."""
_NETWORK_MINUTES: Final = 3.0
"""Minutes of these steps on two cores, about."""
_AS_GOOD: Final = 0.005
"""Share of bytes by which a smaller model may be worse than the best one."""
_MINUTES_A_MEGAPIXEL: Final = 0.1
"""Minutes of a training for a megapixel on two cores, about."""
_CHECKED: Final = 20
"""Most held-out pictures that are coded."""
_PROFILE_BYTES: Final = 1 << 14
"""Most bytes of ICC profiles."""


class Sizes(NamedTuple):
    """Bytes of a picture: without a model, and with it."""

    without: int
    with_model: int


class Saving(NamedTuple):
    """Bytes of the held-out pictures, each as a lossless file and as one by default: as they are without a model, and with it."""

    pictures: int
    without: int
    with_model: int

    @classmethod
    def of(cls, sizes: Sequence[Sizes]) -> Saving:
        return cls(len(sizes), sum(size.without for size in sizes), sum(size.with_model for size in sizes))

    @property
    def saved(self) -> int:
        return self.without - self.with_model


def train_graphic(
    folder: Path,
    output: Path,
    *,
    minutes: float | None = None,
    overwrite: bool = False,
    keep: bool = False,
    progress: Progress | None = None,
    announce: Announce = lambda plan: None,
    stop: Stop | None = None,
    log: Path | None = None,
) -> Trained:
    """Train on a folder, a .tar or a gzipped idx file and write the model folder `output`.

    Nothing is written if held-out pictures take as many bytes as before, unless `keep`. Raises InputError, OutputError, and
    OutOfTimeError if the time is over before the model is made.
    """
    started = time.monotonic()
    check_new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY])
    make_parent(output)
    training_log = TrainingLog(log, None)
    watch = Watch.start(progress, minutes, stop)
    corpus = load_corpus(folder, watch, read_whole)
    count = len(corpus.train) + len(corpus.held_out)
    if count < _LEAST_PICTURES:
        raise InputError(f"{folder}: {count} pictures are too few: give {_LEAST_PICTURES} or more that have something in common")
    estimate = _NETWORK_MINUTES + corpus.pixels / 1e6 * _MINUTES_A_MEGAPIXEL
    plan = Plan.of(corpus, "graphic", None, _STAGES, limit=minutes, estimate=estimate)
    announce(plan)
    training_log.entry("plan", plan.facts())
    checked = corpus.held_out[:_CHECKED]
    candidates, notes = candidates_of(corpus.train, corpus.held_out, output.name, watch)
    rows = check(candidates, checked, watch)
    number = best_of(candidates, rows)
    model, files = candidates[number], [row[number] for row in rows]
    saving = Saving.of([file.both for file in files])
    comparison = None
    if saving.saved > 0 and not watch.stop.asked:
        comparison = _compare(model, checked[: len(rows)], [file.lossless for file in files], watch)
    if not rows:
        notes = [*notes, "the time was over before a held-out picture was checked: what the model saves is unknown"]
    summary: dict[str, Any] = {
        **identity(model.id, "graphic", (folder, output), {"kind": "graphic", "minutes": minutes}),
        "seconds": round(time.monotonic() - started),
        "sheets": len(model.sheets),
        "contexts": model.network.count if model.network else 0,
        "model_bytes": _size(model),
        "notes": notes,
        "held_out_results": saving._asdict(),
        **({} if comparison is None else {"comparison": comparison.facts()}),
        "corpus": corpus.facts(),
    }
    in_vain = saving.pictures > 0 and saving.saved <= 0 and not keep
    refusal = f"{saving.pictures} held-out pictures have nothing in common with the others" if in_vain else ""
    if not refusal:
        with new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY]) as folder_of_model:
            save_model(folder_of_model, GraphicModel(output.name, model.tensors, summary))
    trained = Trained(summary, refusal, comparison=comparison, stopped=watch.stop.asked)
    training_log.entry("result", trained.facts())
    return trained


def _size(model: GraphicModel) -> int:
    """Bytes of the tensors of a model."""
    return sum(array.nbytes for array in model.tensors.values())


def read_whole(name: str, stream: BinaryIO) -> TrainingImage:
    """A whole image of 8 bits a sample, uint8 [H, W, 1 to 4], with its profile. Raises InputError, LimitError."""
    data = read_image(stream)
    if data.pixels.dtype != np.uint8:
        raise InputError("it has more than 8 bits per sample")
    pixels = np.ascontiguousarray(data.pixels.reshape(*data.pixels.shape[:2], -1), np.uint8)
    return TrainingImage(name, pixels, data.metadata.icc)


# ------------------------------------------------------------------------------------------------ fitting


@dataclass(frozen=True, eq=False)
class _Contents:
    """All contents of some pictures, each once."""

    known: HashFilter
    value: Float64
    """Estimated bytes [n]."""
    pictures: Int64
    """Pictures [n] that have a content as one of their cells."""


class _Found(NamedTuple):
    """The contents in a picture."""

    places: Intp
    """Places y * (W - 7) + x [m] of windows that are contents."""
    numbers: Intp
    """The content of each, [m]."""
    own: Intp
    """The contents that are cells of the picture, sorted."""


def fit(images: Sequence[TrainingImage], name: str, watch: Watch) -> GraphicModel:
    """A graphic model of what pictures have in common. Raises OutOfTimeError."""
    images = _first(images)
    contents = _contents_of(images, watch)
    found = []
    for number, image in enumerate(images):
        watch("searching what recurs", number, len(images))
        found.append(_find(image, contents))
    watch("searching what recurs", len(images), len(images))
    sheets = in_processes(_pack, _choose(images, found, contents), stage="packing the sheets", watch=watch)
    profiles = Counter(image.icc for image in images if image.icc)
    commonest = sorted(profiles, key=lambda profile: (-profiles[profile], profile))
    ends = np.cumsum([len(profile) for profile in commonest])
    kept = [profile for profile, end in zip(commonest, ends, strict=True) if end <= _PROFILE_BYTES]
    model = GraphicModel(name, tensors_of(sheets, kept))
    model.check()
    return model


def _first(images: Sequence[TrainingImage]) -> list[TrainingImage]:
    """The first images, as many as have _MOST_PIXELS together."""
    sizes = np.cumsum([image.pixels.shape[0] * image.pixels.shape[1] for image in images])
    return [image for image, size in zip(images, sizes, strict=True) if size <= _MOST_PIXELS]


def _contents_of(images: Sequence[TrainingImage], watch: Watch) -> _Contents:
    """The contents of all images."""
    hashes, values = [np.zeros(0, np.uint64)], [np.zeros(0)]
    for number, image in enumerate(images):
        watch("reading the contents", number, len(images))
        cells = cells_of(image.pixels)
        mixed = cells.value > 0
        own, first = np.unique(cells.hashes[mixed], return_index=True)
        hashes.append(own)
        values.append(cells.value[mixed][first])
    found, first, counts = np.unique(np.concatenate(hashes), return_index=True, return_counts=True)
    return _Contents(HashFilter(found), np.concatenate(values)[first], counts.astype(np.int64))


def _find(image: TrainingImage, contents: _Contents) -> _Found:
    """The contents in an image, at any place."""
    windows = window_hashes(colours_of(image.pixels))
    if not len(contents.value) or not windows.size:
        return _Found(*[np.zeros(0, np.intp)] * 3)
    places, numbers = contents.known.find(windows)
    rows, columns = np.divmod(places, windows.shape[1])
    return _Found(places, numbers, np.unique(numbers[(rows % CELL == 0) & (columns % CELL == 0)]))


def _choose(images: Sequence[TrainingImage], found: Sequence[_Found], contents: _Contents) -> list[UInt8]:
    """Sheets uint8 [H, W, 4]: what recurs in other pictures, then the rest of those that have most in common with others."""
    covered = np.zeros(len(contents.value), bool)
    shared = [_shared(one, contents) for one in found]
    wanted = [np.zeros(0, np.intp) for _ in images]  # contents
    queue = [(-float(one.saved.sum()), number) for number, one in enumerate(shared)]
    heapq.heapify(queue)
    while queue:  # greedily what recurs: what a picture saves only falls, so only the first one is computed anew
        _, best = heapq.heappop(queue)
        left = ~covered[shared[best].numbers]
        saved = float(shared[best].saved[left].sum())
        if queue and -saved > queue[0][0]:
            heapq.heappush(queue, (-saved, best))
        elif saved > 0:
            wanted[best] = shared[best].numbers[left & (shared[best].saved > 0)]
            covered[wanted[best]] = True
    bytes_left = _MOST_BYTES - float(contents.value[covered].sum())
    for number in sorted(range(len(images)), key=lambda number: -shared[number].alike):
        rest = found[number].own[~covered[found[number].own]]
        bytes_left -= float(contents.value[rest].sum())
        if bytes_left < 0:
            break
        wanted[number] = np.append(wanted[number], rest)
        covered[rest] = True
    sheets = []
    for image, one, chosen in zip(images, found, wanted, strict=True):
        if len(chosen):
            sheets.append(_sheet(image.pixels, one.places[np.isin(one.numbers, chosen)]))
    sizes = np.cumsum([sheet.shape[0] * sheet.shape[1] for sheet in sheets])
    return [sheet for sheet, size in zip(sheets, sizes, strict=True) if size <= MAX_SHEET_PIXELS]


class _Shared(NamedTuple):
    """The part of a picture that others have, too."""

    numbers: Intp
    """Its contents [m], at any place."""
    saved: Float64
    """Estimated bytes [m] that each of them saves in other pictures."""
    alike: float
    """Share of its own cells, by their bytes, that others have."""


def _shared(found: _Found, contents: _Contents) -> _Shared:
    """The part of a picture that others have, too."""
    numbers = np.unique(found.numbers)
    others = contents.pictures[numbers] - np.isin(numbers, found.own)
    total = float(contents.value[found.own].sum())
    recurring = float(contents.value[found.own[contents.pictures[found.own] > 1]].sum())
    return _Shared(numbers, contents.value[numbers] * others, recurring / total if total else 0.0)


def _sheet(pixels: UInt8, places: Intp) -> UInt8:
    """The blocks of a picture [H, W, 1 to 4] that hold windows at y * (W - 7) + x, uint8 [h, w, 4]; others are transparent."""
    rows, columns = np.divmod(places, pixels.shape[1] - CELL + 1)
    height, width = pixels.shape[:2]
    kept = np.zeros((-(-height // _BLOCK), -(-width // _BLOCK)), bool)
    for down in (0, CELL - 1):
        for right in (0, CELL - 1):
            kept[(rows + down) // _BLOCK, (columns + right) // _BLOCK] = True
    colours = colours_of(pixels)
    samples = colours.view(np.uint8).reshape(height, width, 4)
    mask = kept.repeat(_BLOCK, axis=0)[:height].repeat(_BLOCK, axis=1)[:, :width]
    box = [slice(int(side.min()), int(side.max()) + 1) for side in np.nonzero(mask)]
    return np.ascontiguousarray((samples * mask[:, :, None])[box[0], box[1]])


def _pack(sheet: UInt8) -> bytes:
    """The file of a sheet; runs in a worker process."""
    return pipeline.encode(sheet, BUILT_IN, EncodeOptions(lossless=True, threads=1))


# ------------------------------------------------------------------------------------------------ contexts


def candidates_of(
    images: Sequence[TrainingImage], held_out: Sequence[TrainingImage], name: str, watch: Watch
) -> tuple[list[GraphicModel], list[str]]:
    """Models with sheets, with a network of contexts, and with both, as far as they differ; and notes on what is missing.

    Raises OutOfTimeError if there was no time for the sheets.
    """
    sheets = fit(images, name, watch)
    try:
        contexts = fit_network(images, held_out, watch.part(_NETWORK_SHARE))
    except (MissingExtraError, OutOfTimeError) as error:
        return [sheets], [f"without contexts: {error}"]
    profiles = {key: value for key, value in sheets.tensors.items() if key == PROFILES}
    found = [sheets, GraphicModel(name, {**tensors_of([], []), **profiles, **contexts}, {})]
    if sheets.sheets:
        found.append(GraphicModel(name, {**sheets.tensors, **contexts}, {}))
    for model in found:
        model.check()
    return found, []


def fit_network(images: Sequence[TrainingImage], held_out: Sequence[TrainingImage], watch: Watch) -> Tensors:
    """The tensors of a network of contexts; `held_out` tell which of its weights are the best.

    Raises MissingExtraError without torch, and OutOfTimeError.
    """
    try:
        from vqcodec.neural import pixel_contexts
        from vqcodec.neural.loop import LoopOptions
    except ImportError as error:
        raise MissingExtraError("it needs torch: pip install 'vqcodec[neural]'") from error

    rng = np.random.default_rng(0)
    train, checked = (
        pixel_contexts.samples_of([image.pixels for image in _first(own)], rng, partial(watch, _DRAWING))
        for own in (images, held_out or images)
    )
    left, most = watch.part(_STAGE_SHARE).left, max(1, _SEEN_TIMES * len(train.level) // pixel_contexts.PixelSettings.batch)
    steps = min(_NETWORK_STEPS, most) if left is None else None
    settings = pixel_contexts.PixelSettings(steps=steps, minutes=None if left is None else left / 60)

    def shown(stage: str) -> LoopOptions:
        return LoopOptions(progress=lambda share: watch(stage, round(1000 * share), 1000))

    return pixel_contexts.fit_contexts(train, checked, settings, *map(shown, _FITTING))


# ------------------------------------------------------------------------------------------------ checking


class Files(NamedTuple):
    """Bytes of a picture by a model: of a lossless file, and of one by default."""

    lossless: Sizes
    default: Sizes

    @property
    def both(self) -> Sizes:
        return Sizes(self.lossless.without + self.default.without, self.lossless.with_model + self.default.with_model)


def check(models: Sequence[GraphicModel], images: Sequence[TrainingImage], watch: Watch) -> list[list[Files]]:
    """The files of each picture with each model, of as many pictures as the time allows."""
    for model in models:
        if model.sheets:
            _ = book_of(model).windows  # before other processes need them
    try:
        return some_in_processes(partial(_files, models), images, stage=_CHECKING, watch=watch.for_check())
    except OutOfTimeError:
        return []


def _files(models: Sequence[GraphicModel], image: TrainingImage) -> list[Files]:
    """The files of a picture with each model; runs in a worker process."""
    kinds = EncodeOptions(lossless=True, threads=1), EncodeOptions(threads=1)

    def sizes(model: AnyModel) -> list[int]:
        return [len(pipeline.encode(image.pixels, model, options, Metadata(icc=image.icc))) for options in kinds]

    without = sizes(BUILT_IN)
    return [Files(*map(Sizes, without, sizes(model))) for model in models]


def best_of(models: Sequence[GraphicModel], rows: Sequence[Sequence[Files]]) -> int:
    """The number of the smallest model whose files are about as small as those of the best one; the last one without `rows`."""
    if not rows:
        return len(models) - 1
    totals = [Saving.of([row[number].both for row in rows]).with_model for number in range(len(models))]
    good = [number for number, total in enumerate(totals) if total <= (1 + _AS_GOOD) * min(totals)]
    return min(good, key=lambda number: _size(models[number]))


def _compare(model: GraphicModel, images: Sequence[TrainingImage], lossless: Sequence[Sizes], watch: Watch) -> Comparison | None:
    """The comparison with other formats: of lossless files only, if there is alpha."""
    if all(image.pixels.shape[2] % 2 for image in images):
        return compare_graphic(registry.find(None), model, list(images), watch)
    return compare_lossless(model.name, [image.pixels for image in images], lossless, len(packed(model)), watch)
