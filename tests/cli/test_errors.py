"""Errors of all commands: exit codes and messages of one line."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.commands import run


def test_the_pixel_limit_can_be_raised_and_lowered(vqz: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("info", "verify"):
        assert run(capsys, command, vqz, "--max-pixels", 48 * 40)[0] == 0
        code, out, err = run(capsys, command, vqz, "--max-pixels", 48 * 40 - 1)
        assert code == 6
        assert "is more than 1919 pixels" in out + err


ERRORS: list[tuple[int, Sequence[str], str]] = [
    (2, ["frobnicate"], "No such command 'frobnicate'; vqcodec --help lists all"),
    (2, ["enocde"], "Did you mean 'encode'"),
    (2, ["photo.png", "photo.vqz"], "photo.png is a file, not a command: vqcodec encode photo.png"),
    (2, ["photo.vqz"], "photo.vqz is a file, not a command: vqcodec decode photo.vqz"),
    (2, ["encode"], "Missing argument 'IN'; vqcodec encode --help lists all"),
    (2, ["encode", "-"], "standard input: the output must be named"),
    (2, ["decode", "folder"], "folder: the output must be named"),
    (2, ["encode", "/dev/null"], "/dev/null: the output must be named"),
    (2, ["encode", "photo.png", "deep.ppm", "new.vqz"], "new.vqz is no input, and several inputs have no single output"),
    (2, ["encode", "photo.png", "deep.ppm", "cut.vqz"], "cut.vqz is no input"),
    (2, ["encode", "photo.png", "deep.ppm", "new"], "new is no input, and several inputs have no single output: name their folder"),
    (2, ["encode", "photo.png", "deep.ppm", "folder"], "folder is not a file: encode it alone, or name a folder for all outputs"),
    (2, ["decode", "photo.vqz", "-", "cut.vqz"], "standard input is not a file: decode it alone"),
    (2, ["decode", "photo.vqz", "cut.vqz", "photo.png", "-f"], "photo.png is no input"),
    (2, ["decode", "photo.vqz", "cut.vqz", "./photo.vqz"], "photo.vqz is named twice"),
    (2, ["encode", "photo.png", "none.ppm"], "none.ppm is a picture's name, and encode writes .vqz files"),
    (2, ["encode", "-", "photo.png", "-f"], "photo.png is a picture's name, and encode writes .vqz files"),
    (2, ["encode", "photo.png", "new.JPG"], "new.JPG is a picture's name"),
    (2, ["encode", "photo.png", "new.heic"], "new.heic is a picture's name"),
    (2, ["decode", "photo.vqz", "none.vqz", "-f"], "none.vqz is a .vqz file's name, and decode writes pictures"),
    (2, ["denoise", "photo.png", "new.vqz"], "new.vqz is a .vqz file's name, and denoise writes pictures"),
    (2, ["repair", "photo.png", "new.vqz", "--mask", "photo.png", "-m", "x"], "new.vqz is a .vqz file's name"),
    (2, ["generate", "-m", "x", "-o", "new.vqz"], "new.vqz is a .vqz file's name"),
    (2, ["encode", "photo.png", "deep.ppm", "-o", "-"], "the output must be a folder"),
    (2, ["encode", "photo.png", "deep.ppm", "-o", "photo.vqz"], "the output must be a folder"),
    (2, ["encode", "photo.png", "deep.ppm", "-o", "new.vqz"], "the output must be a folder, and new.vqz is a file's name"),
    (2, ["decode", "folder", "new.png"], "the output must be a folder, and new.png is a file's name"),
    (2, ["encode", "photo.png", "-", "-o", "new"], "standard input goes to a file"),
    (2, ["encode", "photo.png", "photo.png", "-o", "new"], "photo.png and photo.png would have the same output"),
    (2, ["encode", "photo.png", "new.vqz", "--strict"], "--strict: for folders and several inputs only"),
    (2, ["decode", "photo.vqz", "new.png", "--quality", "50"], "--quality is for JPEG and WebP outputs"),
    (2, ["decode", "photo.vqz", "-o", "folder", "--quality", "50"], "--quality is for JPEG and WebP outputs"),
    (2, ["decode", "photo.vqz", "new.jpg", "--quality", "101"], "range"),
    (2, ["decode", "photo.vqz", "-", "--json"], "exclude each other"),
    (2, ["denoise", "photo.png", "-", "--json"], "exclude each other"),
    (2, ["repair", "photo.png", "/dev/stdout", "--json", "--mask", "photo.png", "-m", "x"], "exclude each other"),
    (2, ["generate", "-m", "x", "-o", "-", "--json"], "exclude each other"),
    (2, ["encode", "photo.png", "new.vqz", "--frobnicate"], "No such option: --frobnicate"),
    (2, ["encode", "photo.png", "new.vqz", "-q", "101"], "vqcodec: --quality is a number from 0 to 100, not 101\n"),
    (2, ["encode", "photo.png", "new.vqz", "-q", "nan"], "from 0 to 100, not nan"),
    (2, ["encode", "photo.png", "new.vqz", "--bpp", "0"], "vqcodec: --bpp is a number above 0, not 0\n"),
    (2, ["encode", "photo.png", "new.vqz", "--psnr", "inf"], "--psnr is a number above 0, not inf"),
    (2, ["encode", "photo.png", "new.vqz", "--size", "20 apples"], "is not a size"),
    (2, ["encode", "photo.png", "new.vqz", "--effort", "10"], "--effort is a whole number from 1 to 9, not 10\n"),
    (2, ["encode", "photo.png", "new.vqz", "--threads", "0"], "range"),
    (2, ["encode", "photo.png", "new.vqz", "-q", "5", "--bpp", "1"], "--quality and --bpp exclude each other"),
    (2, ["encode", "photo.png", "-", "--json"], "exclude each other"),
    (2, ["encode", "folder", "new", "--manifest", "-"], "'-' is a stream"),
    (2, ["compare", "photo.png", "photo.vqz", "-o", "-"], "standard output is for the report"),
    (2, ["info", "photo.vqz", "--indices", "-"], "standard output is for the report"),
    (2, ["info", "photo.vqz", "--indices", "new.PNG"], "new.PNG is a picture's name, and this output is something else"),
    (2, ["encode", "folder", "new", "--manifest", "new.vqz"], "new.vqz is a .vqz file's name"),
    (2, ["bench", "photo.png", "--json", "new.jpg"], "new.jpg is a picture's name"),
    (2, ["train", "folder", "-o", "new.tif"], "new.tif is a picture's name"),
    (2, ["decode", "photo.vqz", "new.png", "--to", "jpg"], "--to is for folders and for inputs without OUT"),
    (2, ["decode", "photo.vqz", "new.png", "--refine", "gan", "--strength", "nan"], "--strength is a number from 0 to 1, not nan"),
    (2, ["decode", "photo.vqz", "new.png", "--refiner", "photo-gan"], "--strength and --refiner are for --refine gan"),
    (2, ["decode", "photo.vqz", "new.png", "--scale", "2", "--refine", "gan"], "--scale goes neither with --region nor with"),
    (2, ["decode", "photo.vqz", "new.png", "--refine", "magic"], "'magic' is not one of 'none', 'best', 'gan'"),
    (3, ["encode", "none.png", "new.vqz"], "cannot read none.png: No such file"),
    (3, ["encode", "photo.vqz", "new.vqz"], "photo.vqz: a .vqz file already"),
    (3, ["encode", "photo.vqz"], "photo.vqz: a .vqz file already"),
    (3, ["encode", "empty.vqz", "new.vqz"], "empty.vqz: the file is empty"),
    (3, ["encode", "text", "new.vqz"], "text: not a picture (text)"),
    (3, ["encode", "deep.ppm", "new.vqz"], "deep.ppm has 16 bits per sample of RGB, and more than 8 are read from PNG, TIFF"),
    (3, ["encode", "photo.png", "new.vqz", "-m", "mnist-token"], "photo.png: token model mnist-token is for grey pictures"),
    (3, ["denoise", "text", "new.png"], "text: not a picture (text)"),
    (3, ["denoise", "deep.ppm", "new.png"], "deep.ppm has 16 bits"),
    (3, ["repair", "photo.png", "new.png", "--mask", "text", "-m", "mnist-prior"], "text is not a picture"),
    (3, ["decode", "photo.png", "new.png"], "photo.png: not a .vqz file (PNG)"),
    (3, ["decode", "text", "new.png"], "text: not a .vqz file (text)"),
    (3, ["decode", "cut.vqz", "new.png"], "cut.vqz: "),
    (3, ["decode", "empty.vqz", "new.png"], "empty.vqz: "),
    (3, ["decode", "none.vqz", "new.png"], "vqcodec: cannot read none.vqz: No such file"),
    (3, ["decode", "photo.vqz", "new.png", "--region", "0,0,99,99"], "photo.vqz: the region"),
    (3, ["info", "cut.vqz"], ""),
    (4, ["encode", "photo.png", "new.vqz", "-m", "no-such-model"], "no-such-model"),
    (4, ["decode", "photo.vqz", "new.png", "-m", "no-such-model"], "no-such-model"),
    (4, ["decode", "photo.vqz", "new.png", "-m", "pickled"], ""),
    (5, ["encode", "photo.png", "photo.vqz"], "photo.vqz exists already; -f overwrites it"),
    (5, ["decode", "photo.vqz", "photo.png"], "photo.png exists already; -f overwrites it"),
    (5, ["encode", "none.png", "photo.vqz"], "photo.vqz exists already; -f overwrites it"),  # refused before anything is read
    (5, ["decode", "empty.vqz", "photo.png"], "photo.png exists already; -f overwrites it"),
    (5, ["denoise", "none.png", "photo.png"], "photo.png exists already; -f overwrites it"),
    (5, ["encode", "photo.png", "photo.png", "-f"], "input and output at once"),
    (5, ["encode", "photo.png", "folder"], "it is a folder"),
    (5, ["encode", "photo.png", "folder", "-f"], "it is a folder"),
    (5, ["encode", "photo.png", "nowhere/new.vqz"], "folder does not exist"),
    (5, ["encode", "photo.png", "/dev/full"], "No space left"),
    (5, ["decode", "photo.vqz", "new.xyz"], "new.xyz: unknown picture format"),
    (5, ["decode", "photo.vqz", "new.pgm"], "new.pgm: cannot write 48 x 40 pixels as PGM, which holds grey only"),
    (3, ["decode", "cut.vqz", "new.png", "--allow-partial"], "only files with tile groups are read in part"),
    (6, ["encode", "photo.png", "new.vqz", "--max-pixels", "100"], "photo.png has more than 100"),
    (6, ["encode", "photo.png", "new.vqz", "--size", "20"], "photo.png: no file of at most 20 bytes"),
    (6, ["encode", "photo.png", "new.vqz", "--size", "9"], "photo.png: no file of at most 9 bytes"),
    (6, ["decode", "photo.vqz", "new.png", "--max-pixels", "100"], "photo.vqz: "),
]


@pytest.mark.parametrize(
    ("code", "arguments", "message"), ERRORS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_errors(
    vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    code: int, arguments: Sequence[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("empty.vqz").touch()
    Path("text").write_text("no picture")
    Path("cut.vqz").write_bytes(vqz.read_bytes()[:-1])
    Path("deep.ppm").write_bytes(b"P3 1 1 65535\n1 2 3")
    Path("pickled").mkdir()
    Path("pickled/model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    got, out, err = run(capsys, *arguments)
    assert (got, out) == (code, "")
    assert re.fullmatch(r"vqcodec: [^\n]+\n", err)
    assert message in err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
