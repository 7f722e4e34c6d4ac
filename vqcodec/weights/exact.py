"""Exact models: codebooks, streams and predictors, and perhaps networks. folder.py describes the folder and the id of a model.

All tensors that parsing needs are integers, so there are no NaNs. Every value is checked when a model is loaded (exact_checks.py).
The networks `context.*`, `synthesis.*` and `synthesis_ssim.*` are optional.

    color                int32 [3, 3]      colour matrix (color.py)
    book.table           int16 [2, 4, 32]  codebook of (DC or AC, log2 tile size, class); -1 codes nothing
    book.dim             uint8 [B]         dimension of each codebook; codebook B - 1 is the escape's scalar codebook
    book.size            uint16 [B]        codewords of each codebook
    book.escape          int16 [B]         rank of the escape, or -1
    book.words           int16 [sum d K]   codewords in 1/16 step, [d, K] of each codebook one after the other
    book.bits            uint16 [sum K]    static code lengths in 1/256 bit
    book.alphabet        uint8 [...]       143 for each scalar codebook, by codebook: index into codebooks.ALPHABET by rank
    merge.maps           uint8 [M, B]      stream of each codebook under each merge map; M is 32 at most
    merge.form           uint8 [M, S]      form of each stream: 0 direct, 1 split, else 2 + pair table
    merge.dictionary     uint16 [M, S, 2]  zstd dictionary of each part of a stream: 0 none, else 1 + its number
    pairs.zeros          uint8 [P, 256]    pair tables (stream_forms.py)
    pairs.tails          int16 [P, 256]
    dictionary.NNN       uint8 [...]       whole zstd dictionaries (RFC 8878, 5), numbered from 000 without gaps
    dictionary.lengths   uint8 [D, 256]    Huffman code length of each byte in each dictionary, 0 for none
    NAME.mean, NAME.mean_own, NAME.scale, NAME.scale_own, NAME.bias
                         int32             weights of linear.Predictor; NAME is tile.TT, dc.C.L.P or dc.root.C
        tiles: scale [2, F], scale_own [2], bias [2, 3], and where there is a mean: mean [2 T, G], mean_own [T, 4]
        DC passes: scale [1, F], scale_own [0], bias [1, 3], mean [1, G]; DC roots: scale [1, 0], scale_own [0], bias [1, 3]
    context.NAME         int16             weights of context.ContextNetwork, not in every model:
        shift [1], 1..10; luma.dc, luma.step, chroma.dc, chroma.step, tile.TT.state, .own, .hidden, .out, dc.C.L.P.first, .second,
        .out; biases of the last five int32, as NAME_bias
    synthesis.NAME       float16           weights of convolution.ConvNetwork; not in every model, and not needed to parse a file
    synthesis_ssim.NAME  float16           the same for files with masking; not in every model that has a synthesis
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Final

import numpy as np

from vqcodec.arrays import Float32, Int16, UInt8
from vqcodec.entropy.codebook_search import Search
from vqcodec.entropy.codebooks import Codebook, SymbolTable
from vqcodec.entropy.context import ContextNetwork
from vqcodec.entropy.linear import Predictor
from vqcodec.entropy.predictor_shapes import PredictorShape, predictor_shapes
from vqcodec.format.stream_forms import Direct, Form, Pairs, Split
from vqcodec.format.zstd_blocks import Dictionary
from vqcodec.nets.convolution import ConvNetwork
from vqcodec.nets.synthesis import FEATURES, OUTPUTS
from vqcodec.weights.exact_checks import check_codebooks, check_color, check_streams, require
from vqcodec.weights.folder import Weights, checking

DC_SET: Final = 0
"""First index into `book.table` for DCs."""
AC_SET: Final = 1
"""First index into `book.table` for tiles."""
SYNTHESES: Final = ("synthesis.", "synthesis_ssim.")
"""Beginnings of the names of tensors that are not needed to parse a file."""


@dataclass(frozen=True)
class Stream:
    """One stream of a merge map: its form, and a dictionary or None for each part."""

    form: Form
    dictionaries: tuple[Dictionary | None, ...]

    @property
    def means(self) -> list[int]:
        """Mean code lengths of the parts' dictionaries, for `stream_records.read_streams`; 0 without a dictionary."""
        return [given.mean if given else 0 for given in self.dictionaries]


