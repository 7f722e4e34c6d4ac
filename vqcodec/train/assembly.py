"""Model tensors from fitted parts, and fitted parts from the tensors of a base model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Int32, Int64
from vqcodec.entropy.predictor_shapes import predictor_shapes, scale_rows
from vqcodec.train import codebooks, streams
from vqcodec.train.codebooks import CodebookLayout, TrainedCodebook, codebook_layout
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import LATENT_UNIT
from vqcodec.weights.exact import SYNTHESES, ExactModel
from vqcodec.weights.folder import Tensors


@dataclass
class Draft:
    """A model in training, without its codebooks and streams: colour matrix, codebook layout, predictors and networks."""

    color: Int32
    layout: CodebookLayout = field(default_factory=codebook_layout)
    weights: dict[str, dict[str, Int32]] = field(default_factory=dict)
    """Tensors of each predictor that is fitted, by the predictor's name and the tensor's."""
    networks: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Tensors `context.*`, `synthesis.*` and `synthesis_ssim.*`."""

    @classmethod
    def start(cls, base: ExactModel | None) -> Draft:
        """A draft with the colours of the base model; predictors are not fitted yet."""
        return cls(OPPONENT if base is None else base.color)

    @classmethod
    def of_model(cls, model: ExactModel) -> Draft:
        """A draft with the predictors and networks of a model."""
        weights: dict[str, Tensors] = {name: {} for name in predictor_shapes()}
        for name, array in model.tensors.items():
            owner, _, kind = name.rpartition(".")
            if owner in weights:
                weights[owner][kind] = array
        networks = {name: array for name, array in model.tensors.items() if name.startswith(("context.", *SYNTHESES))}
        return cls(model.color, weights=weights, networks=networks)


@dataclass(frozen=True)
class Fitted:
    """A model, and statistics of its codebooks for model.json."""

    model: ExactModel
    codebooks: list[dict[str, Any]]


def predictor_tensors(draft: Draft) -> dict[str, NDArray[Any]]:
    """Tensors of the colour matrix, the networks and all predictors. Predictors that are not fitted yet are zero."""
    tensors: dict[str, NDArray[Any]] = {"color": draft.color, **draft.networks}
    rows = scale_rows()
    for name in predictor_shapes():
        weights = draft.weights.get(name)
        if weights is None:
            count = rows[int(name[5:])] if name.startswith("tile.") else 0
            weights = {
                "scale": np.zeros((2, count), np.int32),
                "scale_own": np.zeros(2, np.int32),
                "bias": np.zeros((2, 3), np.int32),
            }
        for kind, array in weights.items():
            tensors[f"{name}.{kind}"] = array.astype(np.int32)
    return tensors


@dataclass(frozen=True)
class Assembled:
    """A model, and for each codebook int64 [K] the training index of the codeword at each rank."""

    model: ExactModel
    orders: list[Int64]

    @property
    def codebook_sizes(self) -> Int64:
        """Number of codewords of every codebook, int64 [codebooks]."""
        return self.model.tensors["book.size"].astype(np.int64)


def assemble(draft: Draft, trained: list[TrainedCodebook], stream_model: streams.StreamModel | None = None) -> Assembled:
    """A model of all fitted parts, codewords ranked by count. Without a stream model, all codebooks share one untrained stream."""
    tensors = predictor_tensors(draft)
    ranked = [codebooks.ranked(codebook) for codebook in trained]
    parts = [one.codebook for one in ranked]
    tensors["book.table"] = draft.layout.table
    tensors["book.dim"] = np.array([b.dim for b in parts], np.uint8)
    tensors["book.size"] = np.array([b.size for b in parts], np.uint16)
    tensors["book.escape"] = np.array([b.escape for b in parts], np.int16)
    tensors["book.words"] = np.concatenate([b.codewords.reshape(-1) for b in parts])
    tensors["book.bits"] = np.concatenate([np.rint(b.bits * 256) for b in parts]).astype(np.uint16)
    tensors["book.alphabet"] = np.concatenate([b.alphabet for b in parts if b.alphabet is not None])
    if stream_model is None:
        stream_model = streams.StreamModel.untrained(len(trained))
    tensors["merge.maps"], tensors["merge.form"] = stream_model.maps, stream_model.form
    tensors["merge.dictionary"] = stream_model.dictionary
    tensors["pairs.zeros"] = np.array([p.zeros for p in stream_model.pairs], np.uint8).reshape(-1, 256)
    tensors["pairs.tails"] = np.array([p.tails for p in stream_model.pairs], np.int16).reshape(-1, 256)
    tensors["dictionary.lengths"] = np.array([d.lengths for d in stream_model.dictionaries], np.uint8).reshape(-1, 256)
    for number, dictionary in enumerate(stream_model.dictionaries):
        tensors[f"dictionary.{number:03d}"] = np.frombuffer(dictionary.content, np.uint8)
    return Assembled(ExactModel("in training", tensors), [one.order for one in ranked])


def recount(trained: list[TrainedCodebook], orders: list[Int64], files: list[streams.File], pull: float) -> list[TrainedCodebook]:
    """The codebooks with counts from coded files, plus the previous counts scaled to a total of `pull`."""
    counts = [np.zeros(codebook.codewords.shape[1]) for codebook in trained]
    for calls in files:
        for number, symbols in calls:
            counts[number] += np.bincount(orders[number][symbols], minlength=len(counts[number]))
    result = []
    for codebook, found in zip(trained, counts, strict=True):
        before = codebook.counts / max(codebook.counts.sum(), 1e-9) * pull
        result.append(TrainedCodebook(codebook.codewords, found + before, codebook.escape))
    return result


def codebooks_of(base: ExactModel) -> list[TrainedCodebook]:
    """A model's codebooks as they were in training, the inverse of `ranked`, with probabilities as counts.

    Scalar codebooks are in the order of the alphabet; in vector codebooks zero comes first and the escape last.
    """
    result = []
    for book in base.codebooks:
        counts = np.exp2(-book.bits.astype(np.float64))
        order = np.arange(book.size)
        if book.alphabet is not None:
            order = np.argsort(book.alphabet)
        elif book.escape >= 0:
            order = np.append(np.delete(order, book.escape), book.escape)
        codewords = book.codewords[:, order].astype(np.float32) * np.float32(1 / LATENT_UNIT)
        if book.dim > 1:
            zero = int(np.flatnonzero((codewords[:, :-1] == 0).all(axis=0))[0])
            zero_first = np.append(zero, np.delete(np.arange(book.size), zero))
            codewords, order = codewords[:, zero_first], order[zero_first]
        result.append(TrainedCodebook(codewords, counts[order], book.dim > 1))
    return result


def codebook_report(draft: Draft, trained: list[TrainedCodebook]) -> list[dict[str, Any]]:
    """Statistics of every codebook but the escape's, for model.json and the log."""
    return [
        {
            "set": ("dc", "ac")[key.coefficients],
            "dim": key.dim,
            "class": key.scale_class,
            "used": codebook.used,
            "entropy_bits": round(codebook.entropy_bits, 3),
        }
        for key, codebook in zip(draft.layout.keys, trained, strict=False)
    ]
