"""Manifests: runs that are resumed."""

import json
import os
import resource
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from helpers.batches import encoding, run
from helpers.pictures import smooth_picture
from vqcodec.errors import InputError, OutputError
from vqcodec.io.batch import run_batch


def drop_outcomes(manifest: Path) -> None:
    """Keep only the lines that a run leaves if it is killed before any outcome is written."""
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if "begun" in json.loads(line)))


def test_a_run_with_a_manifest_resumes(tree: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "done.jsonl"
    settings = encoding(tree, tmp_path / "out", manifest=manifest)
    _, seen = run(settings)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert lines.pop(0) == {"source": str(tree / "notes.txt"), "skipped": "not a picture (text)"}
    assert [line["source"] for line in lines] == [outcome.source for outcome in seen for _ in range(2)]
    assert [line.get("begun") for line in lines] == [True, None] * len(seen)
    assert [bool(line["error"]) for line in lines if "begun" not in line].count(True) == 1
    with manifest.open("a") as file:
        file.write('{"source": "half a li')  # a line cut when a run was killed
    (tmp_path / "out" / "b.vqz").unlink()
    Image.fromarray(smooth_picture(20, 20)).save(tree / "a.png")  # changed since the run
    Image.fromarray(smooth_picture(20, 20)).save(tree / "new.png")
    summary, seen = run(settings)
    assert '{"source": "half a li' in manifest.read_text().splitlines()  # later lines start on a new line
    assert summary.left_out == 3
    assert [Path(outcome.source).name for outcome in seen] == ["a.png", "b.jpg", "new.png", "bad.png"]
    assert [bool(outcome.error) for outcome in seen] == [True, False, False, True]  # a.vqz exists already


def test_a_manifest_may_lie_in_the_new_output(tree: Path, tmp_path: Path) -> None:
    tree.chmod(0o700)
    settings = encoding(tree, tmp_path / "new" / "out", manifest=tmp_path / "new" / "out" / "m.jsonl")
    assert run(settings)[0].done == 5
    assert stat.S_IMODE((tmp_path / "new" / "out").stat().st_mode) == 0o700
    assert run(settings)[0].left_out == 5


@pytest.mark.parametrize("content", [b"not\na manifest", b"one line", b"\x89PNG\r\n\x1a\n\xff\xfe\n", b"[1]\n2\n"])
def test_a_file_that_is_no_manifest_is_not_added_to(tree: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(InputError, match="is not a manifest"):
        run_batch(encoding(tree, tmp_path / "out", manifest=tmp_path / "m"), print, print)
    assert (tmp_path / "m").read_bytes() == content
    assert not (tmp_path / "out").exists()


def test_files_begun_and_not_finished_are_done_again(tree: Path, tmp_path: Path) -> None:
    """A run that is killed while workers finish leaves outputs that its manifest lists only as begun."""
    manifest = tmp_path / "m.jsonl"
    settings = encoding(tree, tmp_path / "out", manifest=manifest)
    run(settings)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    kept = [line for line in lines if "begun" in line or not line["source"].endswith(("a.png", "c.jpg"))]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in kept))
    (tmp_path / "out" / "new.vqz").write_bytes(b"mine")
    Image.fromarray(smooth_picture(20, 20)).save(tree / "new.png")
    _, seen = run(settings)
    assert {Path(outcome.source).name: bool(outcome.error) for outcome in seen} == {
        "a.png": False,
        "c.jpg": False,
        "bad.png": True,
        "new.png": True,  # its output existed before
    }
    assert (tmp_path / "out" / "new.vqz").read_bytes() == b"mine"
    assert run(settings)[0].left_out == 5


def test_a_changed_source_is_done_again(tree: Path, tmp_path: Path) -> None:
    settings = encoding(tree, tmp_path / "out", manifest=tmp_path / "m.jsonl", overwrite=True)
    run(settings)
    os.utime(tree / "a.png", ns=(0, 0))  # another time, equal size
    known = (tree / "b.jpg").stat()
    with (tree / "b.jpg").open("ab") as file:
        file.write(b"more")
    os.utime(tree / "b.jpg", ns=(known.st_atime_ns, known.st_mtime_ns))  # another size, equal time
    _, seen = run(settings)
    assert {Path(outcome.source).name for outcome in seen} == {"a.png", "b.jpg", "bad.png"}


@pytest.mark.parametrize("ended", [True, False])
def test_a_manifest_does_not_count_for_other_outputs(tree: Path, tmp_path: Path, ended: bool) -> None:
    settings = encoding(tree, tmp_path / "out", manifest=tmp_path / "m.jsonl")
    run(settings)
    if not ended:
        drop_outcomes(tmp_path / "m.jsonl")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.vqz").write_bytes(b"mine")
    summary, seen = run(replace(settings, output=tmp_path / "other"))
    assert (summary.done, summary.left_out) == (4, 0)
    assert {Path(outcome.source).name: outcome.exit_code for outcome in seen if outcome.error} == {"a.png": 5, "bad.png": 3}
    assert (tmp_path / "other" / "a.vqz").read_bytes() == b"mine"


def test_outputs_older_than_a_killed_run_are_kept(tree: Path, tmp_path: Path) -> None:
    settings = encoding(tree, tmp_path / "out", manifest=tmp_path / "m.jsonl")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.vqz").write_bytes(b"mine")
    for _ in range(2):
        _, seen = run(settings)
        assert [Path(outcome.source).name for outcome in seen if outcome.exit_code == 5] == ["a.png"]
        assert (tmp_path / "out" / "a.vqz").read_bytes() == b"mine"
        drop_outcomes(tmp_path / "m.jsonl")


def test_a_manifest_that_cannot_be_written_is_an_error_of_the_output(tree: Path, tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    (tmp_path / "nearly").write_bytes(b"{")
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limit[1]))  # less than a line
    try:
        for name, reason in (("m", "File too large"), ("nearly", "File too large"), ("no/such", "No such file")):
            with pytest.raises(OutputError, match=f"cannot write {tmp_path}/{name}: {reason}"):
                run(encoding(tree, tmp_path / "out", manifest=tmp_path / name))
        with pytest.raises(OutputError, match="cannot write /dev/full: No space left"):
            run(encoding(tree, tmp_path / "out", manifest=Path("/dev/full")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "out").exists()  # nothing starts without its line in the manifest
