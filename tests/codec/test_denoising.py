"""Denoising: whole pictures and strips, numpy and torch, the estimate of sigma, training, folders, the command."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.networks import random_network
from helpers.paths import REPOSITORY
from helpers.pictures import noisy_of, smooth_picture
from helpers.processes import Program
from helpers.small_models import DENOISER
from vqcodec import api
from vqcodec.cli.main import main
from vqcodec.codec import denoising
from vqcodec.errors import InputError, ModelError
from vqcodec.io import icc
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import INPUTS
from vqcodec.transform.color import OPPONENT, inverse_color_matrix
from vqcodec.weights import registry
from vqcodec.weights.denoiser import Denoiser, has_denoiser
from vqcodec.weights.folder import save_model

Pixels = np.ndarray


# ------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("components", [1, 3])
def test_a_network_that_returns_its_input_leaves_grey(components: int) -> None:
    """The network's head passes the linear inputs through and its tail undoes their divisor, so the whole picture is subtracted."""
    tensors = random_network(192, 1, 0, kind="denoiser")
    tensors["denoiser.head"] = np.eye(192, INPUTS["denoiser"], dtype=np.float16)
    tensors["denoiser.tail"] = (denoising.LINEAR_DIVISOR * np.eye(192)).astype(np.float16)
    all_noise = replace(DENOISER, tensors={**tensors, "color": OPPONENT})
    for height, width in ((1, 1), (9, 17), (8, 30)):
        pixels = smooth_picture(height, width, components).reshape(height, width, -1)
        for offsets in (((0, 0),), ((3, 5), (4, 0))):
            found = denoising.denoise(pixels, all_noise, 20, offsets=offsets).astype(int)
            assert np.abs(found - 128).max() <= 1


def test_the_noise_level_of_grey_matches_the_grey_plane_of_colour() -> None:
    """The grey plane of a colour picture has a third of the energy of the noise in R, G and B."""
    grey = noisy_of(smooth_picture(24, 32, 1), 12)[:, :, None]
    one = denoising.estimate_noise(grey, DENOISER, 12, (0, 0), (0, 3))[:, :, 0]
    three = denoising.estimate_noise(np.repeat(grey, 3, axis=2), DENOISER, 12 * 3**0.5, (0, 0), (0, 3))
    assert np.abs(one).mean() > 2
    np.testing.assert_allclose(one, three @ inverse_color_matrix(OPPONENT)[0] / inverse_color_matrix(OPPONENT)[0].sum(), atol=0.01)


def test_pixels_are_rounded_and_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.array([[0, 10, 254]], np.uint8)[:, :, None]
    for noise, wanted in ((0.4, [0, 10, 254]), (-0.6, [1, 11, 255]), (3, [0, 7, 251]), (-3, [3, 13, 255])):
        monkeypatch.setattr(denoising, "estimate_noise", lambda *_, noise=noise: np.full((8, 3, 1), noise, np.float32))
        assert denoising.denoise(pixels, DENOISER, 20)[0, :, 0].tolist() == wanted


def test_estimates_of_several_grids_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the average, block edges would show."""
    noise_at = {(0, 0): 2, (4, 4): 6}
    monkeypatch.setattr(denoising, "estimate_noise", lambda *given: np.full((8, 3, 1), noise_at[given[3]], np.float32))
    assert (denoising.denoise(np.full((1, 3, 1), 100, np.uint8), DENOISER, 20) == 96).all()


def test_no_noise_found_changes_nothing() -> None:
    silent = replace(DENOISER, tensors={**random_network(4, 1, 0, kind="denoiser"), "color": OPPONENT})
    pixels = smooth_picture(20, 30)
    np.testing.assert_array_equal(api.denoise(pixels, model=silent, sigma=30), pixels)


@pytest.mark.parametrize("components", [1, 3])
def test_strips_and_threads_change_nothing(components: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = smooth_picture(150, 61, components)
    whole = api.denoise(pixels, model=DENOISER, sigma=20, threads=1)
    assert np.abs(whole.astype(int) - pixels).mean() > 2
    np.testing.assert_array_equal(api.denoise(pixels, model=DENOISER, sigma=20, threads=1), whole)
    monkeypatch.setattr(convolution, "_STRIP_CELLS", 1)
    assert len(convolution.strips(DENOISER.network.halo + 2, (19, 8))) > 2
    parts = api.denoise(pixels, model=DENOISER, sigma=20, threads=2)
    assert (parts == whole).mean() > 0.999  # the rest differ by the order of sums
    assert np.abs(parts.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("components", [1, 3])
def test_strips_see_all_the_cells_that_they_depend_on(components: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's output depends as much on the farthest cells it sees as on near ones."""
    tensors = random_network(6, 2, 0.8, kind="denoiser")
    tensors = {name: array * np.float16(0.005 if ".tail" in name else 1) for name, array in tensors.items()}
    far_sighted, pixels = replace(DENOISER, tensors={**tensors, "color": OPPONENT}), smooth_picture(150, 61, components)
    whole = api.denoise(pixels, model=far_sighted, sigma=20, threads=1)
    assert np.abs(whole.astype(int) - pixels).mean() > 10
    monkeypatch.setattr(convolution, "_STRIP_CELLS", 1)
    parts = api.denoise(pixels, model=far_sighted, sigma=20, threads=1)
    assert np.abs(parts.astype(int) - whole).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (9, 17), (7, 40, 1), (12, 13, 2), (1, 5, 3), (16, 24, 4)])
