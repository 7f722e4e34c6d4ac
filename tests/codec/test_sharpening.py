"""Sharpening: a refiner's texture, decoding with it whole and in parts, devices, the command, training."""

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.marks import fast_first
from helpers.networks import random_network, with_scarce_memory
from helpers.pictures import smooth_picture
from helpers.small_models import REFINER, random_refiner
from helpers.vqz_fields import with_synthesis
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import devices, sharpening
from vqcodec.errors import InputError, ModelError
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import GRAIN, INPUTS, OUTPUTS, REFINER_OUTPUTS, plain_coefficients
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY
from vqcodec.weights import registry
from vqcodec.weights.folder import save_model
from vqcodec.weights.refiner import Refiner

Pixels = np.ndarray


@pytest.fixture(scope="module")
def picture(still_life: Pixels) -> Pixels:
    """A part of a sample, 133 x 96 pixels."""
    return still_life[60:156, 40:173]


@pytest.fixture(scope="module")
def coded(picture: Pixels) -> bytes:
    return api.encode(picture, quality=20, effort=1)


# ------------------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("model", ["photo", "photo-lite"])
def test_strength_scales_the_added_texture(picture: Pixels, model: str) -> None:
    data = api.encode(picture, quality=20, model=model, effort=1, tune="psnr")  # shown by the synthesis that the refiner is behind
    best, none, half, full = (
        api.decode(data), *(api.decode(data, refine="gan", strength=s, refiner=REFINER).astype(int) for s in (0, 0.5, 1))
    )  # fmt: skip
    np.testing.assert_array_equal(best, none)
    assert np.abs(full - best).mean() > 2
    inside = (full > 0) & (full < 255) & (half > 0) & (half < 255)
    assert np.abs((half - best) * 2 - (full - best))[inside].max() <= 4  # a blend, up to rounding


