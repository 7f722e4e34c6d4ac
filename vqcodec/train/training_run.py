"""State that all trainings of networks share: pictures, time, device, checkpoints, progress, log and the model folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from vqcodec.errors import MissingExtraError, OutputError
from vqcodec.io.files import check_new_folder, make_parent, new_folder, output_errors
from vqcodec.train.comparison import Comparison
from vqcodec.train.data import Corpus, identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.result import Announce, Plan, Trained
from vqcodec.train.watch import DEFAULT_MINUTES, OutOfTimeError, Progress, Stop, Watch
from vqcodec.weights.folder import SUMMARY, TENSORS, Weights, save_model

try:
    from vqcodec.neural.loop import EVERY, LoopOptions, Schedule, check_device
except ImportError as error:  # torch is an extra
    raise MissingExtraError("training networks needs torch: pip install 'vqcodec[neural]' (--kind lite does without)") from error

_FITTED: Final = 0.9
"""Share of the time left when the fit of a network starts; the rest is for the last check on held-out pictures."""
S = TypeVar("S", bound=Schedule)


@dataclass(frozen=True)
class TrainingRun:
    """One training, from the pictures of `folder` (a folder, a .tar or a gzipped idx file) to the model folder `output`.

    It lasts `steps` steps of the optimiser or, if these are None, `minutes` in total. `log` is a file that gets a JSON line every
    50 steps, `board` a folder for TensorBoard, `sheets` a folder for PNGs. `resume` continues from checkpoints beside `output`.
    With `keep`, the model is written even if it does not pay. `announce` gets the plan, and `stop` ends the training early.
    """

    folder: Path
    output: Path
    _: KW_ONLY
    seed: int = 0
    minutes: float | None = None
    steps: int | None = None
    device: str = "cpu"
    resume: bool = False
    overwrite: bool = False
    keep: bool = False
    progress: Progress | None = None
    announce: Announce = lambda plan: None
    stop: Stop = field(default_factory=Stop)
    log: Path | None = None
    board: Path | None = None
    sheets: Path | None = None
    started: float = field(default_factory=time.monotonic)
    results: dict[str, Any] = field(default_factory=dict)
    """Results for model.json, collected during the training."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""

    def begin(self, parts: Sequence[str] = ("",)) -> Corpus:
        """Check the output, deal with earlier checkpoints of `parts`, and read the pictures.

        Raises InputError, OutputError, MissingExtraError, OutOfTimeError.
        """
        check_new_folder(self.output, overwrite=self.overwrite, marker=TENSORS, known=[SUMMARY])
        make_parent(self.output)  # checkpoints lie beside the output
        check_device(self.device)
        _ = self.training_log  # raises OutputError before any work if it cannot be written
        old = [checkpoint for checkpoint in map(self.checkpoint, parts) if _exists(checkpoint) and not self.resume]
        if old and not self.overwrite:
            raise OutputError(f"{old[0]}: exists (--resume continues from it, -f starts anew)")
        corpus = load_corpus(self.folder, self.watch)
        for checkpoint in old:
            try:
                checkpoint.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {checkpoint}: {error.strerror}") from error
        return corpus

    def tell_plan(self, corpus: Corpus, kind: str, base: Weights | None, stages: Sequence[str]) -> None:
        """Announce and log what the training is about to do."""
        plan = Plan.of(corpus, kind, None if base is None else base.name, stages, limit=self.limit_minutes)
        self.announce(plan)
        self.training_log.entry("plan", plan.facts())

    # ------------------------------------------------------------------------------------------------ time

    @property
    def limit_minutes(self) -> float | None:
        """Minutes of the whole training; None if `steps` limit it."""
        return DEFAULT_MINUTES if self.minutes is None and self.steps is None else self.minutes

    def scheduled(self, settings: Callable[..., S], corpus: Corpus, *models: Weights | None) -> S:
        """Settings with the seed and length of this run, for a training that starts from `models` and the pictures."""
        return settings(seed=self.seed, minutes=self.limit_minutes, steps=self.steps, origin=self.origin(corpus, *models))

    @cached_property
    def watch(self) -> Watch:
        """A watch of the whole training."""
        watch = Watch.start(self.progress, None, self.stop)
        return watch if self.limit_minutes is None else replace(watch, deadline=self.started + 60 * self.limit_minutes)

    @staticmethod
    def timed(settings: S, watch: Watch, share: float = _FITTED) -> S:
        """Settings of a network whose fit starts now and takes a share of the time left. Raises OutOfTimeError."""
        if watch.left is None:
            return settings
        if watch.left <= 0:
            raise OutOfTimeError("the time was over before the first step of training: give more --minutes")
        return replace(settings, minutes=share * watch.left / 60)

    def limited(self, most: int, a_minute: int) -> int:
        """Number of held-out pictures or pixels to check: at most `most`, and `a_minute` per minute, so that training dominates.

        1 if the training was stopped.
        """
        minutes = self.limit_minutes
        if self.stop.asked:
            return 1
        return most if minutes is None else min(most, max(1, round(minutes * a_minute)))

    # ------------------------------------------------------------------------------------------------ checkpoints and reports

    @staticmethod
    def origin(corpus: Corpus, *models: Weights | None) -> str:
        """Identifies the models and pictures that a training starts from; a checkpoint of others is refused."""
        names = [model.id[:12] for model in models if model is not None]
        return " ".join([*names, f"{len(corpus.train)} pictures of {corpus.pixels} pixels"])

    @cached_property
    def training_log(self) -> TrainingLog:
        return TrainingLog(self.log, self.board, self.sheets)

    def tell(self, stage: str, done: int, total: int) -> None:
        """Report the progress of a stage, whether or not the time is over."""
        if self.progress is not None:
            self.progress(stage, done, total)

    def checkpoint(self, part: str = "") -> Path:
        """Path of the checkpoint of the whole training, or of a part."""
        return self.output.with_name(f"{self.output.name}{part and '.'}{part}.checkpoint")

    def loop_options(
        self, name: str, stage: str, *, part: str = "", counted: str = "optimiser_steps", kept: Sequence[str] = ()
    ) -> LoopOptions:
        """Device, checkpoint and report of a network's training loop.

        `name` is used in the log and `stage` in the progress display. model.json gets the number of steps as `counted`, and the
        facts named in `kept`.
        """

        def progress(share: float) -> None:
            self.tell(stage, round(1000 * share), 1000)

        def report(facts: dict[str, float]) -> None:
            self.results.update({counted: facts["step"], **{key: round(facts[key], 1) for key in kept}})
            self.training_log.facts(name, facts)

        progress(0)
        return LoopOptions(self.device, self.checkpoint(part), report, progress, lambda: self.stop.asked)

    # ------------------------------------------------------------------------------------------------ the model

    def summary(
        self, made: Weights, kind: str, given: Mapping[str, object], facts: Mapping[str, Any], corpus: Corpus
    ) -> dict[str, Any]:
        """Content of model.json: the model, the command that makes it, results and other facts.

        `given` are the options of the command besides its schedule.
        """
        if (
            self.steps is None
            and not self.notes
            and not self.stop.asked
            and not any(name.endswith("_steps") for name in self.results)
        ):
            self.notes.append(f"fewer than {EVERY} steps of training were made: give more --minutes")
        schedule = {"seed": self.seed, "minutes": self.limit_minutes, "steps": self.steps}
        command = {"kind": kind, "init": given.get("init"), **schedule, **given}
        return {
            **identity(made.id, kind, (self.folder, self.output), command),
            "seconds": round(time.monotonic() - self.started),
            **self.results,
            **facts,
            "notes": self.notes,
            "corpus": corpus.facts(),
        }

    def finish(
        self,
        made: Weights,
        summary: dict[str, Any],
        parts: Sequence[str] = ("",),
        *,
        refusal: str = "",
        unfinished: bool = False,
        comparison: Comparison | None = None,
    ) -> Trained:
        """Write the model folder completely or not at all, unless a `refusal` says why not; then remove the checkpoints
        of its parts, unless the training was stopped and can be continued."""
        if not refusal:
            with new_folder(self.output, overwrite=self.overwrite, marker=TENSORS, known=[SUMMARY]) as folder_of_model:
                save_model(folder_of_model, replace(made, summary=summary))
        if not self.stop.asked:
            for checkpoint in map(self.checkpoint, parts):
                checkpoint.unlink(missing_ok=True)
        trained = Trained(summary, refusal, unfinished, comparison, self.stop.asked)
        self.training_log.entry("result", trained.facts())
        self.training_log.close()
        return trained


def _exists(path: Path) -> bool:
    """Whether there is anything at `path`. Raises OutputError if the system refuses the name."""
    with output_errors(path), suppress(FileNotFoundError):
        path.lstat()
        return True
    return False
