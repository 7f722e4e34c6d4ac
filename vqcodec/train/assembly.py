"""Between fits and tensors: codebooks from samples, tensors from all that was fitted, and a base model taken apart again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Int64
from vqcodec.entropy.predictor_shapes import predictor_shapes, scale_rows
from vqcodec.train import codebooks, streams
from vqcodec.train.codebooks import Trained
from vqcodec.train.sessions import Collector, Fit, LiteSettings
from vqcodec.train.watch import Progress
from vqcodec.transform.layouts import LATENT_UNIT
from vqcodec.weights.exact import ExactModel


def train_books(
    collector: Collector, fit: Fit, base: list[Trained] | None, settings: LiteSettings, progress: Progress
) -> list[Trained]:
    """All codebooks from the collected residuals; the last one is the escape's."""
    rng = np.random.default_rng(settings.seed + 2)
    result = []
    for number, (_, dim, cls) in enumerate(fit.keys):
        progress("fitting codebooks", number, len(fit.keys))
        x = collector.vectors(number)
        start = None if base is None else base[number]
        if dim == 1:
            scale = codebooks.scale_of_class(cls)
            result.append(codebooks.train_scalar_book(x[:, 0], scale, settings.rate, start, settings.strength))
        else:
            result.append(codebooks.train_vector_book(x, settings.rate, rng, start, settings.strength))
    progress("fitting codebooks", len(fit.keys), len(fit.keys))
    escaped = np.zeros(0, np.float32)
    result.append(codebooks.train_scalar_book(escaped, 4.0, settings.rate, None if base is None else base[-1], settings.strength))
    return result


def predictor_tensors(fit: Fit) -> dict[str, NDArray[Any]]:
    names = predictor_shapes()
    tensors: dict[str, NDArray[Any]] = {"color": fit.color, **fit.networks}
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
) -> tuple[dict[str, NDArray[Any]], list[Int64]]:
    """Tensors of a model, and the order of each book's old indices by rank."""
    tensors = predictor_tensors(fit)
    ranked = [codebooks.ranked(book) for book in books]
    parts = [book for book, _ in ranked]
    tensors["book.table"] = fit.table
    tensors["book.dim"] = np.array([b.dim for b in parts], np.uint8)
    tensors["book.size"] = np.array([b.size for b in parts], np.uint16)
    tensors["book.escape"] = np.array([b.escape for b in parts], np.int16)
    tensors["book.words"] = np.concatenate([b.codewords.reshape(-1) for b in parts])
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


def recount(books: list[Trained], orders: list[Int64], files: list[streams.File], pull: float) -> list[Trained]:
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


def base_books(base: ExactModel) -> list[Trained]:
    """A model's books as they were in training: scalar books by letter, escapes last; probabilities for counts."""
    result = []
    for book in base.codebooks:
        counts = np.exp2(-book.bits.astype(np.float64))
        order = np.arange(book.size)
        if book.alphabet is not None:
            order = np.argsort(book.alphabet)
        elif book.escape >= 0:
            order = np.append(np.delete(order, book.escape), book.escape)
        words = book.codewords[:, order].astype(np.float32) * np.float32(1 / LATENT_UNIT)
        if book.dim > 1:  # the zero word leads
            zero = int(np.flatnonzero((words[:, :-1] == 0).all(axis=0))[0])
            lead = np.append(zero, np.delete(np.arange(book.size), zero))
            words, order = words[:, lead], order[lead]
        result.append(Trained(words, counts[order], book.dim > 1))
    return result
