"""The training loop of networks with one loss, in the style of nanoGPT's train.py; schedules, checkpoints and averages of all
loops.

Networks with a discriminator have loops of their own. Under torchrun, every process draws its own batches and gradients are
averaged (DistributedDataParallel); the first process measures time, reports and writes checkpoints.
"""

from __future__ import annotations

import copy
import io
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from vqcodec.errors import InputError
from vqcodec.io.files import write_atomic

Report = Callable[[dict[str, float]], None]
"""Called with the figures of the last steps."""
Batch = tuple[Tensor, ...]
N = TypeVar("N", bound=nn.Module)

EVERY = 50
"""Optimiser steps between two lines of the log; each line comes with a checkpoint."""
SCORED = 10
"""Lines between two checks on held-out samples."""
_LENGTH: Final = ("minutes", "steps")
"""Settings that may change when a training continues."""


@dataclass(frozen=True)
class Schedule:
    """Length and optimiser settings of a training; subclasses add those of their network."""

    seed: int = 0
    batch: int = 32
    crop: int = 16
    """Side of a crop in cells; less if pictures are smaller."""
    rate: float = 4e-3
    """Peak learning rate of Adam."""
    matrix_rate: float = 0.0
    """Peak learning rate of Muon for the matrices inside a network; 0: Adam trains them, too."""
    warmup: float = 0.02
    """Share of the schedule in which the learning rate rises; then it falls along a cosine."""
    average: float = 0.998
    """Decay of the moving average of the weights (EMA)."""
    steps: int | None = None
    minutes: float | None = None
    """Length of the schedule if `steps` is None."""
    origin: str = ""
    """Models and pictures that training starts from: a checkpoint of others is refused."""

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("a schedule has steps or minutes")

    def share_done(self, number: int, seconds: float) -> float:
        """Share of the schedule that is over after `number` steps and `seconds`, by steps if they are given, else by time."""
        if self.steps is not None:
            return number / self.steps
        assert self.minutes is not None
        return seconds / (60 * self.minutes)

    def share_of_rate(self, done: float) -> float:
        """Factor on the peak learning rate, at a share `done` of the schedule."""
        return min(1.0, done / self.warmup) * (0.5 + 0.5 * float(np.cos(np.pi * min(1.0, done))))

    def keep_of_average(self, number: int) -> float:
        """Decay of the moving average after `number` steps; early averages forget faster."""
        return min(self.average, number / (number + 10))


@dataclass(frozen=True)
class LoopOptions:
    """Device of a training loop, the checkpoint that it continues from and writes, and the callback for its figures.

    `progress` gets the share that is done before each step. The loop ends after the step in which `stopped` returns True.
    """

    device: str = "cpu"
    checkpoint: Path | None = None
    report: Report | None = None
    progress: Callable[[float], None] = lambda share: None
    stopped: Callable[[], bool] = lambda: False

    def share_done(self, settings: Schedule, number: int, seconds: float) -> float:
        """Share of a schedule that is over after `number` steps and `seconds`, which is reported; 1 if the loop is stopped."""
        share = 1.0 if self.stopped() else settings.share_done(number, seconds)
        self.progress(min(share, 1.0))
        return share


ON_CPU: Final = LoopOptions()
"""On the CPU, without checkpoints and reports."""


def check_device(device: str) -> None:
    """Raise InputError unless torch can use `device`, "cpu" or "cuda"."""
    if device not in ("cpu", "cuda"):
        raise InputError(f"{device}: devices are cpu and cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device was found: use --device cpu")


def join_processes(device: str) -> int:
    """This process's rank among those of torchrun, 0 without it; the first call connects the processes."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return 0
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return distributed.get_rank()


def leave_processes() -> None:
    """Disconnect from the other processes: the inverse of `join_processes`."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def fast_bfloat16(device: str) -> bool:
    """Whether `device` multiplies bfloat16 natively; elsewhere it is emulated and slow."""
    return device == "cuda" or torch.cpu._is_avx512_bf16_supported()


def fit(
    network: N,
    draw: Callable[[np.random.Generator], Batch],
    loss_of: Callable[[N, Batch], Tensor],
    held_out: Callable[[N], float],
    settings: Schedule,
    options: LoopOptions = ON_CPU,
    *,
    rate_factor: Callable[[nn.Parameter], float] = lambda parameter: 1.0,
    matrices: Callable[[N], Sequence[Tensor]] = lambda network: (),
) -> N:
    """Train `network` and return the moving average of its weights that was best on the held-out samples.

    The best average is not always the last: a small folder is memorised before the schedule ends. Time starts with the call, and
    there is always a first step. `draw` makes a batch, `loss_of` its loss, `held_out` the figure of the averaged network (lower is
    better); `rate_factor` multiplies the learning rate of a parameter, and `matrices` are those that Muon trains (Jordan et al.
    2024), if the settings have a rate for them. Continues from a checkpoint with the same settings, if there is one.
    """
    begun, device = time.monotonic(), options.device
    rank = join_processes(device)
    together = distributed.is_initialized()
    network.to(device)
    trained: Any = DistributedDataParallel(network) if together else network
    average = copy.deepcopy(network)
    optimiser = _optimisers(network, settings, rate_factor, matrices(network) if settings.matrix_rate else ())
    best = Best(copy.deepcopy(network))
    parts = {"network": network, "average": average, "optimiser": optimiser, "best": best}
    number, spent_s = load_checkpoint(options.checkpoint, settings, parts)
    rng = np.random.default_rng([settings.seed, rank, number] if number else [settings.seed, rank])
    losses: list[Tensor] = []
    begun -= spent_s
    while (done := _agreed(options.share_done(settings, number, time.monotonic() - begun), device)) < 1 or number == 0:
        for group in optimiser.param_groups:
            group["lr"] = group["factor"] * (settings.rate * settings.share_of_rate(done) + 1e-6)
        batch = tuple(tensor.to(device) for tensor in draw(rng))
        with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
            loss = loss_of(trained, batch)
        descend(network, optimiser, loss)
        number += 1
        average_in(average, network, settings.keep_of_average(number))
        losses.append(loss.detach())
        if number % EVERY == 0:
            elapsed_s = time.monotonic() - begun
            facts = {"step": number, "seconds": elapsed_s, "loss": float(torch.stack(losses).mean()), "share": done}
            losses.clear()
            if number % (SCORED * EVERY) == 0:
                facts["held_out"] = best.look(average, held_out(average))
            if rank == 0:
                save_and_report(options, settings, number, elapsed_s, parts, facts)
    best.look(average, held_out(average))
    return best.network.to("cpu")


