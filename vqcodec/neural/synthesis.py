"""Fit of the synthesis network to quantised pictures. The network is in networks.py, its inputs in nets/synthesis.py."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.arrays import Float64, Int32, UInt8
from vqcodec.nets.synthesis import SEEN, STEP_CENTRE_LEVELS
from vqcodec.neural import ssimulacra2
from vqcodec.neural.crops import (
    FEATURE_ORDER,
    FEATURE_SIGNS,
    OUTPUT_ORDER,
    OUTPUT_SIGNS,
    draw_places,
    stacked,
    usable_crop,
)
from vqcodec.neural.loop import ON_CPU, Batch, LoopOptions, Schedule, average_in, fast_bfloat16, fit
from vqcodec.neural.networks import ConvNetwork, Size, grown, thinned, to_tensors
from vqcodec.neural.pictures import to_pictures
from vqcodec.options import Tune
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, shared_channels


@dataclass(frozen=True)
class SynthesisSettings(Schedule):
    """Everything that decides the outcome, besides the samples."""

    width: int = 224
    blocks: int = 6


@dataclass(frozen=True)
class Sample:
    """A coded picture: network inputs float16 [97, h, w], and the error of its plain decode float16 [192, h, w], in steps."""

    features: NDArray[np.float16]
    missing: NDArray[np.float16]


def relative_error(restored: Tensor, missing: Tensor) -> Tensor:
    """Mean over the batch of the squared error after restoration over that before it: every picture has the same weight."""
    after = (missing - restored).square().mean(dim=(1, 2, 3))
    before = missing.square().mean(dim=(1, 2, 3))
    return (after / (before + _FLOOR)).mean()


def unlikeness(inputs: Tensor, restored: Tensor, missing: Tensor) -> Tensor:
    """Loss by SSIMULACRA2 of the pictures, with some of the squared error: alone, it would teach faults that it does not see.

    The logarithm of the difference gives every picture the same weight, as relative errors do; scores of the worst would dominate.
    """
    original, shown = (255 * pictures_of(inputs, added).clamp(0, 1) for added in (missing, restored))
    different = torch.log(ssimulacra2.difference(original, shown) + _LEAST_DIFFERENCE)
    return different.mean() + _ERROR_WEIGHT * relative_error(restored, missing)


_FLOOR: Final = 1e-3
"""Squared steps, added to limit the weight of flat pictures, which lose nothing."""
_LEAST_DIFFERENCE: Final = 0.05
"""Added for the same reason."""
_ERROR_WEIGHT: Final = 0.15
_TEACHER_SHARE: Final = 0.8
"""Share of the teacher's outputs in a student's aim."""
_THINNED_CROPS, _THINNED_CROP = 20, 24
"""Crops, and their side in cells, on which channels of a teacher are compared."""
_SHARED: Final = shared_channels(COLOR_4X4, COLOR_8X8)[1]


def _lost_psnr(inputs: Tensor, restored: Tensor, missing: Tensor) -> float:
    """Loss of PSNR of a picture by the restoration, dB."""
    before, after = missing.square().mean(), (missing - restored).square().mean()
    return 10 * float(torch.log10((after + 1e-9) / (before + 1e-9)))


def _lost_likeness(inputs: Tensor, restored: Tensor, missing: Tensor) -> float:
    """The rise of `unlikeness` of a picture by the restoration, percent."""
    after, before = (float(unlikeness(inputs, added, missing)) for added in (restored, torch.zeros_like(missing)))
    return 100 * (after - before)


@dataclass(frozen=True)
class Goal:
    """The purpose of a synthesis network. Functions take inputs [B, 97, h, w], the network's outputs and errors [B, 192, h, w]."""

    kind: str
    """Prefix of the network's tensors."""
    tune: Tune
    """The tune of the files that it restores."""
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    lost: Callable[[Tensor, Tensor, Tensor], float]
    """Loss of one picture by the network, in `unit`; negative values are gains."""
    unit: str
    share: float = 1.0
    """Share of the change of the weights that is kept, where a network continues (WiSE-FT, Wortsman et al. 2022)."""


FOR_PSNR: Final = Goal("synthesis", "psnr", lambda inputs, restored, missing: relative_error(restored, missing), _lost_psnr, "db")
FOR_EYES: Final = Goal("synthesis_ssim", "ssim", unlikeness, _lost_likeness, "percent", share=0.6)


def taught(samples: Sequence[Sample], teacher: ConvNetwork, device: str = "cpu") -> Iterator[Sample]:
    """Samples for a student: the error to restore is that which the teacher restores, with a little of the original's.

    The larger part of the true error cannot be known from the inputs. It averages out in long trainings only; the teacher's
    outputs have none of it (Hinton et al. 2015).
    """
    network = teacher.to(device).eval()
    for sample in samples:
        inputs = torch.from_numpy(sample.features.astype(np.float32))[None].to(device)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
            restored = network(inputs.contiguous(memory_format=torch.channels_last)).float()[0].cpu().numpy()
        aim = _TEACHER_SHARE * restored + (1 - _TEACHER_SHARE) * sample.missing.astype(np.float32)
        yield Sample(sample.features, aim.astype(np.float16))


