"""The refiner in torch: a generator trained against a discriminator to make decoded pictures sharp (Esser, Rombach, Ommer 2021).

The generator is the network of convolution.py behind more inputs: the decoded coefficients, the latents, log(step), and noise that
depends on the place alone. It adds to the AC coefficients what the discriminator, and eyes, miss: what it believes to be there,
and grain, noise of which it says the strength, channel by channel, since of lost texture no more is known. Its total loss is

    L = lambda_r L_r + lambda_p L_p + lambda_t L_t + lambda_a L_a + lambda_c L_c

    L_r  squared error over that of the decode it starts from: every quality counts alike
    L_p  perceptual distance to the original (perceptual.py)
    L_t  statistics of gradients against the original's (perceptual.py): how much texture there is, not where it lies. Errors and
         LPIPS alone have too little of it
    L_a  what the discriminator says (hinge, Lim and Ye 2017), its weight rising from nothing with the first steps: a discriminator
         that begins late and with full weight ruins what was learnt before
    L_c  colour: how far means of 8x8 pixels, every 4 pixels, move from those of the decode. Those of whole blocks cannot, since
         DCs stay, but for what clipping does

There is no commitment loss here: nothing is quantised behind the decoder.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.arrays import UInt8
from vqcodec.codec import sharpening
from vqcodec.errors import InputError
from vqcodec.nets.synthesis import OUTPUTS, REFINER_OUTPUTS, STEP_CENTRE_LEVELS
from vqcodec.neural import adversary
from vqcodec.neural.adversary import BETAS, Discriminator, Perceptual, adaptive_weight, adversarial_loss, descend
from vqcodec.neural.loop import EVERY, SCORED, Report, Schedule, average_in, fast_bfloat16, load_checkpoint, save_checkpoint
from vqcodec.neural.perceptual import GradientStatistics
from vqcodec.neural.synthesis import (
    FEATURE_ORDER,
    FEATURE_SIGNS,
    OUTPUT_ORDER,
    OUTPUT_SIGNS,
    SynthesisNetwork,
    draw_places,
    load_tensors,
    relative_error,
    stacked,
    to_tensors,
    usable_crop,
)
from vqcodec.transform import dct, lapped
from vqcodec.transform.color import COLOR_SHIFT, OPPONENT
from vqcodec.transform.layouts import COLOR_8X8

Tensors = Mapping[str, NDArray[Any]]
_DCS: Final = COLOR_8X8.components
_JUDGED: Final = 7
"""Planes that the discriminator sees."""
_HELD_OUT_CELLS: Final = 32
"""Cells a side of a held-out picture's middle that is scored."""
_LEAST_CELLS: Final = 4
"""A side, of what judges can look at: a crop loses one, and LPIPS needs 17 pixels."""
_GRAIN_AT_FIRST: Final = 0.01
"""Deviation in steps, before it is weighed, where training begins: at none no slope would say that some were better."""
_FREE: Final = ("lambda_r", "lambda_p", "lambda_t", "lambda_a", "lambda_c", "adaptive", "ramp")
"""Settings that may be others where training goes on, besides its length."""
_SHOWN: Final = 6
"""Held-out crops of a sheet."""


@dataclass(frozen=True)
class RefinerSettings(Schedule):
    """Everything that decides the outcome, with the samples."""

    batch: int = 6
    rate: float = 1e-3
    discriminator_rate: float = 1e-3
    average: float = 0.999
    width: int = 320
    blocks: int = 6
    lambda_r: float = 1.0
    lambda_p: float = 4.0
    lambda_t: float = 0.5
    lambda_a: float = 0.8
    lambda_c: float = 10.0
    adaptive: bool = False
    """Weigh L_a by the ratio of the gradients of the other losses to its own, at the last layer (Esser et al. 2021, eq. 7)."""
    ramp: float = 0.2
    """Share of the time in which the weight of L_a rises."""


@dataclass(frozen=True)
class RefinerSample:
    """A coded picture of h x w cells: `seen` float16 [97, h, w], networks.features of its latents; `base` float16 [192, h, w], its
    best decode in steps; and the original `pixels` uint8 [8 h, 8 w, 1 or 3]."""

    seen: NDArray[np.float16]
    base: NDArray[np.float16]
    pixels: UInt8


