"""The codecs of numcodecs and Zarr, with the real libraries."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.arrays import microscopy, satellite
from helpers.marks import fast_first
from helpers.paths import REPOSITORY
from helpers.pictures import smooth_picture
from helpers.plugins import register_plugins
from vqcodec.errors import CorruptError, InputError

numcodecs = pytest.importorskip("numcodecs", reason="the extra zarr is not installed")
zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")

from vqcodec.plugins.numcodecs import VqzCodec as OfNumcodecs  # noqa: E402 (needs numcodecs)
from vqcodec.plugins.zarr import VqzCodec as OfZarr  # noqa: E402 (needs zarr)

EXACT: dict[str, Any] = {"lossless": True, "effort": 1}
LOSSY: dict[str, Any] = {"model": "photo-lite", "effort": 1}
ARRAYS = {
    "microscopy stack": (microscopy(4, 24, 20), (2, 24, 16)),
    "satellite bands": (satellite(20, 24, 4), (20, 24, 4)),
    "grey": (smooth_picture(40, 30, 1), (32, 32)),
    "colour": (smooth_picture(40, 30), (32, 32, 3)),
}


@pytest.fixture(autouse=True)
def registered() -> None:
    register_plugins()


def stored(folder: Path, array: np.ndarray, chunks: tuple[int, ...], version: int, options: dict[str, Any], **others: Any) -> Any:
    """The array, read by name from a store of chunks that this made."""
    codec = {"compressors": OfNumcodecs(**options)} if version == 2 else {"serializer": OfZarr(**options), "compressors": None}
    made = zarr.create_array(
        folder, shape=array.shape, chunks=chunks, dtype=array.dtype, zarr_format=version, overwrite=True, **codec, **others
    )
    made[...] = array
    return zarr.open_array(folder, mode="r+")


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "zarr" not in path.name)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", fast_first(ARRAYS, 2))
def test_a_lossless_store(name: str, version: int, tmp_path: Path) -> None:
    array, chunks = ARRAYS[name]
    opened = stored(tmp_path, array, chunks, version, EXACT)
    np.testing.assert_array_equal(opened[...], array)
    assert opened.dtype == array.dtype
    assert bytes_of(tmp_path) < array.nbytes
    part = (slice(1, 2), slice(3, 9))
    opened[part] = 7  # a chunk is read, changed and written again
    changed = array.copy()
    changed[part] = 7
    np.testing.assert_array_equal(opened[...], changed)


@pytest.mark.parametrize("version", [2, 3])
def test_a_lossy_store(version: int, tmp_path: Path) -> None:
    array = satellite(200, 180, 4)
    opened = stored(tmp_path, array, (200, 180, 4), version, LOSSY | {"quality": 80})
    assert np.abs(opened[...].astype(int) - array).mean() < 100
    assert bytes_of(tmp_path) < array.nbytes / 8
    np.testing.assert_array_equal(opened[20:40, 30:50, 1], opened[...][20:40, 30:50, 1])


def test_a_store_with_shards_and_fill_values(tmp_path: Path) -> None:
    array = microscopy(1, 64, 64)[0]
    array[32:] = 100
    opened = stored(tmp_path, array, (16, 16), 3, EXACT, shards=(64, 64), fill_value=100)
    np.testing.assert_array_equal(opened[...], array)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_orders(order: str, tmp_path: Path) -> None:
    array = ARRAYS["colour"][0]
    np.testing.assert_array_equal(stored(tmp_path, array, (32, 30, 3), 2, EXACT, order=order)[...], array)


def test_configurations_are_those_that_were_given() -> None:
    options = {"quality": 70.0, "effort": 3, "tune": "psnr", "model": "photo-lite", "refine": "best", "channels_last": True}
    codec = OfNumcodecs(**options)
    assert codec.get_config() == {"id": "vqcodec", **options}
    assert numcodecs.get_codec(codec.get_config()) == codec
    assert eval(repr(codec), {"VqzCodec": OfNumcodecs}) == codec
    assert OfNumcodecs().get_config() == {"id": "vqcodec"}
    assert OfZarr.from_dict(OfZarr(**options).to_dict()) == OfZarr(**options)
    assert OfZarr().to_dict() == {"name": "vqcodec.vqz", "configuration": {}}


def test_numcodecs_alone() -> None:
    codec, chunk = OfNumcodecs(**EXACT), ARRAYS["grey"][0]
    data, out = codec.encode(chunk), np.empty_like(chunk)
    for given in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        np.testing.assert_array_equal(codec.decode(given), chunk)
    assert codec.decode(data, out) is out
    np.testing.assert_array_equal(out, chunk)
    with pytest.raises(InputError, match='not >u2: give the array the dtype "<u2"'):
        codec.encode(chunk.astype(">u2"))


def test_arrays_that_are_refused_when_they_are_made(tmp_path: Path) -> None:
    for dtype, shape in (("float32", (8, 8)), ("int16", (8, 8)), ("uint8", (8,))):
        with pytest.raises(InputError, match="use another codec"):
            zarr.create_array(tmp_path, shape=shape, chunks=shape, dtype=dtype, serializer=OfZarr(), compressors=None)


def test_a_chunk_of_another_array_is_an_error(tmp_path: Path) -> None:
    stored(tmp_path / "a", ARRAYS["grey"][0], (32, 32), 3, EXACT)
    stored(tmp_path / "b", ARRAYS["grey"][0], (32, 30), 3, EXACT)
    (tmp_path / "a/c/0/0").write_bytes((tmp_path / "b/c/0/0").read_bytes())
    with pytest.raises(CorruptError, match=r"a chunk of uint8 \[32, 32\] holds uint8 \[32, 30\]"):
        zarr.open_array(tmp_path / "a")[...]


def test_entry_points_name_the_classes() -> None:
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, name, wanted in (("numcodecs.codecs", "vqcodec", OfNumcodecs), ("zarr.codecs", "vqcodec.vqz", OfZarr)):
        assert EntryPoint(name, groups[group][name], group).load() is wanted
