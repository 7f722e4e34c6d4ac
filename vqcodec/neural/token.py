"""The token model in torch: an autoencoder of DCT coefficients around a codebook (VQ-VAE, van den Oord et al. 2017).

The total loss is L = lambda_r L_r + lambda_c L_c:

    L_r  squared error of the pixels over their variance: the DCT is orthonormal, so it is summed over coefficients
    L_c  |sg[z] - e|^2 + beta |z - sg[e]|^2, a mean over z, for codewords e and with sg the stopped gradient (eq. 3 there): beta is
         on the term that moves the encoder

Codewords are moving averages of what is assigned to them (appendix A.1 there), so the first term of L_c only measures. They start
as k-means of what the untrained encoder gives; those that nearly nothing is assigned to are dead, and begin anew as a vector of the
batch (Lancucki et al. 2020). With `cosine` vectors and codewords are of unit length (Yu et al. 2022): the nearest of such codewords
is the one of the least angle, whatever the vector's length, so inference needs to know nothing of it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.color import OPPONENT
from vqcodec.model import TOKEN_CELLS
from vqcodec.neural.loop import EVERY, SCORED, Report, Schedule, average_in, fast_bfloat16, load_checkpoint, save_checkpoint
from vqcodec.neural.synthesis import SynthesisNetwork, to_tensors, usable_crop
from vqcodec.tokens import forward_matrix

Score = Callable[[dict[str, NDArray[Any]]], dict[str, float]]
"""Figures of a model, given its tensors, on what it was not trained on."""
_ROUNDS: Final = 10
"""Of k-means at the start."""
_STARTED_ON: Final = 16
"""Vectors for each codeword that k-means wants, at least."""
_DISTANCES: Final = 1 << 24
"""Of vectors to codewords that are held at once."""
_FREE: Final = ("lambda_r", "lambda_c", "beta", "minutes", "steps")
"""Settings that may be others where training goes on."""


@dataclass(frozen=True)
class TokenSettings(Schedule):
    """Everything that decides the outcome, with the pictures."""

    batch: int = 64
    crop: int = 8
    rate: float = 2e-3
    cell: int = 8
    """Pixels a side of a cell."""
    codewords: int = 256
    dim: int = 16
    """Of a codeword."""
    cosine: bool = False
    """Codewords of unit length."""
    width: int = 128
    blocks: int = 3
    """Of encoder and decoder."""
    lambda_r: float = 1.0
    lambda_c: float = 1.0
    beta: float = 0.25
    decay: float = 0.95
    """Of the moving averages that codewords are."""
    dead: float = 0.03
    """A codeword is dead that has less than this part of its fair share of the vectors."""


def commitment(z: Tensor, words: Tensor, beta: float) -> Tensor:
    """L_c of vectors [..., D] and the codewords [..., D] that stand for them."""
    return (z.detach() - words).square().mean() + beta * (z - words.detach()).square().mean()


def straight_through(z: Tensor, words: Tensor) -> Tensor:
    """The codewords, with the gradient of what they stand for (Bengio et al. 2013)."""
    return z + (words - z).detach()


class Quantiser(nn.Module):
    """A codebook of K words of D dimensions, learnt by moving averages of `shares`, the part of all vectors that each word has,
    and `sums`, that part of the mean of all vectors."""

    words: Tensor
    shares: Tensor
    sums: Tensor

    def __init__(self, settings: TokenSettings) -> None:
        super().__init__()
        self.settings = settings
        count, dim = settings.codewords, settings.dim
        self.register_buffer("words", torch.zeros(count, dim))
        self.register_buffer("shares", torch.full((count,), 1 / count))
        self.register_buffer("sums", torch.zeros(count, dim))

    def placed(self, z: Tensor) -> Tensor:
        """Vectors [..., D] where codewords can be: of unit length, where these are."""
        return functional.normalize(z, dim=-1) if self.settings.cosine else z

    def nearest(self, z: Tensor) -> Tensor:
        """The index of the codeword nearest to each of the vectors [n, D], int64 [n]."""
        lengths = self.words.square().sum(dim=1)
        parts = torch.split(z, max(1, _DISTANCES // len(self.words)))
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 does not tell neighbours apart
            return torch.cat([(lengths - 2 * part @ self.words.T).argmin(dim=1) for part in parts])

    @torch.no_grad()
    def start(self, z: Tensor, rng: np.random.Generator) -> None:
        """k-means of vectors [n, D]: moving averages that forget all at once."""
        self.words.copy_(z[self._draw(z, len(self.words), rng)])
        for _ in range(_ROUNDS):
            self.update(z, self.nearest(z), 0.0, rng)

    @torch.no_grad()
    def update(self, z: Tensor, index: Tensor, keep: float, rng: np.random.Generator) -> None:
        """Move the codewords towards the means of the vectors [n, D] assigned to them, keeping the part `keep` of what they were
        made of; dead ones begin anew as one of the vectors, with a fair share."""
        self.shares.lerp_(torch.bincount(index, minlength=len(self.words)) / len(z), 1 - keep)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, index, z) / len(z), 1 - keep)
        fair = 1 / len(self.words)
        dead = torch.nonzero(self.shares < self.settings.dead * fair)[:, 0]
        self.shares[dead] = fair
        self.sums[dead] = fair * z[self._draw(z, len(dead), rng)]
        self.words.copy_(self.placed(self.sums / self.shares[:, None]))

    @staticmethod
    def _draw(z: Tensor, count: int, rng: np.random.Generator) -> Tensor:
        """Numbers of some of the vectors [n, D], different ones if there are enough."""
        return torch.from_numpy(rng.choice(len(z), count, replace=len(z) < count)).to(z.device)


class TokenNetwork(nn.Module):
    """Encoder, codebook and decoder for cells of `channels` coefficients."""

    def __init__(self, settings: TokenSettings, channels: int) -> None:
        super().__init__()
        self.encoder = SynthesisNetwork(settings.width, settings.blocks, "encoder", (channels, settings.dim))
        self.decoder = SynthesisNetwork(settings.width, settings.blocks, "decoder", (settings.dim, channels))
        for network in (self.encoder, self.decoder):
            network.tail.reset_parameters()  # these correct nothing: with zeros there was nothing to quantise
        self.quantiser = Quantiser(settings)

    def vectors(self, x: Tensor) -> Tensor:
        """z of standardised coefficients [B, C, h, w], where codewords can be: float32 [B, h, w, D]."""
        return self.quantiser.placed(self.encoder(x).float().movedim(1, -1))

    def decoded(self, words: Tensor) -> Tensor:
        """Codewords [B, h, w, D] to standardised coefficients, float32 [B, C, h, w]."""
        return self.decoder(words.movedim(-1, 1).contiguous()).float()

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What a token model has of it (model.py)."""
        words = self.quantiser.words.cpu().numpy().astype(np.float16)
        return {**to_tensors(self.encoder), **to_tensors(self.decoder), "token.words": words}


