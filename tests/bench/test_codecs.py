"""Tests of bench/codecs.py: real files, grey and colour, specs, and messages about missing packages."""

import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, features

from vqcodec.bench.codecs import (
    BenchUsageError,
    VqzCodec,
    bracket,
    open_codec,
    parse_avif,
    parse_jxl,
    parse_vqz,
    to_grey,
    with_decoders,
)
from vqcodec.bench.metrics import psnr_rgb_db
from vqcodec.errors import CorruptError, MissingExtraError
from vqcodec.options import DEFAULT_EFFORT

KODAK = Path(__file__).resolve().parents[3] / "shared" / "data" / "kodak"


def picture(*shape: int) -> np.ndarray:
    """Smooth colours with some texture, uint8."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    plane = 120 + 80 * np.sin(rows / 17) * np.cos(columns / 23) + np.random.default_rng(0).normal(scale=4, size=shape[:2])
    planes = plane if len(shape) == 2 else np.stack([plane, 0.8 * plane, 200 - 0.5 * plane], axis=2)
    return planes.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("spec", ["jpeg", "webp", "avif", "avif:8:444:psnr"])
@pytest.mark.parametrize("shape", [(48, 64, 3), (33, 47, 3), (1, 1, 3), (48, 64), (17, 9)])
def test_round_trip_through_a_real_file(spec, shape):
    codec = open_codec(spec)
    original = picture(*shape)
    data = codec.encode(original, 88)
    assert Image.open(BytesIO(data)).format == spec.split(":")[0].upper()
    decoded = codec.decode(data)
    if original.ndim == 2 and not codec.has_grey and decoded.ndim == 3:
        decoded = to_grey(decoded)
    assert decoded.shape == shape
    assert psnr_rgb_db(original, decoded) > 30


def test_grey_is_stored_as_grey():
    grey = picture(48, 64)
    assert Image.open(BytesIO(open_codec("jpeg").encode(grey, 50))).mode == "L"
    assert len(open_codec("avif").encode(grey, 50)) < len(open_codec("avif").encode(np.stack([grey] * 3, 2), 50))


def test_jpeg_is_progressive_with_halved_chroma():
    with Image.open(BytesIO(open_codec("jpeg").encode(picture(48, 64, 3), 95))) as image:
        assert image.info["progressive"]
        assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7)])
def test_none_is_lossless(shape):
    codec = open_codec("none")
    original = picture(*shape)
    data = codec.encode(original, 100)
    assert len(data) == original.size + 9
    assert np.array_equal(codec.decode(data), original)
    with pytest.raises(CorruptError):
        codec.decode(data[:-1])


@pytest.mark.parametrize("spec", ["vqz:lossless", "vqz:lossless:9", "png", "webp:lossless", "jxl:lossless"])
@pytest.mark.parametrize("shape", [(48, 64, 3), (33, 47), (1, 1, 3)])
def test_lossless_codecs_keep_every_pixel(spec, shape):
    if spec.startswith("jxl"):
        pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    codec = open_codec(spec)
    assert (codec.name, codec.lossless, len(codec.qualities)) == (spec, True, 1)
    assert "lossless" in codec.description or spec == "png"
    original = picture(*shape)
    data = codec.encode(original, codec.qualities[0])
    assert codec.encode(original, 1) == data
    decoded = codec.decode(data)
    if original.ndim == 2 and not codec.has_grey:
        decoded = to_grey(decoded)
    assert np.array_equal(decoded, original)


def test_a_model_named_lossless_has_a_path():
    assert parse_vqz("vqz:./lossless").model == "./lossless"
    assert not parse_vqz("vqz:./lossless").lossless


@pytest.mark.parametrize("spec", ["jpeg", "webp", "avif", "avif:444:psnr", "avif:9:psnr"])
def test_the_default_sweep_spans_a_tenth_of_a_bit_to_two(spec):
    if not KODAK.exists():
        pytest.skip("../shared/data/kodak is missing: no photos to encode")
    codec = open_codec(spec)
    crops = [np.array(Image.open(KODAK / f"kodim{number}.png"))[128:384, 128:384] for number in ("05", "10", "15")]
    for quality, fits in ((codec.qualities[0], lambda bpp: bpp < 0.2), (codec.qualities[-1], lambda bpp: bpp > 2)):
        assert fits(np.mean([8 * len(codec.encode(crop, quality)) / 256**2 for crop in crops]))
    assert list(codec.qualities) == sorted(codec.qualities)


@pytest.mark.parametrize(
    "spec",
    [
        *("jpg", "", "jpeg:4", "none:1", "vqz:m:10", "vqz:m:0", "vqz:m:x", "vqz:m:5:6", "vqz:m:5:ssim:x", "vqz:m:ssim", "jpeg+gan"),
        *("vqz+sharp", "vqz:lossless:5:ssim", "vqz:lossless+none", "png:9", "webp:lossy", "avif:lossless", "png+gan"),
        *("avif:", "avif:11", "avif:-1", "avif:06", "avif:422", "avif:444:420", "avif:3:4", "avif:psnr:psnr", "avif:iq"),
        *("avif+gan", "avif:444+gan"),
        *("jxl:", "jxl:0", "jxl:11", "jxl:07", "jxl:7:8", "jxl:lossless:9", "jxl:psnr", "jxl+best"),
    ],
)
def test_an_invalid_spec_is_refused(spec):
    with pytest.raises(BenchUsageError):
        open_codec(spec)


@pytest.mark.parametrize(
    ("spec", "name", "description"),
    [
        ("avif", "avif", "speed 6, 4:2:0, default tune"),
        ("avif:420:6", "avif", "speed 6, 4:2:0, default tune"),
        ("avif:444", "avif:444", "speed 6, 4:4:4, default tune"),
        ("avif:psnr", "avif:psnr", "speed 6, 4:2:0, tune psnr"),
        ("avif:psnr:444", "avif:444:psnr", "speed 6, 4:4:4, tune psnr"),
        ("avif:0", "avif:0", "speed 0, 4:2:0, default tune"),
        ("avif:444:psnr:3", "avif:3:444:psnr", "speed 3, 4:4:4, tune psnr"),
        ("avif:psnr:10", "avif:10:psnr", "speed 10, 4:2:0, tune psnr"),
    ],
)
def test_settings_of_avif_have_one_name_in_any_order(spec, name, description):
    codec = open_codec(spec)
    assert (codec.name, codec.description) == (name, description)
    assert parse_avif(name) == parse_avif(spec)


@pytest.mark.parametrize(("spec", "effort", "name"), [("jxl", 7, "jxl"), ("jxl:7", 7, "jxl"), ("jxl:10", 10, "jxl:10")])
def test_jpeg_xl_takes_an_effort(spec, effort, name, monkeypatch):
    asked = []
    library = SimpleNamespace(
        JPEGXL=SimpleNamespace(available=True),
        jpegxl_version=lambda: "libjxl 1",
        jpegxl_encode=lambda pixels, **options: asked.append(options["effort"]) or b"file",
        __version__="2",
    )
    monkeypatch.setitem(sys.modules, "imagecodecs", library)
    codec = open_codec(spec)
    assert parse_jxl(spec) == effort
    assert (codec.name, codec.description) == (name, f"effort {effort}")
    assert codec.encode(picture(8, 8), 50) == b"file"
    assert asked == [effort]


@pytest.mark.parametrize("one", ["avif:444", "avif:psnr", "avif:9"])
def test_each_setting_of_avif_changes_the_file(one):
    colour = picture(48, 64, 3)
    assert open_codec(one).encode(colour, 50) != open_codec("avif").encode(colour, 50)


def test_avif_tuned_for_psnr_has_the_higher_psnr_at_equal_size():
    if not KODAK.exists():
        pytest.skip("../shared/data/kodak is missing: no photos to encode")
    original = np.array(Image.open(KODAK / "kodim10.png"))[128:384, 128:384]
    usual, tuned = open_codec("avif"), open_codec("avif:psnr")
    size_bytes = len(usual.encode(original, 60))
    files = {codec: bracket(codec, original, size_bytes).below for codec in (usual, tuned)}
    assert psnr_rgb_db(original, tuned.decode(files[tuned])) > psnr_rgb_db(original, usual.decode(files[usual]))


def test_grey_avif_has_no_chroma_to_subsample():
    grey = picture(48, 64)
    assert open_codec("avif:444").encode(grey, 50) == open_codec("avif").encode(grey, 50)


def test_wrong_settings_have_one_line_that_says_what_to_write():
    with pytest.raises(BenchUsageError, match=r"^codec 'avif:422': write avif:SPEED:SUBSAMPLING:TUNE, .*420 or 444, psnr$"):
        open_codec("avif:422")
    with pytest.raises(BenchUsageError, match=r"^codec 'jxl:11': write jxl:EFFORT, with an effort from 1 to 10, or jxl:lossless$"):
        open_codec("jxl:11")
    with pytest.raises(BenchUsageError, match=r"^codec 'avif:444\+gan': only vqz takes a decoder$"):
        open_codec("avif:444+gan")


@pytest.mark.parametrize("quality", [50.5, -1, 101])
@pytest.mark.parametrize("spec", ["jpeg", "webp", "avif"])
def test_qualities_of_other_codecs_are_whole_numbers(spec, quality):
    with pytest.raises(BenchUsageError, match="whole qualities"):
        open_codec(spec).encode(picture(8, 8, 3), quality)


@pytest.mark.parametrize("feature", ["webp", "avif"])
def test_a_pillow_built_without_the_codec_is_reported(feature, monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != feature)
    with pytest.raises(MissingExtraError, match="pip install"):
        open_codec(feature)


def test_jpeg_xl_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingExtraError, match=r"pip install .vqcodec\[jxl\]"):
        open_codec("jxl")


@pytest.mark.parametrize("shape", [(48, 64, 3), (48, 64)])
def test_jpeg_xl_round_trip(shape):
    pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    codec = open_codec("jxl")
    original = picture(*shape)
    decoded = codec.decode(codec.encode(original, 90))
    assert decoded.shape == shape
    assert psnr_rgb_db(original, decoded) > 30


class RecordingApi(SimpleNamespace):
    """A stand-in for vqcodec.api that records the options of its calls and keeps pixels as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict] = []
        self.files: dict[bytes, np.ndarray] = {}

    def encode(self, pixels, **options):
        self.calls.append(options)
        data = len(self.files).to_bytes(4, "little")
        self.files[data] = pixels
        return data

    def decode(self, data, **options):
        self.calls.append(options)
        return self.files[data]

    def info(self, data, model):
        return {"model": "photo-lite", "model_id": "0123"}