@dataclass(frozen=True, eq=False)
class ExactModel(Weights):
    """A loaded exact model. The plain decode of its files is the same on every machine."""

    noun: ClassVar[str] = "a lite or neural model"

    @property
    def table(self) -> Int16:
        """Codebook number of (set, log2 tile size, class), int16 [2, 4, 32]; -1 codes nothing."""
        return self.tensors["book.table"]

    @cached_property
    def codebooks(self) -> tuple[Codebook, ...]:
        """The codebooks by number; the last one is the escape's."""
        tensors, codebooks = self.tensors, []
        word, entry, letter = 0, 0, 0
        for dim, size, escape in zip(*(tensors[f"book.{k}"].tolist() for k in ("dim", "size", "escape")), strict=True):
            codewords = tensors["book.words"][word : word + dim * size].reshape(dim, size)
            bits = tensors["book.bits"][entry : entry + size].astype(np.float32) * np.float32(1 / 256)
            alphabet = tensors["book.alphabet"][letter : letter + size] if dim == 1 else None
            codebooks.append(Codebook(codewords, bits, escape, alphabet))
            word, entry, letter = word + dim * size, entry + size, letter + (size if dim == 1 else 0)
        return tuple(codebooks)

    @cached_property
    def symbol_tables(self) -> dict[int, SymbolTable]:
        """Tables for looking symbols up, by dimension of the codebooks."""
        return {dim: SymbolTable.from_codebooks(self.codebooks, dim) for dim in {codebook.dim for codebook in self.codebooks}}

    def search(self, lambdas: tuple[float, ...]) -> Search:
        """The search through the codebooks with one lambda each, in squared steps per bit; cached."""
        if lambdas not in self._searches:
            self._searches[lambdas] = Search.from_codebooks(self.codebooks, lambdas)
        return self._searches[lambdas]

    @cached_property
    def _searches(self) -> dict[tuple[float, ...], Search]:
        return {}

    @property
    def maps(self) -> UInt8:
        """Stream of each codebook under each merge map, uint8 [M, B]."""
        return self.tensors["merge.maps"]

    @cached_property
    def dictionaries(self) -> tuple[Dictionary, ...]:
        """The Huffman codes that streams refer to, by number."""
        return tuple(
            Dictionary(self.tensors[f"dictionary.{number:03d}"].tobytes(), lengths)
            for number, lengths in enumerate(self.tensors["dictionary.lengths"])
        )

    @cached_property
    def streams(self) -> tuple[tuple[Stream, ...], ...]:
        """The streams of each merge map."""
        pairs = [Pairs(zeros, tails) for zeros, tails in zip(self.tensors["pairs.zeros"], self.tensors["pairs.tails"], strict=True)]
        forms: list[Form] = [Direct(), Split(), *pairs]
        result = []
        for number, books in enumerate(self.maps):
            streams = []
            for stream in range(int(books.max()) + 1):
                form = forms[int(self.tensors["merge.form"][number, stream])]
                given = self.tensors["merge.dictionary"][number, stream, : form.parts].tolist()
                dictionaries = tuple(self.dictionaries[g - 1] if g else None for g in given)
                if isinstance(form, Pairs) and dictionaries[0]:
                    form = replace(form, lengths=dictionaries[0].lengths)
                streams.append(Stream(form, dictionaries))
            result.append(tuple(streams))
        return tuple(result)

    @cached_property
    def predictors(self) -> dict[str, Predictor]:
        """Linear predictors by name: `tile.TT`, `dc.C.L.P`, `dc.root.C`."""

        def weights(name: str) -> Float32:
            return self.tensors[name].astype(np.float32)

        return {
            name: Predictor(
                mean=weights(f"{name}.mean") if f"{name}.mean" in self.tensors else None,
                mean_own=weights(f"{name}.mean_own") if f"{name}.mean_own" in self.tensors else None,
                scale=weights(f"{name}.scale"),
                scale_own=weights(f"{name}.scale_own"),
                bias=self.tensors[f"{name}.bias"].astype(np.int64),
            )
            for name in predictor_shapes()
        }

    @cached_property
    def context(self) -> ContextNetwork | None:
        """The context network, if the model has one."""
        own = any(name.startswith("context.") for name in self.tensors)
        return ContextNetwork.from_tensors(self.tensors) if own else None

    @cached_property
    def syntheses(self) -> dict[str, ConvNetwork]:
        """The networks that restore what the quantiser lost, by the first part of their tensors' names; {} if there are none."""
        kinds = [kind for kind in ("synthesis", "synthesis_ssim") if f"{kind}.head" in self.tensors]
        return {kind: ConvNetwork.from_tensors(self.tensors, kind, inputs=FEATURES, outputs=OUTPUTS) for kind in kinds}

    @property
    def synthesis(self) -> ConvNetwork | None:
        """The synthesis network trained for squared error, if the model has one."""
        return self.syntheses.get("synthesis")

    def synthesis_kind(self, masking: int) -> str:
        """The key in `syntheses` of the one that shows files of a masking strength."""
        return "synthesis_ssim" if masking and "synthesis_ssim" in self.syntheses else "synthesis"

    def check(self) -> None:
        """Raise ModelError unless every tensor is present, of the right shape, and within bounds."""
        with checking("model", self.tensors):
            check_codebooks(self.tensors)
            check_color(self.tensors)
            check_streams(self.tensors)
            for name, wanted in predictor_shapes().items():
                found = PredictorShape.of(self.predictors[name])
                require(found == wanted, f"weights of {name} have shapes {tuple(found)}, not {tuple(wanted)}")
                self.predictors[name].check_bounds(name)
            _ = self.streams, self.context, self.syntheses
