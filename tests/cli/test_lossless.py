"""Lossless files in every command: encode --lossless, decode, info, verify and compare."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.commands import pixels_of, run
from helpers.graphic_models import desktop, icons
from helpers.pictures import smooth_picture
from helpers.processes import Program
from vqcodec.format import container
from vqcodec.train import graphic
from vqcodec.weights import registry


def drawing(height: int, width: int) -> np.ndarray:
    """Squares of five colours, uint8 [height, width, 3]."""
    colours = np.random.default_rng(4).integers(0, 256, (5, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    return colours[(y // 6 + x // 5) % 5]


@pytest.fixture(scope="module")
def mixed_pixels() -> np.ndarray:
    """A drawing above a soft picture, with transparent and half transparent parts: uint8 [72, 80, 4]."""
    pixels = smooth_picture(72, 80, 4)
    pixels[:40, :, :3] = drawing(40, 80)
    pixels[:40, :, 3] = 255
    pixels[8:16, 8:16, 3] = 0
    return pixels


@pytest.fixture
def picture(tmp_path: Path, mixed_pixels: np.ndarray) -> Path:
    Image.fromarray(mixed_pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture(scope="module")
def mixed_data(mixed_pixels: np.ndarray) -> bytes:
    """A lossless file of four tile groups."""
    return vqcodec.encode(mixed_pixels, lossless=True, tile=64)


@pytest.fixture
def stored(tmp_path: Path, mixed_data: bytes) -> Path:
    (tmp_path / "a.vqz").write_bytes(mixed_data)
    return tmp_path / "a.vqz"


@pytest.fixture
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model can be loaded."""

    def fail(*arguments: object) -> None:
        raise AssertionError(f"a model is loaded: {arguments}")

    monkeypatch.setattr(registry, "_load", fail)


def unmarked(data: bytes) -> bytes:
    """A file without layers that does not say whether it is lossless."""
    header, sections = container.read_file(data)
    return container.write_file(replace(header, lossless=False), sections)


def test_there_and_back(picture: Path, without_models: None, capsys: pytest.CaptureFixture[str]) -> None:
    vqz, back = picture.with_name("b.vqz"), picture.with_name("b.png")
    for options in ((), ("--exact",), ("--tune", "ssim"), ("--threads", 1, "--tile", 64), ("--effort", 1)):
        code, out, err = run(capsys, "encode", "--lossless", picture, vqz, "-f", *options)
        assert (code, out) == (0, "")
        assert err.endswith(f"vqcodec: 80 x 72 pixels, {vqz.stat().st_size} bytes, {vqz.stat().st_size / 720:.3f} bpp, lossless\n")
        assert run(capsys, "decode", vqz, back, "-f") == (0, "", "")
        np.testing.assert_array_equal(pixels_of(back), pixels_of(picture))
    assert run(capsys, "verify", vqz) == (0, f"{vqz}: ok, lossless\n", "")


def test_default_files_of_graphics_are_lossless_unless_hidden_colours_are_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.dstack([drawing(64, 64), np.full((64, 64), 255, np.uint8)])
    pixels[:20, :, 3] = 0
    for number, (hidden, lossless) in enumerate(((0, True), (9, False))):
        pixels[:20, :, :3] = hidden
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        code, out, err = run(capsys, "encode", tmp_path / f"{number}.png", "--json")
        assert (code, json.loads(out)["lossless"]) == (0, lossless)
        assert err.endswith("bpp, lossless\n" if lossless else "bpp\n")
        decoded = vqcodec.decode(tmp_path / f"{number}.vqz")
        assert np.array_equal(decoded, pixels) == lossless
        np.testing.assert_array_equal(decoded[20:], pixels[20:])
    code, out, _ = run(capsys, "encode", tmp_path / "1.png", tmp_path / "exact.vqz", "--exact", "--json")
    assert (code, json.loads(out)["lossless"]) == (0, True)


def test_all_threads_make_the_same_file(picture: Path, program: Program) -> None:
    made = [program("encode", "--lossless", picture, "-", "--tile", 64, "--threads", n).stdout for n in (1, 2)]
    assert made[0] == made[1]
    assert len(container.read_header(made[0]).header.groups) == 4


def test_streams(picture: Path, program: Program) -> None:
    done = program("encode", "--lossless", "-", "-", stdin=picture.read_bytes())
    assert done.returncode == 0
    assert done.stdout == vqcodec.encode(picture, lossless=True)
    back = program("decode", "-", "back.png", stdin=done.stdout)
    assert (back.returncode, back.stdout, back.stderr) == (0, b"", b"")
    np.testing.assert_array_equal(pixels_of(picture.with_name("back.png")), pixels_of(picture))


