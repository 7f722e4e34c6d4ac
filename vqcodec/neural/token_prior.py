"""The token prior in torch: a transformer that fills in masked tokens (MaskGIT, Chang et al. 2022). Formulas: transformer.py.

A share cos(pi u / 2) of each picture's cells is masked, for a uniform u; the loss is the cross-entropy of the masked cells. One
label in ten is dropped, for classifier-free guidance (Ho and Salimans 2022).

The figure for held-out pictures is exact: if the number of masked cells is uniform, their mean cross-entropy is that of generating
cell by cell in random order (Uria, Murray and Larochelle 2014, eq. 7), in bits per token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import Int64, UInt8
from vqcodec.codec.tokens import forward_matrix
from vqcodec.nets.transformer import EPSILON, HEAD, shapes
from vqcodec.neural.loop import ON_CPU, Batch, LoopOptions, Schedule, fit
from vqcodec.neural.networks import load_tensors
from vqcodec.weights.token import TokenModel

_SCORED: Final = 2048
"""Most held-out grids; their masks stay the same."""
_PART: Final = 256
"""Held-out grids in a batch."""
_CELLS: Final = 1 << 12
"""Cells that are encoded at once."""


@dataclass(frozen=True)
class PriorSettings(Schedule):
    """Everything that decides the outcome, besides the tokens."""

    batch: int = 64
    crop: int = 16
    rate: float = 1e-3
    width: int = 192
    layers: int = 4
    dropout: float = 0.1
    unlabelled: float = 0.1
    """Share of the pictures whose label is dropped."""


@dataclass(frozen=True)
class Grid:
    """A picture's tokens int64 [h, w], and the number of its class."""

    tokens: Int64
    label: int


