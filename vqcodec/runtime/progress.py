"""Progress of long work: code at work enters and leaves named stages, and whoever watches reads how far they are.

The watcher polls. Work therefore never calls anything that draws, and where nobody watches a stage costs one look-up. Threads and
processes that are started inside a watched block are not watched: the code that waits for them tells what they have done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stage:
    """One stage: `done` steps of `total`, where the number of steps is known. `count`, if given, is asked for `done` instead.

    `at_once` steps are under way at a time, one of them in this thread. `shown` is the largest share that was told of it.
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
"""The stages that are under way, from the outermost to the innermost."""


class _Watched(threading.local):
    """The stages of this thread, where they are watched."""

    stages: Stages | None = None


_watched = _Watched()


@contextmanager
def watched() -> Iterator[Stages]:
    """In the block, this thread's stages are kept in the list that is yielded."""
    before, _watched.stages = _watched.stages, []
    try:
        yield _watched.stages
    finally:
        _watched.stages = before


@contextmanager
def stage(name: str, total: int | None = None, count: Callable[[], int] | None = None, at_once: int = 1) -> Iterator[None]:
    """A stage of `total` steps, if their number is known, each of which ends with `advance`; or `count` tells how many are done.

    An empty name is that of the stage around it. `at_once` steps are under way at a time.
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
    """So many steps of the innermost stage are done."""
    if stages := _watched.stages:
        stages[-1].done += count


def steps(items: Sequence[Item], name: str = "") -> Iterable[Item]:
    """The items, each a step of a stage."""
    return items if _watched.stages is None else _told(items, name)


def _told(items: Sequence[Item], name: str) -> Iterator[Item]:
    with stage(name, len(items)):
        for item in items:
            yield item
            advance()


def share_done(stages: Sequence[Stage]) -> tuple[float, float] | None:
    """How much is done, 0 to 1, of the outermost stage whose number of steps is known, and when it began; None if there is none.

    A step that is under way counts as far as the stages inside it are. Of steps that other threads or processes do, they are not
    known: these count as far as the one of this thread. So that nothing is taken back, a share is never less than it was.
    """
    found: tuple[float, float] | None = None
    for one in reversed(stages):
        if one.total:
            reached, inside = one.reached, found[0] if found else 0.0
            one.shown = min(1.0, max(one.shown, (reached + inside * min(one.at_once, one.total - reached)) / one.total))
            found = one.shown, one.begun
    return found
