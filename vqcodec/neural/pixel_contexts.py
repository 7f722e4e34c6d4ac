"""The network that tells contexts of graphic pixels (entropy/pixel_contexts.py), fitted to pictures.

First it learns to predict bins of a pixel's grey level from the pixels around it. Its predictions are clustered to CONTEXTS codes
by the divergence KL(code || prediction), for which the nearest code is the largest output of a linear layer (Lloyd 1982). Then that
layer and all before it learn to choose the code with the fewest bits for the pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import Float64, Intp, Pixels, UInt8
from vqcodec.codec.choices import LAMBDA
from vqcodec.codec.colour_reduction import reduce_colours
from vqcodec.codec.rate_control import step_of_quality
from vqcodec.entropy.layers import UNIT_MAX, UNIT_SHIFT
from vqcodec.entropy.linear import FLOAT32_EXACT
from vqcodec.entropy.pixel_contexts import PLACES, PREFIX, REACH
from vqcodec.format.neighbours import WHITE
from vqcodec.neural.context_samples import ONE
from vqcodec.neural.loop import ON_CPU, Batch, LoopOptions, Schedule, fit
from vqcodec.neural.units import unit
from vqcodec.transform.palette import grey_levels
from vqcodec.weights.folder import Tensors

CONTEXTS: Final = 96
WIDTH: Final = 128
_BINS: Final = 32
"""Bins of grey levels, about."""
_QUALITIES: Final = (40, 60, 80)
"""Qualities at which pictures have fewer colours: the network learns from these."""
_MOST_SAMPLES: Final = 6_000_000
_HELD_OUT_SAMPLES: Final = 100_000
_CLUSTERED: Final = 60_000
"""Predictions that are clustered."""
_ROUNDS: Final = 15
_LEAST_SHARE: Final = 1e-3
"""Added to each share of a code."""
_INT16: Final = 32767
_EXACT: Final = 0.99 * FLOAT32_EXACT
"""Limit of sums, with room for rounding."""
_LN_2: Final = float(np.log(2))


Report = Callable[[int, int], None]
"""Called with the number of pictures done and of all."""


@dataclass(frozen=True)
class PixelSettings(Schedule):
    """Length of each of the two stages, and settings of both."""

    batch: int = 4096
    """Pixels."""
    matrix_rate: float = 0.02
    warmup: float = 0.1


@dataclass(frozen=True, eq=False)
class Samples:
    """Pixels and what is known before them."""

    around: UInt8
    """Grey levels at PLACES, uint8 [n, 36]."""
    level: UInt8
    """Grey level of the pixel, uint8 [n]."""


def samples_of(pictures: Sequence[Pixels], rng: np.random.Generator, report: Report = lambda done, total: None) -> Samples:
    """Pixels of pictures uint8 [H, W, C] with fewer colours, drawn at random: as many of each picture.

    What `report` raises ends it.
    """
    most = max(1, _MOST_SAMPLES // (len(pictures) * len(_QUALITIES)))
    found: list[Samples] = []
    for number, picture in enumerate(pictures):
        report(number, len(pictures))
        found += [_drawn(version, most, rng) for version in _versions(picture)]
    return Samples(np.concatenate([one.around for one in found]), np.concatenate([one.level for one in found]))


def _versions(picture: Pixels) -> list[Pixels]:
    """A picture with fewer colours, as `encode` reduces them."""
    alpha = picture.shape[2] % 2 == 0
    return [
        reduce_colours(picture, None, step_levels=step_of_quality(quality, 8) / 64, lambda_=LAMBDA, depth=8, alpha=alpha)
        for quality in _QUALITIES
    ]


def _drawn(picture: Pixels, most: int, rng: np.random.Generator) -> Samples:
    """At most `most` pixels of a picture."""
    height, width, channels = picture.shape
    levels = grey_levels(picture.reshape(-1, channels)).reshape(height, width)
    places = np.sort(rng.choice(levels.size, min(most, levels.size), replace=False))
    rows, columns = np.divmod(places, width)
    padded = np.pad(levels, ((REACH, 0), (REACH, REACH)), constant_values=WHITE)
    around = np.stack([padded[rows + REACH + y, columns + REACH + x] for y, x in PLACES], axis=1)
    return Samples(around, levels.reshape(-1)[places])


class _Predictor(nn.Module):
    """Two layers of units, and a linear layer that predicts bins."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(len(PLACES), WIDTH), nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, bins)

    def forward(self, around: Tensor, bins: Tensor) -> Tensor:
        """The mean bits of the bins [n] of pixels, by the grey levels uint8 [n, 36] around them."""
        return functional.cross_entropy(self.outputs(around).float(), bins) / _LN_2

    def outputs(self, around: Tensor) -> Tensor:
        """Outputs [n, .] for grey levels uint8 [n, 36]."""
        result: Tensor = self.out(unit(self.second(unit(self.first(around.float() / ONE)))))
        return result


