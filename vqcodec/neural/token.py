"""The token model in torch: an autoencoder of DCT coefficients around a codebook (VQ-VAE, van den Oord et al. 2017).

The loss is L = lambda_r L_r + lambda_c L_c + lambda_p L_p + lambda_a L_a:

    L_r  squared error of the pixels over their variance, summed over coefficients, since the DCT is orthonormal
    L_c  |sg[z] - e|^2 + beta |z - sg[e]|^2, mean over z, for codewords e and stopped gradients sg (eq. 3 there): beta weighs the
         term that moves the encoder
    L_p  perceptual distance to the original (perceptual.py), of clipped pixels
    L_a  adversarial loss of clipped pixels (adversary.py); its weight rises from zero. With it this is a VQGAN (Esser, Rombach,
         Ommer 2021). The discriminator sees only the picture

By default the last two are off, and nothing is computed in pixels. `frozen` trains the decoder alone, so the indices of a trained
model, and a prior of them, stay valid.

Codewords are moving averages of the vectors assigned to them (appendix A.1 there), so the first term of L_c only measures. They
start as k-means of the untrained encoder's outputs. A codeword with almost no vectors is dead and restarts at a vector of the batch
(Lancucki et al. 2020). With `cosine`, vectors and codewords have unit length (Yu et al. 2022): the nearest codeword is then the one
at the smallest angle, whatever the vector's length, so inference needs no change.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import Float32, Float64, UInt8
from vqcodec.codec.tokens import forward_matrix, inverse_matrix
from vqcodec.neural import adversary
from vqcodec.neural.adversary import BETAS, Discriminator, Perceptual, adaptive_weight, adversarial_loss
from vqcodec.neural.crops import area_shares, usable_crop
from vqcodec.neural.loop import (
    EVERY,
    ON_CPU,
    SCORED,
    LoopOptions,
    Schedule,
    average_in,
    descend,
    fast_bfloat16,
    load_checkpoint,
    mean_facts,
    save_and_report,
)
from vqcodec.neural.networks import ConvNetwork, load_tensors, to_tensors
from vqcodec.neural.perceptual import GradientStatistics
from vqcodec.transform.color import OPPONENT
from vqcodec.weights.token import TOKEN_CELLS

Tensors = dict[str, NDArray[Any]]
Score = Callable[[Tensors], dict[str, float]]
"""Figures of a model, given its tensors, on held-out pictures."""
_ROUNDS: Final = 10
"""Rounds of k-means at the start."""
_STARTED_ON: Final = 16
"""Least number of vectors per codeword for k-means."""
_DISTANCES: Final = 1 << 24
"""Most distances of vectors to codewords in memory."""
_FREE: Final = ("lambda_r", "lambda_c", "lambda_p", "adaptive", "ramp", "beta")
"""Settings that may change when a training continues, besides its length."""


@dataclass(frozen=True)
class TokenSettings(Schedule):
    """Everything that decides the outcome, besides the pictures."""

    batch: int = 64
    crop: int = 8
    rate: float = 2e-3
    cell: int = 8
    """Pixels a side of a cell."""
    codewords: int = 256
    dim: int = 16
    """Values of a codeword."""
    cosine: bool = False
    """Codewords of unit length."""
    width: int = 128
    blocks: int = 3
    """Width and blocks of encoder and decoder."""
    lambda_r: float = 1.0
    lambda_c: float = 1.0
    lambda_p: float = 0.0
    lambda_a: float = 0.0
    adaptive: bool = False
    """Weigh L_a by the ratio of the gradients of the other losses to its own, at the last layer (Esser et al. 2021, eq. 7)."""
    ramp: float = 0.2
    """Share of the schedule in which the weight of L_a rises to lambda_a."""
    discriminator_rate: float = 1e-3
    frozen: bool = False
    """Keep encoder and codebook fixed."""
    beta: float = 0.25
    decay: float = 0.95
    """Decay of the codewords' moving averages."""
    dead: float = 0.03
    """A codeword with less than this fraction of its fair share of the vectors is dead."""


def commitment(z: Tensor, codewords: Tensor, beta: float) -> Tensor:
    """L_c of vectors [..., D] and their codewords [..., D]."""
    return (z.detach() - codewords).square().mean() + beta * (z - codewords.detach()).square().mean()


