"""Runs over folders: mirrors, failures, shards, several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.batches import LITE, PLAIN, encoding, jobs_of, names, run
from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.processes import Program, program_command, program_environment, restore_default_signals
from vqcodec.cli.main import main
from vqcodec.io.batch import BatchSettings, Outcome, convert, in_processes
from vqcodec.io.convert import Conversion, Converted, Encoding
from vqcodec.io.jobs import Job, Shard, Skipped
from vqcodec.options import EncodeOptions


def kill_itself_at_b(job: Job, conversion: Conversion, overwrite: bool) -> Outcome:
    if job.source.name == "b.jpg":
        os.kill(os.getpid(), signal.SIGKILL)
    return convert(job, conversion, overwrite)


def kill_itself_once_b_is_written(job: Job, conversion: Conversion, overwrite: bool) -> Outcome:
    before = job.output.exists()
    outcome = convert(job, conversion, overwrite)
    if job.source.name == "b.jpg" and not before:
        os.kill(os.getpid(), signal.SIGKILL)
    return outcome


def tell_threads(job: Job, conversion: Conversion, overwrite: bool) -> Outcome:
    return Outcome(str(job.source), str(job.output), notes=(str(conversion.options.threads),))


def without_rights() -> list[str]:
    """Prefix of a command that gives it the rights of an ordinary user: tests may run as root."""
    if os.geteuid() != 0:
        return []
    command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"]
    if shutil.which("setpriv") is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("root cannot give up its rights here")
    return command


def begun(folder: Path, output: Path) -> "subprocess.Popen[bytes]":
    """Start the program in a session of its own, with more pictures than it can convert during the test."""
    for number in range(40):
        Image.fromarray(smooth_picture(300, 400, seed=number)).save(folder / f"{number}.png")
    return subprocess.Popen(
        program_command("encode", folder, output, "-j", "2"),
        env=program_environment(),
        start_new_session=True,
        stderr=subprocess.PIPE,
        preexec_fn=restore_default_signals,
    )


def children(process: "subprocess.Popen[bytes]") -> list[str]:
    """Process numbers of its children."""
    try:
        return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    except OSError:
        return []


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_process_that_dies_costs_its_file_alone(tree: Path, tmp_path: Path) -> None:
    settings = encoding(tree, tmp_path / "out")
    summary, seen = run(settings, partial(in_processes, convert=kill_itself_at_b))
    assert names(tmp_path / "out") == ["a.vqz", "sub/c.jpg.vqz", "sub/c.png.vqz", "sub/deep/d.vqz"]
    assert sorted(Path(failed.source).name for failed in summary.failed) == ["b.jpg", "bad.png"]
    assert {outcome.error for outcome in seen if outcome.source.endswith("b.jpg")} == {
        "the process that worked on it died, perhaps of too little memory"
    }


@pytest.mark.slow
def test_a_file_whose_process_died_after_writing_is_done_again_and_no_other_is(tmp_path: Path) -> None:
    for name in ("in/b.jpg", "in/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(smooth_picture(16, 24)).save(tmp_path / name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.vqz").write_bytes(b"mine")
    settings = encoding(tmp_path / "in", tmp_path / "out")
    _, seen = run(settings, partial(in_processes, convert=kill_itself_once_b_is_written))
    assert {Path(outcome.source).name: outcome.exit_code for outcome in seen} == {"b.jpg": 0, "c.png": 5}
    vqcodec.verify((tmp_path / "out" / "b.vqz").read_bytes())
    assert (tmp_path / "out" / "c.vqz").read_bytes() == b"mine"


def test_a_tree_is_mirrored(tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    summary, _ = run(encoding(tree, output))
    assert names(output) == ["a.vqz", "b.vqz", "sub/c.jpg.vqz", "sub/c.png.vqz", "sub/deep/d.vqz"]
    assert (summary.done, len(summary.failed), summary.left_out) == (5, 1, 0)
    assert summary.bytes_out == sum((output / name).stat().st_size for name in names(output))
    assert summary.pixels == 5 * 16 * 24
    assert summary.bytes_in == sum((tree / name).stat().st_size for name in names(tree) if "bad" not in name and "txt" not in name)
    assert "bad.png" in summary.failed[0].error
    assert summary.failed[0].exit_code == 3
    back = tmp_path / "back"
    summary, _ = run(BatchSettings(source=output, output=back, conversion=PLAIN, suffix=".png"))
    assert names(back) == ["a.png", "b.png", "sub/c.jpg.png", "sub/c.png.png", "sub/deep/d.png"]
    assert np.abs(np.asarray(Image.open(back / "a.png"), int) - smooth_picture(16, 24)).mean() < 8
    (output / "e").write_bytes((output / "a.vqz").read_bytes())  # content decides
    (output / "f.vqz").write_bytes((tree / "a.png").read_bytes())
    (output / "g.vqz").touch()
    (output / "h.png").write_bytes((tree / "a.png").read_bytes())
    (output / "i").write_bytes(b"\0\1\2")
    summary, _ = run(BatchSettings(source=output, output=tmp_path / "third", conversion=PLAIN, suffix=".png"))
    assert summary.done == 6
    assert [(Path(failed.source).name, failed.exit_code) for failed in summary.failed] == [("f.vqz", 3), ("g.vqz", 3)]
    assert [(Path(skipped.source).name, skipped.reason) for skipped in summary.skipped] == [
        ("h.png", "not a .vqz file (PNG)"),
        ("i", "not a .vqz file"),
    ]


def test_a_folder_that_is_its_own_mirror(tmp_path: Path) -> None:
    Image.fromarray(smooth_picture(8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.vqz").write_bytes(vqcodec.encode(smooth_picture(8, 8), model="photo-lite"))
    settings = encoding(tmp_path, tmp_path, manifest=tmp_path / "m.jsonl")
    for done in (1, 0):
        summary, _ = run(settings)
        assert (summary.done, summary.left_out) == (done, 1 - done)
        assert summary.skipped == [Skipped(str(tmp_path / "b.vqz"), "a .vqz file already")]


def test_files_that_grew_are_counted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(smooth_picture(64, 64)).save(tmp_path / "in" / "a.png")
    for name in ("b.jpg", "c.jpg"):
        Image.fromarray(smooth_picture(128, 144)).save(tmp_path / "in" / name, quality=30)
    settings = BatchSettings(
        source=tmp_path / "in",
        output=tmp_path / "out",
        conversion=replace(LITE, options=EncodeOptions(quality=98, effort=1, threads=1)),
        suffix=".vqz",
        manifest=tmp_path / "m",
    )
    summary, seen = run(settings)
    grew = [outcome for outcome in seen if outcome.bytes_out > outcome.bytes_in]
    assert (summary.done, summary.grew, len(grew)) == (3, 2, 2)
    for outcome in seen:
        assert outcome.grew == (outcome in grew)
        reported = f"larger than its source ({outcome.bytes_in:,} bytes): try a lower -q, or keep the original"
        assert outcome.notes == ((reported,) if outcome.grew else ())
    lines = [json.loads(line) for line in (tmp_path / "m").read_text().splitlines()]
    assert [line["grew"] for line in lines if "grew" in line] == [outcome.grew for outcome in seen]


def test_outputs_and_folders_are_no_more_open_than_their_sources(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "new" / "out"
    (folder / "private" / "open").mkdir(parents=True)
    for name, mode in (("a.png", 0o600), ("private/b.png", 0o640), ("private/open/c.png", 0o666)):
        Image.fromarray(smooth_picture(8, 8)).save(folder / name)
        (folder / name).chmod(mode)
        os.utime(folder / name, ns=(10**18, 11 * 10**17))
    (folder / "private" / "open").chmod(0o777)
    (folder / "private").chmod(0o500)
    folder.chmod(0o750)
    before = os.umask(0o022)
    try:
        run(BatchSettings(source=folder, output=output, conversion=replace(LITE, keep_times=True), suffix=".vqz"))
        run(BatchSettings(source=output, output=tmp_path / "back", conversion=PLAIN, suffix=".png"))
    finally:
        os.umask(before)
    expected = {".": 0o750, "private": 0o700, "private/open": 0o755, "a": 0o600, "private/b": 0o640, "private/open/c": 0o644}
    for place, suffix in ((output, ".vqz"), (tmp_path / "back", ".png")):
        found = {str(path.relative_to(place)).removesuffix(suffix): path.stat() for path in (place, *place.rglob("*"))}
        assert {name: known.st_mode & 0o777 for name, known in found.items()} == expected
        times = {known.st_mtime_ns for name, known in found.items() if (place / (name + suffix)).is_file()}
        assert (times == {11 * 10**17}) == (suffix == ".vqz")
    assert output.parent.stat().st_mode & 0o777 == 0o755
    folder.joinpath("private").chmod(0o700)


@pytest.mark.parametrize(("asked", "given"), fast_first([(None, 1), (3, 3)]))
def test_a_process_has_one_thread_unless_set_otherwise(asked: int | None, given: int, tmp_path: Path) -> None:
    """Several processes with threads for all cores would wait for each other."""
    Image.fromarray(smooth_picture(8, 8)).save(tmp_path / "a.png")
    conversion = replace(LITE, options=EncodeOptions(effort=1, threads=asked))
    settings = BatchSettings(source=tmp_path, output=tmp_path / "out", conversion=conversion, suffix=".vqz")
    summary, _ = run(settings, partial(in_processes, convert=tell_threads))
    assert summary.notes == [(str(tmp_path / "a.png"), str(given))]


def test_outputs_are_not_overwritten(tree: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.vqz").write_bytes(b"mine")
    summary, _ = run(encoding(tree, output))
    assert (output / "a.vqz").read_bytes() == b"mine"
    assert {outcome.exit_code for outcome in summary.failed} == {3, 5}
    summary, _ = run(encoding(tree, output, overwrite=True))
    assert (output / "a.vqz").read_bytes() != b"mine"


def test_shards_share_a_tree(tree: Path, tmp_path: Path) -> None:
    for name in ("1", "2", "sub/3"):
        (tree / name).write_text("text")
    every = [str(job.source) for job in jobs_of(tree, tmp_path / "out")]
    assert sorted(every) == sorted(str(path) for path in tree.rglob("*.???*") if path.suffix != ".txt")
    for count in (1, 4, 7):
        shards, skipped = [], []
        for index in range(1, count + 1):
            summary, seen = run(encoding(tree, tmp_path / f"out{count}", shard=Shard(index, count)))
            shards.append([outcome.source for outcome in seen])
            skipped += [Path(one.source).name for one in summary.skipped]
        assert shards == [every[first::count] for first in range(count)]
        assert sorted(skipped) == ["1", "2", "3", "notes.txt"]
        assert len(names(tmp_path / f"out{count}")) == 5


@pytest.mark.slow
def test_a_folder_that_can_be_listed_and_not_entered(tree: Path, tmp_path: Path) -> None:
    """Not even the types of its entries are known."""
    command = [*without_rights(), *program_command("encode", tree, tmp_path / "out", "--effort", "1")]
    (tree / "sub").chmod(0o644)
    done = subprocess.run(command, env=program_environment(), capture_output=True, text=True, check=False)
    (tree / "sub").chmod(0o755)
    assert done.returncode == 3, done.stderr
    assert f"vqcodec: cannot read {tree}/sub/c.jpg: Permission denied\n" in done.stderr
    assert ["done", "2"] in [line.split()[:2] for line in done.stderr.splitlines()]


def test_a_failure_names_its_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "two\nlines.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    assert main(["encode", str(tmp_path / "in"), str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.count("two\\nlines.png") == 1


class BrokenAtB(Encoding):
    """An encoding that fails with an internal error for one picture."""

    def convert(self, source: Path, output: Path, *, overwrite: bool) -> Converted:
        if source.name == "b.jpg":
            raise ZeroDivisionError("a\nb")
        return super().convert(source, output, overwrite=overwrite)


def test_no_file_ends_the_run(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_bytes(b"mine")  # where a folder is needed
    broken = BrokenAtB(options=LITE.options, model=LITE.model)
    _, seen = run(replace(encoding(tree, tmp_path / "out"), conversion=broken))
    assert [outcome.exit_code for outcome in seen] == [0, 1, 5, 5, 5, 5]
    assert seen[1].error == "internal error (ZeroDivisionError: a\\nb)"


@pytest.mark.slow
def test_the_program_on_a_folder(tree: Path, tmp_path: Path, program: Program) -> None:
    done = program("encode", tree, "out", "-j", "2", "-m", "photo-lite", "--manifest", "m.jsonl", "--json")
    assert done.returncode == 3
    facts = json.loads(done.stdout)
    assert (facts["done"], facts["left_out"], facts["grew"], len(facts["failed"])) == (5, 0, 0, 1)
    assert facts["skipped"] == [{"source": f"{tree}/notes.txt", "reason": "not a picture (text)"}]
    lines = done.stderr.decode().splitlines()
    assert lines[0] == f"vqcodec: skipped: {tree}/notes.txt: not a picture (text)"
    assert lines[1].startswith(f"vqcodec: {tree}/sub/bad.png is not a picture")
    assert lines[3].split()[:2] == ["done", "5"]
    assert [line.split() for line in lines[4:]] == [["skipped", "1"], ["failed", "1"]]
    done = program("decode", "out", "back", "-j", "2", "--to", "ppm")
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "back") == ["a.ppm", "b.ppm", "sub/c.jpg.ppm", "sub/c.png.ppm", "sub/deep/d.ppm"]


@pytest.mark.slow
def test_the_report_for_a_folder(tree: Path, tmp_path: Path, program: Program) -> None:
    quiet = program("encode", tree, "quiet", "-m", "photo-lite", "--quiet")
    assert quiet.stderr.decode().startswith(f"vqcodec: {tree}/sub/bad.png is not a picture")  # failures are still printed
    assert quiet.stderr.count(b"\n") == 1
    (tree / "sub" / "bad.png").unlink()
    strict = program("encode", tree, "strict", "-m", "photo-lite", "--quiet", "--strict")
    assert (strict.returncode, strict.stderr.decode()) == (3, f"vqcodec: skipped: {tree}/notes.txt: not a picture (text)\n")
    assert program("encode", tree, "lenient", "-m", "photo-lite", "--quiet").returncode == 0
    for number in range(110):
        (tree / f"{number:03}.txt").write_text("more")
    (tree / "a.pdf").write_bytes(b"%PDF-1.7")
    many = program("encode", tree, "many", "-m", "photo-lite", "--json")
    assert many.stderr.decode().splitlines()[:3] == [
        f"vqcodec: skipped: {tree}/000.txt and 110 more: not a picture (text)",
        f"vqcodec: skipped: {tree}/a.pdf: not a picture (PDF)",
        "vqcodec: skipped: 112 files; --manifest and --json name them all",
    ]
    assert len(json.loads(many.stdout)["skipped"]) == 112
    cut = tmp_path / "damaged" / "cut.vqz"
    cut.parent.mkdir()
    rgba = np.dstack([smooth_picture(20, 20), smooth_picture(20, 20, 1)])
    cut.write_bytes(vqcodec.encode(rgba, model="photo-lite")[:-1])
    done = program("decode", "damaged", "back", "--allow-partial")
    assert done.stderr.decode().splitlines()[0] == "vqcodec: note: damaged/cut.vqz: the alpha plane was damaged: all is opaque"


def test_options_that_do_not_fit_the_inputs(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    assert main(["encode", str(tree / "a.png"), "out/a.vqz", "--quiet"]) == 0
    for arguments in (
        ("encode", tree, "out", "--shard", "0/3"),
        ("encode", tree, "-", "-j", "2"),
        ("encode", tree / "a.png", "a.vqz", "-j", "2"),
        ("decode", "out/a.vqz", "a.png", "--manifest", "x"),
        ("decode", "out/a.vqz", "a.png", "--region", "1,2,3"),
        ("decode", "out/a.vqz", "a.png", "--scale", "3"),
        ("decode", "out", "back", "--to", "gif"),
    ):
        assert main(list(map(str, arguments))) == 2, arguments
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
@pytest.mark.parametrize(
    ("number", "after"),
    [(signal.SIGINT, 0.0), (signal.SIGINT, 0.1), (signal.SIGINT, 1.5), (signal.SIGTERM, 0.05), (signal.SIGHUP, 0.5)],
)
def test_no_worker_reports_a_signal_from_a_terminal(tmp_path: Path, number: signal.Signals, after: float) -> None:
    """The signal also reaches workers, which may be importing modules."""
    (tmp_path / "in").mkdir()
    process = begun(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: len(children(process)) == 2)
    time.sleep(after)
    workers = children(process)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-number, b"")
    assert not any(Path("/proc", worker).exists() for worker in workers)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers end with their parent on Linux alone")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    process = begun(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: list((tmp_path / "out").glob("*.vqz")))
    workers = children(process)
    assert len(workers) >= 2
    process.kill()
    process.communicate(timeout=60)  # ends when no process has standard error open
    wait_until(lambda: not any(Path("/proc", worker).exists() for worker in workers))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_run_that_is_terminated_leaves_nothing_half_done(tmp_path: Path, send: Callable[[int, int], None]) -> None:
    """The program alone, or with its workers, as at a system shutdown."""
    (tmp_path / "in").mkdir()
    process = begun(tmp_path / "in", tmp_path / "out")
    wait_until(lambda: list((tmp_path / "out").glob("*.vqz")))
    workers = children(process)
    assert len(workers) >= 2
    send(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGTERM, b"")
    assert not any(Path("/proc", worker).exists() for worker in workers)
    made = list((tmp_path / "out").iterdir())
    assert len(made) < 40
    for path in made:
        assert path.suffix == ".vqz"
        vqcodec.verify(path.read_bytes())


def test_the_ray_recipe_decodes_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("a.vqz", "sub/b.vqz"):
        (tmp_path / "in" / name).write_bytes(vqcodec.encode(smooth_picture(20, 30), model="photo-lite"))
    (tmp_path / "in" / "bad.vqz").write_bytes(b"rubbish")
    command = [sys.executable, str(REPOSITORY / "experiments" / "ray_decode.py"), "in", "out"]
    environment = program_environment()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "2 decoded, 1 failed"
    assert "bad.vqz: not a .vqz file" in done.stderr
    assert names(tmp_path / "out") == ["a.png", "sub/b.png"]
