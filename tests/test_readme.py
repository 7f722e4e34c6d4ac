"""README.md and docs/usage.md cannot rot: the commands of their console blocks are run here, and their output is compared.

A block that begins with ```console is run, one line after the other, in a folder that holds `photo.png` and
`scan.png` (parts of samples), `photos/` (three pictures) and `samples/`; all blocks share that folder, README.md first. Lines
that start with `$ ` are commands, the lines below them are what the command prints. In the comparison all numbers count
as equal, white space and table rules do not count, and a line `...` stands for any lines. A block below a line
`<!-- not run: reason -->` is shown only; so are blocks of any other kind (```sh, ```python).
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from helpers.paths import REPOSITORY
from helpers.processes import program_environment

_BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n+)?^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command of a page and the lines shown below it."""

    command: str
    shown: tuple[str, ...]


def steps_of(text: str) -> list[Step]:
    """The steps of all blocks that are to be run."""
    steps: list[Step] = []
    for not_run, block in _BLOCK.findall(text):
        if not_run:
            continue
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(line[2:], ()))
            elif line.strip():
                steps[-1] = Step(steps[-1].command, (*steps[-1].shown, line))
    return steps


def normal(line: str) -> str:
    """The line with all numbers alike, and without white space and rules."""
    line = re.sub(r"[\d.,]*\d[\d.,]*", "0", line)
    return re.sub(r"[\s\u2500-\u257f-]+", " ", line).strip()


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether the shown lines are the printed ones, `...` standing for any number of them."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(matches(shown[1:], printed[skip:]) for skip in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and matches(shown[1:], printed[1:])


@pytest.fixture
def folder(tmp_path: Path, samples: Path) -> Path:
    with Image.open(samples / "still_life.png") as photo:
        photo.crop((200, 100, 520, 356)).save(tmp_path / "photo.png")
    with Image.open(samples / "scan.png") as scan:
        scan.crop((100, 100, 340, 300)).save(tmp_path / "scan.png")
    (tmp_path / "photos").mkdir()
    with Image.open(samples / "landscape.png") as landscape:
        for k in range(3):
            landscape.crop((200 * k, 100, 200 * k + 192, 292)).save(tmp_path / "photos" / f"{k}.png")
    (tmp_path / "samples").symlink_to(samples)
    (tmp_path / ".bin").mkdir()
    launcher = tmp_path / ".bin" / "vqcodec"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vqcodec "$@"\n')
    launcher.chmod(0o755)
    (tmp_path / ".bin" / "python").symlink_to(sys.executable)
    return tmp_path


@pytest.mark.slow
def test_readme(folder: Path) -> None:
    """Every command succeeds and prints what the page shows."""
    steps = [step for page in ("README.md", "docs/usage.md") for step in steps_of((REPOSITORY / page).read_text())]
    assert any("vqcodec encode" in step.command for step in steps)
    assert any("vqcodec decode" in step.command for step in steps)
    environment = {**program_environment(), "COLUMNS": "100"}
    environment["PATH"] = f"{folder / '.bin'}{os.pathsep}{environment['PATH']}"
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=170,
            check=False,
        )
        assert done.returncode == 0, f"$ {step.command}\n{done.stdout}"
        shown = [line if line.strip() == "..." else normal(line) for line in step.shown]
        printed = [normal(line) for line in done.stdout.splitlines()]
        assert matches([s.strip() for s in shown if s], [p for p in printed if p]), f"$ {step.command}\n{done.stdout}"


def test_the_rules_of_this_test() -> None:
    text = "```console\n$ a b\nout 1\n\n$ c\n```\n<!-- not run: slow -->\n```console\n$ d\n```\n```sh\ne\n```\n"
    assert steps_of(text) == [Step("a b", ("out 1",)), Step("c", ())]
    assert normal("PSNR  31.25 dB ── 1,024") == normal("PSNR 30.1 dB  - 7")
    assert matches(["a", "...", "b"], ["a", "x", "y", "b"])
    assert matches(["..."], [])
    assert not matches(["a", "..."], ["b"])
    assert not matches(["a"], ["a", "b"])
