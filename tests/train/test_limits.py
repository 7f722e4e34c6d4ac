"""Limits of a training: its minutes, its number of pictures, and chance; and its output."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.paths import REPOSITORY
from helpers.processes import program_environment, restore_default_signals
from vqcodec.cli.main import main
from vqcodec.cli.tables import stage_progress
from vqcodec.errors import InputError
from vqcodec.train import lite
from vqcodec.train.data import TrainingImage
from vqcodec.train.watch import OutOfTimeError, Stop, StoppedError, Watch, in_processes, some_in_processes
from vqcodec.weights.exact import ExactModel

LITE_ID = ExactModel.load(REPOSITORY / "models" / "photo-lite").id


def grey(*sides: tuple[int, int]) -> list[TrainingImage]:
    return [TrainingImage(f"{number}.png", np.zeros((*side, 1), np.uint8)) for number, side in enumerate(sides)]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures of one pixel."""
    folder = tmp_path_factory.mktemp("few")
    for number in range(4):
        Image.new("RGB", (1, 1), (40 * number, 9, 200)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def enough(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of 256x256."""
    folder = tmp_path_factory.mktemp("enough")
    with Image.open(REPOSITORY / "samples" / "landscape.png") as image:
        for number in range(6):
            left, top = 80 * number, 40 * number
            image.convert("RGB").crop((left, top, left + 256, top + 256)).save(folder / f"{number}.png")
    return folder


# ------------------------------------------------------------------------------------------------ time


def test_a_stage_that_is_not_complete_in_time_is_an_error() -> None:
    reported: list[tuple[str, int, int]] = []
    over = Watch(lambda *stage: reported.append(stage), time.monotonic() - 1)
    over("coding", 4, 4)
    with pytest.raises(OutOfTimeError, match=r"the time was over while coding \(75 %\): give more --minutes"):
        over.named("attempt 1")("coding", 3, 4)
    assert reported == [("coding", 4, 4), ("attempt 1: coding", 3, 4)]
    assert Watch().left is None
    assert Watch().part(0.5).but(3).left is None
    assert over.left == 0
    watch = Watch(deadline=time.monotonic() + 100)
    lefts = [each.left for each in (watch, watch.part(0.5), watch.but(30))]
    assert lefts == pytest.approx([100, 50, 70], abs=1)


@pytest.mark.slow
def test_work_that_is_not_done_in_time_is_left_out_or_an_error() -> None:
    watch = Watch(deadline=time.monotonic() + 600)
    assert in_processes(pow, [2, 3, 4], [3, 2, 1], stage="work", watch=watch) == [8, 9, 4]
    assert some_in_processes(pow, [2, 3, 4], [3, 2, 1], stage="work", watch=watch, share=0) == [8]  # always one
    with pytest.raises(OutOfTimeError, match="while work"):
        in_processes(time.sleep, [600.0], stage="work", watch=Watch(deadline=time.monotonic() + 1))
    assert some_in_processes(time.sleep, [600.0], stage="work", watch=Watch(deadline=time.monotonic() + 1)) == []


@pytest.mark.slow
@pytest.mark.parametrize("minutes", ["0.03"])
def test_a_lite_model_that_is_not_better_in_time_is_the_base_model(
    minutes: str, enough: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(enough), "-o", str(tmp_path / "own"), "--kind", "lite", "--minutes", minutes]) == 6
    why = "photo-lite is kept as it is: the time was over while .*: give more --minutes"
    assert re.search(f"vqcodec: {why}; nothing is written", capsys.readouterr().err)
    assert not (tmp_path / "own").exists()
    assert main(["train", str(enough), "-o", str(tmp_path / "own"), "--kind", "lite", "--minutes", minutes, "--keep"]) == 0
    assert re.search(f"vqcodec: note: {why}\n", capsys.readouterr().err)
    assert ExactModel.load(tmp_path / "own").id == LITE_ID


def test_without_a_base_model_too_little_time_is_an_error(enough: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(enough), "-o", str(tmp_path / "own"), "--kind", "lite", "--init", "none", "--minutes", "0.001"]) == 6
    assert re.search(r"^vqcodec: the time was over while .* \(\d+ %\): give more --minutes\n\Z", capsys.readouterr().err, re.M)
    assert not list(tmp_path.iterdir())


def test_reading_ends_with_the_time(enough: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(enough), "-o", str(tmp_path / "own"), "--kind", "lite", "--minutes", "1e-9"]) == 6
    assert capsys.readouterr().err == "vqcodec: the time was over while reading 6 files (0 %): give more --minutes\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "inf", "soon"])
def test_minutes_are_positive(minutes: str, enough: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(enough), "-o", str(tmp_path / "own"), "--kind", "lite", "--minutes", minutes]) == 2
    assert "--minutes" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ Ctrl-C


def test_a_request_to_stop_ends_fits_at_once_and_checks_after_a_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()
    watch = Watch.start(None, 10.0, stop)
    watch("fitting", 1, 2)
    stop.ask()
    with pytest.raises(StoppedError, match=r"^stopped while fitting \(50 %\)$"):
        watch("fitting", 1, 2)
    watch("fitting", 2, 2)
    check = watch.for_check().part(0.5)
    check("checking", 1, 2)
    assert check.left is not None
    assert 0 < check.left < 60
    stop.at -= 1000
    with pytest.raises(StoppedError):
        check("checking", 1, 2)
    assert StoppedError("").exit_code == 130


@pytest.mark.slow
@pytest.mark.parametrize("grace", [False, True])
def test_a_request_to_stop_interrupts_processes_that_fit_but_not_those_that_check(grace: bool) -> None:
    """The handler of a timer signal makes the request while this process waits."""
    watch = Watch.start(None, None)
    watch = watch.for_check() if grace else watch
    before = signal.signal(signal.SIGALRM, lambda *_: watch.stop.ask())
    signal.setitimer(signal.ITIMER_REAL, 4)
    begun = time.monotonic()
    try:
        if grace:
            assert some_in_processes(time.sleep, [6.0], stage="work", watch=watch) == [None]
        else:
            with pytest.raises(StoppedError, match=r"stopped while work \(0 %\)"):
                some_in_processes(time.sleep, [600.0], stage="work", watch=watch)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begun < 60
    assert not watch.stop.interruptible


@pytest.mark.slow
def test_ctrl_c_writes_the_best_network_so_far_and_a_second_one_ends_at_once(enough: Path, tmp_path: Path) -> None:
    """Signals to a real process while it trains a small synthesis network, for longer than any test."""
    pytest.importorskip("torch", reason="torch is not installed")
    command = [sys.executable, "-m", "helpers.small_training", "train", str(enough), "-o", "mine", "--kind", "neural"]
    command += ["--init", "photo-lite", "--parts", "synthesis", "--steps", "1000000"]
    environment = program_environment() | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY / "tests"), environment["PYTHONPATH"]])
    for twice in (False, True):
        process = subprocess.Popen(
            [*command, *["-f"] * twice],
            cwd=tmp_path,
            env=environment,
            bufsize=0,
            stderr=subprocess.PIPE,
            preexec_fn=restore_default_signals,
        )
        deadline = time.monotonic() + 240
        checkpoint = tmp_path / "mine.synthesis.checkpoint"
        checkpoint.unlink(missing_ok=True)
        while not checkpoint.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        errors = b""
        while not errors.endswith(b"vqcodec: stopping with the best so far; Ctrl-C again stops at once\n"):
            line = process.stderr.readline()
            assert line, errors  # the process ended without it
            errors += line
        if twice:
            process.send_signal(signal.SIGINT)
        errors += process.communicate(timeout=120)[1]
        assert b"Traceback" not in errors
        assert process.returncode in ((130, -signal.SIGINT) if twice else (130,))
        assert not list(tmp_path.glob(".*"))  # nothing half written
        made = ExactModel.load(tmp_path / "mine")  # whole; the second signal may come before or after it is written anew
        assert made.synthesis is not None
        assert checkpoint.exists()  # --resume continues
        assert made.summary["synthesis_steps"] >= 50


# ------------------------------------------------------------------------------------------------ pictures


@pytest.mark.slow
def test_too_few_pictures_leave_the_base_model(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(few), "-o", str(tmp_path / "own"), "--kind", "lite"]) == 7
    reported = capsys.readouterr().err
    assert "photo-lite is kept as it is: 4 pictures of 4 pixels are too few to train on" in reported
    assert "nothing is written (--keep writes a model anyway)" in reported
    assert not (tmp_path / "own").exists()
    assert main(["train", str(few), "-o", str(tmp_path / "own"), "--kind", "lite", "--keep"]) == 0
    assert "note: photo-lite is kept as it is: 4 pictures" in capsys.readouterr().err
    assert ExactModel.load(tmp_path / "own").id == LITE_ID
    assert main(["train", str(few), "-o", str(tmp_path / "new"), "--kind", "lite", "--init", "none"]) == 3
    assert f"{few}: 4 pictures of 4 pixels are too few" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_too_few_pictures_leave_the_networks_of_the_base_model(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    given = ["--kind", "neural", "--init", "photo-lite", "--steps", "1"]
    assert main(["train", str(few), "-o", str(tmp_path / "own"), *given]) == 7
    assert "photo-lite is kept as it is: 4 pictures of 4 pixels are too few" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["train", str(few), "-o", str(tmp_path / "own"), *given, "--keep"]) == 0
    assert ExactModel.load(tmp_path / "own").id == LITE_ID


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no images to train on"),
        (["notes.txt"], "no images to train on"),
        (
            ["a.png"],
            r"no images to train on \(1 left out, first a.png: .*not a picture",
        ),
    ],
)
def test_a_folder_without_pictures_is_refused_by_name(names: list[str], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("no picture")
    with pytest.raises(InputError, match=f"{folder}: {message}"):
        lite.train_lite(folder, tmp_path / "made" / "model", init=None)


def test_a_model_may_lie_among_its_pictures(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        Image.new("L", (8, 8)).save(tmp_path / f"{number}.png")
    for _ in range(2):
        assert main(["train", str(tmp_path), "-o", str(tmp_path / "model"), "--kind", "lite", "-f", "--keep"]) == 0
    assert json.loads((tmp_path / "model" / "model.json").read_text())["corpus"]["images"] == 2
    assert main(["train", str(tmp_path), "-o", str(tmp_path), "--kind", "lite", "-f"]) == 5
    assert len(list(tmp_path.glob("*.png"))) == 2


# ------------------------------------------------------------------------------------------------ what is printed


def test_json_is_one_object_with_the_notes(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    given = ["train", str(few), "-o", str(tmp_path / "own"), "--kind", "lite", "--json", "--log", str(log)]
    for keep in (False, True):
        assert main([*given, *["--keep"] * keep]) == (0 if keep else 7)
        printed = capsys.readouterr()
        facts = json.loads(printed.out)
        assert (facts["output"], facts["kind"], facts["id"]) == (str(tmp_path / "own"), "lite", LITE_ID)
        assert (facts["written"], facts["stopped"], facts["comparison"]) == (keep, False, None)
        assert (facts["refusal"] == "") == keep
        plan = facts["plan"]
        assert (plan["kind"], plan["base"], plan["pictures"], plan["held_out"]) == ("lite", "photo-lite", 4, 1)
        assert plan["stages"]
        assert not plan["limited"]
        (note,) = facts["notes"]
        assert printed.err.splitlines()[-1].startswith(
            f"vqcodec: {'note' if keep else 'it does not pay to train on this folder'}: {note}"
        )
        lines = [json.loads(line) for line in log.read_text().splitlines()][-2:]
        assert lines[0] == {"part": "plan", **plan}
        assert (lines[1]["part"], lines[1]["written"]) == ("result", keep)


@pytest.mark.slow
def test_quiet_prints_nothing(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(few), "-o", str(tmp_path / "own"), "--kind", "lite", "--quiet"]) == 7
    assert main(["train", str(few), "-o", str(tmp_path / "own"), "--kind", "lite", "--quiet", "--keep"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["train", str(few), "-o", str(tmp_path / "own"), "--kind", "lite", "--quiet", "--json", "-f", "--keep"]) == 0
    printed = capsys.readouterr()
    assert (json.loads(printed.out)["id"], printed.err) == (LITE_ID, "")
    assert main(["train", str(few), "-o", str(tmp_path / "own"), "--kind", "lite", "--quiet"]) == 5
    assert "exists already" in capsys.readouterr().err


def test_help_has_the_options_of_a_kind_together(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["train", "--help"]) == 0
    reported = capsys.readouterr().out
    titles = re.findall(r"^(\S.*):$", reported, re.MULTILINE)
    assert titles == ["Arguments", "Options", "Networks (all kinds but lite)", "Losses (refiner and token)", "Token models"]
    sections = dict(zip(titles, re.split(r"^\S.*:$", reported, flags=re.MULTILINE)[1:], strict=True))
    assert "--minutes" in sections["Options"]
    assert "--resume" in sections["Networks (all kinds but lite)"]
    assert "--lambda-a" in sections["Losses (refiner and token)"]
    assert "--cell" in sections["Token models"]
    assert max(map(len, reported.splitlines())) <= 80
    assert "…" not in reported


def watched(words: list[str], columns: int = 100) -> str:
    """The output of a program that runs on a terminal."""
    ours, theirs = pty.openpty()
    environment = program_environment() | {"COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, *words], stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    reported = b""
    try:
        while part := os.read(ours, 65536):
            reported += part
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", reported.decode())


PROGRAM = """
from vqcodec.cli.printing import console
from vqcodec.cli.tables import stage_progress
with stage_progress(console(stderr=True), 1.5) as progress:
    progress("reading 120 files", 30, 120)
"""


def test_a_terminal_shows_the_stage_how_far_it_is_and_the_limit() -> None:
    reported = watched(["-c", PROGRAM])
    assert re.search(r"reading 120 files .*25%", reported)
    assert re.search(r"training .*0:00 of at most 1:30", reported)


def test_a_stage_is_one_line_of_a_narrow_terminal() -> None:
    reported = watched(["-c", PROGRAM.replace("reading 120 files", "attempt 1 of 2: fitting predictors")], 40)
    lines = {line.rstrip() for line in re.split(r"[\r\n]+", reported) if line.strip()}
    assert all(line.startswith(("training", "attempt 1 of 2")) and len(line) <= 40 for line in lines), lines


def test_progress_is_for_terminals_alone(capsys: pytest.CaptureFixture[str]) -> None:
    from vqcodec.cli.printing import console

    with stage_progress(console(stderr=True), 1.0) as progress:
        progress("reading 1 files", 0, 1)
    assert capsys.readouterr() == ("", "")


def test_minutes_have_a_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for minutes in ("1e308", "1000001"):
        assert main(["train", str(tmp_path), "-o", str(tmp_path / "model"), "--kind", "lite", "--minutes", minutes]) == 2
        assert "is not in the range x<=1000000" in capsys.readouterr().err
