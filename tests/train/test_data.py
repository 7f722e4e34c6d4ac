"""The corpus: files that are read, left out and held out."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vqcodec.train import data
from vqcodec.train.data import LEAST_HELD_OUT, LEAST_TRAINED_ON, Corpus, TrainingImage, held_out_of, load_corpus
from vqcodec.train.watch import Watch


def test_a_picture_is_held_out_in_any_order() -> None:
    images = [data.TrainingImage(f"{letter}/{number}", np.zeros((1, 1, 1), np.uint8)) for letter in "abc" for number in range(10)]
    names = [{image.name for image in data.split(given).held_out} for given in (images, images[::-1], images[7:] + images[:7])]
    assert names[0] == names[1] == names[2]
    assert len({name[0] for name in names[0]}) > 1  # not the first ones by name


def test_only_the_middle_of_large_pictures_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_SIDE", 16)
    pixels = np.arange(24 * 20, dtype=np.uint16).astype(np.uint8).reshape(24, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (image,) = data.load_corpus(tmp_path, lambda *_: None).train
    np.testing.assert_array_equal(image.pixels[:, :, 0], pixels[4:20, 2:18])


def test_unreadable_entries_and_folders_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    (folder / "closed").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
    (folder / "b.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (folder / "c.png").symlink_to("nowhere")
    (folder / "notes.txt").write_text("no picture")
    scandir = os.scandir

    def refusing(place: str) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)  # tests may run as root, who can read everything
    corpus = load_corpus(folder, lambda *_: None)
    assert [image.name for image in corpus.train] == ["a.png"]
    reported = dict(corpus.skipped)
    assert reported.keys() == {"b.jxl", "c.png", "closed", "notes.txt"}
    assert reported["c.png"] == "a broken link"
    assert reported["closed"] == "cannot read the folder: Permission denied"
    assert "JPEG XL" in reported["b.jxl"]


def test_content_decides_what_is_a_picture_and_the_rest_is_named(tmp_path: Path) -> None:
    for name in ("a.jfif", "b", "c.tga"):
        Image.new("RGB", (16, 16), (9, 90, 200)).save(tmp_path / name, format="TGA" if name == "c.tga" else "JPEG")
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "empty.png").touch()
    (tmp_path / "LICENSE").write_text("Public domain")
    corpus = load_corpus(tmp_path, Watch())
    assert {image.name for image in corpus.train + corpus.held_out} == {"a.jfif", "b", "c.tga"}
    assert [name for name, _ in corpus.skipped] == ["drawing.svg", "empty.png"]
    assert "empty" in dict(corpus.skipped)["empty.png"]


@pytest.mark.parametrize(("count", "side"), [(1, 256), (2, 100), (3, 256), (14, 200), (30, 128)])
def test_the_pictures_that_are_missing_are_counted(count: int, side: int) -> None:
    """The number that the message gives is the least that is enough."""

    def corpus(size: int) -> Corpus:
        images = grey(*[(side, side)] * size)
        held_out = held_out_of(size)
        return Corpus(images[held_out:], images[:held_out], [], {})

    found = re.search(r"add (\d+) more of this size", corpus(count).shortage)
    assert found is not None
    assert corpus(count + int(found[1])).shortage == ""
    assert corpus(count + int(found[1]) - 1).shortage != ""


def test_pixels_are_asked_for_on_both_sides() -> None:
    side = int(max(LEAST_HELD_OUT, LEAST_TRAINED_ON) ** 0.5)
    large, small = grey((side, side)), grey((8, 8))
    assert Corpus(large, large, [], {}).shortage == ""
    assert "add 1 more" in Corpus(large * 4, small, [], {}).shortage
    assert "add 1 more" in Corpus(small, large * 4, [], {}).shortage


def grey(*sides: tuple[int, int]) -> list[TrainingImage]:
    return [TrainingImage(f"{number}.png", np.zeros((*side, 1), np.uint8)) for number, side in enumerate(sides)]