@pytest.mark.parametrize(
    ("option", "value"),
    [("--quality", 50), ("--bpp", 1), ("--size", 900), ("--psnr", 40), ("--ssimulacra2", 70)],
)
def test_what_lossless_files_do_not_have_is_refused(
    option: str, value: object, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "encode", "--lossless", picture, option, value)
    assert (code, out, err) == (2, "", f"vqcodec: --lossless and {option} exclude each other\n")
    assert not picture.with_suffix(".vqz").exists()


def test_a_folder_resumes(
    picture: Path, tmp_path: Path, mixed_pixels: np.ndarray, without_models: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        (folder / name).write_bytes(picture.read_bytes())
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = ("--lossless", "-j", 2, "--manifest", tmp_path / "m.jsonl", "--json")
    first = json.loads(run(capsys, "encode", folder, out, *options)[1])
    assert (first["done"], first["left_out"]) == (2, 0)
    Image.fromarray(mixed_pixels[:9, :9]).save(folder / "c.png")
    second = json.loads(run(capsys, "encode", folder, out, *options)[1])
    assert (second["done"], second["left_out"]) == (1, 2)
    code, text, _ = run(capsys, "verify", out, "--quiet", "--json")
    assert code == 0
    assert [one["lossless"] for one in json.loads(text)["files"]] == [True] * 3
    assert run(capsys, "decode", out, tmp_path / "back", "-j", 1)[0] == 0
    for name in ("a.png", "sub/b.png", "c.png"):
        np.testing.assert_array_equal(pixels_of(tmp_path / "back" / name), pixels_of(folder / name))


@pytest.mark.parametrize(
    ("format", "options", "advice"),
    [
        ("JPEG", {"quality": 40}, ", as lossless copies of JPEG files are: leave out --lossless, or keep the original"),
        ("WEBP", {"quality": 40}, ", as lossless copies of WebP files are: leave out --lossless, or keep the original"),
        ("PPM", {}, ": try a higher --effort, or keep the original"),
    ],
)
def test_a_note_on_growth(
    format: str, options: dict[str, int], advice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    pixels = smooth_picture(64, 64) if options else np.zeros((1, 1), np.uint8)
    Image.fromarray(pixels).save(source, format, **options)
    before = source.stat().st_size
    code, out, err = run(capsys, "encode", source, tmp_path / "a.vqz", "--lossless", "--json")
    assert code == 0
    facts = json.loads(out)
    assert (facts["grew"], facts["notes"]) == (True, [f"larger than its source ({before:,} bytes){advice}"])
    assert err.startswith("vqcodec: note: larger than its source")
    folder = tmp_path / "folder"
    folder.mkdir()
    source.rename(folder / "source")
    _, _, err = run(capsys, "encode", folder, tmp_path / "out", "--lossless")
    assert err.splitlines()[-1].split() == ["of", "them", "larger", "1"]


def test_info(tmp_path: Path, without_models: None, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.vqz").write_bytes(vqcodec.encode(drawing(72, 80), lossless=True, tile=64))
    code, out, err = run(capsys, "info", tmp_path / "a.vqz")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (code, err) == (0, "")
    assert list(lines) == [
        *("width", "height", "channels", "depth", "layout", "version", "model", "lossless", "cells", "colours"),
        *("bytes", "bpp", "sections"),
    ]
    assert lines["layout"] == "pixels, 4 tile groups"
    assert (lines["version"], lines["model"], lines["lossless"]) == ("0.4", "none", "yes")
    assert (lines["cells"], lines["colours"]) == ("90, 90 graphic", "5")
    facts = json.loads(run(capsys, "info", tmp_path / "a.vqz", "--json")[1])
    assert (facts["lossless"], facts["model"], facts["model_id"]) == (True, "none", "")
    assert (facts["groups"], facts["cells"], facts["graphic_cells"], facts["colours"]) == (4, 90, 90, 5)
    assert not {"step", "layers", "merge_map", "masking"} & facts.keys()
    code, out, err = run(capsys, "info", "--streams", tmp_path / "a.vqz", "-m", "no such model")
    assert (code, err) == (0, "")
    assert "predicted pixels" in out
    assert run(capsys, "info", tmp_path / "a.vqz", "--indices", tmp_path / "x.npz")[0] == 0
    with np.load(tmp_path / "x.npz") as found:
        assert {name: len(found[name]) for name in found} == {"index": 0, "row": 0, "column": 0}


def test_files_that_may_have_changed_colours_are_not_called_lossless(
    stored: Path, vqz: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.write_bytes(unmarked(stored.read_bytes()))
    for path in (stored, vqz):
        assert "\nlossless     no\n" in run(capsys, "info", path)[1]
        assert json.loads(run(capsys, "info", path, "--json")[1])["lossless"] is False
        assert run(capsys, "verify", path) == (0, f"{path}: ok\n", "")
        assert json.loads(run(capsys, "verify", path, "--json")[1])["files"][0]["lossless"] is False


@pytest.mark.parametrize(
    "options",
    [
        ("--refine", "none"),
        ("--refine", "best"),
        ("--refine", "gan"),
        ("--refine", "gan", "--strength", "1", "--refiner", "no such refiner"),
        ("--device", "cuda"),
        ("-m", "no such model"),
        ("--allow-partial",),
        ("--threads", "2"),
    ],
    ids=" ".join,
)
def test_options_of_networks_change_nothing(
    options: tuple[str, ...], stored: Path, mixed_pixels: np.ndarray, without_models: None, capsys: pytest.CaptureFixture[str]
) -> None:
    back = stored.with_name("back.png")
    assert run(capsys, "decode", stored, back, *options) == (0, "", "")
    np.testing.assert_array_equal(pixels_of(back), mixed_pixels)
    assert run(capsys, "decode", stored, back, *options, "--region", "60,30,10,20", "-f") == (0, "", "")
    np.testing.assert_array_equal(pixels_of(back), mixed_pixels[30:50, 60:70])


def test_smaller_pictures(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    back = stored.with_name("back.png")
    assert run(capsys, "decode", stored, back, "--scale", 8) == (0, "", "")
    assert pixels_of(back).shape == (9, 10, 4)


def test_damaged_groups_are_named(stored: Path, mixed_pixels: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(stored.read_bytes())
    damaged[container.File(BytesIO(damaged)).offsets[1]] ^= 1
    stored.write_bytes(damaged)
    back = stored.with_name("back.png")
    assert run(capsys, "decode", stored, back)[0] == 3
    assert run(capsys, "verify", stored)[1].startswith(f"{stored}: FAILED: corrupt file")
    code, _, err = run(capsys, "decode", stored, back, "--allow-partial")
    assert (code, err) == (0, "vqcodec: note: 1 of 4 tile groups were damaged\n")
    np.testing.assert_array_equal(pixels_of(back)[:, :64], mixed_pixels[:, :64])


def test_a_graphic_model_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphic, "_NETWORK_STEPS", 10)
    of = icons(np.random.default_rng(1))
    (tmp_path / "screens").mkdir()
    for number in range(6):
        Image.fromarray(desktop(np.random.default_rng(number), of)).save(tmp_path / "screens" / f"{number}.png")
    new, model = tmp_path / "new.png", tmp_path / "model"
    Image.fromarray(desktop(np.random.default_rng(50), of)).save(new)
    code, out, err = run(capsys, "train", tmp_path / "screens", "-o", model, "--kind", "graphic")
    assert (code, "without a model" in out, "encode PICTURES -o OUT -m" in out) == (0, True, True)
    assert run(capsys, "encode", "--lossless", "-m", model, new, tmp_path / "new.vqz", "-q", "50")[0] == 2
    assert run(capsys, "encode", "--lossless", "-m", model, new, tmp_path / "new.vqz")[0] == 0
    assert run(capsys, "encode", "--lossless", new, tmp_path / "plain.vqz")[0] == 0
    assert (tmp_path / "new.vqz").stat().st_size < 0.8 * (tmp_path / "plain.vqz").stat().st_size
    code, _, err = run(capsys, "decode", tmp_path / "new.vqz", tmp_path / "back.png")
    assert (code, "needs model" in err, "is not installed" in err) == (4, True, True)
    assert run(capsys, "decode", "-m", model, tmp_path / "new.vqz", tmp_path / "back.png")[0] == 0
    with Image.open(new) as first, Image.open(tmp_path / "back.png") as second:
        assert np.array_equal(first, second)
    assert run(capsys, "encode", "-m", model, new, tmp_path / "default.vqz")[0] == 0
    assert (tmp_path / "default.vqz").stat().st_size <= (tmp_path / "new.vqz").stat().st_size
    packs = [tmp_path / "with.vqzs", tmp_path / "without.vqzs"]
    for pack, options in zip(packs, (["-m", model], []), strict=True):
        assert run(capsys, "pack", "--lossless", tmp_path / "screens", pack, *options)[0] == 0
    assert packs[0].stat().st_size < 0.7 * packs[1].stat().st_size
    with vqcodec.open_pack(packs[0], model=model) as pack:
        assert np.array_equal(pack["3.png"], desktop(np.random.default_rng(3), of))
