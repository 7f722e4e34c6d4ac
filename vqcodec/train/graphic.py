"""`--kind graphic`: a pattern codebook of what the pictures of a folder have in common. Needs numpy only.

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
from vqcodec.errors import InputError
from vqcodec.format.header import Metadata
from vqcodec.io.files import check_new_folder, make_parent, new_folder
from vqcodec.io.image_reader import read_image
from vqcodec.options import EncodeOptions
from vqcodec.train.comparison import compare_lossless
from vqcodec.train.data import TrainingImage, identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.result import Announce, Plan, Trained
from vqcodec.train.watch import OutOfTimeError, Progress, Stop, Watch, in_processes, some_in_processes
from vqcodec.transform.palette import CELL
from vqcodec.weights.builtin import BUILT_IN
from vqcodec.weights.folder import SUMMARY, TENSORS, packed, save_model
from vqcodec.weights.graphic import MAX_SHEET_PIXELS, GraphicModel, tensors_of

_BLOCK: Final = 16
"""Side in pixels of the parts of a sheet that are kept or blank."""
_MOST_BYTES: Final = 1 << 18
"""Estimated bytes of the sheets up to which contents that do not recur are kept."""
_MOST_PIXELS: Final = 1 << 26
"""Most pixels to learn from."""
_LEAST_PICTURES: Final = 3
_CHECKING: Final = "checking on held-out pictures"
_STAGES: Final = ("search for what recurs", "sheets", "check on held-out pictures")
_MINUTES_A_MEGAPIXEL: Final = 0.1
"""Minutes of a training for a megapixel on two cores, about."""
_CHECKED: Final = 20
"""Most held-out pictures that are coded."""
_PROFILE_BYTES: Final = 1 << 14
"""Most bytes of ICC profiles."""


class Sizes(NamedTuple):
    """Bytes of a picture without loss: without a model, and with it."""

    without: int
    with_model: int


class Saving(NamedTuple):
    """Bytes of the held-out pictures without loss: as they are without a model, and with it."""

    pictures: int
    without: int
    with_model: int

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
    plan = Plan.of(corpus, "graphic", None, _STAGES, limit=minutes, estimate=corpus.pixels / 1e6 * _MINUTES_A_MEGAPIXEL)
    announce(plan)
    training_log.entry("plan", plan.facts())
    model = fit(corpus.train, output.name, watch)
    checked = corpus.held_out[:_CHECKED]
    sizes = check(model, checked, watch)
    saving = Saving(len(sizes), sum(size.without for size in sizes), sum(size.with_model for size in sizes))
    comparison = None
    if saving.saved > 0 and not watch.stop.asked:
        pictures = [image.pixels for image in checked[: len(sizes)]]
        comparison = compare_lossless(output.name, pictures, sizes, len(packed(model)), watch)
    summary: dict[str, Any] = {
        **identity(model.id, "graphic", (folder, output), {"kind": "graphic", "minutes": minutes}),
        "seconds": round(time.monotonic() - started),
        "sheets": len(model.sheets),
        "model_bytes": _size(model),
        "notes": [] if sizes else ["the time was over before a held-out picture was checked: what the model saves is unknown"],
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


# ------------------------------------------------------------------------------------------------ checking


def check(model: GraphicModel, images: Sequence[TrainingImage], watch: Watch) -> list[Sizes]:
    """The bytes of each picture without the model and with it, of as many as the time allows."""
    _ = book_of(model).windows  # before other processes need them
    try:
        return some_in_processes(partial(_sizes, model), images, stage=_CHECKING, watch=watch.for_check())
    except OutOfTimeError:
        return []


def _sizes(model: GraphicModel, image: TrainingImage) -> Sizes:
    """The bytes of a picture without the model and with it; runs in a worker process."""
    options = EncodeOptions(lossless=True, threads=1)
    return Sizes(*(len(pipeline.encode(image.pixels, one, options, Metadata(icc=image.icc))) for one in (BUILT_IN, model)))
