"""The token model in torch: an autoencoder of DCT coefficients around a codebook (VQ-VAE, van den Oord et al. 2017).

The total loss is L = lambda_r L_r + lambda_c L_c + lambda_p L_p + lambda_a L_a:

    L_r  squared error of the pixels over their variance: the DCT is orthonormal, so it is summed over coefficients
    L_c  |sg[z] - e|^2 + beta |z - sg[e]|^2, a mean over z, for codewords e and with sg the stopped gradient (eq. 3 there): beta is
         on the term that moves the encoder
    L_p  perceptual distance to the original (perceptual.py), of pixels clipped as they are written
    L_a  what a discriminator says of these (adversary.py), its weight rising from nothing: with it this is a VQGAN (Esser, Rombach,
         Ommer 2021). The discriminator is told nothing besides the picture

Without the last two, the default, nothing is computed in pixels. `frozen` trains the decoder alone: what a trained model's indices
are, and so a prior of them, stays.

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

from vqcodec.arrays import Float32, Float64, UInt8
from vqcodec.codec.tokens import forward_matrix, inverse_matrix
from vqcodec.neural.adversary import (
    BETAS,
    Discriminator,
    Perceptual,
    adaptive_weight,
    adversarial_loss,
    descend,
    discriminator_step,
)
from vqcodec.neural.loop import EVERY, SCORED, Report, Schedule, average_in, fast_bfloat16, load_checkpoint, save_checkpoint
from vqcodec.neural.perceptual import GradientStatistics
from vqcodec.neural.synthesis import SynthesisNetwork, load_tensors, to_tensors, usable_crop
from vqcodec.transform.color import OPPONENT
from vqcodec.weights.token import TOKEN_CELLS

Tensors = dict[str, NDArray[Any]]
Score = Callable[[Tensors], dict[str, float]]
"""Figures of a model, given its tensors, on what it was not trained on."""
_ROUNDS: Final = 10
"""Of k-means at the start."""
_STARTED_ON: Final = 16
"""Vectors for each codeword that k-means wants, at least."""
_DISTANCES: Final = 1 << 24
"""Of vectors to codewords that are held at once."""
_FREE: Final = ("lambda_r", "lambda_c", "lambda_p", "adaptive", "ramp", "beta")
"""Settings that may be others where training goes on, besides its length."""


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
    lambda_p: float = 0.0
    lambda_a: float = 0.0
    adaptive: bool = False
    """Weigh L_a by the ratio of the gradients of the other losses to its own, at the last layer (Esser et al. 2021, eq. 7)."""
    ramp: float = 0.2
    """Share of the time in which the weight of L_a rises."""
    discriminator_rate: float = 1e-3
    frozen: bool = False
    """Encoder and codebook stay as they are."""
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

    def resume(self, words: Tensor) -> None:
        """Go on from codewords [K, D]; how often each was used is not known."""
        self.words.copy_(words)
        self.sums.copy_(words / len(words))

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

    def load(self, tensors: Tensors) -> None:
        """Go on from what a token model has of it; the inverse of `tensors`."""
        self.encoder, self.decoder = load_tensors(tensors, "encoder"), load_tensors(tensors, "decoder")
        self.quantiser.resume(torch.from_numpy(tensors["token.words"].astype(np.float32)))

    def tensors(self) -> Tensors:
        """What a token model has of it (tokens.py)."""
        words = self.quantiser.words.cpu().numpy().astype(np.float16)
        return {**to_tensors(self.encoder), **to_tensors(self.decoder), "token.words": words}


class Cells(nn.Module):
    """Pixels [B, components, H, W] to standardised coefficients [B, C, h, w]: what tokens.forward does, on any device; and back."""

    weights: Tensor
    inverse: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float32, scale: Float32) -> None:
        super().__init__()
        self.side, self.components = TOKEN_CELLS[len(mean)]
        matrix = forward_matrix(self.side, self.components, OPPONENT).reshape(self.side, self.side, self.components, -1)
        self.register_buffer("weights", torch.from_numpy(np.ascontiguousarray(matrix.transpose(3, 2, 0, 1))))
        matrix = inverse_matrix(self.side, self.components, OPPONENT).reshape(-1, self.side, self.side, self.components)
        self.register_buffer("inverse", torch.from_numpy(np.ascontiguousarray(matrix.transpose(0, 3, 1, 2))))
        self.register_buffer("mean", torch.from_numpy(mean)[:, None, None])
        self.register_buffer("scale", torch.from_numpy(scale)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return (functional.conv2d(pixels - 128, self.weights, stride=self.side) - self.mean) / self.scale

    def pictures(self, x: Tensor) -> Tensor:
        """Standardised coefficients [B, C, h, w] to pictures [B, components, H, W] as they are written, 0 to 1."""
        with torch.autocast(x.device.type, enabled=False):  # 8 bits of a picture are more than those of a bfloat16
            coefficients = x.float() * self.scale + self.mean
            pixels = functional.conv_transpose2d(coefficients, self.inverse, stride=self.side)
        return (pixels * (1 / 255) + 128 / 255).clamp(0, 1)

    def lost(self, error: Tensor) -> Tensor:
        """L_r for errors [B, C, h, w] of standardised coefficients."""
        weights = self.scale.square()
        return (error.square() * (weights / weights.sum())).sum(dim=1).mean()


@dataclass(frozen=True)
class Players:
    """The network and its discriminator, where it has one, with their optimisers; what the network is told besides."""

    settings: TokenSettings
    network: TokenNetwork
    cells: Cells
    perceptual: Perceptual
    discriminator: Discriminator | None
    optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer | None

    @classmethod
    def new(cls, settings: TokenSettings, cells: Cells, perceptual: Perceptual, device: str, start: Tensors | None) -> Players:
        """Before training; the network has the tensors `start` where they are given."""
        network = TokenNetwork(settings, len(cells.mean))
        if start is not None:
            network.load(start)
        network.encoder.requires_grad_(not settings.frozen)
        network.to(device)
        parameters = network.parameters()
        if not settings.lambda_a:
            return cls(settings, network, cells, perceptual, None, torch.optim.Adam(parameters, settings.rate), None)
        discriminator = Discriminator(cells.components).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(discriminator.parameters(), settings.discriminator_rate, BETAS)
        mine = torch.optim.Adam(parameters, settings.rate, BETAS)
        return cls(settings, network, cells, perceptual, discriminator, mine, optimiser)

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        names = ("network", "optimiser", "discriminator", "discriminator_optimiser")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def set_rates(self, done: float) -> None:
        """Learning rates at a share of the schedule."""
        rates = [(self.optimiser, self.settings.rate), (self.discriminator_optimiser, self.settings.discriminator_rate)]
        for optimiser, rate in rates:
            for group in optimiser.param_groups if optimiser else ():
                group["lr"] = rate * self.settings.share_of_rate(done) + 1e-6


def training_step(players: Players, pixels: Tensor, adversarial: float) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Teach the discriminator, then the network, by pixels [B, components, H, W]; `adversarial` is the weight of L_a.

    The losses, and vectors [n, D] with the indices [n] that stand for them.
    """
    settings, network, cells, discriminator = players.settings, players.network, players.cells, players.discriminator
    quantiser, facts = network.quantiser, {}
    x = cells(pixels)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=fast_bfloat16(x.device.type)):
        z = network.vectors(x)
        index = quantiser.nearest(z.detach().flatten(0, 2))
        words = quantiser.words[index].view_as(z)
        decoded = network.decoded(straight_through(z, words))
        losses = {"reconstruction": cells.lost(decoded - x), "commitment": commitment(z, words, settings.beta)}
        total = settings.lambda_r * losses["reconstruction"] + settings.lambda_c * losses["commitment"]
        if settings.lambda_p or discriminator is not None:
            original, pictures = pixels / 255, cells.pictures(decoded)
        if settings.lambda_p:
            losses["perceptual"] = players.perceptual(*(p.expand(-1, 3, -1, -1) for p in (pictures, original))).mean()
            total = total + settings.lambda_p * losses["perceptual"]
        if discriminator is not None:
            assert players.discriminator_optimiser is not None
            facts = discriminator_step(discriminator, players.discriminator_optimiser, 2 * original - 1, 2 * pictures - 1)
            discriminator.requires_grad_(False)
            losses["adversarial"] = adversarial_loss(discriminator, 2 * pictures - 1)
            weight = adaptive_weight(total, losses["adversarial"], network.decoder) if settings.adaptive else 1.0
            total = total + adversarial * weight * losses["adversarial"]
    descend(network, players.optimiser, total)
    if discriminator is not None:
        discriminator.requires_grad_(True)
    return {name: loss.detach() for name, loss in {"loss": total, **losses, **facts}.items()}, z.detach().flatten(0, 2), index


