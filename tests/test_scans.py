"""The pages of experiments/make_scans.py: paper and ink, of the size asked for, the same for a seed, with any fonts."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from helpers.paths import REPOSITORY
from helpers.processes import program_environment

EXPERIMENTS = REPOSITORY / "experiments"


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package experiments/scanned with its modules."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import scanned.page

    return scanned


def test_pages_have_paper_and_ink(scanned: ModuleType) -> None:
    faces = scanned.faces.find_faces()
    pages = [scanned.page.make_page(96, 160, faces, np.random.default_rng([3, index])) for index in range(8)]
    assert {page.shape[:2] for page in pages} == {(96, 160)}
    assert {page.dtype for page in pages} == {np.dtype(np.uint8)}
    assert {page.ndim for page in pages} == {2, 3}  # grey and colour
    tones = np.array([np.percentile(page, (2, 50)) for page in pages])
    assert np.median(tones[:, 0]) < 110  # ink
    assert np.median(tones[:, 1]) > 170  # paper


def test_a_seed_gives_the_same_page(scanned: ModuleType) -> None:
    faces = scanned.faces.find_faces()
    first, again, other = (scanned.page.make_page(80, 120, faces, np.random.default_rng(seed)) for seed in (11, 11, 12))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_pillows_own_font_is_enough(scanned: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanned.faces, "FOLDERS", ())
    monkeypatch.setattr(scanned.faces, "_matplotlib", list)
    faces = scanned.faces.find_faces()
    assert list(faces) == ["sans"]
    assert scanned.page.make_page(64, 96, faces, np.random.default_rng(0)).shape[:2] == (64, 96)


def test_a_face_has_only_languages_that_it_can_set(scanned: ModuleType) -> None:
    dejavu = scanned.faces.find_faces()
    if "cyrillic" not in dejavu:
        pytest.skip("needs a font with Cyrillic letters, such as matplotlib's")
    path = dejavu["cyrillic"][0].path
    assert scanned.faces._has(path, "Abжя")
    assert not scanned.faces._has(path, "ab\U0001f9ff")


def test_long_s_stands_everywhere_but_at_the_end_of_a_word(scanned: ModuleType) -> None:
    (face,) = scanned.faces.find_faces().get("sans", ())[:1] or scanned.faces.find_faces()["serif"][:1]
    old = scanned.prints.Type(face=face, language=scanned.text.GERMAN, size=20.0, leading=1.2, has_long_s=True)
    assert old.spelled("Haus beschlossen, ist's so") == "Haus beſchloſſen, iſt's ſo"


def test_lines_fit_their_column(scanned: ModuleType) -> None:
    kinds = scanned.faces.find_faces()
    face = next(iter(kinds.values()))[0]
    type_ = scanned.prints.Type(face=face, language=scanned.text.ENGLISH, size=20.0, leading=1.2)
    words = scanned.text.paragraph(scanned.text.ENGLISH, np.random.default_rng(1)) * 5
    lines = list(scanned.prints._lines(words, type_, type_.font.getlength(" "), 200.0, 30.0))
    assert len(lines) > 10
    for place, line in enumerate(lines):
        assert line.width <= (170 if place == 0 else 200)
        assert line.width == pytest.approx(type_.font.getlength(" ".join(line.words)), abs=3)
    joined = " ".join(word for line in lines for word in line.words)
    assert any(line.words[-1].endswith("-") for line in lines)  # long words are divided
    assert joined.replace("- ", "") == " ".join(words)


@pytest.mark.parametrize("tone", [0.2, 0.5, 0.8])
def test_screens_keep_the_tone(scanned: ModuleType, tone: float) -> None:
    flat = np.full((240, 240), tone, np.float32)
    assert scanned.tones.halftone(flat, 8, 0.785).mean() == pytest.approx(1 - tone, abs=0.08)


@pytest.mark.slow
def test_the_command_writes_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, EXPERIMENTS / "make_scans.py", tmp_path / "scans", "--pages", "2", "--size", "96x64", "--seed", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=program_environment())
    assert "wrote 2 pages of 96 x 64 pixels" in done.stdout
    sizes = []
    for path in sorted((tmp_path / "scans").iterdir()):
        with Image.open(path) as page:
            sizes.append((path.name, page.size))
    assert sizes == [("00000.png", (96, 64)), ("00001.png", (96, 64))]


def test_a_wrong_size_is_one_line() -> None:
    command = [sys.executable, EXPERIMENTS / "make_scans.py", "out", "--size", "96"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=program_environment())
    assert done.returncode == 2
    assert "write WIDTHxHEIGHT" in done.stderr
