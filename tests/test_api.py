"""Files and pictures as arguments of the API: each kind that works, and an InputError that names the type of any other."""

import array
import copy
import gc
import io
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

import vqcodec
import vqcodec.pillow
from helpers.marks import fast_first
from helpers.pictures import smooth_picture
from helpers.processes import program_environment
from vqcodec import Metadata, VqcodecError, api
from vqcodec.errors import CorruptError, InputError, ModelError
from vqcodec.io import icc
from vqcodec.weights import registry

PIXELS = smooth_picture(20, 24)
GREY = PIXELS[:, :, 0]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LITE = {"model": "photo-lite", "effort": 1, "threads": 1}


def encoded(pixels: Any, **options: Any) -> bytes:
    return vqcodec.encode(pixels, **LITE, **options)


@pytest.fixture(scope="module")
def data() -> bytes:
    return encoded(PIXELS)


@pytest.fixture
def folder(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a picture and a .vqz file."""
    Image.fromarray(PIXELS).save(tmp_path / "a.png", icc_profile=PROFILE)
    (tmp_path / "a.vqz").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ------------------------------------------------------------------------------------------------ files to decode


class Pipe(io.BytesIO):
    """A stream that can be read once."""

    def seekable(self) -> bool:
        return False


KINDS_OF_BYTES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "memoryview that is not contiguous": lambda data: memoryview(b"".join(bytes((byte, 0)) for byte in data))[::2],
    "array.array": lambda data: array.array("B", data),
    "ndarray": lambda data: np.frombuffer(data, np.uint8),
    "BytesIO": io.BytesIO,
    "pipe": Pipe,
}


@pytest.mark.parametrize("kind", fast_first(KINDS_OF_BYTES, 3))
def test_files_in_memory(kind: str, data: bytes) -> None:
    made = KINDS_OF_BYTES[kind]
    np.testing.assert_array_equal(vqcodec.decode(made(data)), vqcodec.decode(data))
    np.testing.assert_array_equal(vqcodec.open_vqz(made(data)).read(), vqcodec.decode(data))
    assert vqcodec.info(made(data)) == vqcodec.info(data)
    assert api.indices(made(data)).keys() == api.indices(data).keys()
    vqcodec.verify(made(data))


@pytest.mark.parametrize("kind", [str, Path, lambda path: os.fspath(path.resolve())], ids=["text", "path", "absolute"])
def test_files_by_path(kind: Callable[[Path], Any], data: bytes, folder: Path) -> None:
    path = kind(Path("a.vqz"))
    np.testing.assert_array_equal(vqcodec.decode(path), vqcodec.decode(data))
    np.testing.assert_array_equal(vqcodec.open_vqz(path).read(), vqcodec.decode(data))
    assert vqcodec.info(path) == vqcodec.info(data)
    vqcodec.verify(path)


def test_open_files_and_memory_maps(data: bytes, folder: Path) -> None:
    with open("a.vqz", "rb") as file, open("a.vqz", "rb", buffering=0) as unbuffered:
        file.seek(10)  # a seekable stream is read from its start
        for stream in (file, unbuffered):
            np.testing.assert_array_equal(vqcodec.decode(stream), vqcodec.decode(data))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            np.testing.assert_array_equal(vqcodec.decode(mapped), vqcodec.decode(data))


def test_torch_bytes_and_pixels(data: bytes) -> None:
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(vqcodec.decode(torch.frombuffer(bytearray(data), dtype=torch.uint8)), vqcodec.decode(data))
    pixels = torch.from_numpy(PIXELS)
    assert encoded(pixels) == encoded(pixels.permute(2, 0, 1).permute(1, 2, 0)) == encoded(pixels.long()) == data
    for wrong, message in (
        (pixels.permute(2, 0, 1), r"uint8 \[3, 20, 24\] \(Tensor\): pixels\.permute\(1, 2, 0\)"),
        (pixels[None], r"\(Tensor\): pixels\[0\]"),
        (pixels / 255, r"float32 .*\(Tensor\) from 0\..*: \(pixels \* 255\)\.round\(\)\.byte\(\)"),
        (pixels.float().requires_grad_(), r"Tensor.*\.detach\(\)"),
        (pixels.to("meta"), r"Tensor.*\.cpu\(\)"),  # a tensor without data, like one on a GPU
    ):
        with pytest.raises(InputError, match=message):
            encoded(wrong)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.vqz", r"missing\.vqz: No such file"),
        (Path("missing.vqz"), r"missing\.vqz: No such file"),
        (".", "Is a directory"),
        ("", r"not a path: '' \(str\)"),
        ("a\0b", r"not a path: 'a\\x00b' \(str\)"),
        ("\udfff", r"not a path: .*\(str\)"),
        ("x" * 10_000, r"10000 characters is not a path: .{,50}\(str\)"),
        ("x" * 300, "too long"),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("function", [vqcodec.decode, vqcodec.open_vqz, vqcodec.info, vqcodec.verify, api.indices, encoded])
def test_paths_of_no_file(function: Callable[[Any], Any], source: Any, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        function(source)


@pytest.mark.parametrize(
    "function",
    [
        vqcodec.decode,
        lambda path: vqcodec.open_vqz(path).read(),
        lambda path: vqcodec.open_vqz(path).metadata,
        vqcodec.info,
        vqcodec.verify,
        api.indices,
    ],
    ids=["decode", "read", "metadata", "info", "verify", "indices"],
)
def test_errors_name_the_file_that_is_damaged(function: Callable[[Any], Any], folder: Path) -> None:
    data = bytearray(encoded(smooth_picture(66, 66), tile=64, metadata=Metadata(xmp=b"<x/>")))
    for at in (data.index(b"<x/>"), len(data) // 2):
        data[at] ^= 255
    Path("damaged.vqz").write_bytes(data)
    for source in ("damaged.vqz", Path("damaged.vqz")):
        with pytest.raises(CorruptError, match=r"^damaged\.vqz: corrupt file"):
            function(source)
    with pytest.raises(CorruptError, match=r"^corrupt file"):
        function(bytes(data))


def test_errors_name_the_file_that_is_of_another_model(folder: Path) -> None:
    for function in (vqcodec.decode, vqcodec.info, api.indices):
        with pytest.raises(ModelError, match=r"^a\.vqz: the file was made with model"):
            function("a.vqz", model="photo")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_files_that_may_not_be_read(folder: Path) -> None:
    for name in ("a.vqz", "a.png"):
        (folder / name).chmod(0)
    for function, name in ((vqcodec.decode, "a.vqz"), (encoded, "a.png")):
        with pytest.raises(InputError, match=f"cannot read {name}: Permission denied"):
            function(name)


@pytest.mark.parametrize("function", [vqcodec.decode, vqcodec.open_vqz, vqcodec.info, vqcodec.verify, api.indices, encoded])
def test_streams_that_give_no_bytes(function: Callable[[Any], Any], folder: Path) -> None:
    with (
        open("a.vqz", "rb") as closed,
        open("a.vqz") as text,
        open("new", "wb") as written,
        tempfile.NamedTemporaryFile("w+") as wrapped,
    ):
        closed.close()
        for stream, message in (
            (closed, r"BufferedReader.* closed"),
            (written, r"BufferedWriter.* writing"),
            (text, r"TextIOWrapper.* binary mode"),
            (io.StringIO("text"), r"StringIO.* binary mode"),
            (wrapped, r"Wrapper.* binary mode"),
        ):
            with pytest.raises(InputError, match=message):
                function(stream)


# ------------------------------------------------------------------------------------------------ open files


def test_open_vqz_without_with(data: bytes, folder: Path) -> None:
    opened = vqcodec.open_vqz("a.vqz")
    np.testing.assert_array_equal(opened.read(), vqcodec.decode(data))
    opened.close()
    opened.close()
    assert opened.closed
    assert (opened.size, opened.channels, opened.header.depth) == ((24, 20), 3, 8)
    for use in (opened.read, lambda: opened.metadata, opened.__enter__):
        with pytest.raises(InputError, match="closed"):
            use()
    with vqcodec.open_vqz("a.vqz") as opened:
        assert opened.read((1, 2, 3, 4)).shape == (4, 3, 3)
    with pytest.raises(InputError, match="closed"):
        opened.read()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be listed")
def test_files_are_closed_with_their_object(folder: Path) -> None:
    """Refused files too. A file left open would give a ResourceWarning, which fails the test."""
    before = len(os.listdir("/proc/self/fd"))
    opened = vqcodec.open_vqz("a.vqz")
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del opened
    vqcodec.open_vqz("a.vqz").read()
    vqcodec.decode("a.vqz")
    for wrong in ({}, {"model": "no-such-model"}):
        with pytest.raises(VqcodecError):
            vqcodec.open_vqz("a.vqz" if wrong else "a.png", **wrong).read()
    gc.collect()  # Python 3.13 frees the frames of the last error later
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_object_that_lives_to_the_end_of_the_program_gives_no_warning(folder: Path) -> None:
    code = "import vqcodec; opened = vqcodec.open_vqz('a.vqz'); print(opened.size)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, env=program_environment(), check=True)
    assert (run.stdout, run.stderr) == (b"(24, 20)\n", b"")


def test_streams_of_the_caller_stay_open(data: bytes) -> None:
    stream = io.BytesIO(data)
    with vqcodec.open_vqz(stream) as opened:
        opened.read()
    assert not stream.closed
    np.testing.assert_array_equal(vqcodec.decode(stream), vqcodec.decode(data))
    opened = vqcodec.open_vqz(stream)
    stream.close()
    with pytest.raises(InputError, match="closed"):
        opened.read()


def test_an_open_file_is_not_copied(data: bytes) -> None:
    opened = vqcodec.open_vqz(data)
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="path or bytes"):
            copied(opened)


# ------------------------------------------------------------------------------------------------ pictures to encode


class DLPack:
    """An array that has DLPack only."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.__dlpack__, self.__dlpack_device__ = pixels.__dlpack__, pixels.__dlpack_device__


KINDS_OF_PIXELS: dict[str, Callable[[np.ndarray], Any]] = {
    "Fortran order": np.asfortranarray,
    "negative strides": lambda pixels: pixels[::-1, ::-1].copy()[::-1, ::-1],
    "not contiguous": lambda pixels: np.repeat(pixels, 2, axis=1)[:, ::2],
    "channels moved": lambda pixels: pixels.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "read-only": lambda pixels: np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape),
    "int64": lambda pixels: pixels.astype(np.int64),
    "big-endian int32": lambda pixels: pixels.astype(">i4"),
    "uint64": lambda pixels: pixels.astype(np.uint64),
    "PIL image": Image.fromarray,
    "DLPack": lambda pixels: DLPack(pixels),
    "array interface": lambda pixels: type("Interface", (), {"__array_interface__": pixels.__array_interface__})(),
}


