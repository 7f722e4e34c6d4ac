"""The synthesis network in torch, and its fit to what the quantiser delivers. The formulas are in networks.py."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vqcodec.bands import COLOR_4X4, COLOR_8X8
from vqcodec.errors import InputError
from vqcodec.networks import FEATURES, OUTPUTS

Report = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class SynthesisSettings:
    """Everything that decides the outcome, with the samples."""

    seed: int = 0
    width: int = 96
    blocks: int = 3
    batch: int = 32
    crop: int = 16
    """Cells a side, or fewer where pictures are smaller."""
    rate: float = 2e-3
    """Peak learning rate of Adam."""
    warmup: float = 0.02
    """Share of the time in which it rises; then it falls with a cosine."""
    average: float = 0.998
    """Decay of the moving average of the weights (EMA)."""
    steps: int | None = None
    minutes: float | None = None
    """The schedule ends after so many steps or, where these are None, minutes."""

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("a schedule has steps or minutes")


@dataclass(frozen=True)
class Sample:
    """A coded picture: network inputs float16 [97, h, w], and what its plain decode lacks, float16 [192, h, w], in steps."""

    features: NDArray[np.float16]
    missing: NDArray[np.float16]


def check_device(device: str) -> None:
    """Raise InputError unless torch can train on `device`."""
    if device not in ("cpu", "cuda"):
        raise InputError(f"{device}: devices are cpu and cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here (--device cpu)")


class Block(nn.Module):
    """Two convolutions around a residual connection; the second starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(functional.relu(self.first(x)))
        return result


class SynthesisNetwork(nn.Module):
    """Inputs [B, 97, h, w] to corrections [B, 192, h, w] in steps; zero before training."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(FEATURES, width, 1)
        self.blocks = nn.ModuleList([Block(width) for _ in range(blocks)])
        self.tail = nn.Conv2d(width, OUTPUTS, 1)
        nn.init.zeros_(self.tail.weight)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def body(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.head(x)
        for block in self.body:
            hidden = block(hidden)
        result: Tensor = self.tail(hidden)
        return result


def to_tensors(network: SynthesisNetwork) -> dict[str, NDArray[Any]]:
    """A model's tensors `synthesis.*`, float16, as networks.Synthesis has them; the inverse of `load_tensors`."""

    def taps(weight: Tensor) -> NDArray[np.float32]:
        return weight.detach().cpu().permute(0, 2, 3, 1).reshape(len(weight), -1).numpy()  # [W, 9 W], tap by tap

    blocks = network.body
    found = {
        "head": network.head.weight.detach().cpu()[:, :, 0, 0].numpy(),
        "head_bias": _numpy(network.head.bias),
        "first": np.stack([taps(block.first.weight) for block in blocks]),
        "first_bias": np.stack([_numpy(block.first.bias) for block in blocks]),
        "second": np.stack([taps(block.second.weight) for block in blocks]),
        "second_bias": np.stack([_numpy(block.second.bias) for block in blocks]),
        "tail": network.tail.weight.detach().cpu()[:, :, 0, 0].numpy(),
        "tail_bias": _numpy(network.tail.bias),
    }
    return {f"synthesis.{name}": np.ascontiguousarray(array, np.float16) for name, array in found.items()}


def load_tensors(tensors: dict[str, NDArray[Any]]) -> SynthesisNetwork:
    """The inverse of `to_tensors`."""
    found = {name: torch.from_numpy(tensors[f"synthesis.{name}"].astype(np.float32)) for name in _NAMES}
    width = len(found["head"])
    network = SynthesisNetwork(width, len(found["first"]))
    with torch.no_grad():
        _fill(network.head, found["head"][:, :, None, None], found["head_bias"])
        _fill(network.tail, found["tail"][:, :, None, None], found["tail_bias"])
        for number, block in enumerate(network.body):
            for name, layer in (("first", block.first), ("second", block.second)):
                weight = found[name][number].reshape(width, 3, 3, width).permute(0, 3, 1, 2)
                _fill(layer, weight, found[f"{name}_bias"][number])
    return network


_NAMES = ("head", "head_bias", "first", "first_bias", "second", "second_bias", "tail", "tail_bias")


