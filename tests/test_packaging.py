"""What packaging/ holds agrees with the program."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import vqcodec
from conftest import REPOSITORY, program_environment, smooth_picture
from vqcodec import container

PACKAGING = REPOSITORY / "packaging"


def test_the_man_page_has_every_command_and_option() -> None:
    done = subprocess.run(
        [sys.executable, PACKAGING / "make_man.py"], capture_output=True, text=True, check=True, env=program_environment()
    )
    for word in ("ENCODE", "DECODE", "INFO", "VERIFY", "MODELS", "COMPARE", "BENCH", "TRAIN", "EXIT STATUS"):
        assert f".SH {word}\n" in done.stdout
    for option in ("quality", "region", "shard", "tensorboard", "psnr\\-only"):
        assert f"\\-\\-{option}" in done.stdout


def test_the_man_page_says_what_is_done_by_default_and_has_the_options_of_all() -> None:
    done = subprocess.run(
        [sys.executable, PACKAGING / "make_man.py"], capture_output=True, text=True, check=True, env=program_environment()
    )
    assert "smaller. [default: 5]" in done.stdout
    for word in ("\\-\\-version", "\\-\\-show\\-completion", "VQCODEC_MODELS"):
        assert f"\\fB{word}\\fR" in done.stdout


@pytest.mark.parametrize("shape", [(300, 500, 3), (60, 40), (200, 100, 4)])
def test_thumbnails_are_as_large_as_asked_and_png_by_any_name(shape: tuple[int, ...], tmp_path: Path) -> None:
    picture = smooth_picture(*shape[:2], shape[2] if len(shape) == 3 else 1)
    (tmp_path / "a.vqz").write_bytes(vqcodec.encode(picture, model="photo-lite"))
    output = tmp_path / ".gnome_desktop_thumbnail.AB12CD"
    output.touch()
    subprocess.run(
        [sys.executable, PACKAGING / "vqcodec-thumbnailer", tmp_path / "a.vqz", output, "128"],
        check=True,
        env=program_environment(),
    )
    with Image.open(output) as image:
        assert image.format == "PNG"
        assert max(image.size) == min(128, max(shape[:2]))
        assert image.mode == {2: "L", 3: "RGB", 4: "RGBA"}[shape[2] if len(shape) == 3 else 2]
    entry = (PACKAGING / "vqcodec.thumbnailer").read_text()
    assert "\nExec=vqcodec-thumbnailer %i %o %s\n" in entry


def test_what_desktops_know_files_by() -> None:
    namespace = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (kind,) = ElementTree.parse(PACKAGING / "vqcodec.xml").getroot()
    (match,) = kind.iter(f"{namespace}match")
    assert match.get("value").encode().decode("unicode_escape").encode("latin-1") == container.MAGIC
    pattern = (PACKAGING / "magic").read_text().splitlines()[1].split("\t")[2]
    assert pattern.encode().decode("unicode_escape").encode("latin-1") == container.MAGIC
    for name in ("magic", "vqcodec.thumbnailer"):
        assert kind.get("type") in (PACKAGING / name).read_text()
