"""The program: help, version, internal errors, imports, interrupts."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from PIL import Image

import vqcodec
from helpers.commands import pixels_of, run
from helpers.marks import fast_first
from helpers.pictures import smooth_picture
from helpers.processes import Program, program_environment
from vqcodec.cli import main as cli
from vqcodec.cli.main import main


@pytest.mark.parametrize("command", fast_first(["encode", "decode", "denoise", "generate", "repair"], 3))
def test_quiet_and_json_are_the_same_everywhere(
    photo: Path, vqz: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    grey = tmp_path / "grey.png"
    Image.fromarray(smooth_picture(28, 28, channels=1)).save(grey)
    inputs = {
        "encode": [photo, tmp_path / "new.vqz"],
        "decode": [vqz, tmp_path / "new.png"],
        "denoise": [photo, tmp_path / "new.png"],
        "generate": ["-m", "mnist-prior", "-n", 4, "-o", tmp_path / "new.png"],
        "repair": [grey, tmp_path / "new.png", "--mask", grey, "-m", "mnist-prior"],
    }[command]
    assert run(capsys, command, *inputs, "--quiet") == (0, "", "")
    code, out, err = run(capsys, command, *inputs, "--json", "--quiet", "-f")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    output = Path(facts["output"])
    assert (facts["bytes"], out.count("\n")) == (output.stat().st_size, 1)
    assert facts["input"] == (None if command == "generate" else str(inputs[0]))
    if command != "encode":
        assert pixels_of(output).shape[:2] == (facts["height"], facts["width"])
    assert {"channels", "notes", f"{command}_s"} <= facts.keys()


def test_no_home_is_needed(vqz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert run(capsys, "verify", vqz)[0] == 0


@pytest.mark.parametrize("columns", ["0", "1", "30"])
def test_lines_in_files_are_whole_for_any_terminal(
    vqz: Path, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = run(capsys, "info", vqz)[1]
    assert plain.startswith("width        48\n")
    monkeypatch.setenv("COLUMNS", columns)
    assert run(capsys, "info", vqz)[1] == plain


def test_the_package_exports_the_api() -> None:
    for name in ("encode", "decode", "open_vqz", "generate", "repair", "denoise", "info", "verify"):
        assert getattr(vqcodec, name) is getattr(vqcodec.api, name)
        assert name in dir(vqcodec)
    with pytest.raises(vqcodec.VqcodecError):
        vqcodec.decode(b"no file")


def test_an_empty_argument_is_refused(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["encode", "", "x"], ["encode", photo, "x", "--manifest="], ["verify", ""]):
        code, out, err = run(capsys, *words)
        assert (code, out) == (2, "")
        assert "is a shell variable not set?" in err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, overview, err = run(capsys)
    assert (code, err) == (0, "")
    for command in ("encode", "decode", "info", "verify", "models", "bench", "train"):
        assert f"\n  {command} " in overview
        assert run(capsys, command, "--help")[0] == 0
    assert not re.search(r"\.\.\.$", overview.replace("[ARGS]...", ""), re.MULTILINE)  # no line is cut
    assert run(capsys, "--version") == run(capsys, "-V") == (0, f"vqcodec {vqcodec.__version__}\n", "")
    assert run(capsys, "help") == (0, overview, "")
    assert run(capsys, "help", "encode") == run(capsys, "encode", "-h")
    assert run(capsys, "help", "encode")[1].startswith("Usage: vqcodec encode [OPTIONS] IN [OUT]\n")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_is_in_whole_sentences_and_not_cut(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    overview = re.search(rf"^  {command} +(.*)$", run(capsys, "--help")[1], re.MULTILINE)
    assert overview is not None
    assert re.fullmatch(r"[A-Z].*[^.]\.", overview[1])
    shown = "".join(run(capsys, command, "--help")[1].split())
    parameters = typer.main.get_command(cli.app_with(cli.COMMANDS)).commands[command].params  # type: ignore[attr-defined]  # a group has them
    for parameter in parameters:
        assert re.fullmatch(r"[A-Z].*\.( \[default: [^]]+\])?", parameter.help), parameter.name
        assert "".join(parameter.help.split()) in shown, parameter.name
        assert parameter.param_type_name == "argument" or not (parameter.default is None and parameter.show_default), parameter.name


@pytest.mark.slow
def test_debug_shows_where(tmp_path: Path, program: Program) -> None:
    done = program("info", tmp_path / "none.vqz", "--debug")
    assert done.returncode == 3
    assert b"Traceback" in done.stderr
    assert b"cannot read --debug: No such file" in program("info", "--", "--debug").stderr
    assert b"InputError: cannot read" in done.stderr


def test_an_internal_error_is_one_line(vqz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("vqcodec.api.info", broken)
    code, out, err = run(capsys, "info", vqz)
    assert (code, out) == (1, "")
    assert err == "vqcodec: internal error (ZeroDivisionError: a\\nb); --debug shows the traceback\n"


@pytest.mark.parametrize("moment", ["app_with", "_report"])
def test_an_interrupt_has_its_exit_code(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, moment, interrupt)
    assert main(["info", "nothing.vqz"]) == 130


@pytest.mark.parametrize("command", fast_first(["encode", "decode", "verify", "info"], 2))
def test_the_plain_path_imports_little(vqz: Path, tmp_path: Path, command: str) -> None:
    Image.fromarray(smooth_picture(160, 160)).save(tmp_path / "large.png")  # of small pictures all kinds of files are tried
    arguments = {
        "encode": ["encode", str(tmp_path / "large.png"), str(tmp_path / "new.vqz"), "--effort", "1"],
        "decode": ["decode", str(vqz), str(tmp_path / "new.png")],
        "verify": ["verify", str(vqz)],
        "info": ["info", str(vqz)],
    }[command]
    script = (
        "import sys, numpy; of_numpy = set(sys.modules);"  # some versions import numpy.ma
        "from vqcodec.cli.main import main; code = main(sys.argv[1:]); names = set(sys.modules) - of_numpy;"
        "print(*sorted({name if 'vqcodec' in name or name == 'numpy.ma' else name.partition('.')[0] for name in names}));"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=program_environment(),
        check=True,
    )
    heavy = {"scipy", "torch", "matplotlib", "rich", "pydantic", "skimage", "importlib_metadata", "numpy.ma"}
    of_graphics = {"vqcodec.codec.pixel_codec", "vqcodec.entropy.pixel_pyramid", "vqcodec.format.index_planes"}
    of_encoding = {"vqcodec.format.palettes"} if command != "encode" else set()
    assert (heavy | of_graphics | of_encoding).isdisjoint(done.stdout.splitlines()[-1].split())


def test_outputs_of_private_files_are_private(photo: Path, vqz: Path, tmp_path: Path) -> None:
    private = tmp_path / "private.png"
    private.write_bytes(photo.read_bytes())
    vqz.chmod(0o600)
    for first, second in ((private, vqz), (vqz, private)):
        assert cli.main(["compare", str(first), str(second), "-f", "-o", str(tmp_path / "difference.png")]) == 0
        assert stat.S_IMODE((tmp_path / "difference.png").stat().st_mode) == 0o600
    assert cli.main(["info", str(vqz), "--indices", str(tmp_path / "x.npz")]) == 0
    assert stat.S_IMODE((tmp_path / "x.npz").stat().st_mode) == 0o600


def test_quiet_and_json_are_options_of_all_reports(vqz: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["info", vqz], ["verify", vqz], ["models"], ["compare", photo, vqz]):
        code, out, err = run(capsys, *words, "--json", "--quiet")
        assert (code, err) == (0, "")
        assert isinstance(json.loads(out), dict)
    code, out, err = run(capsys, "bench", photo, "--codecs", "none", "--psnr-only", "--json", "-", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["kind"] == "vqcodec-bench"
    code, out, err = run(capsys, "bench", photo, "--codecs", "none", "--psnr-only")
    assert (code, err) == (0, "vqcodec: 1 of 1 images: photo.png\n")
