"""How far a training is, and how long it may still take."""

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
"""Called with a stage in words, how much of it is done, and how much there is to do."""
DEFAULT_MINUTES: Final = 20.0
"""For networks, where neither minutes nor steps are given."""
T = TypeVar("T")


class OutOfTimeError(LimitError):
    """A stage was not finished in the time that it has."""


@dataclass(frozen=True)
class Watch:
    """A progress callback that raises OutOfTimeError when the time is over, unless the stage is complete."""

    progress: Progress = lambda stage, done, total: None
    deadline: float = math.inf
    """In seconds of time.monotonic()."""

    @classmethod
    def start(cls, progress: Progress | None, minutes: float | None) -> Watch:
        """A watch of so many minutes from now on; None for as long as it takes."""
        watch = cls() if progress is None else cls(progress)
        return watch if minutes is None else replace(watch, deadline=time.monotonic() + 60 * minutes)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report a stage. Raises OutOfTimeError."""
        self.progress(stage, done, total)
        if done < total and time.monotonic() > self.deadline:
            raise out_of_time(stage, done, total)

    @property
    def left(self) -> float | None:
        """Seconds that are left, as timeouts have them: None where nothing limits them."""
        return None if math.isinf(self.deadline) else max(0.0, self.deadline - time.monotonic())

    def part(self, share: float) -> Watch:
        """A watch of a share of the time that is left."""
        return self if self.left is None else replace(self, deadline=time.monotonic() + share * self.left)

    def but(self, seconds: float) -> Watch:
        """A watch that ends some seconds earlier."""
        return replace(self, deadline=self.deadline - seconds)

    def named(self, name: str) -> Watch:
        """A watch whose stages begin with a name."""
        return replace(self, progress=lambda stage, done, total: self.progress(f"{name}: {stage}", done, total))


def in_processes(call: Callable[..., T], *given: Sequence[Any], stage: str, watch: Watch) -> list[T]:
    """Results of a call on the given arguments, in order, by all cores. Raises OutOfTimeError."""
    made = some_in_processes(call, *given, stage=stage, watch=watch)
    if len(made) < len(given[0]):
        raise out_of_time(stage, len(made), len(given[0]))
    return made


def some_in_processes(call: Callable[..., T], *given: Sequence[Any], stage: str, watch: Watch, share: float = 1.0) -> list[T]:
    """As `in_processes`, but where the time ends earlier, the results until then: those of the first arguments.

    When a share of the time that is left is over, no further call is begun: one at least is, and has all of it.
    """
    made: list[T] = []
    until = watch.part(share).deadline

    def begun() -> Iterator[tuple[Any, ...]]:
        for number, arguments in enumerate(zip(*given, strict=True)):
            if number > 0 and time.monotonic() > until:
                return
            yield arguments

    try:
        watch(stage, 0, len(given[0]))
        with processes() as pool:
            for one in pool.map(partial(_apply, call), begun(), timeout_s=watch.left):
                made.append(one)
                watch(stage, len(made), len(given[0]))
    except (TimeoutError, OutOfTimeError):
        pass
    return made


def _apply(call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    return call(*arguments)


def out_of_time(stage: str, done: int, total: int) -> OutOfTimeError:
    return OutOfTimeError(f"the time was over while {stage} ({100 * done // total} %): give more --minutes")
