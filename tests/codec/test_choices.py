"""Choices of the encoder: efforts, lambda, fine DCs and tune."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.layers import encode_blocks
from helpers.pictures import half_busy
from vqcodec import api
from vqcodec.bench.metrics import measure
from vqcodec.cli.main import main
from vqcodec.codec import choices, reconstruction, streams, symbols
from vqcodec.codec.pipeline import Encoder
from vqcodec.entropy import codebooks
from vqcodec.errors import InputError
from vqcodec.format import container
from vqcodec.io.image_reader import read_image
from vqcodec.options import DEFAULT_EFFORT, TUNES, EncodeOptions
from vqcodec.weights import registry
from vqcodec.weights.exact import DC_SET

MODEL = registry.find("photo-lite")


def test_efforts_aim_in_more_and_more_rounds() -> None:
    rounds = [choices.rounds_of(registry.find("photo"), effort) for effort in range(1, 10)]
    assert rounds == [0, 0, 0, 0, 0, 0, 1, 2, 4]
    assert DEFAULT_EFFORT == 5
    assert choices.rounds_of(registry.find("photo-lite"), 9) == 0


def test_lambda_is_smaller_with_a_synthesis() -> None:
    """A synthesis restores more if more texture is kept."""
    assert choices.lambda_of(registry.find("photo")) < choices.lambda_of(registry.find("photo-lite"))


@pytest.mark.parametrize(("effort", "more"), [(1, False), (5, True)])
def test_low_efforts_try_one_merge_map(effort: int, more: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    pack_layer = streams.pack_layer

    def noted(calls: Any, raw: bytes, model: Any, merge_map: int, levels: tuple[int, ...]) -> bytes:
        found.add(merge_map)
        return pack_layer(calls, raw, model, merge_map, levels)

    monkeypatch.setattr(streams, "pack_layer", noted)
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256), np.uint8)  # far above 8 KB at any merge map
    api.encode(pixels, quality=60, model="photo-lite", effort=effort, threads=1)
    assert 0 in found
    assert (len(found) > 1) == more


@pytest.mark.slow
@pytest.mark.parametrize("components", [1, 3])
def test_errors_move_to_busy_areas(components: int) -> None:
    pixels = half_busy(256, components).squeeze()
    files = {tune: encode_blocks(pixels, bpp=0.5 * components, model="photo-lite", tune=tune) for tune in TUNES}
    assert [container.read_file(files[tune])[0].masking for tune in TUNES] == [0, 5]
    errors = {tune: (api.decode(data).astype(float) - pixels) ** 2 for tune, data in files.items()}
    quiet, busy = (np.s_[:, :112], np.s_[:, 144:])
    assert errors["ssim"][quiet].mean() < 0.8 * errors["psnr"][quiet].mean()
    assert errors["ssim"][busy].mean() > errors["psnr"][busy].mean()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["photo-lite", "photo"])
def test_tune_ssim_raises_perceptual_metrics(model: str, samples: Path) -> None:
    pixels = read_image(samples / "still_life.png").pixels[40:296, 40:296]
    files = {tune: encode_blocks(pixels, bpp=0.5, model=model, tune=tune) for tune in TUNES}
    assert 0.97 < len(files["ssim"]) / len(files["psnr"]) < 1.03
    likeness = {tune: measure(pixels, api.decode(data)).ms_ssim for tune, data in files.items()}
    assert likeness["ssim"] > likeness["psnr"] + 0.001


def test_tune_is_an_option_of_every_way_to_encode(tmp_path: Path) -> None:

    import vqcodec.pillow  # noqa: F401  # registers the plugin

    grain = np.random.default_rng(1).integers(0, 3, (160, 160, 3), dtype=np.uint8)  # without it the picture is a graphic
    pixels, photo = half_busy(160, 3) // 2 + grain, tmp_path / "a.png"
    Image.fromarray(pixels).save(photo)
    options = {"quality": 30, "model": "photo-lite"}
    wanted = api.encode(pixels, tune="psnr", **options)
    assert wanted != api.encode(pixels, **options)
    assert (EncodeOptions().tuned_for, EncodeOptions(psnr=40).tuned_for) == ("ssim", "psnr")
    assert EncodeOptions(psnr=40, tune="ssim").tuned_for == "ssim"
    assert main(["encode", str(photo), str(tmp_path / "a.vqz"), "-q", "30", "-m", "photo-lite", "--tune", "psnr", "--strip"]) == 0
    assert (tmp_path / "a.vqz").read_bytes() == wanted
    Image.fromarray(pixels).save(tmp_path / "b.vqz", tune="psnr", **options)
    assert (tmp_path / "b.vqz").read_bytes() == wanted
    assert main(["encode", str(photo), str(tmp_path / "c.vqz"), "--tune", "grain"]) == 2
    with pytest.raises(InputError, match="tune is one of psnr, ssim"):
        api.encode(pixels, tune="grain")


@pytest.mark.parametrize("component", [0, 1, 2])
def test_dcs_of_coarse_passes_are_coded_more_precisely(component: int) -> None:
    cells = 256 * 256
    wanted = np.resize(np.linspace(-1, 1, cells // 64, dtype=np.float32), cells)
    classes = np.full(cells // 4, 8, np.uint8)  # a quiet class: anything but zero is dear
    means = np.zeros((1, cells // 4), np.int32)

    def error(density: float, word_size: int = codebooks.NATURAL_SIZE) -> float:
        some = np.arange(int(density * cells))
        writer = symbols.EncoderWriter(MODEL, np.tile(wanted, (3, 1)), 0.13)
        writer.start_layer(0)
        found = writer.code(DC_SET, slice(component, component + 1), some, means[:, some], classes[some], word_size)
        return float(np.abs(wanted[some] - found[0] / 16).max())

    assert error(1 / 64) < error(1 / 16) < error(1 / 4)
    assert error(1 / 64, codebooks.NATURAL_SIZE // 2) < error(1 / 64)


@pytest.mark.parametrize("components", [1, 3])
def test_fine_dcs_are_nearer_in_smooth_pictures(components: int) -> None:
    """DCs of a slow gradient differ by less than a step, so with coarse codewords whole areas are off."""
    gradient = 100 + 20 * np.add.outer(np.sin(np.arange(256) / 40), np.cos(np.arange(256) / 50))
    pixels = np.clip(gradient[..., None] + np.array((0, 12, -9))[:components], 0, 255).astype(np.uint8)

    def error(fine: bool) -> float:
        encoder = Encoder(pixels, MODEL, EncodeOptions(threads=1))
        header = replace(encoder.header(64 * 100), fine_dcs=fine)
        image = reconstruction.Plain(header, MODEL)
        image.add(header.groups[0], encoder.group(0, header).latents)
        decoded = image.pixels()
        return float(np.abs((decoded - pixels.astype(float)).reshape(8, 32, 8, 32, components).mean(axis=(1, 3))).mean())

    assert error(fine=True) < 0.9 * error(fine=False)
    assert choices.fine_dcs(components, 100) == (components == 3)
    assert not choices.fine_dcs(components, 20)
