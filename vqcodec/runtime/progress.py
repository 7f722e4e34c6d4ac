"""Progress of long work: working code enters and leaves named stages, and a watcher reads how far they are.

The watcher polls, so work never calls code that draws, and a stage costs one lookup if nobody watches. Threads and processes
started inside a watched block are not watched: the code that waits for them reports their progress.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Stage:
    """A stage with `done` of `total` steps, if the number of steps is known; `count`, if given, returns `done`.

    `at_once` steps run in parallel, one of them in this thread. `shown` is the largest share that has been reported.
    """

    def __init__(self, name: str, total: int | None = None, count: Callable[[], int] | None = None, at_once: int = 1) -> None:
        self.name, self.total, self.count, self.at_once = name, total, count, at_once
        self.done, self.shown = 0, 0.0
        self.begun = time.monotonic()

    @property
    def reached(self) -> int:
        """Steps done."""
        return self.count() if self.count else self.done


Stages = list[Stage]
"""The current stages, from the outermost to the innermost."""


class _Watched(threading.local):
    """The stages of this thread; None if they are not watched."""

    stages: Stages | None = None


_watched = _Watched()


@contextmanager
def watched() -> Iterator[Stages]:
    """Keep this thread's stages in the yielded list while in the block."""
    before, _watched.stages = _watched.stages, []
    try:
        yield _watched.stages
    finally:
        _watched.stages = before


@contextmanager
def stage(name: str, total: int | None = None, count: Callable[[], int] | None = None, at_once: int = 1) -> Iterator[None]:
    """Enter a stage of `total` steps, if their number is known. Each step ends with `advance`, or `count` returns the number done.

    An empty name stands for that of the enclosing stage. `at_once` steps run in parallel.
    """
    stages = _watched.stages
    if stages is None:
        yield
        return
    depth = len(stages)
    stages.append(Stage(name, total, count, at_once))
    try:
        yield
    finally:
        del stages[depth:]


def advance(count: int = 1) -> None:
    """Mark `count` more steps of the innermost stage as done."""
    if stages := _watched.stages:
        stages[-1].done += count


def steps(items: Sequence[Item], name: str = "") -> Iterable[Item]:
    """The items, each as a step of a stage."""
    return items if _watched.stages is None else _counted(items, name)


def _counted(items: Sequence[Item], name: str) -> Iterator[Item]:
    with stage(name, len(items)):
        for item in items:
            yield item
            advance()


class Share(NamedTuple):
    """Share of a stage that is done, 0 to 1, and its start in seconds of time.monotonic()."""

    done: float
    begun: float


def share_done(stages: Sequence[Stage]) -> Share | None:
    """The share done of the outermost stage with a known number of steps; None if there is none.

    A running step counts by the stages inside it. Those of other threads and processes are unknown: their steps count like the step
    of this thread. A share never decreases.
    """
    found: Share | None = None
    for one in reversed(stages):
        if one.total:
            reached, inside = one.reached, found.done if found else 0.0
            one.shown = min(1.0, max(one.shown, (reached + inside * min(one.at_once, one.total - reached)) / one.total))
            found = Share(one.shown, one.begun)
    return found