def straight_through(z: Tensor, codewords: Tensor) -> Tensor:
    """The codewords, with the gradient of the vectors z (straight-through estimator, Bengio et al. 2013)."""
    return z + (codewords - z).detach()


class Quantiser(nn.Module):
    """A codebook of K codewords of D values, learnt by moving averages.

    `shares` [K] is the fraction of vectors assigned to each codeword, `sums` [K, D] the sum of these vectors over the number of
    all.
    """

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
        """Vectors [..., D] in the space of the codewords: of unit length with `cosine`."""
        return functional.normalize(z, dim=-1) if self.settings.cosine else z

    def nearest(self, z: Tensor) -> Tensor:
        """The index of the codeword nearest to each of the vectors [n, D], int64 [n]."""
        lengths = self.words.square().sum(dim=1)
        parts = torch.split(z, max(1, _DISTANCES // len(self.words)))
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 does not tell neighbours apart
            return torch.cat([(lengths - 2 * part @ self.words.T).argmin(dim=1) for part in parts])

    @torch.no_grad()
    def start(self, z: Tensor, rng: np.random.Generator) -> None:
        """Start as k-means of vectors [n, D]: updates that keep nothing of the previous average."""
        self.words.copy_(z[self._draw(z, len(self.words), rng)])
        for _ in range(_ROUNDS):
            self.update(z, self.nearest(z), 0.0, rng)

    @torch.no_grad()
    def update(self, z: Tensor, index: Tensor, keep: float, rng: np.random.Generator) -> None:
        """Update the moving averages with decay `keep` from vectors [n, D] and their indices.

        Dead codewords restart at a vector.
        """
        self.shares.lerp_(torch.bincount(index, minlength=len(self.words)) / len(z), 1 - keep)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, index, z) / len(z), 1 - keep)
        fair = 1 / len(self.words)
        dead = torch.nonzero(self.shares < self.settings.dead * fair)[:, 0]
        self.shares[dead] = fair
        self.sums[dead] = fair * z[self._draw(z, len(dead), rng)]
        self.words.copy_(self.placed(self.sums / self.shares[:, None]))

    def resume(self, words: Tensor) -> None:
        """Continue from codewords [K, D]; their use is unknown, so each has a fair share."""
        self.words.copy_(words)
        self.sums.copy_(words / len(words))

    @staticmethod
    def _draw(z: Tensor, count: int, rng: np.random.Generator) -> Tensor:
        """Random row numbers of the vectors [n, D], distinct if there are enough."""
        return torch.from_numpy(rng.choice(len(z), count, replace=len(z) < count)).to(z.device)


class TokenNetwork(nn.Module):
    """Encoder, codebook and decoder for cells of `channels` coefficients."""

    def __init__(self, settings: TokenSettings, channels: int) -> None:
        super().__init__()
        self.encoder = ConvNetwork(settings.width, settings.blocks, "encoder", (channels, settings.dim))
        self.decoder = ConvNetwork(settings.width, settings.blocks, "decoder", (settings.dim, channels))
        for network in (self.encoder, self.decoder):
            network.tail.reset_parameters()  # unlike corrections, they cannot start at zero: nothing would be quantised
        self.quantiser = Quantiser(settings)

    def vectors(self, x: Tensor) -> Tensor:
        """z of standardised coefficients [B, C, h, w], in the space of the codewords: float32 [B, h, w, D]."""
        return self.quantiser.placed(self.encoder(x).float().movedim(1, -1))

    def decoded(self, codewords: Tensor) -> Tensor:
        """Codewords [B, h, w, D] to standardised coefficients, float32 [B, C, h, w]."""
        return self.decoder(codewords.movedim(-1, 1).contiguous()).float()

    def load(self, tensors: Tensors) -> None:
        """Continue from the tensors of a token model: the inverse of `tensors`."""
        self.encoder, self.decoder = load_tensors(tensors, "encoder"), load_tensors(tensors, "decoder")
        self.quantiser.resume(torch.from_numpy(tensors["token.words"].astype(np.float32)))

    def tensors(self) -> Tensors:
        """Tensors of a token model: `encoder.*`, `decoder.*`, `token.words`."""
        words = self.quantiser.words.cpu().numpy().astype(np.float16)
        return {**to_tensors(self.encoder), **to_tensors(self.decoder), "token.words": words}