@pytest.mark.parametrize("kind", fast_first(KINDS_OF_PIXELS, 4))
def test_pixels_of_any_kind(kind: str, data: bytes) -> None:
    pixels = KINDS_OF_PIXELS[kind](PIXELS)
    assert encoded(pixels) == data
    np.testing.assert_array_equal(vqcodec.denoise(pixels, threads=1), vqcodec.denoise(PIXELS, threads=1))
    assert vqcodec.estimate_sigma(pixels) == vqcodec.estimate_sigma(PIXELS)


@pytest.mark.parametrize("dtype", [">u2", "<u2"])
def test_deep_grey_of_either_byte_order(dtype: str) -> None:
    pixels = PIXELS[:, :, 0].astype(np.uint16) * 200
    assert encoded(pixels.astype(dtype)) == encoded(pixels)
    assert vqcodec.decode(encoded(pixels.astype(dtype))).dtype == np.uint16


def test_bool_is_black_and_white() -> None:
    white = PIXELS[:, :, 0] > 127
    assert encoded(white) == encoded(white * np.uint8(255)) == encoded(Image.fromarray(white))


def test_picture_files(data: bytes, folder: Path) -> None:
    with_profile = encoded(PIXELS, metadata=Metadata(icc=PROFILE))
    with open("a.png", "rb") as file:
        for picture in ("a.png", Path("a.png"), folder / "a.png", file, io.BytesIO(file.read()), Pipe(Path("a.png").read_bytes())):
            assert encoded(picture) == with_profile
    assert encoded("a.png", metadata=Metadata()) == data
    np.testing.assert_array_equal(vqcodec.denoise("a.png", threads=1), vqcodec.denoise(PIXELS, threads=1))
    for wrong in ("a.vqz", io.BytesIO(data)):
        with pytest.raises(InputError, match="not a picture in a format that can be read"):
            encoded(wrong)