class _Chooser(_Predictor):
    """The predictor's two layers, and one that chooses among codes."""

    def __init__(self, predictor: _Predictor, codes: Tensor) -> None:
        super().__init__(len(codes))
        self.first, self.second = predictor.first, predictor.second
        with torch.no_grad():  # the largest output is the code nearest to the softmax of the predictor's
            self.out.weight.copy_(codes @ predictor.out.weight)
            self.out.bias.copy_(codes @ predictor.out.bias - (codes * codes.log()).sum(1))
        self.codes = nn.Parameter(codes.log())

    def forward(self, around: Tensor, bins: Tensor) -> Tensor:
        """The mean cost of the codes, each weighed by its probability: least if the best one has all of it."""
        costs = -functional.log_softmax(self.codes, 1).T[bins] / _LN_2  # [n, CONTEXTS]
        return (functional.softmax(self.outputs(around).float(), 1) * costs).sum(1).mean()


def fit_contexts(
    train: Samples, held_out: Samples, settings: PixelSettings, predicting: LoopOptions = ON_CPU, choosing: LoopOptions = ON_CPU
) -> Tensors:
    """The tensors `pixels.*` of a network fitted to samples in two stages; the second starts from the best of the first."""
    torch.manual_seed(settings.seed)
    bin_of = _bins(train.level)

    def batch_of(samples: Samples, rows: Intp) -> Batch:
        return torch.from_numpy(samples.around[rows]), torch.from_numpy(bin_of[samples.level[rows]])

    def draw(rng: np.random.Generator) -> Batch:
        return batch_of(train, rng.integers(len(train.level), size=settings.batch))

    checked = batch_of(held_out, np.arange(min(_HELD_OUT_SAMPLES, len(held_out.level))))

    @torch.no_grad()
    def bits(network: _Predictor) -> float:
        return float(network(*checked))

    def matrices(network: _Predictor) -> list[Tensor]:
        return [network.first.weight, network.second.weight]

    predictor = _Predictor(int(bin_of.max()) + 1)
    predictor = fit(predictor, draw, lambda network, batch: network(*batch), bits, settings, predicting, matrices=matrices)
    drawn, _ = batch_of(train, np.random.default_rng(settings.seed).integers(len(train.level), size=_CLUSTERED))
    chooser = _Chooser(predictor, _cluster(predictor, drawn))
    return _tensors(fit(chooser, draw, lambda network, batch: network(*batch), bits, settings, choosing, matrices=matrices))


def _bins(levels: UInt8) -> Intp:
    """The bin of each grey level, [128]: about _BINS bins, as dense as suits squared error (Panter, Dite 1951)."""
    density = np.cbrt(np.bincount(levels, minlength=UNIT_MAX + 1))
    ends = np.cumsum(density) / density.sum()
    found: Intp = np.unique(np.minimum(_BINS - 1, (ends * _BINS).astype(np.intp)), return_inverse=True)[1]
    return found.reshape(-1)


@torch.no_grad()
def _cluster(predictor: _Predictor, around: Tensor) -> Tensor:
    """CONTEXTS codes [CONTEXTS, bins] of similar predictions for some samples; they sum to 1."""
    shares = functional.softmax(predictor.outputs(around), 1)  # [n, bins]
    order = (shares @ torch.arange(shares.shape[1], dtype=torch.float32)).argsort()
    own = torch.empty(len(around), dtype=torch.long)
    own[order] = torch.arange(len(around)) * CONTEXTS // len(around)
    for _ in range(_ROUNDS):
        sums = torch.zeros(CONTEXTS, shares.shape[1]).index_add_(0, own, shares) + _LEAST_SHARE
        codes = sums / sums.sum(1, keepdim=True)
        own = (shares @ codes.log().T).argmax(1)
    return codes


def _tensors(network: _Predictor) -> Tensors:
    """The weights as integers.

    A unit whose sums would not be exact is made smaller, and its weights in the next layer larger; it is clamped later then.
    """
    found: Tensors = {}
    factors = np.ones(len(PLACES))  # of the units before the layer
    for name, layer in (("first", network.first), ("second", network.second), ("out", network.out)):
        weights: Float64 = layer.weight.detach().double().numpy() / factors
        bias: Float64 = layer.bias.detach().double().numpy()
        most = _most(weights, bias)  # [outputs]
        scales = np.full(len(most), most.min()) if name == "out" else most  # scores are compared
        factors = scales / (1 << UNIT_SHIFT)
        found[PREFIX + name] = np.rint(weights * scales[:, None]).astype(np.int16)
        found[f"{PREFIX}{name}_bias"] = np.rint(bias * scales * ONE).astype(np.int32)
    return found


def _most(weights: Float64, bias: Float64) -> Float64:
    """The largest scale of each output, 2**UNIT_SHIFT at most, with which sums are exact and weights fit into int16."""
    reach = UNIT_MAX * np.abs(weights).sum(axis=1) + ONE * np.abs(bias)
    exact = _EXACT / np.maximum(reach, 1e-3)
    fitting = _INT16 / np.maximum(np.abs(weights).max(axis=1), 1e-3)
    return np.minimum(float(1 << UNIT_SHIFT), np.minimum(exact, fitting))
