"""Progress: stages, shares done, and the line on a terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from helpers.pictures import smooth_picture
from helpers.processes import program_command, program_environment
from vqcodec.cli.printing import progress_line, progress_text
from vqcodec.runtime.progress import Stage, advance, share_done, stage, steps, watched
from vqcodec.runtime.workers import side_by_side


def test_stages_without_a_watcher() -> None:
    items = [1, 2]
    assert steps(items, "work") is items
    with stage("work", 3):
        advance()


def test_stages_inside_each_other() -> None:
    reported = []
    with watched() as stages:
        with stage("files", 2):
            advance()
            with stage("coding"), stage("", 4):
                advance()
                for _ in steps("ab"):
                    reported.append(([one.name for one in stages], share_done(stages)[0]))  # type: ignore[index]
        assert stages == []
        assert share_done(stages) is None
    inside = ["files", "coding", "", ""]
    assert reported == [(inside, (1 + 1 / 4) / 2), (inside, (1 + (1 + 1 / 2) / 4) / 2)]


def test_an_error_leaves_no_stage() -> None:
    def fail(item: int) -> None:
        raise ValueError("x")

    with watched() as stages:
        with pytest.raises(ValueError, match="x"), stage("outer", 2):
            side_by_side(fail, [1, 2], 1)
        assert stages == []


def test_shares_grow_and_end_at_one() -> None:
    shared = Stage("coding", 4, count=lambda: 2, at_once=2)
    half, over = Stage("", 2), Stage("", 2)
    half.done, over.done = 1, 5
    assert share_done([shared, half]) == ((2 + 2 / 2) / 4, shared.begun)
    assert share_done([shared]) == (3 / 4, shared.begun)  # a share never decreases
    assert share_done([over])[0] == 1  # type: ignore[index]
    assert share_done([Stage("reading")]) is None


def test_items_side_by_side_are_steps() -> None:
    with watched() as stages, stage("work"):
        assert side_by_side(lambda item: (item, stages[-1].reached), "abc", 1) == [("a", 0), ("b", 1), ("c", 2)]


def test_threads_report_their_progress() -> None:
    """With another thread running, threads share the work (workers.py)."""
    release = threading.Event()
    beside = threading.Thread(target=release.wait)
    beside.start()
    with watched() as stages, stage("work"):
        reported = side_by_side(lambda item: (item, stages[-1].reached), range(20), 2)
    release.set()
    beside.join()
    assert [item for item, _ in reported] == list(range(20))
    reached = [done for _, done in reported]  # a thread may be delayed between taking and starting an item
    assert 10 <= max(reached) <= 20
    assert min(reached) >= 0


def test_copies_report_their_progress() -> None:
    script = """
import time
from vqcodec.runtime.progress import watched
from vqcodec.runtime.workers import side_by_side
with watched() as stages:
    reported = []
    def work(item):
        reported.append(stages[0].reached)
        time.sleep(0.02)
    side_by_side(work, range(20), 2)
    print(reported == sorted(reported), reported[-1] > len(reported))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=program_environment(), check=True)
    assert done.stdout == (b"True True\n" if sys.platform == "linux" else done.stdout)


def test_text() -> None:
    eighths = Stage("", 8)
    eighths.done, eighths.begun = 2, 10.0
    stages = [Stage("b.vqz"), Stage("coding"), eighths]
    assert progress_text(stages, 0.0, 70.0, 79) == "b.vqz, coding  [#####...............]   25%  1:10  3:00 left"
    assert progress_text(stages, 0.0, 70.0, 50) == "b.vqz, coding   25%  1:10  3:00 left"
    assert progress_text(stages, 0.0, 70.0, 25) == "b.vqz, coding   25%"
    assert progress_text(stages, 0.0, 70.0, 12) == "…oding   25%"  # the share is shown however long the name is
    assert progress_text(stages, 0.0, 70.0, 6) == " 25%"
    assert progress_text([Stage("写真.vqz, coding")], 0.0, 7.0, 22) == "写真.vqz, coding  0:07"  # 16 columns
    assert progress_text([Stage("写真.vqz, coding")], 0.0, 7.0, 21) == "…真.vqz, coding  0:07"
    assert progress_text([Stage("reading")], 0.0, 3725.0, 79) == "reading  1:02:05"
    assert progress_text([], 0.0, 3.0, 79) == "working  0:03"


def test_a_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    handler = signal.getsignal(signal.SIGALRM)
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_line(after_s=0.01) as clear, stage("coding", 4):
            assert select.select([master], [], [], 30)[0]
            assert os.read(master, 1000).startswith(b"\rcoding  [")
            clear()
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGALRM) == handler
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        assert os.read(master, 1000).endswith(b" \r")
        with progress_line(quiet=True, after_s=0.01):
            assert signal.getsignal(signal.SIGALRM) == handler
    os.close(master)


def test_no_line_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with progress_line(after_s=0.01):
        assert signal.getsignal(signal.SIGALRM) == handler
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_long_encode_shows_how_far_it_is(tmp_path: Path) -> None:
    Image.fromarray(smooth_picture(1200, 1200)).save(tmp_path / "a.png")
    master, slave = pty.openpty()
    command = program_command("encode", tmp_path / "a.png", tmp_path / "a.vqz", "--effort", 9)  # takes many times two seconds
    process = subprocess.Popen(command, stderr=slave, env=program_environment())
    os.close(slave)
    reported = b""
    try:
        while piece := os.read(master, 1000):
            reported += piece
    except OSError:  # end of file of a Linux terminal
        pass
    os.close(master)
    assert process.wait(60) == 0
    assert b"\rcoding  [" in reported
    assert b" left" in reported
    assert reported.count(b"\n") == 1
    assert reported.endswith(b"bpp\r\n")
