"""The plan that a training announces, and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vqcodec.train.comparison import MOST_PICTURES, Comparison
from vqcodec.train.data import Corpus, Skipped
from vqcodec.weights.exact import ExactModel


@dataclass(frozen=True)
class Plan:
    """The work that a training is about to do."""

    kind: str
    base: str | None
    """Name of the model that it starts from; None: from scratch."""
    trained_on: int
    held_out: int
    pixels: int
    skipped: int
    first_skipped: Skipped | None
    stages: tuple[str, ...]
    minutes: float | None
    """The limit, or the estimated time without one; None if unknown."""
    limited: bool
    """Whether `minutes` is a limit."""

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        kind: str,
        base: str | None,
        stages: Sequence[str],
        *,
        limit: float | None,
        estimate: float | None = None,
    ) -> Plan:
        """The plan of a training on a corpus within `limit` minutes; without one, of about `estimate` minutes."""
        return cls(
            kind=kind,
            base=base,
            trained_on=len(corpus.train),
            held_out=len(corpus.held_out),
            pixels=corpus.pixels,
            skipped=len(corpus.skipped),
            first_skipped=corpus.skipped[0] if corpus.skipped else None,
            stages=tuple(stages),
            minutes=estimate if limit is None else limit,
            limited=limit is not None,
        )

    def lines(self) -> list[str]:
        """The plan for the terminal, a few lines."""
        found = f"{_count(self.trained_on + self.held_out, 'picture')} of {self.pixels / 1e6:.1f} megapixels"
        found += f", {self.held_out} of them held out to check the result"
        if self.first_skipped is not None:
            found += f"; {_count(self.skipped, 'file')} left out, first {self.first_skipped.name}: {self.first_skipped.reason}"
        start = "from scratch" if self.base is None else f"starts from {self.base}"
        time = "" if self.minutes is None else f"{'at most' if self.limited else 'about'} {_minutes(self.minutes)}; "
        return [
            found,
            f"{self.kind} model, {start}: {', '.join(self.stages)}",
            f"{time}Ctrl-C ends it with the best so far",
        ]

    def facts(self) -> dict[str, Any]:
        """The plan in --json and --log."""
        return {
            "kind": self.kind,
            "base": self.base,
            "pictures": self.trained_on + self.held_out,
            "held_out": self.held_out,
            "pixels": self.pixels,
            "skipped": self.skipped,
            "stages": list(self.stages),
            "minutes": self.minutes if self.minutes is None else round(self.minutes, 2),
            "limited": self.limited,
        }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _minutes(minutes: float) -> str:
    """A duration in words, rounded to what an estimate is worth."""
    return _count(max(1, round(60 * minutes)), "second") if minutes < 1 else _count(round(minutes), "minute")


_NO_GAIN: Final = "it does not pay to train on this folder"
Announce = Callable[[Plan], None]
"""Called with the plan before the work starts."""


@dataclass(frozen=True)
class Trained:
    """The result of a training: its model.json, whether the model was written and why not, and its report."""

    summary: dict[str, Any]
    refusal: str = ""
    """Why the model is not written: training on this folder does not pay, or was not finished; empty if it was written."""
    unfinished: bool = False
    """Whether the time was over, or a request to stop came, before all parts were trained."""
    comparison: Comparison | None = None
    stopped: bool = False
    """Whether a request to stop ended it."""

    @property
    def written(self) -> bool:
        return not self.refusal

    def facts(self) -> dict[str, Any]:
        """The result in --json and --log, besides model.json."""
        return {
            "written": self.written,
            "refusal": self.refusal,
            "stopped": self.stopped,
            "unfinished": self.unfinished,
            "comparison": None if self.comparison is None else self.comparison.facts(),
        }


def why_not_written(
    base: ExactModel, made: ExactModel, comparison: Comparison | None, notes: Sequence[str], *, unfinished: bool
) -> str:
    """Why a model is not worth writing beside the base model that it started from; empty if it pays.

    `notes` are those of the training, and say why the base model was kept.
    """
    if made.id == base.id:
        reason = "; ".join(notes) or f"nothing was better than {base.name}"
        return reason if unfinished else f"{_NO_GAIN}: {reason}"
    if comparison is None or comparison.pays:
        return ""
    pictures, percent = comparison.pictures, comparison.lines[1].percent
    if comparison.pays_after is None:
        return f"{_NO_GAIN}: files of {pictures} held-out pictures are not smaller than with {base.name} ({percent:+.1f} %)"
    return (
        f"{_NO_GAIN}: files of {pictures} held-out pictures are {-percent:.1f} % smaller than with {base.name}, and the model of"
        f" {comparison.model_bytes} bytes would pay after {comparison.pays_after} pictures, more than {MOST_PICTURES}"
    )