def draw_batch(samples: Sequence[Sample], batch: int, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch of random crops: inputs and errors of the plain decode, float32."""
    inputs, targets = [], []
    for place in draw_places([sample.features.shape[1:] for sample in samples], batch, crop, rng):
        sample = samples[place.number]
        inputs.append(place.cut(sample.features, FEATURE_ORDER, FEATURE_SIGNS))
        targets.append(place.cut(sample.missing, OUTPUT_ORDER, OUTPUT_SIGNS))
    return stacked(inputs), stacked(targets)


def held_out_error(network: ConvNetwork, samples: Sequence[Sample], device: str, goal: Goal = FOR_PSNR) -> float:
    """Mean of `held_out_errors`."""
    return float(held_out_errors(network, samples, device, goal).mean())


def held_out_errors(
    network: ConvNetwork,
    samples: Sequence[Sample],
    device: str,
    goal: Goal = FOR_PSNR,
    progress: Callable[[int], None] = lambda done: None,
) -> Float64:
    """Loss of each whole sample by the network, float64 [samples] in the goal's unit; negative values are gains."""
    found: list[float] = []
    with torch.no_grad():
        for sample in samples:
            progress(len(found))
            inputs, missing = (torch.from_numpy(a.astype(np.float32))[None].to(device) for a in (sample.features, sample.missing))
            found.append(goal.lost(inputs, network(inputs), missing))
    return np.array(found)


def compare(network: ConvNetwork, sample: Sample, color: Int32) -> UInt8:
    """A sample's original, plain and refined pictures side by side, uint8 [H, 3 W, 3]; `color` is the model's colour matrix."""
    inputs, missing = (torch.from_numpy(a.astype(np.float32))[None] for a in (sample.features, sample.missing))
    with torch.no_grad():
        restored = network(inputs.to(next(network.parameters()).device)).cpu()
    shown = [pictures_of(inputs, added, color) for added in (missing, torch.zeros_like(missing), restored)]
    levels = (255 * torch.cat(shown, dim=3)[0]).clamp(0, 255).round()
    return levels.permute(1, 2, 0).numpy().astype(np.uint8)


def pictures_of(inputs: Tensor, added: Tensor, color: Int32 = OPPONENT) -> Tensor:
    """Pictures [B, 3, 8 h, 8 w], 0 to 1, not clipped: latents in `inputs` [B, 97, h, w] with `added` [B, 192, h, w] in steps."""
    seen = inputs[:, :SEEN]
    coefficients = added.clone()
    coefficients[:, _SHARED] += torch.sign(seen) * torch.expm1(seen.abs())  # inverts synthesis_features
    return to_pictures(coefficients * (STEP_CENTRE_LEVELS * torch.exp(inputs[:, SEEN:, :1, :1])), color)


def fit_synthesis(
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: SynthesisSettings,
    options: LoopOptions = ON_CPU,
    *,
    goal: Goal = FOR_PSNR,
    start: ConvNetwork | None = None,
    show: Callable[[ConvNetwork], None] = lambda network: None,
) -> dict[str, NDArray[Any]]:
    """Train from scratch or from the network `start`, which grows to the settings' size; returns tensors of the goal's kind.

    The weights are a moving average; `show` gets it whenever the held-out samples are scored.
    """
    torch.manual_seed(settings.seed)
    network = ConvNetwork(settings.width, settings.blocks) if start is None else grown(start, settings.width, settings.blocks)
    network.kind = goal.kind
    crop = usable_crop([sample.features.shape[1:] for sample in train], settings.crop)
    usable = [sample for sample in train if min(sample.features.shape[1:]) >= crop]

    def loss_of(network: ConvNetwork, batch: Batch) -> Tensor:
        inputs, missing = batch
        return goal.loss(inputs, network(inputs.contiguous(memory_format=torch.channels_last)).float(), missing)

    def look(network: ConvNetwork) -> float:
        show(network)
        return held_out_error(network, held_out, options.device, goal)

    def draw(rng: np.random.Generator) -> Batch:
        return draw_batch(usable, settings.batch, crop, rng)

    begun = copy.deepcopy(network)
    fitted = fit(network, draw, loss_of, look, settings, options, matrices=lambda network: network.inner)
    if start is not None:
        average_in(fitted, begun, goal.share)
    return to_tensors(fitted)


def new_student(teacher: ConvNetwork, size: Size, samples: Sequence[Sample], seed: int) -> ConvNetwork:
    """A network of a size that is to learn from the teacher.

    If it differs from the teacher only by fewer channels inside its blocks, it starts from those that matter most for the samples.
    """
    if size[:2] != teacher.size[:2] or size.inside >= teacher.size.inside:
        torch.manual_seed(seed)
        return ConvNetwork(size.width, size.blocks, inside=size.inside)
    crop = usable_crop([sample.features.shape[1:] for sample in samples], _THINNED_CROP)
    usable = [sample for sample in samples if min(sample.features.shape[1:]) >= crop]
    inputs, _ = draw_batch(usable, _THINNED_CROPS, crop, np.random.default_rng(seed))
    return thinned(teacher.cpu(), size.inside, inputs)


def fit_student(
    student: ConvNetwork,
    samples: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: SynthesisSettings,
    options: LoopOptions = ON_CPU,
    *,
    goal: Goal,
    show: Callable[[ConvNetwork], None] = lambda network: None,
) -> dict[str, NDArray[Any]]:
    """Train a student on samples that `taught` made; returns tensors of the goal's kind.

    The loss is the squared error, whatever the goal: the teacher's outputs already serve it.
    """
    by_teacher = replace(goal, loss=FOR_PSNR.loss, share=1.0)
    return fit_synthesis(samples, held_out, settings, options, goal=by_teacher, start=student, show=show)
