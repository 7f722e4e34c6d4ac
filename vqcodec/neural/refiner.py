"""The refiner in torch: a generator trained against a discriminator to sharpen decoded pictures (Esser, Rombach, Ommer 2021).

The generator is the network of convolution.py with more inputs: the decoded coefficients, the latents, log(step), and noise that
depends only on the position. It adds to the AC coefficients the texture that it predicts, and grain: noise whose strength it
predicts for each channel, for texture of which nothing more is known. Its total loss is

    L = lambda_r L_r + lambda_p L_p + lambda_t L_t + lambda_a L_a + lambda_c L_c

    L_r  squared error over that of the decode that it starts from, so that every quality has the same weight
    L_p  perceptual distance to the original (perceptual.py)
    L_t  gradient statistics against the original's (perceptual.py): the amount of texture, not its position. With errors and LPIPS
         alone there is too little texture
    L_a  adversarial hinge loss (Lim and Ye 2017). Its weight rises from zero over the first steps: a discriminator that starts late
         with full weight ruins what was learnt before
    L_c  colour: shift of the means of 8x8 pixels, every 4 pixels, from those of the decode. Means of whole blocks shift by clipping
         only, since DCs stay

There is no commitment loss: nothing is quantised after the decoder.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

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
from vqcodec.neural.adversary import BETAS, Discriminator, Perceptual, adaptive_weight, adversarial_loss
from vqcodec.neural.crops import FEATURE_ORDER, FEATURE_SIGNS, OUTPUT_ORDER, OUTPUT_SIGNS, draw_places, stacked, usable_crop
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
from vqcodec.neural.pictures import to_pictures
from vqcodec.neural.synthesis import relative_error
from vqcodec.transform import dct, lapped
from vqcodec.transform.color import COLOR_SHIFT, OPPONENT
from vqcodec.transform.layouts import COLOR_8X8

Tensors = Mapping[str, NDArray[Any]]
_DCS: Final = COLOR_8X8.components
_JUDGED: Final = 7
"""Input planes of the discriminator."""
_HELD_OUT_CELLS: Final = 32
"""Side, in cells, of the crops of held-out pictures that are scored."""
_LEAST_CELLS: Final = 4
"""Least side of a crop in cells: losses see one less, and LPIPS needs 17 pixels."""
_GRAIN_AT_FIRST: Final = 0.01
"""Deviation of the grain in steps, before emphasis, when training starts; at zero its gradient would vanish."""
_FREE: Final = ("lambda_r", "lambda_p", "lambda_t", "lambda_a", "lambda_c", "adaptive", "ramp")
"""Settings that may change when a training continues, besides its length."""
_SHOWN: Final = 6
"""Held-out crops of a sheet."""


@dataclass(frozen=True)
class RefinerSettings(Schedule):
    """Everything that decides the outcome, besides the samples."""

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
    """Share of the schedule in which the weight of L_a rises to lambda_a."""


@dataclass(frozen=True)
class RefinerSample:
    """A coded picture of h x w cells: `seen` float16 [97, h, w], the synthesis features of its latents; `base` float16 [192, h, w],
    its
    best decode in steps; and the original `pixels` uint8 [8 h, 8 w, 1 or 3]."""

    seen: NDArray[np.float16]
    base: NDArray[np.float16]
    pixels: UInt8


class Corner(NamedTuple):
    """Row and column within a cell, 0 to 7."""

    top: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A batch of crops.

    `x` [B, 297, h, w] are the network's inputs, `grain` [B, 64, h, w] noise of deviation 1, `base` [B, 192, h, w] coefficients in
    steps, `step_levels` [B, 1, 1, 1] in grey levels, `free` [B, 192, 1, 1] 0 for the chroma of grey pictures, else 1. `original`
    and `decoded` are pictures [B, 3, 8 h, 8 w], 0 to 1. `corner` is the offset of the judged pixels, see `judged_pixels`.
    """

    x: Tensor
    grain: Tensor
    base: Tensor
    step_levels: Tensor
    free: Tensor
    original: Tensor
    decoded: Tensor
    corner: Corner

    @classmethod
    def of(
        cls, *, corner: Corner, seen: Tensor, base: Tensor, original: Tensor, color: Tensor, noise: Tensor, grain: Tensor
    ) -> Scene:
        """A scene from stacked crops of samples, originals 0 to 255; `color` [B] is 0 for grey ones, `noise` [B, NOISE, h, w]."""
        free = torch.ones(len(seen), COLOR_8X8.channels, 1, 1, device=seen.device)
        chroma = torch.tensor([position[0] > 0 for position in COLOR_8X8.positions], device=seen.device)
        free[:, chroma] *= color[:, None, None, None]
        step_levels = STEP_CENTRE_LEVELS * torch.exp(seen[:, -1:, :1, :1])
        x = torch.cat([torch.sign(base) * torch.log1p(base.abs()), seen, noise], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        return cls(
            x=x,
            grain=grain,
            base=base,
            step_levels=step_levels,
            free=free,
            original=original / 255,
            decoded=to_pictures(base * step_levels),
            corner=corner,
        )

    def refined(self, generator: nn.Module) -> Tensor:
        """Refined pictures [B, 3, 8 h, 8 w], 0 to 1, not clipped."""
        added = added_coefficients(generator(self.x).float(), self.grain)
        return self.decoded + added_pixels(self.free * added * self.step_levels)

    def judged_pixels(self, pictures: Tensor) -> Tensor:
        """The pixels that losses see: [B, 3, 8 h - 8, 8 w - 8], starting at `corner`.

        Strides of discriminator and LPIPS divide a cell's side or are multiples of it. Aligned with the grid, they would see each
        pixel of a cell in the same phase, and the generator would learn a periodic pattern that lowers the losses.
        """
        (top, left), side = self.corner, dct.BLOCK
        return pictures[:, :, top : top - side, left : left - side]

    def judged(self, pictures: Tensor) -> Tensor:
        """Inputs of the discriminator [B, 7, 8 h - 8, 8 w - 8]: the pictures, their difference to the decode, and log(step)."""
        seen, decoded = self.judged_pixels(pictures), self.judged_pixels(self.decoded)
        log_step = torch.log(self.step_levels / STEP_CENTRE_LEVELS).expand(-1, 1, *seen.shape[2:])
        return torch.cat([2 * seen - 1, 4 * (seen - decoded), log_step], dim=1)


def added_coefficients(found: Tensor, grain: Tensor) -> Tensor:
    """`sharpening.added_coefficients` of a batch [B, 256, h, w] and its grain [B, 64, h, w]."""
    grained, weights = (
        torch.from_numpy(array).to(grain.device) for array in (sharpening.grain_channels(), sharpening.grain_emphasis())
    )
    return weigh(found[:, :OUTPUTS]).index_add(1, grained, weights * found[:, OUTPUTS:] * grain)


def weigh(texture: Tensor) -> Tensor:
    """`sharpening.emphasis` and `sharpening.subtract_repeats` for a batch [B, 192, h, w]."""
    weighed = torch.from_numpy(sharpening.emphasis()).to(texture.device) * texture
    high = torch.from_numpy(sharpening.repeat_channels()).to(texture.device)
    side = 2 * sharpening.REPEAT_RADIUS + 1
    around = functional.pad(weighed[:, high], (sharpening.REPEAT_RADIUS,) * 4, mode="replicate")
    return weighed.index_add(1, high, functional.avg_pool2d(around, side, stride=1), alpha=-1)


def added_pixels(coefficients: Tensor) -> Tensor:
    """The pixels [B, 3, 8 h, 8 w], on a scale of 0 to 1, that lapped coefficients [B, 192, h, w] in grey levels add.

    Equals `lapped.from_lapped` without DCs: means of blocks are removed.
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


@dataclass(frozen=True, kw_only=True)
class Players:
    """The two networks, their optimisers, and the perceptual and texture distances."""

    settings: RefinerSettings
    generator: ConvNetwork
    discriminator: Discriminator
    perceptual: Perceptual
    texture: Perceptual
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer

    @classmethod
    def new(cls, settings: RefinerSettings, perceptual: Perceptual, device: str, start: Tensors | None = None) -> Players:
        """Players before training; the generator starts from the tensors `start` if they are given."""
        layout = torch.channels_last
        start = start or to_tensors(ConvNetwork(settings.width, settings.blocks, "refiner"))
        first = load_tensors(with_grain(start), "refiner")
        generator = first.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's types lack it
        discriminator = Discriminator(_JUDGED).to(device, memory_format=layout)  # type: ignore[call-overload]
        return cls(
            settings=settings,
            generator=generator,
            discriminator=discriminator,
            perceptual=perceptual,
            texture=GradientStatistics(),
            generator_optimiser=torch.optim.Adam(generator.parameters(), settings.rate, BETAS),
            discriminator_optimiser=torch.optim.Adam(discriminator.parameters(), settings.discriminator_rate, BETAS),
        )

    @property
    def parts(self) -> dict[str, Any]:
        """Modules and optimisers that a checkpoint keeps, by name."""
        names = ("generator", "discriminator", "generator_optimiser", "discriminator_optimiser")
        return {name: getattr(self, name) for name in names}

    def set_rates(self, done: float) -> None:
        """Set the learning rates for a share `done` of the schedule."""
        share = self.settings.share_of_rate(done) + 1e-3
        rates = (self.settings.rate, self.settings.discriminator_rate)
        for optimiser, rate in zip((self.generator_optimiser, self.discriminator_optimiser), rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * share


def with_grain(tensors: Tensors) -> Tensors:
    """A refiner's tensors, with a little grain if it has none."""
    missing = REFINER_OUTPUTS - len(tensors["refiner.tail"])
    width = tensors["refiner.tail"].shape[1]
    more = {"refiner.tail": np.zeros((missing, width)), "refiner.tail_bias": np.full(missing, _GRAIN_AT_FIRST)}
    return {**tensors, **{name: np.concatenate([tensors[name], rows]).astype(np.float16) for name, rows in more.items()}}


def discriminator_step(players: Players, scene: Scene, pictures: Tensor) -> dict[str, Tensor]:
    """Train the discriminator to tell originals from the refined `pictures`; its loss, and its accuracy before the step."""
    original, made = scene.judged(scene.original), scene.judged(pictures)
    return adversary.discriminator_step(players.discriminator, players.discriminator_optimiser, original, made)


def generator_step(players: Players, scene: Scene, pictures: Tensor, adversarial: float) -> dict[str, Tensor]:
    """Train the generator that made the refined `pictures`; `adversarial` is the weight of L_a. Returns the losses."""
    settings, per_step = players.settings, 255 / scene.step_levels
    players.discriminator.requires_grad_(False)
    seen, original = scene.judged_pixels(pictures), scene.judged_pixels(scene.original)
    losses = {
        "error": relative_error((pictures - scene.decoded) * per_step, (scene.original - scene.decoded) * per_step),
        "perceptual": players.perceptual(seen, original).mean(),
        "texture": players.texture(seen, original).mean(),
        "color": color_shift(pictures, scene.decoded),
    }
    judged = adversarial_loss(players.discriminator, scene.judged(pictures))
    weights = (settings.lambda_r, settings.lambda_p, settings.lambda_t, settings.lambda_c)
    others = torch.stack([weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]).sum()
    weight = adversarial * (adaptive_weight(others, judged, players.generator) if settings.adaptive else 1.0)
    total = others + weight * judged
    descend(players.generator, players.generator_optimiser, total)
    players.discriminator.requires_grad_(True)
    return {name: loss.detach() for name, loss in {"generator_loss": total, "adversarial": judged, **losses}.items()}


def color_shift(pictures: Tensor, decoded: Tensor) -> Tensor:
    """Mean shift, 0 to 1, of the means of 8x8 pixels, every 4 pixels, between two clipped pictures."""
    means = [functional.avg_pool2d(p.clamp(0, 1), dct.BLOCK, dct.BLOCK // 2) for p in (pictures, decoded)]
    return (means[0] - means[1]).abs().mean()


# ---------------------------------------------------------------------------------------------------- batches and the loop


def draw_scene(samples: Sequence[RefinerSample], batch: int, crop: int, rng: np.random.Generator, device: str) -> Scene:
    """A batch of random crops of `crop` cells a side."""
    seen: list[NDArray[Any]] = []  # one array per crop, as in all of these lists
    base: list[NDArray[Any]] = []
    pixels: list[NDArray[Any]] = []
    color: list[NDArray[Any]] = []
    noise: list[NDArray[Any]] = []
    grain: list[NDArray[Any]] = []
    for place in draw_places([sample.seen.shape[1:] for sample in samples], batch, crop, rng):
        sample = samples[place.number]
        seen.append(place.cut(sample.seen, FEATURE_ORDER, FEATURE_SIGNS))
        base.append(place.cut(sample.base, OUTPUT_ORDER, OUTPUT_SIGNS))
        planes = np.broadcast_to(sample.pixels.transpose(2, 0, 1), (3, *sample.pixels.shape[:2]))
        pixels.append(place.cut(planes, np.arange(3), np.ones(3, np.uint8), dct.BLOCK))
        color.append(np.array(sample.pixels.shape[2] == 3))
        position = int(rng.integers(1 << 16)), int(rng.integers(1 << 16))
        noise.append(sharpening.noise(position, *seen[-1].shape[1:]))
        grain.append(sharpening.grain(position, *seen[-1].shape[1:]))
    corner = Corner(int(rng.integers(dct.BLOCK)), int(rng.integers(dct.BLOCK)))

    def batched(arrays: list[NDArray[Any]]) -> Tensor:
        return stacked(arrays).to(device)

    return Scene.of(
        corner=corner,
        seen=batched(seen),
        base=batched(base),
        original=batched(pixels),
        color=batched(color),
        noise=batched(noise),
        grain=batched(grain),
    )


def score(generator: ConvNetwork, scenes: Sequence[Scene], perceptual: Perceptual) -> dict[str, float]:
    """Means over scenes of one crop each: gain of PSNR over the decode, dB, and the perceptual distance before and after."""
    found = []
    with torch.no_grad():
        for scene in scenes:
            pictures = scene.refined(generator).clamp(0, 1)
            errors = [(p - scene.original).square().mean() + 1e-9 for p in (scene.decoded, pictures)]
            distances = [perceptual(p, scene.original)[0] for p in (scene.decoded, pictures)]
            found.append([10 * float(torch.log10(errors[0] / errors[1])), *map(float, distances)])
    gain, before, after = np.mean(found, axis=0)
    return {"held_out_gain_db": float(gain), "held_out_distance_before": float(before), "held_out_distance": float(after)}


def sheet(generator: ConvNetwork, scenes: Sequence[Scene]) -> UInt8:
    """A sheet uint8 [H, 3 W, 3]: each crop as original, decoded and refined, one crop below the other."""
    rows = []
    with torch.no_grad():
        for scene in scenes:
            pictures = torch.cat([scene.original, scene.decoded, scene.refined(generator)], dim=3)[0]
            rows.append((255 * pictures.clamp(0, 1)).round().permute(1, 2, 0).cpu().numpy().astype(np.uint8))
    return np.concatenate(rows)


class FittedRefiner(NamedTuple):
    """Tensors `refiner.*`, and their `score` on the held-out samples."""

    tensors: dict[str, NDArray[Any]]
    scores: dict[str, float]


def fit_refiner(
    train: Sequence[RefinerSample],
    held_out: Sequence[RefinerSample],
    perceptual: nn.Module,
    settings: RefinerSettings,
    options: LoopOptions = ON_CPU,
    *,
    start: Tensors | None = None,
    show: Callable[[int, UInt8], None] = lambda number, pixels: None,
) -> FittedRefiner:
    """Train a refiner, from the tensors `start` or from scratch; returns the moving average of its weights.

    `show` gets the number of steps and a `sheet` whenever the held-out samples are scored. A training that continues from a
    checkpoint may have other weights of the losses.
    """
    begun, device = time.monotonic(), options.device
    torch.manual_seed(settings.seed)
    crop = usable_crop([sample.seen.shape[1:] for sample in train], settings.crop)
    if crop < _LEAST_CELLS:
        raise InputError(f"the pictures are too small to train a refiner on: {8 * _LEAST_CELLS} pixels a side are the least")
    usable = [sample for sample in train if min(sample.seen.shape[1:]) >= crop]
    large = [sample for sample in held_out if min(sample.seen.shape[1:]) >= _LEAST_CELLS]
    rng = np.random.default_rng(settings.seed + 1)
    scored = [draw_scene([s], 1, min(*s.seen.shape[1:], _HELD_OUT_CELLS), rng, device) for s in large or usable]
    shown = [scene for scene in scored if scene.base.shape == scored[0].base.shape][:_SHOWN]
    distance = perceptual.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    players = Players.new(settings, distance, device, start)
    average = copy.deepcopy(players.generator)
    parts = players.parts | {"average": average}
    number, spent_s = load_checkpoint(options.checkpoint, settings, parts, _FREE)
    rng = np.random.default_rng([settings.seed, number])
    begun, lines = begun - spent_s, []
    while (done := options.share_done(settings, number, time.monotonic() - begun)) < 1 or number == 0:
        players.set_rates(done)
        scene = draw_scene(usable, settings.batch, crop, rng, device)
        with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
            pictures = scene.refined(players.generator)
            facts = discriminator_step(players, scene, pictures)
            facts |= generator_step(players, scene, pictures, settings.lambda_a * min(1.0, done / settings.ramp))
        number += 1
        average_in(average, players.generator, settings.keep_of_average(number))
        lines.append(facts)
        if number % EVERY == 0:
            elapsed_s = time.monotonic() - begun
            line = mean_facts(lines) | {"step": number, "seconds": elapsed_s, "share": done}
            lines.clear()
            if number % (SCORED * EVERY) == 0:
                line |= score(average, scored, perceptual)
                show(number, sheet(average, shown))
            save_and_report(options, settings, number, elapsed_s, parts, line)
    return FittedRefiner(to_tensors(average), score(average, scored, perceptual))