@pytest.mark.parametrize(
    ("spec", "name", "options", "decoder"),
    [
        ("vqz", "vqz", {}, None),
        ("vqz:mine", "vqz:mine", {"model": "mine"}, None),
        ("vqz:some/folder/mine:9", "vqz:mine:9", {"model": "some/folder/mine", "effort": 9}, None),
        ("vqz::9", "vqz::9", {"effort": 9}, None),
        ("vqz:::ssim", "vqz:::ssim", {"tune": "ssim"}, None),
        ("vqz:mine:9:psnr", "vqz:mine:9:psnr", {"model": "mine", "effort": 9, "tune": "psnr"}, None),
        ("vqz::9+gan", "vqz::9+gan", {"effort": 9}, "gan"),
    ],
)
def test_vqz_passes_its_options_to_the_api(spec, name, options, decoder):
    api = RecordingApi()
    codec = VqzCodec(parse_vqz(spec), threads=3, api=api)
    assert codec.name == name
    assert f"effort {options.get('effort', DEFAULT_EFFORT)}, tuned for {options.get('tune', 'ssim')}" in codec.description
    assert codec.version.endswith("model photo-lite 0123")
    original = picture(8, 8, 3)
    api.calls.clear()
    assert np.array_equal(codec.decode(codec.encode(original, 62.5)), original)
    encoding = {"quality": 62.5, "threads": 3, "model": None, "effort": DEFAULT_EFFORT, "tune": "ssim", **options}
    assert api.calls == [encoding, {"threads": 3, "model": options.get("model"), "refine": decoder}]


class SizedCodec:
    """Files of ten times as many bytes as the quality."""

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        return bytes(10 * int(quality))


@pytest.mark.parametrize(
    ("size_bytes", "below", "above"), [(500, 500, 510), (509, 500, 510), (3, 200, 200), (900, 900, 900), (899, 890, 900)]
)
def test_a_bracket_is_two_neighbouring_qualities_around_a_size(size_bytes, below, above):
    found = bracket(SizedCodec(), picture(8, 8), size_bytes, lowest=20, highest=90)
    assert (len(found.below), len(found.above)) == (below, above)


def test_every_vqz_without_a_decoder_is_repeated_for_each():
    found = with_decoders(["vqz", "jpeg", "vqz:m:9", "vqz:m+best"], ["none", "gan"])
    assert found == ["vqz+none", "vqz+gan", "jpeg", "vqz:m:9+none", "vqz:m:9+gan", "vqz:m+best"]
    assert with_decoders(["vqz:lossless", "vqz:lossless:9", "png"], ["none"]) == ["vqz:lossless", "vqz:lossless:9", "png"]
    with pytest.raises(BenchUsageError, match="unknown decoder 'sharp'"):
        with_decoders(["vqz"], ["sharp"])