@dataclass(frozen=True)
class Scene:
    """A batch of crops: network inputs `x` [B, 297, h, w], `grain` [B, 64, h, w] of deviation 1, `base` coefficients in steps
    [B, 192, h, w] and `step` [B, 1, 1, 1] in grey levels, `free` [B, 192, 1, 1], 0 for chroma of grey ones; pictures
    [B, 3, 8 h, 8 w], 0 to 1: the `original`, and the `decoded` one; and the row and column in the first cell of the `corner` from
    which judges look, see `looked_at`."""

    x: Tensor
    grain: Tensor
    base: Tensor
    step: Tensor
    free: Tensor
    original: Tensor
    decoded: Tensor
    corner: tuple[int, int]

    @classmethod
    def of(
        cls, corner: tuple[int, int], seen: Tensor, base: Tensor, original: Tensor, color: Tensor, noise: Tensor, grain: Tensor
    ) -> Scene:
        """From stacked crops of samples, the original 0 to 255; `color` [B] is 0 for grey ones; `noise` [B, NOISE, h, w]."""
        free = torch.ones(len(seen), COLOR_8X8.channels, 1, 1, device=seen.device)
        chroma = torch.tensor([position[0] > 0 for position in COLOR_8X8.positions], device=seen.device)
        free[:, chroma] *= color[:, None, None, None]
        step = STEP_CENTRE_LEVELS * torch.exp(seen[:, -1:, :1, :1])
        x = torch.cat([torch.sign(base) * torch.log1p(base.abs()), seen, noise], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        return cls(x, grain, base, step, free, original / 255, to_pictures(base * step), corner)

    def refined(self, generator: nn.Module) -> Tensor:
        """Pictures [B, 3, 8 h, 8 w], 0 to 1 but for what sticks out."""
        added = added_coefficients(generator(self.x).float(), self.grain)
        return self.decoded + added_pixels(self.free * added * self.step)

    def looked_at(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, 8 h, 8 w] without a cell's side of pixels, split between their edges by lot.

        Strides of judges are parts of a cell's side, or wholes of it: on the lattice of cells they would always see a pixel of a
        cell in the same phase, and what pleases them there is learnt as a pattern.
        """
        (top, left), side = self.corner, dct.BLOCK
        return pictures[:, :, top : top - side, left : left - side]

    def judged(self, pictures: Tensor) -> Tensor:
        """What the discriminator sees of pictures [B, 3, 8 h, 8 w]: them, their difference to the decode, and log(step);
        [B, 7, 8 h - 8, 8 w - 8]."""
        seen, decoded = self.looked_at(pictures), self.looked_at(self.decoded)
        step = torch.log(self.step / STEP_CENTRE_LEVELS).expand(-1, 1, *seen.shape[2:])
        return torch.cat([2 * seen - 1, 4 * (seen - decoded), step], dim=1)


def added_coefficients(found: Tensor, grain: Tensor) -> Tensor:
    """As `sharpening.added_coefficients`, of a batch [B, 256, h, w] and its grain [B, 64, h, w]."""
    grained, weights = (
        torch.from_numpy(array).to(grain.device) for array in (sharpening.grain_channels(), sharpening.grain_emphasis())
    )
    return weigh(found[:, :OUTPUTS]).index_add(1, grained, weights * found[:, OUTPUTS:] * grain)


def weigh(correction: Tensor) -> Tensor:
    """`sharpening.emphasis` and `sharpening.subtract_repeats` for a batch [B, 192, h, w]."""
    weighed = torch.from_numpy(sharpening.emphasis()).to(correction.device) * correction
    high = torch.from_numpy(sharpening.repeat_channels()).to(correction.device)
    side = 2 * sharpening.REPEAT_RADIUS + 1
    around = functional.pad(weighed[:, high], (sharpening.REPEAT_RADIUS,) * 4, mode="replicate")
    return weighed.index_add(1, high, functional.avg_pool2d(around, side, stride=1), alpha=-1)


def to_pictures(coefficients: Tensor) -> Tensor:
    """Coefficients [B, 192, h, w] in grey levels to pictures [B, 3, 8 h, 8 w], 0 to 1 but for what sticks out."""
    weights = _pixel_weights().to(coefficients.device)
    with torch.autocast(coefficients.device.type, enabled=False):  # 8 bits of a picture are more than those of a bfloat16
        return functional.pixel_shuffle(functional.conv2d(coefficients, weights), dct.BLOCK) * (1 / 255) + 128 / 255


@lru_cache(maxsize=1)
def _pixel_weights() -> Tensor:
    """The inverse DCT as a 1x1 convolution [192, 192, 1, 1] to pixels in the order of pixel_shuffle: component, row, column."""
    matrix = dct.inverse_matrix(COLOR_8X8, OPPONENT) / (1 << dct.SHIFT)  # float64 [channel, row, column, component]
    by_component = matrix.reshape(-1, dct.BLOCK * dct.BLOCK, _DCS).transpose(2, 1, 0).reshape(-1, COLOR_8X8.channels)
    return torch.from_numpy(by_component.astype(np.float32))[:, :, None, None]


def added_pixels(coefficients: Tensor) -> Tensor:
    """What lapped coefficients [B, 192, h, w], in grey levels, add to pictures [B, 3, 8 h, 8 w] of 0 to 1.

    The same as `lapped.from_lapped` without DCs: means of blocks are taken out.
    """
    weights = _basis_weights().to(coefficients.device)
    with torch.autocast(coefficients.device.type, enabled=False):
        patches = functional.conv2d(coefficients, weights)  # [B, 3 * 16 * 16, h, w]
        size = tuple(8 * side + 8 for side in coefficients.shape[2:])
        pixels = functional.fold(patches.flatten(2), size, 16, stride=8)[:, :, 4:-4, 4:-4]
        means = functional.avg_pool2d(pixels, dct.BLOCK)
        return (pixels - functional.interpolate(means, scale_factor=dct.BLOCK)) * (1 / 255)


@lru_cache(maxsize=1)
def _basis_weights() -> Tensor:
    """The MLT basis as a 1x1 convolution [768, 192, 1, 1] to patches of 16 x 16 pixels: component, row, column."""
    basis, colors = lapped.basis(), OPPONENT / (1 << COLOR_SHIFT)
    found = [np.einsum("c,y,x->cyx", colors[:, c], basis[:, v], basis[:, u]).reshape(-1) for c, v, u in COLOR_8X8.positions]
    return torch.from_numpy(np.stack(found, axis=1).astype(np.float32))[:, :, None, None]


@dataclass(frozen=True)
class Players:
    """The two networks, their optimisers, and what the generator is told besides."""

    settings: RefinerSettings
    generator: SynthesisNetwork
    discriminator: Discriminator
    perceptual: Perceptual
    texture: Perceptual
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer

    @classmethod
    def new(cls, settings: RefinerSettings, perceptual: Perceptual, device: str, start: Tensors | None = None) -> Players:
        """Before training; the generator has the tensors `start` where they are given."""
        layout = torch.channels_last
        start = start or to_tensors(SynthesisNetwork(settings.width, settings.blocks, "refiner"))
        first = load_tensors(with_grain(start), "refiner")
        generator = first.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's types lack it
        discriminator = Discriminator(_JUDGED).to(device, memory_format=layout)  # type: ignore[call-overload]
        optimisers = (
            torch.optim.Adam(generator.parameters(), settings.rate, BETAS),
            torch.optim.Adam(discriminator.parameters(), settings.discriminator_rate, BETAS),
        )
        return cls(settings, generator, discriminator, perceptual, GradientStatistics(), *optimisers)

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        names = ("generator", "discriminator", "generator_optimiser", "discriminator_optimiser")
        return {name: getattr(self, name) for name in names}

    def set_rates(self, done: float) -> None:
        """Learning rates at a share of the schedule."""
        share = self.settings.share_of_rate(done) + 1e-3
        rates = (self.settings.rate, self.settings.discriminator_rate)
        for optimiser, rate in zip((self.generator_optimiser, self.discriminator_optimiser), rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * share


def with_grain(tensors: Tensors) -> Tensors:
    """A refiner's tensors, with a little grain where it has none."""
    missing = REFINER_OUTPUTS - len(tensors["refiner.tail"])
    width = tensors["refiner.tail"].shape[1]
    more = {"refiner.tail": np.zeros((missing, width)), "refiner.tail_bias": np.full(missing, _GRAIN_AT_FIRST)}
    return {**tensors, **{name: np.concatenate([tensors[name], rows]).astype(np.float16) for name, rows in more.items()}}


def discriminator_step(players: Players, scene: Scene, pictures: Tensor) -> dict[str, Tensor]:
    """Teach the discriminator to tell originals from the refined `pictures`; its loss, and the share that it told right before."""
    original, made = scene.judged(scene.original), scene.judged(pictures)
    return adversary.discriminator_step(players.discriminator, players.discriminator_optimiser, original, made)


def generator_step(players: Players, scene: Scene, pictures: Tensor, adversarial: float) -> dict[str, Tensor]:
    """Teach the generator, of which the refined `pictures` come; `adversarial` is the weight of L_a. Its losses."""
    settings, steps = players.settings, 255 / scene.step
    players.discriminator.requires_grad_(False)
    seen, original = scene.looked_at(pictures), scene.looked_at(scene.original)
    losses = {
        "error": relative_error((pictures - scene.decoded) * steps, (scene.original - scene.decoded) * steps),
        "perceptual": players.perceptual(seen, original).mean(),
        "texture": players.texture(seen, original).mean(),
        "color": color_shift(pictures, scene.decoded),
    }
    told = adversarial_loss(players.discriminator, scene.judged(pictures))
    weights = (settings.lambda_r, settings.lambda_p, settings.lambda_t, settings.lambda_c)
    others = torch.stack([weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]).sum()
    weight = adversarial * (adaptive_weight(others, told, players.generator) if settings.adaptive else 1.0)
    total = others + weight * told
    descend(players.generator, players.generator_optimiser, total)
    players.discriminator.requires_grad_(True)
    return {name: loss.detach() for name, loss in {"generator_loss": total, "adversarial": told, **losses}.items()}


def color_shift(pictures: Tensor, decoded: Tensor) -> Tensor:
    """How far means of 8x8 pixels, every 4 pixels, move between two pictures as they are written, clipped: 0 to 1."""
    means = [functional.avg_pool2d(p.clamp(0, 1), dct.BLOCK, dct.BLOCK // 2) for p in (pictures, decoded)]
    return (means[0] - means[1]).abs().mean()


# ---------------------------------------------------------------------------------------------------- batches and the loop


def draw_scene(samples: Sequence[RefinerSample], batch: int, crop: int, rng: np.random.Generator, device: str) -> Scene:
    """Crops of samples."""
    seen, base, pixels, color, noise, grain = [], [], [], [], [], []  # of each crop
    for place in draw_places([sample.seen.shape[1:] for sample in samples], batch, crop, rng):
        sample = samples[place.number]
        seen.append(place.cut(sample.seen, FEATURE_ORDER, FEATURE_SIGNS))
        base.append(place.cut(sample.base, OUTPUT_ORDER, OUTPUT_SIGNS))
        planes = np.broadcast_to(sample.pixels.transpose(2, 0, 1), (3, *sample.pixels.shape[:2]))
        pixels.append(place.cut(planes, np.arange(3), np.ones(3, np.uint8), dct.BLOCK))
        color.append(np.array(sample.pixels.shape[2] == 3))
        somewhere = int(rng.integers(1 << 16)), int(rng.integers(1 << 16))
        noise.append(sharpening.noise(somewhere, *seen[-1].shape[1:]))
        grain.append(sharpening.grain(somewhere, *seen[-1].shape[1:]))
    corner = int(rng.integers(dct.BLOCK)), int(rng.integers(dct.BLOCK))
    return Scene.of(corner, *(stacked(arrays).to(device) for arrays in (seen, base, pixels, color, noise, grain)))


def score(generator: SynthesisNetwork, scenes: Sequence[Scene], perceptual: Perceptual) -> dict[str, float]:
    """Means over scenes of one crop: what PSNR gains over the decode, in dB, and the perceptual distance before and after."""
    found = []
    with torch.no_grad():
        for scene in scenes:
            pictures = scene.refined(generator).clamp(0, 1)
            errors = [(p - scene.original).square().mean() + 1e-9 for p in (scene.decoded, pictures)]
            distances = [perceptual(p, scene.original)[0] for p in (scene.decoded, pictures)]
            found.append([10 * float(torch.log10(errors[0] / errors[1])), *map(float, distances)])
    gain, before, after = np.mean(found, axis=0)
    return {"held_out_gain_db": float(gain), "held_out_distance_before": float(before), "held_out_distance": float(after)}


def sheet(generator: SynthesisNetwork, scenes: Sequence[Scene]) -> UInt8:
    """Crops of one size below each other, each as the original, the decode and refined: uint8 [H, 3 W, 3]."""
    rows = []
    with torch.no_grad():
        for scene in scenes:
            pictures = torch.cat([scene.original, scene.decoded, scene.refined(generator)], dim=3)[0]
            rows.append((255 * pictures.clamp(0, 1)).round().permute(1, 2, 0).cpu().numpy().astype(np.uint8))
    return np.concatenate(rows)


def fit_refiner(
    train: Sequence[RefinerSample],
    held_out: Sequence[RefinerSample],
    perceptual: nn.Module,
    settings: RefinerSettings,
    *,
    start: Tensors | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
    show: Callable[[int, UInt8], None] = lambda step, pixels: None,
) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
    """Train a refiner, from the tensors `start` or from nothing; returns the tensors `refiner.*` of the averaged weights, and their
    `score` on `held_out`.

    `show` gets the number of steps and a `sheet` as often as the held-out samples are scored. Goes on from `checkpoint` where there
    is one, perhaps with other weights of the losses, and writes it every so often.
    """
    begun = time.monotonic()
    torch.manual_seed(settings.seed)
    crop = usable_crop([sample.seen.shape[1:] for sample in train], settings.crop)
    if crop < _LEAST_CELLS:
        raise InputError(f"the pictures are too small to train a refiner on: {8 * _LEAST_CELLS} pixels a side are the least")
    usable = [sample for sample in train if min(sample.seen.shape[1:]) >= crop]
    large = [sample for sample in held_out if min(sample.seen.shape[1:]) >= _LEAST_CELLS]
    rng = np.random.default_rng(settings.seed + 1)
    scored = [draw_scene([s], 1, min(*s.seen.shape[1:], _HELD_OUT_CELLS), rng, device) for s in large or usable]
    shown = [scene for scene in scored if scene.base.shape == scored[0].base.shape][:_SHOWN]
    players = Players.new(settings, perceptual.to(device, memory_format=torch.channels_last), device, start)  # type: ignore[call-overload]
    average = copy.deepcopy(players.generator)
    number, spent = load_checkpoint(checkpoint, settings, players.parts | {"average": average}, _FREE)
    rng = np.random.default_rng([settings.seed, number])
    begun, lines = begun - spent, []
    while (done := settings.share_done(number, time.monotonic() - begun)) < 1 or number == 0:
        players.set_rates(done)
        scene = draw_scene(usable, settings.batch, crop, rng, device)
        with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
            pictures = scene.refined(players.generator)
            facts = discriminator_step(players, scene, pictures)
            facts |= generator_step(players, scene, pictures, settings.lambda_a * min(1.0, done / settings.ramp))
        number += 1
        average_in(average, players.generator, min(settings.average, number / (number + 10)))
        lines.append(facts)
        if number % EVERY == 0:
            elapsed = time.monotonic() - begun
            line = {name: float(torch.stack([facts[name] for facts in lines]).mean()) for name in lines[0]}
            line |= {"step": number, "seconds": elapsed, "share": done}
            lines.clear()
            if number % (SCORED * EVERY) == 0:
                line |= score(average, scored, perceptual)
                show(number, sheet(average, shown))
            if checkpoint is not None:
                save_checkpoint(checkpoint, settings, number, elapsed, players.parts | {"average": average})
            if report is not None:
                report(line)
    return to_tensors(average), score(average, scored, perceptual)
