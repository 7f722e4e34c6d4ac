"""The command info."""

import json
import re
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import run
from helpers.layers import encode_blocks
from helpers.paths import REPOSITORY
from helpers.pictures import signs


def test_info(vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "info", vqz)
    assert (code, err) == (0, "")
    assert re.search(r"^width +48$", out, re.MULTILINE)
    assert re.search(r"^model +photo$", out, re.MULTILINE)
    code, out, err = run(capsys, "info", vqz, "--json")
    facts = json.loads(out)
    assert (facts["width"], facts["height"], facts["bytes"]) == (48, 40, vqz.stat().st_size)
    assert not {"streams", "shares", "ideal_bytes"} & facts.keys()
    code, out, err = run(capsys, "info", "-v", vqz, "--json")
    more = json.loads(out)
    assert {name: more[name] for name in facts} == facts
    assert sum(stream["bytes"] for stream in more["streams"]) < facts["bytes"]
    assert sum(more["shares"].values()) == pytest.approx(1)
    code, out, err = run(capsys, "info", "--streams", vqz)
    assert (code, err) == (0, "")
    assert re.search(r"^luma dc +\d+\.\d%$", out, re.MULTILINE)


def test_info_says_when_best_is_plain(vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = tmp_path / "flat.vqz"
    flat.write_bytes(encode_blocks(signs()))
    assert re.search(r"^best decode +the plain one$", run(capsys, "info", flat)[1], re.MULTILINE)
    assert json.loads(run(capsys, "info", flat, "--json")[1])["best_is_plain"] is True
    assert "best" not in run(capsys, "info", vqz)[1]
    assert json.loads(run(capsys, "info", vqz, "--json")[1])["best_is_plain"] is False


def test_info_is_short_and_loads_no_model(
    vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(REPOSITORY / "models" / "photo", tmp_path / "models" / "photo")
    summary = json.loads((tmp_path / "models" / "photo" / "model.json").read_text())
    (tmp_path / "models" / "photo" / "model.json").write_text(json.dumps({**summary, "name": "by its word"}))
    (tmp_path / "models" / "photo" / "model.safetensors").write_bytes(b"")
    monkeypatch.setenv("VQCODEC_MODELS", str(tmp_path / "models"))
    code, out, err = run(capsys, "info", vqz)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 13
    assert "\nmodel        by its word\n" in out
    assert re.search(r"^sections     indices \d+ bytes$", out, re.MULTILINE)


def test_info_without_the_model(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(REPOSITORY / "models" / "photo-lite", tmp_path / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VQCODEC_MODELS", str(tmp_path))
        assert run(capsys, "encode", photo, tmp_path / "a.vqz", "-m", "photo-lite")[0] == 0
    data = bytearray((tmp_path / "a.vqz").read_bytes())
    data[12:18] = b"nobody"
    data[21:25] = zlib.crc32(data[25:], zlib.crc32(data[:21])).to_bytes(4, "little")
    (tmp_path / "b.vqz").write_bytes(data)
    code, out, err = run(capsys, "info", tmp_path / "b.vqz")
    assert (code, err) == (0, "")
    assert "\nmodel        not installed\n" in out
    assert json.loads(run(capsys, "info", tmp_path / "b.vqz", "--json")[1])["model"] is None
    code, out, err = run(capsys, "info", "-v", tmp_path / "b.vqz")
    assert (code, err) == (0, f"vqcodec: note: {tmp_path}/b.vqz: its streams are not shown, as its model is not installed\n")
    code, _, err = run(capsys, "info", tmp_path / "b.vqz", "-m", "photo-lite")
    assert code == 4
    assert err.startswith(f"vqcodec: {tmp_path}/b.vqz: the file was made with model 6e6f626f6479, not with photo-lite")


def test_info_of_several(mixed: Path, vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skipped = ", ".join(str(mixed / name) for name in ("link", "notes.txt", "pipe"))
    code, out, err = run(capsys, "info", vqz, mixed)
    assert code == 3
    assert re.findall(r"^file +(.*)$", out, re.MULTILINE) == [str(vqz), str(mixed / "a.vqz"), str(mixed / "sub" / "plain")]
    assert out.count("width        48\n") == 3
    assert err == (
        f"vqcodec: {mixed}/sub/cut.VQZ: corrupt file: its checksum is wrong\nvqcodec: note: 3 skipped (not .vqz files): {skipped}\n"
    )
    code, out, err = run(capsys, "info", mixed, "--json", "--quiet")
    assert (code, err) == (3, f"vqcodec: {mixed}/sub/cut.VQZ: corrupt file: its checksum is wrong\n")
    facts = json.loads(out)
    assert [(Path(one["file"]).name, one.get("width"), one.get("exit_code")) for one in facts["files"]] == [
        ("a.vqz", 48, None),
        ("cut.VQZ", None, 3),
        ("plain", 48, None),
    ]
    assert facts["skipped"] == skipped.split(", ")
    assert run(capsys, "info", vqz, mixed / "none.vqz")[0] == 3
    assert run(capsys, "info", mixed, "--indices", mixed / "x.npz")[0] == 2


def test_info_writes_indices(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vqz, target = tmp_path / "a.vqz", tmp_path / "indices.npz"
    assert run(capsys, "encode", photo, vqz)[0] == 0
    assert run(capsys, "info", vqz, "--indices", target)[0] == 0
    with np.load(target) as found:
        assert set(found) == {"index", "codebook", "class", "channel", "row", "column"}
        assert len(found["index"]) > 100
    assert run(capsys, "info", vqz, "--indices", target)[0] == 5