def test_shapes_and_alpha(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = api.denoise(pixels, model=DENOISER, sigma=25)
    assert found.shape == shape
    assert found.dtype == np.uint8
    assert (found != pixels).any()
    if shape[2:] in ((2,), (4,)):
        np.testing.assert_array_equal(found[:, :, -1], pixels[:, :, -1])


def test_grey_in_rgb_is_grey() -> None:
    grey = noisy_of(smooth_picture(40, 48, 1), 20)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    found = api.denoise(colour, model=DENOISER)
    np.testing.assert_array_equal(found, np.repeat(api.denoise(grey, model=DENOISER)[:, :, None], 3, axis=2))
    assert api.estimate_sigma(colour) == api.estimate_sigma(grey) > 10


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4), np.uint8)])
def test_other_types_and_shapes_are_refused(pixels: Pixels) -> None:
    with pytest.raises(InputError):
        api.denoise(pixels, model=DENOISER)
    with pytest.raises(InputError):
        api.estimate_sigma(pixels)


@pytest.mark.parametrize("sigma", [-1, 101, float("nan")])
def test_sigmas_out_of_range_are_refused(sigma: float) -> None:
    with pytest.raises(InputError, match="0 to 100"):
        api.denoise(smooth_picture(8, 8), model=DENOISER, sigma=sigma)


# ------------------------------------------------------------------------------------------------ estimation of the noise level


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("sigma", [0, 5, 10, 25])
def test_sigma_of_a_sample(still_life: Pixels, sigma: float, components: int) -> None:
    clean = still_life if components == 3 else np.asarray(Image.fromarray(still_life).convert("L"))
    assert api.estimate_sigma(noisy_of(clean, sigma)) == pytest.approx(sigma, rel=0.05, abs=0.8)


def test_sigma_of_flat_and_of_small_pictures() -> None:
    for shape in ((1, 1), (7, 30), (8, 8), (64, 64, 3)):
        assert api.estimate_sigma(np.full(shape, 77, np.uint8)) == pytest.approx(0, abs=0.01)
    assert api.estimate_sigma(noisy_of(np.full((256, 256, 3), 128), 12)) == pytest.approx(12, rel=0.05)


def test_estimates_do_not_exceed_the_largest_sigma() -> None:
    """`denoise` refuses larger ones."""
    wild = np.random.default_rng(0).choice(np.array([2, 253], np.uint8), (64, 64, 3))
    assert api.estimate_sigma(wild) == denoising.MAX_SIGMA
    assert api.denoise(wild, model=DENOISER).shape == wild.shape


def test_clipped_blocks_are_left_out() -> None:
    """Half of the picture is black, where clipping removes half of the noise."""
    clean = np.full((128, 256, 3), 128)
    clean[:, :128] = 0
    assert api.estimate_sigma(noisy_of(clean, 15)) == pytest.approx(15, rel=0.06)