@dataclass(frozen=True)
class Optimisers:
    """Several optimisers, of different parameters, as one."""

    each: Sequence[torch.optim.Optimizer]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimiser in self.each for group in optimiser.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for optimiser in self.each:
            optimiser.zero_grad(set_to_none)

    def step(self) -> None:
        for optimiser in self.each:
            optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        return {str(number): optimiser.state_dict() for number, optimiser in enumerate(self.each)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for number, optimiser in enumerate(self.each):
            optimiser.load_state_dict(state[str(number)])


def _optimisers(
    network: nn.Module, settings: Schedule, rate_factor: Callable[[nn.Parameter], float], matrices: Sequence[Tensor]
) -> Optimisers:
    """Muon for the `matrices`, if there are any, and Adam with a parameter group for each factor on its rate for the others.

    Factors are on `settings.rate`, also that of Muon.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    chosen = set(map(id, matrices))
    for parameter in network.parameters():
        if id(parameter) not in chosen:
            groups.setdefault(rate_factor(parameter), []).append(parameter)
    adam = torch.optim.Adam([{"params": given, "factor": factor} for factor, given in groups.items()], lr=settings.rate)
    if not matrices:
        return Optimisers([adam])
    group = {"params": list(matrices), "factor": settings.matrix_rate / settings.rate}
    return Optimisers([adam, torch.optim.Muon([group], lr=settings.matrix_rate, weight_decay=0.0)])


def descend(network: nn.Module, optimiser: torch.optim.Optimizer | Optimisers, loss: Tensor) -> None:
    """One step of the optimiser along the gradient of `loss`, clipped to norm 1."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


@dataclass
class Best(Generic[N]):
    """Keeps the weights with the lowest figure; among equal figures, or without a finite one, the newest."""

    network: N
    figure: float = float("inf")

    def look(self, shown: nn.Module, figure: float) -> float:
        """Keep the weights of `shown` if they are the best so far; returns the figure."""
        if figure <= self.figure or not math.isfinite(self.figure):
            self.figure = figure
            self.network.load_state_dict(shown.state_dict())
        return figure

    def state_dict(self) -> dict[str, Any]:
        return {"figure": self.figure, "network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.figure = state["figure"]
        self.network.load_state_dict(state["network"])


def _agreed(share: float, device: str) -> float:
    """The first process's share, so that all processes stop at the same step."""
    if not distributed.is_initialized():
        return share
    found = torch.tensor(share, dtype=torch.float64, device=device)
    distributed.broadcast(found, 0)
    return float(found)


def average_in(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Update the averaged weights: keep * average + (1 - keep) * network."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1 - keep)


class Position(NamedTuple):
    """Progress of a training: optimiser steps and seconds."""

    number: int
    spent_s: float


def load_checkpoint(checkpoint: Path | None, settings: Schedule, parts: dict[str, Any], free: Sequence[str] = ()) -> Position:
    """Restore the states of `parts` and return the position of the checkpoint; the start if there is no checkpoint.

    All settings must be equal except the schedule's length and those in `free`. Raises InputError.
    """
    if checkpoint is None or not os.path.exists(checkpoint):
        return Position(0, 0.0)
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        then, now = json.loads(saved["settings"]), json.loads(json.dumps(asdict(settings)))
        others = [name for name in now if name not in (*_LENGTH, *free) and then.get(name) != now[name]]
        if not others:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            return Position(saved["number"], saved["spent"])
    except Exception as error:  # broken bytes and networks of other sizes raise many kinds
        raise InputError(f"{checkpoint}: cannot continue from it (-f without --resume starts anew)") from error
    raise InputError(f"{checkpoint}: was started with another {', '.join(others)} (-f without --resume starts anew)")


def save_checkpoint(checkpoint: Path, settings: Schedule, number: int, elapsed_s: float, parts: dict[str, Any]) -> None:
    """Write the settings, position and states of `parts`: the inverse of `load_checkpoint`. Raises OutputError."""
    state = {"settings": json.dumps(asdict(settings)), "number": number, "spent": elapsed_s}
    stream = io.BytesIO()
    torch.save(state | {name: part.state_dict() for name, part in parts.items()}, stream)
    write_atomic(checkpoint, stream.getvalue(), overwrite=True)


def save_and_report(
    options: LoopOptions, settings: Schedule, number: int, elapsed_s: float, parts: dict[str, Any], facts: dict[str, float]
) -> None:
    """Write the checkpoint and call the report, where the options have them."""
    if options.checkpoint is not None:
        save_checkpoint(options.checkpoint, settings, number, elapsed_s, parts)
    if options.report is not None:
        options.report(facts)


def mean_facts(lines: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of each loss over some steps."""
    return {name: float(torch.stack([facts[name] for facts in lines]).mean()) for name in lines[0]}