@pytest.mark.parametrize("components", [1, 3])
def test_means_of_blocks_stay(picture: Pixels, components: int) -> None:
    pixels = (64 + picture // 2)[:, :, :components]  # far from black and white
    # a refiner is behind the synthesis that shows files tuned for psnr
    data, weak = api.encode(pixels, quality=20, effort=1, tune="psnr"), random_refiner(0.04)
    best, refined = (api.decode(data, **options) for options in ({}, {"refine": "gan", "strength": 1, "refiner": weak}))
    assert np.abs(refined.astype(int) - best).mean() > 2
    assert np.array_equal(refined, refined.clip(1, 254))  # nor there now
    small = [p[:, :128].reshape(12, 8, 16, 8, -1).mean(axis=(1, 3)) for p in (best, refined)]
    assert np.abs(small[0] - small[1]).mean() < 0.2  # rounding alone


@pytest.mark.parametrize("layout", [GREY, COLOR_4X4, COLOR_8X8], ids=["grey", "4x4", "8x8"])
def test_dcs_are_left_alone_and_strips_have_no_seams(layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    h, w = 41, 5
    latents = np.random.default_rng(2).integers(-200, 200, (layout.channels, h * w)).astype(np.int16)
    restored = partial(plain_coefficients, latents, 20.0, (h, w), layout)
    sharpener = sharpening.Sharpener(REFINER, 1.0)
    given = {"decoded": restored, "latents": latents, "step_levels": 20.0, "grid": (h, w), "layout": layout, "corner": (3, 4)}
    sharpen = partial(sharpener.sharpen, **given)
    whole = sharpen((0, h))
    added = whole - restored((0, h))
    assert not added[: layout.components].any()
    assert np.abs(added[layout.components :]).mean() > 1
    monkeypatch.setattr(convolution, "_STRIP_CELLS", 1)
    strips = convolution.strips(sharpener.halo, (h, w))
    assert len(strips) > 3
    np.testing.assert_allclose(np.concatenate([sharpen(rows) for rows in strips], axis=1), whole, rtol=1e-4, atol=1e-3)


def test_noise_depends_on_the_position_alone_and_is_white() -> None:
    whole = sharpening.noise((0, 0), 200, 150)
    np.testing.assert_array_equal(sharpening.noise((30, 40), 7, 9), whole[:, 30:37, 40:49])
    assert abs(whole.mean()) < 0.01
    assert whole.std() == pytest.approx(1, abs=0.01)
    shifted = [np.roll(whole, shift, axis=axis) for axis in range(3) for shift in (1, 2, 3)]
    assert max(abs((whole * other).mean()) for other in shifted) < 0.01
    assert len(np.unique(whole)) > 0.9 * whole.size


def test_grain_is_luma_noise_with_the_strength_from_the_network() -> None:
    strengths = np.zeros((REFINER_OUTPUTS, 60, 50), np.float32)
    np.testing.assert_array_equal(sharpening.added_coefficients(strengths, (0, 0)), 0)
    strengths[OUTPUTS:] = np.arange(GRAIN, dtype=np.float32)[:, None, None]
    whole = sharpening.added_coefficients(strengths, (0, 0))
    luma = np.array([component == 0 for component, _, _ in COLOR_8X8.positions])
    assert not whole[~luma].any()
    wanted = np.arange(GRAIN) * sharpening.grain_emphasis().reshape(-1)
    np.testing.assert_allclose(whole[luma].std(axis=(1, 2)), wanted, rtol=0.05)
    assert wanted[-1] > 0
    np.testing.assert_array_equal(sharpening.added_coefficients(strengths[:, :7, :9], (30, 40)), whole[:, 30:37, 40:49])
    inputs = sharpening.noise((0, 0), 60, 50)
    assert max(abs((one * other).mean()) for one in inputs for other in sharpening.grain((0, 0), 60, 50)) < 0.1


def test_refiners_without_grain_decode_as_with_grain_of_strength_0(coded: bytes) -> None:
    rows = ("refiner.tail", "refiner.tail_bias")
    without = replace(REFINER, tensors=REFINER.tensors | {name: REFINER.tensors[name][:OUTPUTS] for name in rows})
    without.check()
    silent = {name: REFINER.tensors[name].copy() for name in rows}
    for array in silent.values():
        array[OUTPUTS:] = 0
    pictures = [
        api.decode(coded, refine="gan", strength=1, refiner=refiner)
        for refiner in (without, replace(REFINER, tensors=REFINER.tensors | silent), REFINER)
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert np.abs(pictures[2].astype(int) - pictures[1]).mean() > 1


@pytest.mark.parametrize("tile", fast_first([None, 64]))
def test_a_region_is_a_part_of_the_whole(picture: Pixels, tile: int | None) -> None:
    data = api.encode(picture, quality=20, effort=1, tile=tile)
    options: dict[str, Any] = {"refine": "gan", "strength": 1, "refiner": REFINER}
    whole = api.decode(data, **options).astype(int)
    with api.open_vqz(io.BytesIO(data)) as opened:
        part = opened.read((50, 30, 70, 57), **options)
    assert np.abs(part - whole[30:87, 50:120]).max() <= 1


def far_sighted(kind: str, tail: float, ends: tuple[int, int] | None = None) -> dict[str, np.ndarray]:
    """Tensors of a network whose output depends as much on the farthest cells it sees as on near ones."""
    tensors = random_network(6, 2, 0.8, kind=kind, ends=ends)
    return {name: array * np.float16(tail if ".tail" in name else 1) for name, array in tensors.items()}


@pytest.mark.parametrize(("synthesis", "refined"), fast_first([(True, True), (True, False), (False, True)]))
def test_a_region_is_decoded_from_all_the_cells_that_it_depends_on(synthesis: bool, refined: bool) -> None:
    """A network that hardly depended on the farthest cells would not show that they are missing."""
    lite = registry.find("photo-lite")
    model = replace(lite, tensors=lite.tensors | (far_sighted("synthesis", 0.005) if synthesis else {}))
    ends = INPUTS["refiner"], REFINER_OUTPUTS
    refiner = replace(REFINER, tensors=far_sighted("refiner", 0.001, ends) | {"color": lite.color})
    data = with_synthesis(api.encode(smooth_picture(152, 160), quality=20, effort=1, model=model))
    options: dict[str, Any] = {"refine": "gan", "strength": 1, "refiner": refiner} if refined else {"refine": "best"}
    whole = api.decode(data, model=model, **options).astype(int)
    assert np.abs(whole - api.decode(data, model=model, refine="none")).mean() > 20
    with api.open_vqz(io.BytesIO(data), model=model) as opened:
        part = opened.read((72, 64, 16, 16), **options)  # 2x2 cells, with more cells around them than any network sees
    assert np.abs(part - whole[64:80, 72:88]).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_grey_and_alpha(channels: int) -> None:
    pixels = np.concatenate([smooth_picture(40, 56, 3, seed) for seed in (0, 1)], axis=2)[:, :, :channels]
    data = api.encode(pixels, quality=10, effort=1)
    refined, best = api.decode(data, refine="gan", refiner=REFINER), api.decode(data)
    assert refined.shape == best.shape
    assert (refined != best).any()
    if channels in (2, 4):
        np.testing.assert_array_equal(refined[:, :, -1], best[:, :, -1])


def test_the_default_strength_falls_with_the_step(picture: Pixels) -> None:
    steps = np.geomspace(5, 180, 40)
    found = [sharpening.default_strength(step) for step in steps]
    assert found == sorted(found)
    assert (min(found), max(found)) == (0, sharpening.DEFAULT_STRENGTH)
    strengths = [sharpening.default_strength(step) for step in (13, (13 * 60) ** 0.5, 60)]
    assert strengths == pytest.approx([0, 0.35, 0.7])
    fine = api.encode(picture, quality=80, effort=1)
    np.testing.assert_array_equal(api.decode(fine, refine="gan", refiner=REFINER), api.decode(fine))


def test_options_that_contradict_each_other_are_refused(coded: bytes) -> None:
    for options, error in (
        ({"refine": "gan", "strength": 1.5}, "strength is a number from 0 to 1"),
        ({"strength": 0.5}, "for refine gan"),
        ({"refiner": "photo-gan"}, "for refine gan"),
    ):
        with pytest.raises(InputError, match=error):
            api.decode(coded, **options)
    with pytest.raises(ModelError, match=r"no refiner named photo \(.*\): photo is a lite or neural model, for encode -m$"):
        api.decode(coded, refine="gan", refiner="photo")
    other = replace(REFINER, tensors={**REFINER.tensors, "color": OPPONENT + 1})
    with pytest.raises(ModelError, match="other colours"):
        api.decode(coded, refine="gan", refiner=other)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("refiner.tail", None, "'refiner.tail' is missing"),
        ("refiner.head", np.zeros((6, 97), np.float16), "refiner.head is wrong"),
        ("refiner.tail_bias", np.full(192, np.nan, np.float16), "refiner.tail_bias is wrong"),
        ("color", np.zeros((2, 3), np.int32), "color is wrong"),
    ],
)
def test_damaged_refiners_are_refused(name: str, value: np.ndarray | None, error: str) -> None:
    tensors = {key: array for key, array in (REFINER.tensors | {name: value}).items() if array is not None}
    with pytest.raises(ModelError, match=error):
        Refiner("bad", tensors).check()


# ------------------------------------------------------------------------------------------------ memory and devices


def test_a_gpu_without_memory_gives_a_note(coded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_network_on(device: str, model: Any, kind: str) -> convolution.RunNetwork:
        network = model.network if kind == "refiner" else model.synthesis
        return with_scarce_memory(9, partial(convolution.run_network, network))

    gpu = SimpleNamespace(run_network_on=run_network_on, model_on=lambda device, model: model)
    monkeypatch.setattr(devices, "_inference", lambda device: gpu)
    options: dict[str, Any] = {"refine": "gan", "strength": 1, "refiner": REFINER}
    with api.open_vqz(io.BytesIO(coded)) as opened:
        found = opened.read(device="cuda", **options)
    said = "too little memory on the GPU: a network ran"
    assert opened.notes == [f"{said} on the CPU", f"{said} in smaller strips"]  # the synthesis, of few rows; the refiner
    monkeypatch.undo()
    assert np.abs(found.astype(int) - api.decode(coded, **options)).max() <= 1


def test_torch_agrees_with_numpy_and_raises_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from vqcodec.neural import inference

    run = inference.run_network_on("cpu", REFINER, "refiner")
    x = np.random.default_rng(3).standard_normal((INPUTS["refiner"], 9, 7)).astype(np.float32)
    np.testing.assert_allclose(run(x), convolution.run_network(REFINER.network, x), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(run(x, (2, 5)), run(x)[:, 2:5])

    def out_of_memory(*given: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.nn.Conv2d, "forward", out_of_memory)
    with pytest.raises(MemoryError):
        run(x)


def test_without_cuda_the_error_is_one_line(
    coded: bytes, tmp_path: Path, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    file = tmp_path / "a.vqz"
    file.write_bytes(coded)
    given = ["--refine", "gan", "--refiner", "sharp", "--device", "cuda"]
    assert main(["decode", str(file), str(tmp_path / "a.png"), *given]) == 3
    assert capsys.readouterr().err == f"vqcodec: {file}: no CUDA device was found: use --device cpu\n"
    assert not (tmp_path / "a.png").exists()


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with a refiner named `sharp`."""
    folder = tmp_path / "models"
    save_model(folder / "sharp", replace(REFINER, name="sharp", summary={"name": "sharp", "kind": "refiner"}))
    monkeypatch.setenv("VQCODEC_MODELS", str(folder))
    return folder


def test_the_command_sharpens_and_does_not_change_the_file(
    coded: bytes, tmp_path: Path, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.vqz").write_bytes(coded)
    given = ["--refine", "gan", "--refiner", "sharp", "--strength", "1"]
    assert main(["decode", str(folder), str(tmp_path / "out"), *given]) == 0
    assert main(["decode", str(folder / "a.vqz"), str(tmp_path / "best.png")]) == 0
    refined, best = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("out/a.png", "best.png"))
    assert np.abs(refined - best).mean() > 2
    assert (folder / "a.vqz").read_bytes() == coded
    for given, code in (
        (["--refine", "gan", "--refiner", "nobody"], 4),
        (["--strength", "1"], 2),
        (["--refine", "gan", "--scale", "2"], 2),
        (["--refine", "gan", "--strength", "2"], 2),
    ):
        assert main(["decode", str(folder / "a.vqz"), str(tmp_path / "b.png"), *given]) == code
        assert not (tmp_path / "b.png").exists()


def test_refiners_are_listed_but_not_found_as_models(coded: bytes, installed: Path) -> None:
    entries = {entry.name: entry for entry in registry.list_models()}
    assert entries["sharp"].kind == "refiner"
    assert entries["sharp"].id == REFINER.id[:12]
    assert registry.find_by_id(registry.find("photo").file_id).name == "photo"
    with pytest.raises(ModelError, match=r"no model named sharp \(.*\): sharp is a refiner, for decode --refine gan --refiner$"):
        registry.find("sharp")
    with pytest.raises(ModelError, match=r"no model at .*sharp: it is a refiner"):
        registry.find(installed / "sharp")
    np.testing.assert_array_equal(Refiner.load(installed / "sharp").network.head, REFINER.network.head)


# ------------------------------------------------------------------------------------------------ tables


def test_emphasis_rises_with_the_frequency() -> None:
    weights_of = dict(zip(COLOR_8X8.positions, sharpening.emphasis().reshape(-1).tolist(), strict=True))
    for (component, v, u), weight in weights_of.items():
        high = 0.6 if component else 4.4
        assert weight == pytest.approx(high / 3.5 * min(max(max(v, u) - 1.5, 0), 3.5))
    luma = [position for position in COLOR_8X8.positions if position[0] == 0]
    grain_of = zip(luma, sharpening.grain_emphasis().reshape(-1), strict=True)
    for (_, v, u), weight in grain_of:
        assert weight == pytest.approx(2 * max(max(v, u) - 3, 0))


def test_repeats_are_subtracted_from_high_frequencies() -> None:
    rng = np.random.default_rng(0)
    screen = np.broadcast_to(rng.standard_normal((192, 1, 1)).astype(np.float32), (192, 9, 12))
    high = np.array([max(v, u) >= 3 for _, v, u in COLOR_8X8.positions])
    left = screen.copy()
    sharpening.subtract_repeats(left)
    assert np.abs(left[high]).max() < 1e-5
    np.testing.assert_array_equal(left[~high], screen[~high])
    single = np.zeros((192, 9, 12), np.float32)
    single[:, 4, 5] = 1
    sharpening.subtract_repeats(single)
    np.testing.assert_allclose(single[high, 4, 5], 24 / 25, rtol=1e-5)
    assert np.count_nonzero(single[high].any(axis=0)) == 25
