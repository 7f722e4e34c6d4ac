"""Progress, time limits and the early end of a training, and work in parallel processes within them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

from vqcodec.errors import LimitError
from vqcodec.runtime.processes import processes

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the work done and the work in total."""
DEFAULT_MINUTES: Final = 20.0
"""Length of a training of networks if neither minutes nor steps are given."""
T = TypeVar("T")


_GRACE_S: Final = 20.0
"""Seconds that checks on held-out pictures may take after a request to stop: without them, nothing learnt can be kept."""


class OutOfTimeError(LimitError):
    """A stage did not finish within its time."""


class StoppedError(OutOfTimeError):
    """A stage did not finish because the user stopped the training."""

    exit_code = 130


@dataclass
class Stop:
    """A request to end a training early with the best that it has. Fits end at once; checks get _GRACE_S seconds."""

    at: float = math.inf
    """Time of the request by `time.monotonic()`, seconds; infinite without one."""
    interruptible: bool = False
    """Whether the main thread waits for processes that a request should end."""

    @property
    def asked(self) -> bool:
        return not math.isinf(self.at)

    def ask(self) -> None:
        """Make the request; may run in a signal handler. Raises KeyboardInterrupt if the main thread waits for a fit."""
        self.at = time.monotonic()
        if self.interruptible:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Watch:
    """A progress callback that raises OutOfTimeError when called after its deadline with an incomplete stage."""

    progress: Progress = lambda stage, done, total: None
    deadline: float = math.inf
    """Time of `time.monotonic()`, seconds."""
    stop: Stop = field(default_factory=Stop)
    grace_s: float = 0.0
    """Seconds that the work may go on after a request to stop."""

    @classmethod
    def start(cls, progress: Progress | None, minutes: float | None, stop: Stop | None = None) -> Watch:
        """A watch that ends `minutes` from now, or never if None, or when `stop` is asked for."""
        watch = cls(stop=stop or Stop()) if progress is None else cls(progress, stop=stop or Stop())
        return watch if minutes is None else replace(watch, deadline=time.monotonic() + 60 * minutes)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report a stage. Raises OutOfTimeError."""
        self.progress(stage, done, total)
        if done < total and time.monotonic() > self.end:
            raise self.out_of_time(stage, done, total)

    @property
    def end(self) -> float:
        """The deadline, or the end of the grace after a request to stop, in seconds of `time.monotonic()`."""
        return min(self.deadline, self.stop.at + self.grace_s)

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0, or None without a deadline."""
        return None if math.isinf(self.end) else max(0.0, self.end - time.monotonic())

    def out_of_time(self, stage: str, done: int, total: int) -> OutOfTimeError:
        """The error for a stage that was interrupted."""
        share = f"{stage} ({100 * done // total} %)"
        if self.stop.asked:
            return StoppedError(f"stopped while {share}")
        return OutOfTimeError(f"the time was over while {share}: give more --minutes")

    def for_check(self) -> Watch:
        """A watch of a check, which may go on for a while after a request to stop."""
        return replace(self, grace_s=_GRACE_S)

    def part(self, share: float) -> Watch:
        """A watch that ends after a share of the time left."""
        return self if self.left is None else replace(self, deadline=time.monotonic() + share * self.left)

    def but(self, seconds: float) -> Watch:
        """A watch that ends `seconds` earlier."""
        return replace(self, deadline=self.deadline - seconds)

    def named(self, name: str) -> Watch:
        """A watch that prefixes its stages with `name`."""
        return replace(self, progress=lambda stage, done, total: self.progress(f"{name}: {stage}", done, total))


def in_processes(call: Callable[..., T], *given: Sequence[Any], stage: str, watch: Watch) -> list[T]:
    """Results of `call` for each tuple of arguments, in order, computed on all cores. Raises OutOfTimeError unless all are done."""
    return some_in_processes(call, *given, stage=stage, watch=watch, least=len(given[0]))


def some_in_processes(
    call: Callable[..., T], *given: Sequence[Any], stage: str, watch: Watch, share: float = 1.0, least: int = 0
) -> list[T]:
    """Results of `call` for the first arguments, as many as the time allows.

    No call starts after a share of the time left, except the first one; running calls may use all of it. Raises OutOfTimeError if
    fewer than `least` calls are done.
    """
    made: list[T] = []
    within = watch.part(share)

    def arguments_in_time() -> Iterator[tuple[Any, ...]]:
        for number, arguments in enumerate(zip(*given, strict=True)):
            if number > 0 and time.monotonic() > within.end:
                return
            yield arguments

    try:
        watch(stage, 0, len(given[0]))
        with _interruptible(watch), processes() as pool:
            for one in pool.map(partial(_apply, call), arguments_in_time(), timeout_s=watch.left):
                made.append(one)
                watch(stage, len(made), len(given[0]))
    except (TimeoutError, OutOfTimeError):
        pass
    if len(made) < least or (watch.stop.asked and watch.left == 0):
        raise watch.out_of_time(stage, len(made), len(given[0]))
    return made


@contextmanager
def _interruptible(watch: Watch) -> Iterator[None]:
    """Let a request to stop end the block, unless it has a grace: its processes may be busy for a while."""
    watch.stop.interruptible = not watch.grace_s
    try:
        yield
    except KeyboardInterrupt:
        if not watch.stop.asked:
            raise
    finally:
        watch.stop.interruptible = False


def _apply(call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    return call(*arguments)
