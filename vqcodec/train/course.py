"""What all trainings of networks share: pictures, time, device, checkpoints, what is told, and the folder that comes of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from vqcodec.errors import MissingExtraError, OutputError
from vqcodec.io.files import check_new_folder, make_parent, new_folder, output_errors
from vqcodec.train.data import Corpus, identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.watch import DEFAULT_MINUTES, OutOfTimeError, Progress, Watch
from vqcodec.weights.folder import SUMMARY, TENSORS, Weights, save_model

try:
    from vqcodec.neural.loop import EVERY, Schedule, check_device
except ImportError as error:  # torch is an extra
    raise MissingExtraError("training networks needs torch: pip install 'vqcodec[neural]'") from error

_FITTED: Final = 0.9
"""Share of the time that is left when the fit of a network begins; the rest is for a last look at held-out pictures."""
S = TypeVar("S", bound=Schedule)


@dataclass(frozen=True)
class Course:
    """One training, from the pictures of a `folder`, a .tar or a gzipped idx file, to the model folder `output`.

    It takes `steps` of the optimiser or, where these are None, `minutes` with all that comes before and after. `log` gets a JSON
    line every 50 steps, the folder `board` curves and pictures for TensorBoard, `sheets` pictures as PNG. With `resume` checkpoints
    beside `output` are gone on from.
    """

    folder: Path
    output: Path
    seed: int = 0
    minutes: float | None = None
    steps: int | None = None
    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False
    progress: Progress | None = None
    log: Path | None = None
    board: Path | None = None
    sheets: Path | None = None
    started: float = field(default_factory=time.monotonic)
    results: dict[str, Any] = field(default_factory=dict)
    """What model.json will tell of the way."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""

    def begin(self, parts: Sequence[str] = ("",)) -> Corpus:
        """Settle what earlier trainings left of the checkpoints of these parts, and read the pictures.

        Raises InputError, OutputError, MissingExtraError, OutOfTimeError.
        """
        check_new_folder(self.output, overwrite=self.overwrite, marker=TENSORS, known=[SUMMARY])
        make_parent(self.output)  # checkpoints lie beside the output
        check_device(self.device)
        _ = self.diary
        old = [checkpoint for checkpoint in map(self.checkpoint, parts) if _is_there(checkpoint) and not self.resume]
        if old and not self.overwrite:
            raise OutputError(f"{old[0]}: exists (--resume goes on from it, -f starts anew)")
        corpus = load_corpus(self.folder, self.watch)
        for checkpoint in old:
            try:
                checkpoint.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {checkpoint}: {error.strerror}") from error
        return corpus

    @property
    def schedule(self) -> dict[str, Any]:
        """`seed`, `minutes` and `steps` as settings have them before they are `timed`."""
        minutes = DEFAULT_MINUTES if self.minutes is None and self.steps is None else self.minutes
        return {"seed": self.seed, "minutes": minutes, "steps": self.steps}

    @cached_property
    def watch(self) -> Watch:
        """A watch of the whole training."""
        minutes = self.schedule["minutes"]
        watch = Watch() if self.progress is None else Watch(self.progress)
        return watch if minutes is None else replace(watch, deadline=self.started + 60 * minutes)

    @staticmethod
    def timed(settings: S, watch: Watch, share: float = _FITTED) -> S:
        """The settings of a network whose fit begins now and takes a share of the time that is left. Raises OutOfTimeError."""
        if watch.left is None:
            return settings
        if watch.left <= 0:
            raise OutOfTimeError("the time was over before the first step of training: give more --minutes")
        return replace(settings, minutes=share * watch.left / 60)

    def limited(self, most: int, a_minute: int) -> int:
        """How many held-out pictures or pixels to look at: so many a minute, so that this takes less time than the training."""
        minutes = self.schedule["minutes"]
        return most if minutes is None else min(most, max(1, round(minutes * a_minute)))

    @staticmethod
    def origin(corpus: Corpus, *models: Weights | None) -> str:
        """What settings have of models and pictures that training starts from."""
        names = [model.id[:12] for model in models if model is not None]
        return " ".join([*names, f"{len(corpus.train)} pictures of {corpus.pixels} pixels"])

    @cached_property
    def diary(self) -> TrainingLog:
        return TrainingLog(self.log, self.board, self.sheets)

    def tell(self, what: str, done: int, total: int) -> None:
        """Report how far a stage is, whether or not the time is over."""
        if self.progress is not None:
            self.progress(what, done, total)

    def checkpoint(self, part: str = "") -> Path:
        """Of the whole training, or of a part of it."""
        return self.output.with_name(f"{self.output.name}{part and '.'}{part}.checkpoint")

    def options(
        self, name: str, stage: str, *, part: str = "", counted: str = "optimiser_steps", kept: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Arguments for the loop of a network: where it is trained, goes on from, and reports to.

        The log has it as `name`, the display as `stage`; model.json has its steps as `counted`, and the facts named in `kept`.
        """
        self.tell(stage, 0, 1000)

        def report(facts: dict[str, float]) -> None:
            self.results.update({counted: facts["step"], **{key: round(facts[key], 1) for key in kept}})
            self.tell(stage, round(1000 * facts["share"]), 1000)
            self.diary.facts(name, facts)

        return {"device": self.device, "checkpoint": self.checkpoint(part), "report": report}

    def summary(
        self, made: Weights, kind: str, given: Mapping[str, object], facts: Mapping[str, Any], corpus: Corpus
    ) -> dict[str, Any]:
        """model.json: the model, the options of `train` that were `given` besides its schedule, results, and other facts."""
        if self.steps is None and not self.notes and not any(name.endswith("_steps") for name in self.results):
            self.notes.append(f"fewer than {EVERY} steps of training were made: give more --minutes")
        command = {"kind": kind, "init": given.get("init"), **self.schedule, **given}
        return {
            **identity(made.id, kind, (self.folder, self.output), command),
            "seconds": round(time.monotonic() - self.started),
            **self.results,
            **facts,
            "notes": self.notes,
            "corpus": corpus.facts(),
        }

    def write(self, made: Weights, summary: dict[str, Any], parts: Sequence[str] = ("",)) -> None:
        """The model folder, all of it or nothing; the checkpoints of its parts have served."""
        self.diary.close()
        with new_folder(self.output, overwrite=self.overwrite, marker=TENSORS, known=[SUMMARY]) as folder_of_model:
            save_model(folder_of_model, replace(made, summary=summary))
        for checkpoint in map(self.checkpoint, parts):
            checkpoint.unlink(missing_ok=True)


def _is_there(path: Path) -> bool:
    """Whether there is something at `path`; raises OutputError where there could not be."""
    with output_errors(path), suppress(FileNotFoundError):
        path.lstat()
        return True
    return False