def test_lossless_files_of_any_kind_of_picture(folder: Path) -> None:
    wanted = vqcodec.encode(PIXELS, lossless=True, effort=1)
    assert vqcodec.info(wanted)["lossless"]
    for pixels in (PIXELS.astype(np.int64), PIXELS[::-1][::-1], Image.fromarray(PIXELS), folder / "a.png"):
        data = vqcodec.encode(pixels, lossless=True, effort=1, metadata=Metadata())
        assert data == wanted
    for source in (wanted, io.BytesIO(wanted)):
        np.testing.assert_array_equal(vqcodec.decode(source), PIXELS)
    kept = vqcodec.encode("a.png", lossless=True)
    assert vqcodec.open_vqz(kept).metadata.icc == PROFILE


@pytest.mark.parametrize("refine", [None, "none", "best", "gan"])
def test_options_of_networks_have_no_effect_without_a_model(refine: Any) -> None:
    data = vqcodec.encode(PIXELS, lossless=True, effort=1)
    model = registry.find("photo-lite")
    np.testing.assert_array_equal(vqcodec.decode(data, refine=refine, device="cuda", model=model), PIXELS)
    np.testing.assert_array_equal(vqcodec.open_vqz(data, model="none such").read((3, 2, 9, 8), refine=refine), PIXELS[2:10, 3:12])
    assert vqcodec.info(data, model=model)["model"] == "none"
    vqcodec.verify(data, model=model)


