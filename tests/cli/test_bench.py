"""The command bench, briefly; tests/bench has more."""

import json
import sys
from pathlib import Path

import pytest

from helpers.commands import run
from helpers.processes import Program


@pytest.mark.slow
def test_bench(photo: Path, tmp_path: Path, program: Program) -> None:
    done = program("bench", photo, "--codecs", "none,vqz", "--qualities", "vqz=50", "--psnr-only", "--json", tmp_path / "b.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "b.json").read_text())
    assert b"vqz" in done.stdout
    assert program("bench", photo, "--codecs", "none", "--json", tmp_path / "b.json").returncode == 5
    assert program("bench", photo, "--codecs", "frobnicate", "--qualities", "x").returncode == 2
    (tmp_path / "bad.png").write_bytes(b"rubbish")
    assert program("bench", tmp_path / "bad.png", "--codecs", "jpeg", "--psnr-only").returncode == 3  # nothing could be measured


def test_a_report_of_the_bench_is_not_written_over_its_pictures(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = photo.read_bytes()
    plain = photo.rename(tmp_path / "photo")
    code, _, err = run(capsys, "bench", plain, "--codecs", "jpeg", "--qualities", "30", "--psnr-only", "--json", plain, "-f")
    assert (code, plain.read_bytes()) == (5, before)
    assert "is input and output at once" in err
    code, _, err = run(capsys, "bench", plain, "--codecs", "jpeg", "--qualities", "jpg=10")
    assert code == 2
    assert "'jpg', which is not among the codecs" in err


def test_a_note_says_how_to_measure_ssimulacra2(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)  # hides the package
    words = ("bench", photo, "--codecs", "jpeg", "--qualities", "30")
    assert "note: SSIMULACRA2 is left out: pip install 'vqcodec[metrics]'" in run(capsys, *words)[2]
    for option in ("--psnr-only", "--quiet"):
        assert "SSIMULACRA2" not in run(capsys, *words, option)[2]


@pytest.mark.parametrize(("spec", "wanted"), [("avif:33", "avif:SPEED:SUBSAMPLING:TUNE"), ("jxl:0", "jxl:EFFORT")])
def test_wrong_settings_of_a_codec_are_one_line(photo: Path, capsys: pytest.CaptureFixture[str], spec: str, wanted: str) -> None:
    code, out, err = run(capsys, "bench", photo, "--codecs", spec)
    assert (code, out) == (2, "")
    assert err.startswith(f"vqcodec: codec '{spec}': write {wanted}, ")
    assert err.count("\n") == 1