def perplexity(counts: Tensor) -> float:
    """2 to the entropy of how often each codeword was chosen, [K]: so many equally likely words say as much."""
    shares = counts[counts > 0] / counts.sum()
    return float(torch.exp(-(shares * torch.log(shares)).sum()))


def draw_crops(pictures: Sequence[UInt8], likely: Float64, batch: int, side: int, rng: np.random.Generator) -> Tensor:
    """Squares of pictures uint8 [H, W, c] that are chosen with the probabilities `likely`: float32 [batch, c, side, side]."""
    crops = []
    for number in rng.choice(len(pictures), batch, p=likely):
        picture = pictures[number]
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        crops.append(picture[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32))


def fit_tokens(
    pictures: Sequence[UInt8],
    mean: Float32,
    scale: Float32,
    settings: TokenSettings,
    *,
    score: Score,
    start: Tensors | None = None,
    perceptual: nn.Module | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
    show: Callable[[int, Tensors], None] = lambda step, found: None,
) -> Tensors:
    """Train on pictures uint8 [H, W, 1 or 3] of whole cells; `mean` and `scale` [C] standardise their coefficients.

    Returns the tensors `encoder.*`, `decoder.*` and `token.words` of the averaged weights; `score` looks at such every so often,
    and so does `show`, with the number of steps. Starts from the tensors `start` where they are given; `perceptual` is a distance
    of perceptual.py, statistics of gradients if it is left out. Goes on from `checkpoint` where there is one, and writes it every
    so often.
    """
    begun = time.monotonic()
    torch.manual_seed(settings.seed)
    sides = [(picture.shape[0] // settings.cell, picture.shape[1] // settings.cell) for picture in pictures]
    crop = usable_crop(sides, settings.crop)
    usable = [picture for picture, grid in zip(pictures, sides, strict=True) if min(grid) >= crop]
    areas = np.array([picture.shape[0] * picture.shape[1] for picture in usable], np.float64)
    likely = areas / areas.sum()
    distance = (perceptual or GradientStatistics()).to(device)
    players = Players.new(settings, Cells(mean, scale).to(device), distance, device, start)
    network, quantiser = players.network, players.network.quantiser
    average = copy.deepcopy(network)
    parts = players.parts | {"average": average}

    def draw(rng: np.random.Generator) -> Tensor:
        return draw_crops(usable, likely, settings.batch, crop * settings.cell, rng).to(device)

    def averaged() -> Tensors:
        return average.tensors() | {"token.words": network.tensors()["token.words"]}  # which are averages as they are

    number, spent = load_checkpoint(checkpoint, settings, parts, _FREE)
    rng = np.random.default_rng([settings.seed, number])
    if number == 0 and start is None:
        with torch.no_grad():
            batches = -(-_STARTED_ON * settings.codewords // (settings.batch * crop * crop))
            quantiser.start(torch.cat([network.vectors(players.cells(draw(rng))).flatten(0, 2) for _ in range(batches)]), rng)
    begun, lines = begun - spent, []
    counts = torch.zeros(settings.codewords)
    while (done := settings.share_done(number, time.monotonic() - begun)) < 1 or number == 0:
        players.set_rates(done)
        facts, z, index = training_step(players, draw(rng), settings.lambda_a * min(1.0, done / settings.ramp))
        if not settings.frozen:
            quantiser.update(z, index, settings.decay, rng)
        number += 1
        average_in(average, network, min(settings.average, number / (number + 10)))
        counts += torch.bincount(index, minlength=settings.codewords).cpu()
        lines.append(facts)
        if number % EVERY == 0:
            elapsed = time.monotonic() - begun
            line = {name: float(torch.stack([facts[name] for facts in lines]).mean()) for name in lines[0]}
            line |= {"perplexity": perplexity(counts), "used": int((counts > 0).sum())}
            line |= {"step": number, "seconds": elapsed, "share": done}
            lines.clear()
            counts.zero_()
            if number % (SCORED * EVERY) == 0:
                line |= score(averaged())
                show(number, averaged())
            if checkpoint is not None:
                save_checkpoint(checkpoint, settings, number, elapsed, parts)
            if report is not None:
                report(line)
    return averaged()
