"""Inpainting: windows and candidates, the membrane, repaired pictures, the command."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.pictures import smooth_picture
from helpers.token_models import GREY, PRIOR_MODEL, random_prior, save_prior
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import generation, inpainting, tokens
from vqcodec.errors import InputError
from vqcodec.weights import registry
from vqcodec.weights.folder import save_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a prior and its token model; also the current directory."""
    save_prior(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hole(height: int, width: int) -> np.ndarray:
    """A mask with a rectangle and a single pixel at a corner."""
    mask = np.zeros((height, width), np.bool_)
    mask[9 : height - 5, 10 : width - 12] = True
    mask[0, width - 1] = True
    return mask


@pytest.mark.parametrize(
    "mask", [np.full((37, 53), 255, np.uint8), [[True] * 53] * 37, np.ones((37, 52), np.bool_)], ids=["uint8", "list", "size"]
)
def test_masks_of_other_types_or_sizes_are_refused(folder: Path, mask: Any) -> None:
    with pytest.raises(InputError, match=r"mask (is|has)"):
        api.repair(smooth_picture(37, 53), mask, prior="./prior")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pixels_outside_the_mask_do_not_change_and_those_under_it_do_not_matter(folder: Path, channels: int) -> None:
    """The picture has 5x7 cells, more than the prior's grid of 3x4."""
    pixels, mask, colours = smooth_picture(37, 53, channels), hole(37, 53), 3 if channels > 2 else 1
    found = api.repair(pixels, mask, prior="./prior", seed=1)
    assert found.shape == pixels.shape
    np.testing.assert_array_equal(found[~mask], pixels[~mask])
    before, after = (picture.reshape(37, 53, -1) for picture in (pixels, found))
    assert (after != before)[mask][:, :colours].mean() > 0.8
    np.testing.assert_array_equal(after[:, :, colours:], before[:, :, colours:])
    other = before.copy()
    other[mask, :colours] ^= 255
    other = other.reshape(pixels.shape)
    np.testing.assert_array_equal(
        api.repair(other, mask, prior="./prior", seed=1)[mask].reshape(-1, channels)[:, :colours], after[mask][:, :colours]
    )
    assert (api.repair(pixels, mask, prior="./prior", seed=2) != found).any()


def test_windows_lie_around_their_cell_and_inside_the_grid() -> None:
    for cell, rows, columns in (((10, 12), (8, 12), (9, 15)), ((0, 0), (0, 4), (0, 6)), ((19, 29), (16, 20), (24, 30))):
        assert inpainting._window(cell, (4, 6), (20, 30)) == (slice(*rows), slice(*columns))
    assert inpainting._window((1, 2), (4, 6), (3, 5)) == (slice(0, 3), slice(0, 5))


def test_the_draw_closest_to_the_known_pixels_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masked pixels do not count."""
    prior = random_prior(PRIOR_MODEL, (20, 30, 3))
    grids = np.arange(inpainting._CANDIDATES)[:, None, None] * np.ones((3, 4), np.int64)
    monkeypatch.setattr(inpainting, "draw_tokens", lambda *_, **__: grids)
    known = np.ones((24, 32), np.bool_)
    known[8:, 8:] = False
    for wanted in (2, 5):
        pixels = tokens.decode(grids[wanted].astype(np.uint16), PRIOR_MODEL, (24, 32, 3))
        pixels[~known] = tokens.decode(grids[7].astype(np.uint16), PRIOR_MODEL, (24, 32, 3))[~known]
        found = inpainting._best_draw(
            grids[0], pixels, known, prior.network, PRIOR_MODEL, label=0, temperature=1.0, rng=np.random.default_rng(0)
        )
        np.testing.assert_array_equal(found, grids[wanted])


def test_an_empty_mask_and_a_full_one(folder: Path) -> None:
    pixels = smooth_picture(20, 30)
    np.testing.assert_array_equal(api.repair(pixels, np.zeros((20, 30), np.bool_), prior="./prior"), pixels)
    found, model = registry.find_prior("./prior")
    grids = generation.draw_tokens(
        found.network, np.full((inpainting._CANDIDATES, 3, 4), 40), np.full(8, 2), np.random.default_rng(5)
    )
    drawn = tokens.decode(grids[0].astype(np.uint16), model, (20, 30, 3))  # no pixel is known, so the first candidate is kept
    np.testing.assert_array_equal(api.repair(pixels, np.ones((20, 30), np.bool_), prior="./prior", seed=5), drawn)


def test_no_edge_shows_at_the_mask(folder: Path) -> None:
    """The decoder gives noise around grey, far from a bright picture; at the border the surrounding colour continues."""
    pixels, mask = np.full((40, 60, 3), 240, np.uint8), hole(40, 60)
    mask[0] = False
    found = api.repair(pixels, mask, prior="./prior").astype(int)
    edge = found[9, 10:48]
    assert np.abs(edge - 240).mean() < np.abs(found[20, 20:40] - 240).mean()
    assert np.abs(np.diff(found[8:10, 10:48], axis=0)).mean() < 40


def test_a_membrane_continues_a_slope() -> None:
    y, x = np.mgrid[:40, :50].astype(np.float32)
    slope, mask = np.stack([2 * x + y, 3 * y], axis=2), hole(40, 50)
    mask[0] = False
    found = inpainting.membrane(np.where(mask[:, :, None], 999, slope).astype(np.float32), mask)
    assert np.abs(found - slope).max() < 2
    faded = np.abs(inpainting.membrane(np.where(mask[:, :, None], 0, 100 + 0 * slope), mask, 3.0))
    assert faded[9, 30, 0] > 60
    assert faded[21, 24, 0] < 5
    assert faded[0, 0, 0] == 100


def test_colour_on_a_grey_model_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "tokens", replace(GREY, summary={"id": GREY.id}))
    save_model(tmp_path / "prior", random_prior(GREY, (40, 60, 1)))
    mask = hole(20, 30)
    with pytest.raises(InputError, match="grey pictures"):
        api.repair(smooth_picture(20, 30), mask, prior=tmp_path / "prior")
    assert api.repair(smooth_picture(20, 30, 1), mask, prior=tmp_path / "prior").shape == (20, 30)
    assert api.generate(3, prior=tmp_path / "prior")[0].shape == (3, 40, 60)
    with pytest.raises(InputError, match="8 bits"):
        api.repair(np.zeros((20, 30), np.uint16), mask, prior=tmp_path / "prior")


def test_repair_reads_and_writes_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels, mask = smooth_picture(37, 53), hole(37, 53)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save("in.png", icc_profile=profile)
    Image.fromarray(mask).save("mask.png")
    assert main(["repair", "in.png", "out.png", "--mask", "mask.png", "-m", "./prior", "--seed", "1"]) == 0
    with Image.open("out.png") as image:
        assert image.info["icc_profile"] == profile
        np.testing.assert_array_equal(image, api.repair(pixels, mask, prior="./prior", seed=1))
    assert capsys.readouterr().err == ""
    Image.new("L", (53, 37)).save("black.png")
    Image.new("L", (53, 36)).save("small.png")
    assert main(["repair", "in.png", "same.png", "--mask", "black.png", "-m", "./prior"]) == 0
    assert "note: the mask has no white" in capsys.readouterr().err
    with Image.open("same.png") as image:
        np.testing.assert_array_equal(image, pixels)
    assert main(["repair", "in.png", "out.jpg", "--mask", "mask.png", "-m", "./prior"]) == 0
    assert "note: JPEG changes all pixels slightly" in capsys.readouterr().err
    for arguments, code in (
        (["in.png", "x.png", "--mask", "small.png", "-m", "./prior"], 3),
        (["in.png", "x.png", "--mask", "none.png", "-m", "./prior"], 3),
        (["in.png", "out.png", "--mask", "mask.png", "-m", "./prior"], 5),
        (["in.png", "mask.png", "--mask", "mask.png", "-m", "./prior", "-f"], 5),
        (["in.png", "x.png", "--mask", "mask.png", "-m", "./tokens"], 4),
        (["in.png", "x.png", "-m", "./prior"], 2),
        (["-", "x.png", "--mask", "-", "-m", "./prior"], 2),
    ):
        assert main(["repair", *arguments]) == code
        assert capsys.readouterr().err.count("\n") == 1
    assert not Path("x.png").exists()