def test_picture_files_with_content_that_is_not_kept(folder: Path) -> None:
    frames = [Image.fromarray(PIXELS), Image.new("RGB", (24, 20))]
    frames[0].save("a.png", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="only the first of several frames is kept") as caught:
        assert vqcodec.decode(vqcodec.encode("a.png")).shape == PIXELS.shape
    assert [warning.filename for warning in caught] == [__file__]  # the caller's line


def test_pil_images_are_encoded_as_the_plugin_saves_them() -> None:
    """The pixels are not rotated; the orientation stays in the EXIF data."""
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    stream, saved = io.BytesIO(), io.BytesIO()
    image.save(stream, "JPEG", exif=exif, quality=95)
    with Image.open(stream) as opened:
        found = encoded(opened)
        opened.save(saved, "VQZ", **LITE)
    assert found == saved.getvalue()
    assert vqcodec.decode(found).shape == PIXELS.shape
    assert vqcodec.decode(encoded(stream)).shape == (24, 20, 3)  # a file's pixels are rotated


def test_pil_images_with_their_metadata() -> None:
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    stream = io.BytesIO()
    image.save(stream, "PNG", icc_profile=PROFILE, exif=exif, pnginfo=_xmp(b"<x/>"))
    with Image.open(stream) as opened:
        file = vqcodec.open_vqz(encoded(opened))
    assert (file.metadata.icc, file.metadata.xmp) == (PROFILE, b"<x/>")
    assert file.metadata.exif == exif.tobytes().removeprefix(b"Exif\0\0")


def _xmp(data: bytes) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", data.decode())
    return info


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("1", ()), ("L", ()), ("LA", (2,)), ("P", (3,)), ("PA", (4,)), ("RGB", (3,)), ("RGBA", (4,)), ("CMYK", (3,)), ("YCbCr", (3,))]
    + [("HSV", (3,)), ("I", ()), ("I;16", ()), ("I;16B", ())],
)
def test_pil_images_of_any_mode(mode: str, shape: tuple[int, ...]) -> None:
    image = Image.fromarray(PIXELS).convert("L" if mode.startswith("I") else "RGB").convert(mode)
    decoded = vqcodec.decode(encoded(image))
    assert decoded.shape == (20, 24, *shape)
    assert decoded.dtype == (np.uint16 if mode.startswith("I") else np.uint8)


def test_info_of_pil_images_that_is_not_bytes_is_left_out(data: bytes) -> None:
    image = Image.fromarray(PIXELS)
    image.info |= {"icc_profile": None, "exif": 7, "dpi": "none"}
    assert encoded(image) == data


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_pil_images_without_a_place_in_vqz(mode: str) -> None:
    with pytest.raises(InputError, match=f"has {mode} samples"):
        encoded(Image.new(mode, (4, 4)))


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_pil_images_without_pixels(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"the image has . x . pixels"):
        encoded(Image.new("RGB", size))


