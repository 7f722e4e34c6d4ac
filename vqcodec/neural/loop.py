"""The training loop of networks with one loss (those with a discriminator have loops of their own), top to bottom as in nanoGPT's
train.py; schedules and checkpoints of all.

Started by torchrun, every process draws batches of its own and gradients are averaged (DistributedDataParallel); the first
one tells the time, reports and keeps checkpoints.
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
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from vqcodec.errors import InputError
from vqcodec.io.files import write_atomic

Report = Callable[[dict[str, float]], None]
Batch = tuple[Tensor, ...]
N = TypeVar("N", bound=nn.Module)

EVERY = 50
"""Steps between two lines of the log, each with a checkpoint."""
_LENGTH: Final = ("minutes", "steps")
"""Settings that may be others where training goes on."""
SCORED = 10
"""Lines between two looks at the held-out samples."""


@dataclass(frozen=True)
class Schedule:
    """What decides the outcome besides network and samples."""

    seed: int = 0
    batch: int = 32
    crop: int = 16
    """Cells a side, or fewer where pictures are smaller."""
    rate: float = 4e-3
    """Peak learning rate of Adam."""
    warmup: float = 0.02
    """Share of the time in which it rises; then it falls with a cosine."""
    average: float = 0.998
    """Decay of the moving average of the weights (EMA)."""
    steps: int | None = None
    minutes: float | None = None
    """The schedule ends after so many steps or, where these are None, minutes."""
    origin: str = ""
    """Models and pictures that training starts from: a checkpoint of others is not gone on from."""

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("a schedule has steps or minutes")

    def share_done(self, number: int, seconds: float) -> float:
        """Share of the schedule that is over, by steps or by time, whichever is given."""
        if self.steps is not None:
            return number / self.steps
        assert self.minutes is not None
        return seconds / (60 * self.minutes)

    def share_of_rate(self, done: float) -> float:
        """Of the peak learning rate, at a share of the schedule."""
        return min(1.0, done / self.warmup) * (0.5 + 0.5 * float(np.cos(np.pi * min(1.0, done))))


def check_device(device: str) -> None:
    """Raise InputError unless torch can train on `device`."""
    if device not in ("cpu", "cuda"):
        raise InputError(f"{device}: devices are cpu and cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here (--device cpu)")


def join_processes(device: str) -> int:
    """This process's rank among those that torchrun started, 0 without it; the first call lets them find each other."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return 0
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return distributed.get_rank()


def leave_processes() -> None:
    """The inverse of `join_processes`, when training is over."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def fast_bfloat16(device: str) -> bool:
    """Whether products of bfloat16 are faster than those of float32 on `device`: elsewhere they are emulated, and slow."""
    return device == "cuda" or torch.cpu._is_avx512_bf16_supported()


def fit(
    network: N,
    draw: Callable[[np.random.Generator], Batch],
    loss_of: Callable[[N, Batch], Tensor],
    held_out: Callable[[N], float],
    settings: Schedule,
    *,
    fast: Callable[[nn.Parameter], float] = lambda parameter: 1.0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report | None = None,
) -> N:
    """Train `network` for the time that the settings give; returns the moving average of its weights where, of all looks at the
    held-out samples, it did best there: a small folder is learnt by heart before the schedule ends.

    The time begins with the call, and there is always a first step. `draw` makes a batch, `loss_of` its loss in a network,
    `held_out` a figure of the averaged network, less where it is better; `fast` is what a parameter's learning rate is multiplied
    by. Goes on from `checkpoint` where there is one of the same settings, and writes it every so often.
    """
    begun = time.monotonic()
    rank = join_processes(device)
    together = distributed.is_initialized()
    network.to(device)
    trained: Any = DistributedDataParallel(network) if together else network
    average = copy.deepcopy(network)
    rates: dict[float, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        rates.setdefault(fast(parameter), []).append(parameter)
    optimiser = torch.optim.Adam([{"params": given, "factor": factor} for factor, given in rates.items()], lr=settings.rate)
    best = Best(copy.deepcopy(network))
    parts = {"network": network, "average": average, "optimiser": optimiser, "best": best}
    number, spent = load_checkpoint(checkpoint, settings, parts)
    rng = np.random.default_rng([settings.seed, rank, number] if number else [settings.seed, rank])
    losses: list[Tensor] = []
    begun -= spent
    while (done := _agreed(settings.share_done(number, time.monotonic() - begun), device)) < 1 or number == 0:
        for group in optimiser.param_groups:
            group["lr"] = group["factor"] * (settings.rate * settings.share_of_rate(done) + 1e-6)
        batch = tuple(tensor.to(device) for tensor in draw(rng))
        with torch.autocast(device, torch.bfloat16, enabled=fast_bfloat16(device)):
            loss = loss_of(trained, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        number += 1
        average_in(average, network, min(settings.average, number / (number + 10)))
        losses.append(loss.detach())
        if number % EVERY == 0:
            elapsed = time.monotonic() - begun
            facts = {"step": number, "seconds": elapsed, "loss": float(torch.stack(losses).mean()), "share": done}
            losses.clear()
            if number % (SCORED * EVERY) == 0:
                facts["held_out"] = best.look(average, held_out(average))
            if checkpoint is not None and rank == 0:
                save_checkpoint(checkpoint, settings, number, elapsed, parts)
            if report is not None and rank == 0:
                report(facts)
    best.look(average, held_out(average))
    return best.network.to("cpu")


@dataclass
class Best(Generic[N]):
    """The weights of all that it was shown whose figure is least; the newest where figures are alike, or none."""

    network: N
    figure: float = float("inf")

    def look(self, shown: nn.Module, figure: float) -> float:
        """Keep the weights of `shown` if they are the best; returns the figure."""
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
    """The first process's share: all must stop at the same step."""
    if not distributed.is_initialized():
        return share
    found = torch.tensor(share, dtype=torch.float64, device=device)
    distributed.broadcast(found, 0)
    return float(found)


def average_in(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the averaged weights towards those of `network`, keeping the share `keep` of them."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1 - keep)


def load_checkpoint(
    checkpoint: Path | None, settings: Schedule, parts: dict[str, Any], free: Sequence[str] = ()
) -> tuple[int, float]:
    """Steps and seconds done, and the states of `parts` set to theirs then; 0 where there is no checkpoint.

    Its settings must be the same, but for the length of the schedule and those that are `free` to change. Raises InputError.
    """
    if checkpoint is None or not os.path.exists(checkpoint):
        return 0, 0.0
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        then, now = json.loads(saved["settings"]), json.loads(json.dumps(asdict(settings)))
        others = [name for name in now if name not in (*_LENGTH, *free) and then.get(name) != now[name]]
        if not others:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            return saved["number"], saved["spent"]
    except Exception as error:  # whatever broken bytes and networks of other sizes lead to
        raise InputError(f"{checkpoint}: it cannot be gone on from (-f without --resume starts anew)") from error
    raise InputError(f"{checkpoint}: it was begun with another {', '.join(others)} (-f without --resume starts anew)")


def save_checkpoint(checkpoint: Path, settings: Schedule, number: int, elapsed: float, parts: dict[str, Any]) -> None:
    """The inverse of `load_checkpoint`; raises OutputError."""
    state = {"settings": json.dumps(asdict(settings)), "number": number, "spent": elapsed}
    stream = io.BytesIO()
    torch.save(state | {name: part.state_dict() for name, part in parts.items()}, stream)
    write_atomic(checkpoint, stream.getvalue(), overwrite=True)