def test_sigma_does_not_depend_on_strips(still_life: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = noisy_of(still_life[:200, :200], 20)
    whole = api.estimate_sigma(noisy)
    monkeypatch.setattr(convolution, "_STRIP_CELLS", 30)
    assert api.estimate_sigma(noisy) == pytest.approx(whole, rel=1e-5)


# ------------------------------------------------------------------------------------------------ folders and the command


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models with a denoiser named `calm`, and photo-lite with it inside, as `both`."""
    folder = tmp_path / "models"
    save_model(folder / "calm", replace(DENOISER, name="calm"))
    lite = registry.find("photo-lite")
    both = lite.tensors | DENOISER.tensors | {"color": lite.color}
    save_model(folder / "both", replace(lite, name="both", tensors=both, summary={}))
    monkeypatch.setenv("VQCODEC_MODELS", str(folder))
    return folder


def test_denoisers_are_listed_but_not_found_as_models(installed: Path) -> None:
    entries = {entry.name: entry for entry in registry.list_models()}
    assert entries["calm"].kind == "denoiser"
    assert entries["calm"].id == DENOISER.id[:12]
    assert registry.find_denoiser("calm").id == registry.find_denoiser(installed / "calm").id == DENOISER.id
    with pytest.raises(ModelError, match=r"no model named calm \(installed: both, .*\): calm is a denoiser, for denoise -m$"):
        registry.find("calm")
    with pytest.raises(ModelError, match=r"no model at .*calm: it is a denoiser, for denoise -m$"):
        registry.find(installed / "calm")
    with pytest.raises(ModelError, match=r"no refiner named calm"):
        registry.find_refiner("calm")
    with pytest.raises(ModelError, match=r"no denoiser named photo-lite \(installed: both, calm"):
        registry.find_denoiser("photo-lite")
    with pytest.raises(ModelError, match=r"no denoiser at .*photo-lite: it is a lite or neural model, for encode -m$"):
        registry.find_denoiser(REPOSITORY / "models" / "photo-lite")


def test_a_model_of_another_kind_may_carry_one(installed: Path) -> None:
    pixels = smooth_picture(24, 32)
    data = api.encode(pixels, model="both")
    assert api.decode(data).shape == pixels.shape  # found by its id
    np.testing.assert_array_equal(api.denoise(pixels, model="both", sigma=20), api.denoise(pixels, model=DENOISER, sigma=20))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("denoiser.tail", None, "tensor 'denoiser.tail' is missing"),
        ("color", None, "tensor 'color' is missing"),
        ("color", np.zeros((3, 3), np.int32), "color is wrong"),
        ("color", np.zeros((3, 2), np.int32), "color is wrong"),
        ("denoiser.head", np.zeros((6, 9), np.float16), "denoiser.head is wrong"),
        ("denoiser.head", np.zeros(3, np.float16), "denoiser.head is wrong"),
        ("denoiser.project_bias", np.full((2, 6), np.nan, np.float16), "denoiser.project_bias is wrong"),
        ("denoiser.expand", np.zeros((0, 12, 6), np.float16), "is wrong"),
    ],
)
def test_damaged_denoisers_are_refused(name: str, value: np.ndarray | None, message: str, tmp_path: Path) -> None:
    tensors = {key: array for key, array in DENOISER.tensors.items() if key != name} | ({} if value is None else {name: value})
    save_model(tmp_path / "damaged", replace(DENOISER, tensors=tensors))
    with pytest.raises(ModelError, match=message):
        Denoiser.load(tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot be read"):
        Denoiser.load(tmp_path / "damaged")
    assert not has_denoiser(tmp_path / "damaged")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_the_command(mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "noisy.png", tmp_path / "calm.png"
    pixels = np.concatenate([noisy_of(smooth_picture(40, 48), 20), np.arange(1920, dtype=np.uint8).reshape(40, 48, 1)], axis=2)
    profile = icc.profile(icc.Colours("test", curves=(icc.gamma_curve(2),) * 3), grey=mode in ("L", "LA"))
    exif = Image.Exif()
    exif[0x010E] = "a noisy picture"
    Image.fromarray(pixels).convert(mode).save(source, icc_profile=profile, exif=exif)
    command = ["denoise", str(source), str(output), "-m", "calm"]
    assert main([*command, "--sigma", "20"]) == 0
    assert "note: sigma 20.0 grey levels, given" in capsys.readouterr().err
    with Image.open(output) as image, Image.open(source) as noisy:
        assert image.mode == mode
        assert image.info["icc_profile"] == profile
        assert image.getexif()[0x010E] == "a noisy picture"
        np.testing.assert_array_equal(np.asarray(image), api.denoise(np.asarray(noisy), model="calm", sigma=20))
    assert main(command) == 5  # the output exists
    assert main([*command, "-f"]) == 0
    found = float(capsys.readouterr().err.split("note: sigma ")[1].split()[0])
    with Image.open(source) as noisy:
        assert found == pytest.approx(api.estimate_sigma(np.asarray(noisy)), abs=0.06)


@pytest.mark.usefixtures("installed")
def test_a_picture_without_noise_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean = np.full((40, 48, 3), 90, np.uint8)
    Image.fromarray(clean).save(tmp_path / "clean.png")
    assert main(["denoise", str(tmp_path / "clean.png"), str(tmp_path / "same.ppm"), "-m", "calm"]) == 0
    assert "sigma 0.0 grey levels, estimated: too little to remove" in capsys.readouterr().err
    with Image.open(tmp_path / "same.ppm") as image:
        np.testing.assert_array_equal(np.asarray(image), clean)


def test_streams_and_no_torch(installed: Path, program: Program) -> None:
    source = io.BytesIO()
    Image.fromarray(noisy_of(smooth_picture(24, 32), 20)).save(source, "PNG")
    done = program("denoise", "-", "-", "-m", installed / "calm", stdin=source.getvalue())
    assert done.returncode == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == "PNG"
        assert image.size == (32, 24)


@pytest.mark.usefixtures("installed")
def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(smooth_picture(16, 16)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "no.png").write_bytes(b"no picture")
    source, output = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    cases: list[tuple[list[str], int, str]] = [
        ([source, output, "-m", "calm", "--sigma", "much"], 2, "'much' is not auto or a number from 0 to 100"),
        ([source, output, "-m", "calm", "--sigma", "-3"], 2, "is not auto or a number from 0 to 100"),
        ([source, output, "-m", "calm", "--sigma", "nan"], 2, "is not auto or a number from 0 to 100"),
        ([source, output, "-m", "calm", "--sigma", "300"], 2, "is not auto or a number from 0 to 100"),
        ([str(tmp_path / "no.png"), output, "-m", "calm"], 3, "is not a picture"),
        ([str(tmp_path / "deep.png"), output, "-m", "calm"], 3, "8 bits a sample"),
        ([source, output, "-m", "nobody"], 4, "no denoiser named nobody (installed: both, calm"),
        ([source, output, "-m", str(tmp_path)], 4, "no model at "),
        ([source, source, "-m", "calm", "-f"], 5, "input and output at once"),
        ([source, str(tmp_path / "b.xyz"), "-m", "calm"], 5, "unknown picture format"),
        ([source, output, "-m", "calm", "--max-pixels", "9"], 6, "more than 9"),
    ]
    for arguments, code, message in cases:
        assert main(["denoise", *arguments]) == code, arguments
        assert message in capsys.readouterr().err, arguments
    assert not Path(output).exists()


# ------------------------------------------------------------------------------------------------ the installed model


@pytest.fixture(scope="module")
def calmed(still_life: Pixels) -> tuple[Pixels, Pixels]:
    """A part of a sample, without and with noise of sigma 25."""
    clean = still_life[128:320, 256:512]
    return clean, noisy_of(clean, 25)


def psnr_of(pixels: Pixels, clean: Pixels) -> float:
    return 10 * float(np.log10(255**2 / np.square(pixels.astype(float) - clean).mean()))


def test_photo_denoise_gains_on_a_sample(calmed: tuple[Pixels, Pixels]) -> None:
    clean, noisy = calmed
    before = psnr_of(noisy, clean)
    assert psnr_of(api.denoise(noisy, sigma=25), clean) > before + 10
    assert psnr_of(api.denoise(noisy), clean) > before + 10
    assert api.estimate_sigma(noisy) == pytest.approx(25, abs=1.5)
    grey, noisy_grey = (pixels[:, :, 1] for pixels in calmed)
    assert psnr_of(api.denoise(noisy_grey), grey) > psnr_of(noisy_grey, grey) + 9


def test_photo_denoise_hardly_touches_a_clean_sample(calmed: tuple[Pixels, Pixels]) -> None:
    clean, _ = calmed
    np.testing.assert_array_equal(api.denoise(clean), clean)
    assert psnr_of(api.denoise(clean, sigma=5), clean) > 40