def test_pil_images_that_are_closed() -> None:
    image = Image.fromarray(PIXELS)
    image.close()
    with pytest.raises(InputError, match="closed image"):
        encoded(image)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (PIXELS / 255, r'float64 .* from 0\..* to .*: \(pixels \* 255\)\.round\(\)\.astype\("uint8"\)'),
        (PIXELS.astype(np.float16), r'float16 .*: pixels\.round\(\)\.clip\(0, 255\)\.astype\("uint8"\)'),
        (PIXELS / 127.5 - 1, r"float64 .*: \(\(pixels \+ 1\) \* 127\.5\)\.round\(\)"),
        (np.full((4, 4), np.nan), r"float64 .* NaN .*np\.nan_to_num"),
        (np.full((4, 4), np.inf, np.float32), r"float32 .* infinity: np\.nan_to_num"),
        (PIXELS.astype(int) - 300, r'int64 .* from -\d+ to .*: pixels\.clip\(0, 255\)\.astype\("uint8"\)'),
        (
            PIXELS.astype(np.int32) * 9,
            r'int32 .* keeps 16 bits, pixels\.clip\(0, 255\)\.astype\("uint8"\)',
        ),
        (GREY.astype(np.int32) * 9, r'int32 .*: pixels\.astype\("uint16"\) keeps 16 bits, pixels\.clip\(0, 255\)'),
        (PIXELS.astype(object), "object"),
        (PIXELS.astype(complex), "complex128"),
        (PIXELS.astype(str), "str"),
        (np.zeros((4, 4), "M8[s]"), "datetime64"),
        (np.zeros((4, 4), [("red", "u1")]), "void"),
        (np.ma.array(PIXELS, mask=PIXELS > 9), r"MaskedArray: pixels\.filled\(0\)"),
        (PIXELS[:0], r"uint8 \[0, 24, 3\] \(ndarray\)"),
        (np.uint8(7), r"uint8 \[\] \(uint8\)"),
        (np.array(7), r"int64 \[\] \(ndarray\)"),
        (GREY[0], r"uint8 \[24\]"),
        (PIXELS[None], r"uint8 \[1, 20, 24, 3\] \(ndarray\): pixels\[0\]"),
        (PIXELS.transpose(2, 0, 1), r"uint8 \[3, 20, 24\] \(ndarray\): pixels\.transpose\(1, 2, 0\)"),
        (np.zeros((9, 9, 5), np.uint8), r"uint8 \[9, 9, 5\]"),
        (PIXELS.tolist(), r"list: np\.array\(pixels\)"),
        ([Image.fromarray(PIXELS)], "list"),
        (tuple(PIXELS), "tuple"),
        (PIXELS.tobytes(), r"bytes, .*io\.BytesIO\(pixels\).*np\.frombuffer"),
        (bytearray(9), "bytearray"),
        (memoryview(PIXELS), "memoryview"),
        (None, "NoneType"),
        (7, r"7 \(int\)"),
        ({}, "dict"),
        (object(), r"\(object\)"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("function", [encoded, vqcodec.denoise, vqcodec.estimate_sigma])
def test_pixels_that_are_none(function: Callable[[Any], Any], pixels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        function(pixels)
    assert str(caught.value).isprintable()  # one line


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_profile_that_does_not_fit_the_samples_is_converted_or_left_out(channels: int) -> None:
    pixels = np.full((8, 8, channels), 99, np.uint8)
    grey, other = channels < 3, icc.profile(icc.Colours("test"), grey=channels > 2)
    with pytest.warns(UserWarning, match="the .* ICC profile is converted to"):
        data = encoded(pixels, metadata=Metadata(icc=other))
    assert vqcodec.open_vqz(data).metadata.icc[16:20] == (b"GRAY" if grey else b"RGB ")
    with pytest.warns(UserWarning, match="the CMYK ICC profile does not fit .* and is left out"):
        data = encoded(pixels, metadata=Metadata(icc=other[:16] + b"CMYK" + other[20:], xmp=b"<x/>"))
    assert vqcodec.open_vqz(data).metadata == Metadata(xmp=b"<x/>")


def test_masks_of_any_kind_of_array() -> None:
    mask = GREY > 99
    wanted = vqcodec.repair(smooth_picture(28, 28, 1), np.eye(28, dtype=np.bool_), prior="mnist-prior")
    image = Image.fromarray(np.eye(28, dtype=np.bool_))
    assert image.mode == "1"
    np.testing.assert_array_equal(vqcodec.repair(smooth_picture(28, 28, 1), image, prior="mnist-prior"), wanted)
    with pytest.raises(InputError, match=r"a mask is .*, not uint8 \[20, 24\] \(ndarray\): mask > 0 is one"):
        vqcodec.repair(PIXELS, mask.astype(np.uint8), prior="mnist-prior")


def test_pillow_is_imported_only_where_a_picture_is_read(folder: Path) -> None:
    code = """if True:
        import sys, numpy, vqcodec
        data = vqcodec.encode(numpy.zeros((8, 8), numpy.uint8), model="photo-lite")
        vqcodec.decode(data)
        print("PIL" in sys.modules, "torch" in sys.modules)
        vqcodec.encode("a.png", model="photo-lite")
        print("PIL" in sys.modules, "torch" in sys.modules)"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, env=program_environment(), check=True, text=True)
    assert run.stdout.split() == ["False", "False", "True", "False"]