class Cells(nn.Module):
    """Pixels [B, components, H, W] to standardised coefficients [B, C, h, w]: what tokens.forward does, on any device."""

    weights: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, mean: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        super().__init__()
        self.side, components = TOKEN_CELLS[len(mean)]
        matrix = forward_matrix(self.side, components, OPPONENT).reshape(self.side, self.side, components, -1)
        self.register_buffer("weights", torch.from_numpy(np.ascontiguousarray(matrix.transpose(3, 2, 0, 1))))
        self.register_buffer("mean", torch.from_numpy(mean)[:, None, None])
        self.register_buffer("scale", torch.from_numpy(scale)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return (functional.conv2d(pixels - 128, self.weights, stride=self.side) - self.mean) / self.scale

    def lost(self, error: Tensor) -> Tensor:
        """L_r for errors [B, C, h, w] of standardised coefficients."""
        weights = self.scale.square()
        return (error.square() * (weights / weights.sum())).sum(dim=1).mean()


def losses_of(network: TokenNetwork, cells: Cells, x: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """L, L_r and L_c of standardised coefficients [B, C, h, w], and vectors [n, D] with the indices [n] that stand for them."""
    quantiser, settings = network.quantiser, network.quantiser.settings
    z = network.vectors(x)
    index = quantiser.nearest(z.detach().flatten(0, 2))
    words = quantiser.words[index].view_as(z)
    reconstruction = cells.lost(network.decoded(straight_through(z, words)) - x)
    committed = commitment(z, words, settings.beta)
    total = settings.lambda_r * reconstruction + settings.lambda_c * committed
    return {"loss": total, "reconstruction": reconstruction, "commitment": committed}, z.detach().flatten(0, 2), index


def perplexity(counts: Tensor) -> float:
    """2 to the entropy of how often each codeword was chosen, [K]: so many equally likely words say as much."""
    shares = counts[counts > 0] / counts.sum()
    return float(torch.exp(-(shares * torch.log(shares)).sum()))


def draw_crops(
    pictures: Sequence[NDArray[np.uint8]], likely: NDArray[np.float64], batch: int, side: int, rng: np.random.Generator
) -> Tensor:
    """Squares of pictures uint8 [H, W, c] that are chosen with the probabilities `likely`: float32 [batch, c, side, side]."""
    crops = []
    for number in rng.choice(len(pictures), batch, p=likely):
        picture = pictures[number]
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        crops.append(picture[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32))


def fit_tokens(
    pictures: Sequence[NDArray[np.uint8]],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    settings: TokenSettings,
    *,
    score: Score,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> dict[str, NDArray[Any]]:
    """Train on pictures uint8 [H, W, 1 or 3] of whole cells; `mean` and `scale` [C] standardise their coefficients.

    Returns the tensors `encoder.*`, `decoder.*` and `token.words` of the averaged weights; `score` looks at such every so often.
    Goes on from `checkpoint` where there is one, and writes it every so often.
    """
    torch.manual_seed(settings.seed)
    sides = [(picture.shape[0] // settings.cell, picture.shape[1] // settings.cell) for picture in pictures]
    crop = usable_crop(sides, settings.crop)
    usable = [picture for picture, grid in zip(pictures, sides, strict=True) if min(grid) >= crop]
    areas = np.array([picture.shape[0] * picture.shape[1] for picture in usable], np.float64)
    likely = areas / areas.sum()
    cells = Cells(mean, scale).to(device)
    network = TokenNetwork(settings, len(mean)).to(device)
    average = copy.deepcopy(network)
    optimiser = torch.optim.Adam(network.parameters(), settings.rate)
    parts = {"network": network, "average": average, "optimiser": optimiser}

    def draw(rng: np.random.Generator) -> Tensor:
        found: Tensor = cells(draw_crops(usable, likely, settings.batch, crop * settings.cell, rng).to(device))
        return found

    def averaged() -> dict[str, NDArray[Any]]:
        return average.tensors() | {"token.words": network.tensors()["token.words"]}  # which are averages as they are

    number, spent = load_checkpoint(checkpoint, settings, parts, _FREE)
    rng = np.random.default_rng([settings.seed, number])
    if number == 0:
        with torch.no_grad():
            batches = -(-_STARTED_ON * settings.codewords // (settings.batch * crop * crop))
            network.quantiser.start(torch.cat([network.vectors(draw(rng)).flatten(0, 2) for _ in range(batches)]), rng)
    begun, lines = time.monotonic() - spent, []
    counts = torch.zeros(settings.codewords)
    while (done := settings.share_done(number, time.monotonic() - begun)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * settings.share_of_rate(done) + 1e-6
        x = draw(rng)
        with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
            losses, z, index = losses_of(network, cells, x)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        network.quantiser.update(z, index, settings.decay, rng)
        number += 1
        average_in(average, network, min(settings.average, number / (number + 10)))
        counts += torch.bincount(index, minlength=settings.codewords).cpu()
        lines.append({name: loss.detach() for name, loss in losses.items()})
        if number % EVERY == 0:
            elapsed = time.monotonic() - begun
            line = {name: float(torch.stack([facts[name] for facts in lines]).mean()) for name in lines[0]}
            line |= {"perplexity": perplexity(counts), "used": int((counts > 0).sum())}
            line |= {"step": number, "seconds": elapsed, "share": done}
            lines.clear()
            counts.zero_()
            if number % (SCORED * EVERY) == 0:
                line |= score(averaged())
            if checkpoint is not None:
                save_checkpoint(checkpoint, settings, number, elapsed, parts)
            if report is not None:
                report(line)
    return averaged()