@torch.no_grad()
def encode_all(pictures: Sequence[UInt8], model: TokenModel, tell: Callable[[int], None]) -> list[Int64]:
    """Tokens int64 [h, w] of pictures uint8 [H, W, c] of whole cells, equal to those of `tokens.encode` up to ties.

    Pictures of one size are encoded in batches; `tell` gets the number done.
    """
    encoder = load_tensors(model.tensors, "encoder")
    matrix, side = torch.from_numpy(forward_matrix(model.side, model.components, model.color)), model.side
    mean, scale, words = (torch.from_numpy(array.astype(np.float32)) for array in (model.mean, model.scale, model.codebook))
    sizes: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        sizes.setdefault(picture.shape, []).append(number)
    found: dict[int, Int64] = {}
    for (height, width, _), numbers in sizes.items():
        h, w = height // side, width // side
        for start in range(0, len(numbers), max(1, _CELLS // (h * w))):
            part = numbers[start : start + max(1, _CELLS // (h * w))]
            pixels = np.stack([pictures[number] for number in part]).reshape(len(part), h, side, w, side, -1)
            blocks = torch.from_numpy(pixels.transpose(0, 1, 3, 2, 4, 5).reshape(len(part), h, w, -1).astype(np.float32))
            x = ((blocks - 128) @ matrix - mean) / scale
            z = encoder(x.movedim(-1, 1).contiguous()).movedim(1, -1)
            index = (words.square().sum(dim=1) - 2 * z @ words.T).argmin(dim=-1)
            found |= zip(part, index.numpy(), strict=True)
            tell(len(found))
    return [found[number] for number in range(len(pictures))]


class PriorNetwork(nn.Module):
    """A transformer from tokens int64 [B, h, w] and labels [B] to logits [B, h, w, K]."""

    def __init__(self, settings: PriorSettings, codewords: int, grid: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.dropout = settings.dropout
        self.weights = nn.ParameterDict()
        for name, shape in shapes(settings.width, settings.layers, codewords, grid, classes).items():
            weight = nn.Parameter(torch.zeros(shape))
            if name.endswith("norm"):
                nn.init.ones_(weight)
            elif not name.endswith("bias"):
                residual = name in ("mix", "project")  # smaller, as their outputs add up over the layers (Radford et al. 2019)
                nn.init.normal_(weight, std=0.02 / (2 * settings.layers) ** 0.5 if residual else 0.02)
            self.weights[name] = weight

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        weights = self.weights
        batch, h, w = tokens.shape
        x = weights["words"][tokens] + weights["rows"][:h, None] + weights["columns"][:w]
        x = self._dropped((x + weights["labels"][labels][:, None, None]).flatten(1, 2))
        names = ("first_norm", "qkv", "mix", "second_norm", "expand", "project")
        stacks = [weights[name + end].unbind() for name in names for end in ("", "_bias")]
        for first, first_, qkv, qkv_, mix, mix_, second, second_, expand, expand_, project, project_ in zip(*stacks, strict=True):
            seen = functional.layer_norm(x, first.shape, first, first_, EPSILON)
            q, k, v = functional.linear(seen, qkv, qkv_).view(batch, h * w, 3, -1, HEAD).permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = x + self._dropped(functional.linear(attended, mix, mix_))
            seen = functional.layer_norm(x, second.shape, second, second_, EPSILON)
            wide = functional.gelu(functional.linear(seen, expand, expand_), approximate="tanh")
            x = x + self._dropped(functional.linear(wide, project, project_))
        seen = functional.layer_norm(x, weights["last_norm"].shape, weights["last_norm"], weights["last_norm_bias"], EPSILON)
        return functional.linear(seen, weights["tail"], weights["tail_bias"]).view(batch, h, w, -1)

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The tensors `prior.*` of a token prior (generation.py)."""
        return {f"prior.{name}": weight.detach().cpu().numpy().astype(np.float16) for name, weight in self.weights.items()}


def draw_batch(
    grids: Sequence[Grid],
    side: tuple[int, int],
    mask_token: int,
    classes: int,
    settings: PriorSettings,
    rng: np.random.Generator,
) -> Batch:
    """A batch of crops of `side` rows and columns: masked tokens and tokens, int64 [B, h, w], and labels int64 [B]."""
    targets = np.empty((settings.batch, *side), np.int64)
    labels = np.empty(settings.batch, np.int64)
    for place, number in enumerate(rng.integers(len(grids), size=settings.batch)):
        grid = grids[number]
        top, left = (int(rng.integers(have - want + 1)) for have, want in zip(grid.tokens.shape, side, strict=True))
        targets[place] = grid.tokens[top : top + side[0], left : left + side[1]]
        labels[place] = grid.label
    labels[rng.random(settings.batch) < settings.unlabelled] = classes
    counts = np.ceil(np.cos(np.pi / 2 * rng.random(settings.batch)) * targets[0].size)
    return tuple(map(torch.from_numpy, (masked(targets, counts, mask_token, rng), targets, labels)))


def masked(tokens: Int64, counts: NDArray[Any], mask_token: int, rng: np.random.Generator) -> Int64:
    """Tokens [B, h, w] with `counts` [B] random ones of each picture replaced by `mask_token`."""
    ranks = rng.random((len(tokens), tokens[0].size)).argsort(axis=1).argsort(axis=1).reshape(tokens.shape)
    return np.where(ranks < counts[:, None, None], mask_token, tokens)


def cross_entropy(logits: Tensor, seen: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the masked tokens, [n], in nats."""
    hidden = seen != targets  # the mask token is not a codeword
    return functional.cross_entropy(logits[hidden].float(), targets[hidden], reduction="none")


class FittedPrior(NamedTuple):
    """Tensors `prior.*`, and the bits per token of the held-out grids."""

    tensors: dict[str, NDArray[Any]]
    held_out_bits: float


def fit_prior(
    train: Sequence[Grid],
    held_out: Sequence[Grid],
    codewords: int,
    classes: int,
    settings: PriorSettings,
    options: LoopOptions = ON_CPU,
) -> FittedPrior:
    """Train on grids of tokens below `codewords`.

    Grids larger than `usable_grid` are cropped at random; smaller ones are left out.
    """
    torch.manual_seed(settings.seed)
    side = usable_grid([grid.tokens.shape for grid in train], settings.crop)
    network = PriorNetwork(settings, codewords, side, classes)
    usable = _usable(train, side)
    scored = _score_batches(_usable(held_out, side) or usable, codewords, side, settings.seed)

    def draw(rng: np.random.Generator) -> Batch:
        return draw_batch(usable, side, codewords, classes, settings, rng)

    def loss_of(network: PriorNetwork, batch: Batch) -> Tensor:
        seen, targets, labels = batch
        return cross_entropy(network(seen, labels), seen, targets).mean()

    def bits(network: PriorNetwork) -> float:
        network.eval()
        place = next(network.parameters()).device
        with torch.no_grad():
            found = [held_out_bits(network, tuple(tensor.to(place) for tensor in batch)) for batch in scored]
        return float(torch.cat(found).mean())

    average = fit(network, draw, loss_of, bits, settings, options)
    return FittedPrior(average.tensors(), bits(average))


def usable_grid(sides: Sequence[tuple[int, ...]], most: int) -> tuple[int, int]:
    """Rows and columns of crops: at most `most`, and no more than nine grids of ten have."""
    h, w = (min(most, sorted(side[axis] for side in sides)[len(sides) // 10]) for axis in (0, 1))
    return h, w


def _usable(grids: Sequence[Grid], side: tuple[int, int]) -> list[Grid]:
    return [grid for grid in grids if grid.tokens.shape[0] >= side[0] and grid.tokens.shape[1] >= side[1]]


def held_out_bits(network: PriorNetwork, batch: Batch) -> Tensor:
    """Mean bits per masked token of each picture, [B]."""
    seen, targets, labels = batch
    losses = torch.zeros(targets.shape, device=targets.device)
    hidden = seen != targets
    losses[hidden] = cross_entropy(network(seen, labels), seen, targets)
    return losses.sum(dim=(1, 2)) / hidden.sum(dim=(1, 2)) / np.log(2)


def _score_batches(grids: Sequence[Grid], mask_token: int, side: tuple[int, int], seed: int) -> list[Batch]:
    """Batches of up to _SCORED grids, with all labels and a uniform number of masked cells."""
    rng = np.random.default_rng(seed)
    chosen = [grids[number] for number in rng.permutation(len(grids))[:_SCORED]]
    batches = []
    for start in range(0, len(chosen), _PART):
        part = chosen[start : start + _PART]
        targets = np.stack([grid.tokens[: side[0], : side[1]] for grid in part])
        counts = rng.integers(1, targets[0].size + 1, len(part))
        labels = np.array([grid.label for grid in part])
        batches.append(tuple(map(torch.from_numpy, (masked(targets, counts, mask_token, rng), targets, labels))))
    return batches