def _fill(layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    assert layer.bias is not None
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def _numpy(bias: Tensor | None) -> NDArray[np.float32]:
    assert bias is not None
    return bias.detach().cpu().numpy()


def relative_error(correction: Tensor, missing: Tensor) -> Tensor:
    """Squared error after the correction over that before it, a mean over the batch: every quality and picture counts alike."""
    after = (missing - correction).square().mean(dim=(1, 2, 3))
    before = missing.square().mean(dim=(1, 2, 3))
    return (after / (before + _FLOOR)).mean()


_FLOOR = 1e-3
"""Squared steps: keeps flat pictures, of which nothing is missing, from weighing much."""


def mirror_columns(x: NDArray[np.float16], positions: Sequence[tuple[int, int, int]]) -> NDArray[np.float16]:
    """Coefficients or features [C, h, w] of the picture mirrored left to right: odd horizontal frequencies change sign."""
    signs = np.array([1 - 2 * (u % 2) for _, _, u in positions], np.float16)
    return x[:, :, ::-1] * np.append(signs, np.ones(len(x) - len(signs), np.float16))[:, None, None]


def transpose(x: NDArray[np.float16], positions: Sequence[tuple[int, int, int]]) -> NDArray[np.float16]:
    """The same of the transposed picture: frequencies change places."""
    place = {position: channel for channel, position in enumerate(positions)}
    order = [place[component, u, v] for component, v, u in positions]
    return x[[*order, *range(len(order), len(x))]].transpose(0, 2, 1)


def draw_batch(samples: Sequence[Sample], batch: int, crop: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Crops of samples, mirrored and transposed at random, by their number of cells: inputs and what is missing, float32."""
    weights = np.array([sample.features.shape[1] * sample.features.shape[2] for sample in samples], np.float64)
    inputs, targets = [], []
    for number in rng.choice(len(samples), batch, p=weights / weights.sum()):
        sample = samples[number]
        top, left = (int(rng.integers(side - crop + 1)) for side in sample.features.shape[1:])
        window = np.s_[:, top : top + crop, left : left + crop]
        x, y = sample.features[window], sample.missing[window]
        if rng.random() < 0.5:
            x, y = transpose(x, COLOR_4X4.positions), transpose(y, COLOR_8X8.positions)
        if rng.random() < 0.5:
            x, y = mirror_columns(x, COLOR_4X4.positions), mirror_columns(y, COLOR_8X8.positions)
        inputs.append(x)
        targets.append(y)
    return torch.from_numpy(np.stack(inputs).astype(np.float32)), torch.from_numpy(np.stack(targets).astype(np.float32))


def held_out_error(network: SynthesisNetwork, samples: Sequence[Sample], device: str) -> float:
    """Mean log of the relative error of whole samples, in dB: what PSNR gains, with the sign turned."""
    gains = []
    with torch.no_grad():
        for sample in samples:
            inputs, missing = (torch.from_numpy(a.astype(np.float32))[None].to(device) for a in (sample.features, sample.missing))
            before, after = missing.square().mean(), (missing - network(inputs)).square().mean()
            gains.append(10 * float(torch.log10((after + 1e-9) / (before + 1e-9))))
    return float(np.mean(gains))


def fit_synthesis(
    train: Sequence[Sample],
    held_out: Sequence[Sample],
    settings: SynthesisSettings,
    *,
    start: dict[str, NDArray[Any]] | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> dict[str, NDArray[Any]]:
    """Train on `train` for the time that the settings give; returns the tensors `synthesis.*` of the averaged weights.

    Goes on from `checkpoint` where there is one of the same settings, and writes it every so often.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    sides = sorted(min(sample.features.shape[1:]) for sample in train)
    crop = min(settings.crop, sides[len(sides) // 10])  # small pictures, such as thumbnails, are cropped less
    usable = [sample for sample in train if min(sample.features.shape[1:]) >= crop]
    network = SynthesisNetwork(settings.width, settings.blocks) if start is None else load_tensors(start)
    network.to(device)
    average = copy.deepcopy(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    number, spent, losses = 0, 0.0, []
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["settings"] == json.dumps(asdict(settings)):
            network.load_state_dict(saved["network"])
            average.load_state_dict(saved["average"])
            optimiser.load_state_dict(saved["optimiser"])
            number, spent = saved["number"], saved["spent"]
            rng = np.random.default_rng([settings.seed, number])
    begun = time.monotonic() - spent
    while (done := _share_done(settings, number, time.monotonic() - begun)) < 1:
        for group in optimiser.param_groups:
            rise, fall = min(1.0, done / settings.warmup), 0.5 + 0.5 * float(np.cos(np.pi * done))
            group["lr"] = settings.rate * rise * fall + 1e-6
        inputs, missing = draw_batch(usable, settings.batch, crop, rng)
        inputs = inputs.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            correction = network(inputs)
        loss = relative_error(correction.float(), missing.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        number += 1
        keep = min(settings.average, number / (number + 10))
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - keep)
        losses.append(loss.detach())
        if number % _EVERY == 0:
            elapsed = time.monotonic() - begun
            facts = {"step": number, "seconds": elapsed, "loss": float(torch.stack(losses).mean()), "share": done}
            losses.clear()
            if number % (10 * _EVERY) == 0:
                facts["held_out_db"] = held_out_error(average, held_out, device)
                if checkpoint is not None:
                    state = {"settings": json.dumps(asdict(settings)), "number": number, "spent": elapsed}
                    state |= {"network": network.state_dict(), "average": average.state_dict()}
                    torch.save(state | {"optimiser": optimiser.state_dict()}, checkpoint)
            if report is not None:
                report(facts)
    return to_tensors(average)


_EVERY = 50
"""Steps between two lines of the log."""


def _share_done(settings: SynthesisSettings, number: int, seconds: float) -> float:
    """Share of the schedule that is over, by steps or by time, whichever is given."""
    if settings.steps is not None:
        return number / settings.steps
    assert settings.minutes is not None
    return seconds / (60 * settings.minutes)