class Scaling(NamedTuple):
    """Mean and standard deviation of every coefficient of a cell, float32 [C] each, in grey levels."""

    mean: Float32
    scale: Float32


class Cells(nn.Module):
    """Transform of pixels [B, components, H, W] to standardised coefficients [B, C, h, w], as `tokens.forward`, and back."""

    weights: Tensor
    inverse: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.side, self.components = TOKEN_CELLS[len(scaling.mean)]
        matrix = forward_matrix(self.side, self.components, OPPONENT).reshape(self.side, self.side, self.components, -1)
        self.register_buffer("weights", torch.from_numpy(np.ascontiguousarray(matrix.transpose(3, 2, 0, 1))))
        matrix = inverse_matrix(self.side, self.components, OPPONENT).reshape(-1, self.side, self.side, self.components)
        self.register_buffer("inverse", torch.from_numpy(np.ascontiguousarray(matrix.transpose(0, 3, 1, 2))))
        self.register_buffer("mean", torch.from_numpy(scaling.mean)[:, None, None])
        self.register_buffer("scale", torch.from_numpy(scaling.scale)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels to standardised coefficients."""
        return (functional.conv2d(pixels - 128, self.weights, stride=self.side) - self.mean) / self.scale

    def pictures(self, x: Tensor) -> Tensor:
        """Standardised coefficients [B, C, h, w] to clipped pictures [B, components, H, W], 0 to 1: the inverse of `forward`."""
        with torch.autocast(x.device.type, enabled=False):  # a bfloat16 has fewer bits than a pixel
            coefficients = x.float() * self.scale + self.mean
            pixels = functional.conv_transpose2d(coefficients, self.inverse, stride=self.side)
        return (pixels * (1 / 255) + 128 / 255).clamp(0, 1)

    def lost(self, error: Tensor) -> Tensor:
        """L_r for errors [B, C, h, w] of standardised coefficients."""
        weights = self.scale.square()
        return (error.square() * (weights / weights.sum())).sum(dim=1).mean()


@dataclass(frozen=True)
class Players:
    """The network and its discriminator, if any, with their optimisers and the perceptual distance."""

    settings: TokenSettings
    network: TokenNetwork
    cells: Cells
    perceptual: Perceptual
    _: KW_ONLY
    optimiser: torch.optim.Optimizer
    discriminator: Discriminator | None = None
    discriminator_optimiser: torch.optim.Optimizer | None = None

    @classmethod
    def new(cls, settings: TokenSettings, cells: Cells, perceptual: Perceptual, device: str, start: Tensors | None) -> Players:
        """Players before training; the network starts from the tensors `start` if they are given."""
        network = TokenNetwork(settings, len(cells.mean))
        if start is not None:
            network.load(start)
        network.encoder.requires_grad_(not settings.frozen)
        network.to(device)
        parameters = network.parameters()
        if not settings.lambda_a:
            optimiser = torch.optim.Adam(parameters, settings.rate)
            return cls(settings, network, cells, perceptual, optimiser=optimiser)
        discriminator = Discriminator(cells.components).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(parameters, settings.rate, BETAS)
        other = torch.optim.Adam(discriminator.parameters(), settings.discriminator_rate, BETAS)
        return cls(
            settings,
            network,
            cells,
            perceptual,
            optimiser=optimiser,
            discriminator=discriminator,
            discriminator_optimiser=other,
        )

    @property
    def parts(self) -> dict[str, Any]:
        """Modules and optimisers that a checkpoint keeps, by name."""
        names = ("network", "optimiser", "discriminator", "discriminator_optimiser")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def set_rates(self, done: float) -> None:
        """Set the learning rates for a share `done` of the schedule."""
        rates = [(self.optimiser, self.settings.rate), (self.discriminator_optimiser, self.settings.discriminator_rate)]
        for optimiser, rate in rates:
            for group in optimiser.param_groups if optimiser else ():
                group["lr"] = rate * self.settings.share_of_rate(done) + 1e-6


class Forward(NamedTuple):
    """A forward pass of a batch: coefficients x [B, C, h, w], vectors z [B, h, w, D], their indices [B h w], the codewords of these
    [B, h, w, D], and the decoded coefficients [B, C, h, w]. Originals and decoded pictures, 0 to 1, only if a loss needs them."""

    x: Tensor
    z: Tensor
    indices: Tensor
    codewords: Tensor
    decoded: Tensor
    original: Tensor | None
    pictures: Tensor | None


class StepResult(NamedTuple):
    """Losses of a training step, and the vectors [n, D] with their indices [n]."""

    facts: dict[str, Tensor]
    vectors: Tensor
    indices: Tensor


def training_step(players: Players, pixels: Tensor, adversarial: float) -> StepResult:
    """Train the discriminator, if any, then the network, on pixels [B, components, H, W]; `adversarial` is the weight of L_a."""
    device = pixels.device.type
    with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
        batch = forward(players, pixels)
        facts = discriminator_step(players, batch) if players.discriminator is not None else {}
    return StepResult(network_step(players, batch, adversarial) | facts, batch.z.detach().flatten(0, 2), batch.indices)


def forward(players: Players, pixels: Tensor) -> Forward:
    """Encode, quantise and decode pixels [B, components, H, W]."""
    network, cells = players.network, players.cells
    with torch.autocast(pixels.device.type, enabled=False):
        x = cells(pixels)
    z = network.vectors(x)
    indices = network.quantiser.nearest(z.detach().flatten(0, 2))
    codewords = network.quantiser.words[indices].view_as(z)
    decoded = network.decoded(straight_through(z, codewords))
    if not players.settings.lambda_p and players.discriminator is None:
        return Forward(x, z, indices, codewords, decoded, None, None)
    return Forward(x, z, indices, codewords, decoded, pixels / 255, cells.pictures(decoded))


def discriminator_step(players: Players, batch: Forward) -> dict[str, Tensor]:
    """Train the discriminator to tell originals from decoded pictures; its loss and accuracy."""
    assert players.discriminator is not None
    assert players.discriminator_optimiser is not None
    assert batch.original is not None
    assert batch.pictures is not None
    real, fake = 2 * batch.original - 1, 2 * batch.pictures - 1
    return adversary.discriminator_step(players.discriminator, players.discriminator_optimiser, real, fake)


def network_step(players: Players, batch: Forward, adversarial: float) -> dict[str, Tensor]:
    """Train encoder and decoder; `adversarial` is the weight of L_a. Returns the losses."""
    settings, discriminator = players.settings, players.discriminator
    device = batch.x.device.type
    with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
        losses = {
            "reconstruction": players.cells.lost(batch.decoded - batch.x),
            "commitment": commitment(batch.z, batch.codewords, settings.beta),
        }
        total = settings.lambda_r * losses["reconstruction"] + settings.lambda_c * losses["commitment"]
        if settings.lambda_p:
            assert batch.pictures is not None
            assert batch.original is not None
            in_colour = (p.expand(-1, 3, -1, -1) for p in (batch.pictures, batch.original))
            losses["perceptual"] = players.perceptual(*in_colour).mean()
            total = total + settings.lambda_p * losses["perceptual"]
        if discriminator is not None:
            assert batch.pictures is not None
            discriminator.requires_grad_(False)
            losses["adversarial"] = adversarial_loss(discriminator, 2 * batch.pictures - 1)
            weight = adaptive_weight(total, losses["adversarial"], players.network.decoder) if settings.adaptive else 1.0
            total = total + adversarial * weight * losses["adversarial"]
    descend(players.network, players.optimiser, total)
    if discriminator is not None:
        discriminator.requires_grad_(True)
    return {name: loss.detach() for name, loss in {"loss": total, **losses}.items()}


def perplexity(counts: Tensor) -> float:
    """Perplexity of the counts [K]: 2 to the entropy, the number of equally likely codewords with the same entropy."""
    shares = counts[counts > 0] / counts.sum()
    return float(torch.exp(-(shares * torch.log(shares)).sum()))


def draw_crops(pictures: Sequence[UInt8], likely: Float64, batch: int, side: int, rng: np.random.Generator) -> Tensor:
    """Square crops float32 [batch, c, side, side] of pictures uint8 [H, W, c], drawn with the probabilities `likely`."""
    crops = []
    for number in rng.choice(len(pictures), batch, p=likely):
        picture = pictures[number]
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        crops.append(picture[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32))


def fit_tokens(
    pictures: Sequence[UInt8],
    scaling: Scaling,
    settings: TokenSettings,
    options: LoopOptions = ON_CPU,
    *,
    score: Score,
    start: Tensors | None = None,
    perceptual: nn.Module | None = None,
    show: Callable[[int, Tensors], None] = lambda number, found: None,
) -> Tensors:
    """Train on pictures uint8 [H, W, 1 or 3] of whole cells; returns the tensors `encoder.*`, `decoder.*` and `token.words`.

    The weights are moving averages. `score`, and `show` with the number of steps, are called with such tensors every 500 steps.
    Training starts from the tensors `start`, or from a checkpoint. `perceptual` is a distance of perceptual.py, by default gradient
    statistics.
    """
    begun, device = time.monotonic(), options.device
    torch.manual_seed(settings.seed)
    draw = _crops_of(pictures, settings, device)
    distance = (perceptual or GradientStatistics()).to(device)
    players = Players.new(settings, Cells(scaling).to(device), distance, device, start)
    network, quantiser = players.network, players.network.quantiser
    average = copy.deepcopy(network)
    parts = players.parts | {"average": average}

    def averaged() -> Tensors:
        return average.tensors() | {"token.words": network.tensors()["token.words"]}  # codewords are averages already

    number, spent_s = load_checkpoint(options.checkpoint, settings, parts, _FREE)
    rng = np.random.default_rng([settings.seed, number])
    if number == 0 and start is None:
        _start_codebook(players, draw, rng)
    begun, lines = begun - spent_s, []
    counts = torch.zeros(settings.codewords)
    while (done := options.share_done(settings, number, time.monotonic() - begun)) < 1 or number == 0:
        players.set_rates(done)
        facts, vectors, index = training_step(players, draw(rng), settings.lambda_a * min(1.0, done / settings.ramp))
        if not settings.frozen:
            quantiser.update(vectors, index, settings.decay, rng)
        number += 1
        average_in(average, network, settings.keep_of_average(number))
        counts += torch.bincount(index, minlength=settings.codewords).cpu()
        lines.append(facts)
        if number % EVERY == 0:
            elapsed_s = time.monotonic() - begun
            line = mean_facts(lines)
            line |= {"perplexity": perplexity(counts), "used": int((counts > 0).sum())}
            line |= {"step": number, "seconds": elapsed_s, "share": done}
            lines.clear()
            counts.zero_()
            if number % (SCORED * EVERY) == 0:
                line |= score(averaged())
                show(number, averaged())
            save_and_report(options, settings, number, elapsed_s, parts, line)
    return averaged()


def _crops_of(pictures: Sequence[UInt8], settings: TokenSettings, device: str) -> Callable[[np.random.Generator], Tensor]:
    """A function that draws batches of pixels [B, components, H, W], pictures in proportion to their area."""
    sides = [(picture.shape[0] // settings.cell, picture.shape[1] // settings.cell) for picture in pictures]
    crop = usable_crop(sides, settings.crop)
    usable = [picture for picture, grid in zip(pictures, sides, strict=True) if min(grid) >= crop]
    likely = area_shares(usable)
    return lambda rng: draw_crops(usable, likely, settings.batch, crop * settings.cell, rng).to(device)


@torch.no_grad()
def _start_codebook(players: Players, draw: Callable[[np.random.Generator], Tensor], rng: np.random.Generator) -> None:
    """Start the codebook as k-means of the untrained encoder's outputs."""
    settings, network = players.settings, players.network
    vectors: list[Tensor] = []
    while sum(map(len, vectors)) < _STARTED_ON * settings.codewords:
        vectors.append(network.vectors(players.cells(draw(rng))).flatten(0, 2))
    network.quantiser.start(torch.cat(vectors), rng)
