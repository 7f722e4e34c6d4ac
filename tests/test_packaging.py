"""What packaging/ holds agrees with the program."""

import subprocess
import sys
from xml.etree import ElementTree

from conftest import REPOSITORY, program_environment
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


def test_what_desktops_know_files_by() -> None:
    namespace = "{http://www.freedesktop.org/standards/shared-mime-info}"
    (kind,) = ElementTree.parse(PACKAGING / "vqcodec.xml").getroot()
    (match,) = kind.iter(f"{namespace}match")
    assert match.get("value").encode().decode("unicode_escape").encode("latin-1") == container.MAGIC
    pattern = (PACKAGING / "magic").read_text().splitlines()[1].split("\t")[2]
    assert pattern.encode().decode("unicode_escape").encode("latin-1") == container.MAGIC
    for name in ("magic", "vqcodec.thumbnailer"):
        assert kind.get("type") in (PACKAGING / name).read_text()
