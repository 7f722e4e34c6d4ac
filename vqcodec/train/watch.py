"""Progress and time limits of a training, and work in parallel processes within them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from vqcodec.errors import LimitError
from vqcodec.runtime.processes import processes

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the work done and the work in total."""
DEFAULT_MINUTES: Final = 20.0
"""Length of a training of networks if neither minutes nor steps are given."""
T = TypeVar("T")


class OutOfTimeError(LimitError):
    """A stage did not finish within its time."""


@dataclass(frozen=True)
class Watch:
    """A progress callback that raises OutOfTimeError when called after its deadline with an incomplete stage."""

    progress: Progress = lambda stage, done, total: None
    deadline: float = math.inf
    """Time of `time.monotonic()`, seconds."""

    @classmethod
    def start(cls, progress: Progress | None, minutes: float | None) -> Watch:
        """A watch that ends `minutes` from now, or never if None."""
        watch = cls() if progress is None else cls(progress)
        return watch if minutes is None else replace(watch, deadline=time.monotonic() + 60 * minutes)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report a stage. Raises OutOfTimeError."""
        self.progress(stage, done, total)
        if done < total and time.monotonic() > self.deadline:
            raise out_of_time(stage, done, total)

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0, or None without a deadline."""
        return None if math.isinf(self.deadline) else max(0.0, self.deadline - time.monotonic())

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
    until = watch.part(share).deadline

    def arguments_in_time() -> Iterator[tuple[Any, ...]]:
        for number, arguments in enumerate(zip(*given, strict=True)):
            if number > 0 and time.monotonic() > until:
                return
            yield arguments

    try:
        watch(stage, 0, len(given[0]))
        with processes() as pool:
            for one in pool.map(partial(_apply, call), arguments_in_time(), timeout_s=watch.left):
                made.append(one)
                watch(stage, len(made), len(given[0]))
    except (TimeoutError, OutOfTimeError):
        pass
    if len(made) < least:
        raise out_of_time(stage, len(made), len(given[0]))
    return made


def _apply(call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    return call(*arguments)


def out_of_time(stage: str, done: int, total: int) -> OutOfTimeError:
    """The error for a stage that was interrupted."""
    return OutOfTimeError(f"the time was over while {stage} ({100 * done // total} %): give more --minutes")
