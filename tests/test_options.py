"""Options of the API: each kind of value that works, and an InputError that names the type of any other."""

import decimal
import inspect
import pickle
import pydoc
import re
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vqcodec
from helpers.pictures import smooth_picture
from vqcodec import Metadata, VqcodecError, api
from vqcodec.errors import InputError, ModelError
from vqcodec.options import DecodeChoices, DecodeOptions, EncodeChoices, EncodeOptions
from vqcodec.weights import registry
from vqcodec.weights.graphic import GraphicModel, tensors_of

PIXELS = smooth_picture(20, 24)
GREY = PIXELS[:, :, 0]
LITE = {"model": "photo-lite", "effort": 1, "threads": 1}


def encoded(pixels: Any, **options: Any) -> bytes:
    return vqcodec.encode(pixels, **LITE, **options)


@pytest.fixture(scope="module")
def data() -> bytes:
    return encoded(PIXELS)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": np.float32(55)},
        {"quality": np.int64(55)},
        {"quality": np.array(55.0)},
        {"quality": decimal.Decimal(55)},
        {"quality": 55, "effort": 5.0, "threads": np.uint8(1), "tile": None},
        {"quality": 55, "effort": np.int8(5), "tune": np.str_("ssim")},
    ],
    ids=str,
)
def test_numbers_of_any_kind(options: dict[str, Any]) -> None:
    assert vqcodec.encode(PIXELS, **LITE | options) == encoded(PIXELS, quality=55)


def test_scalars_of_tensors_are_numbers(data: bytes) -> None:
    torch = pytest.importorskip("torch")
    assert encoded(PIXELS, quality=torch.tensor(60)) == data


def test_regions_and_scales_of_any_kind_of_number(data: bytes) -> None:
    opened = vqcodec.open_vqz(data)
    np.testing.assert_array_equal(opened.read([1.0, np.uint8(2), 5, np.float32(6)]), opened.read((1, 2, 5, 6)))
    np.testing.assert_array_equal(opened.read(np.array([1, 2, 5, 6])), opened.read((1, 2, 5, 6)))
    np.testing.assert_array_equal(opened.read(scale=np.int64(2)), opened.read(scale=2))


NUMBERS = ["60", "abc", b"60", True, np.True_, float("nan"), -1, 3j, [60], np.array([60]), {}, object()]
WHOLE_NUMBERS = [*NUMBERS, 1.5, float("inf"), -(10**400), decimal.Decimal("0.5")]
NAMES = [7, b"photo", True, [], {}, object(), np.zeros(3)]
CHOICES = ["none of them", *NAMES]
FILES = [None, 7, True, [], {}, object(), 1.5, PIXELS, PIXELS / 255, Image.fromarray(PIXELS)]
PICTURES = [None, 7, True, [], {}, object(), b"pixels", PIXELS / 255, Image.new("F", (4, 4))]
WRONG: dict[str, dict[str, list[Any]]] = {
    "encode": {
        "pixels": PICTURES,
        "quality": [*NUMBERS, 101],
        "bpp": [*NUMBERS, 0],
        "size": [*WHOLE_NUMBERS, 0],
        "psnr": [*NUMBERS, 0],
        "ssimulacra2": [*NUMBERS, 101],
        "model": NAMES,
        "effort": [*WHOLE_NUMBERS, None, 0, 10],
        "tune": CHOICES,
        "tile": [*WHOLE_NUMBERS, 100],
        "exact": ["no", 0, None, []],
        "lossless": ["no", 0, None, []],
        "metadata": [{}, b"exif", 7, ()],
        "threads": [*WHOLE_NUMBERS, 0],
    },
    "decode": {
        "data": FILES,
        "model": NAMES,
        "refine": CHOICES,
        "strength": [*NUMBERS, 2],
        "refiner": NAMES,
        "device": [*CHOICES, None],
        "max_pixels": [*WHOLE_NUMBERS, None, 0],
        "threads": [*WHOLE_NUMBERS, 0],
    },
    "open_vqz": {"source": FILES, "model": NAMES, "max_pixels": [*WHOLE_NUMBERS, None, 0], "allow_partial": ["no", 0, None, []]},
    "read": {
        "region": ["0,0,5,5", 7, (1, 2, 3), (1, 2, 3, 4.5), ("1", "2", "3", "4"), {}, object(), np.zeros((4, 4))],
        "scale": [*WHOLE_NUMBERS, None, 3],
        "refine": CHOICES,
        "strength": [*NUMBERS, 2],
        "refiner": NAMES,
        "device": [*CHOICES, None],
        "threads": [*WHOLE_NUMBERS, 0],
    },
    "denoise": {"pixels": PICTURES, "model": NAMES, "sigma": [*NUMBERS, 101], "threads": [*WHOLE_NUMBERS, 0]},
    "estimate_sigma": {"pixels": PICTURES},
    "generate": {
        "count": [*WHOLE_NUMBERS, None, 0],
        "prior": [*NAMES, None],
        "label": NAMES,
        "temperature": [*NUMBERS, None, 0],
        "guidance": [*NUMBERS, None, 101],
        "seed": [*WHOLE_NUMBERS, None],
    },
    "repair": {
        "pixels": PICTURES,
        "mask": [None, 7, [], "a.png", GREY, object()],
        "prior": [*NAMES, None],
        "label": NAMES,
        "temperature": [*NUMBERS, None, 0],
        "seed": [*WHOLE_NUMBERS, None],
        "threads": [*WHOLE_NUMBERS, 0],
    },
    "info": {"data": FILES, "model": NAMES, "max_pixels": [*WHOLE_NUMBERS, None, 0]},
    "verify": {"data": FILES, "model": NAMES, "max_pixels": [*WHOLE_NUMBERS, None, 0]},
    "indices": {"data": FILES, "model": NAMES, "max_pixels": [*WHOLE_NUMBERS, None, 0]},
}


def call(function: str, data: bytes, /, **given: Any) -> None:
    """Call a function of the API with the arguments `given`, and valid ones for the rest."""
    picture, file = {"pixels": PIXELS, **given}, {"data": data, **given}
    if function == "open_vqz":
        vqcodec.open_vqz(**{"source": data, **given}).read()
    elif function == "read":
        vqcodec.open_vqz(data).read(**given)
    elif function == "generate":
        vqcodec.generate(**{"count": 1, "prior": "mnist-prior", **given})
    elif function == "repair":
        vqcodec.repair(**{"mask": GREY > 99, "prior": "mnist-prior", **picture})
    else:
        getattr(api, function)(**picture if function in ("encode", "denoise", "estimate_sigma") else file)


@pytest.mark.parametrize(("function", "argument"), [(function, argument) for function in WRONG for argument in WRONG[function]])
def test_wrong_arguments(function: str, argument: str, data: bytes) -> None:
    others = {"refine": "gan"} if argument in ("refiner", "strength") else {}
    for value in WRONG[function][argument]:
        with pytest.raises(VqcodecError) as caught:
            call(function, data, **others, **{argument: value})
        message = str(caught.value)
        assert type(value).__name__ in message or (isinstance(value, Image.Image) and f"{value.mode} samples" in message), message
        assert message.isprintable()  # one line
        assert len(message) < 300


@pytest.mark.parametrize("function", ["encode", "decode", "VqzFile.read"])
def test_unknown_keywords_are_type_errors_of_the_function(function: str, data: bytes) -> None:
    calls: dict[str, Callable[..., object]] = {
        "encode": partial(api.encode, None),
        "decode": partial(api.decode, "no such file"),
        "VqzFile.read": api.open_vqz(data).read,
    }
    others = {"encode": ["refine", "scale"], "decode": ["region", "scale", "allow_partial"], "VqzFile.read": ["quality", "model"]}
    for name in ["strenght", *others[function]]:
        with pytest.raises(TypeError, match=re.escape(f"{function}() got an unexpected keyword argument '{name}'")):
            calls[function](**{name: None})


@pytest.mark.parametrize("given", [{"quality": 60}, {"bpp": 1}, {"size": 900}, {"psnr": 40}, {"ssimulacra2": 70}])
def test_lossless_files_have_no_target(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(InputError, match=f"lossless .* {name}$") as caught:
        vqcodec.encode(PIXELS, lossless=True, **given)
    assert caught.value.for_option == f"--lossless and --{name} exclude each other"


def test_lossless_files_take_graphic_models_alone() -> None:
    with pytest.raises(ModelError, match=r"no graphic model named photo .*: photo is a lite or neural model, for encode -m"):
        vqcodec.encode(PIXELS, lossless=True, model="photo")
    with pytest.raises(InputError, match="lossless files are made with a graphic model or none: photo-lite is a lite or neural"):
        vqcodec.encode(PIXELS, lossless=True, model=registry.find("photo-lite"))


def test_an_empty_graphic_model_changes_no_file() -> None:
    model = GraphicModel("of-a-folder", tensors_of([], []))
    for options in ({}, {"lossless": True}, {"size": 900}):
        assert vqcodec.encode(PIXELS, model=model, **options) == vqcodec.encode(PIXELS, **options)


def test_tune_and_exact_change_no_lossless_file() -> None:
    data = vqcodec.encode(PIXELS, lossless=True)
    assert vqcodec.encode(PIXELS, lossless=True, tune="ssim", exact=True, model=None, quality=None) == data


def test_signatures_list_every_keyword() -> None:
    encode, decode = inspect.signature(vqcodec.encode).parameters, inspect.signature(vqcodec.decode).parameters
    assert {field.name for field in fields(EncodeOptions)} < encode.keys()
    assert {field.name for field in fields(DecodeOptions)} - {"region", "scale"} < decode.keys()
    assert {field.name for field in fields(DecodeOptions)} < inspect.signature(vqcodec.VqzFile.read).parameters.keys()
    assert (encode["effort"].default, encode["tune"].default, decode["device"].default) == (5, None, "cpu")
    shown = pydoc.render_doc(vqcodec.encode, renderer=pydoc.plaintext).replace("'", "")  # Python 3.14 has no quotes there
    assert "tune: Tune | None = None" in shown


def test_open_files_show_what_is_documented_alone(data: bytes) -> None:
    names = {name for name in dir(api.open_vqz(data)) if not name.startswith("_")}
    assert names == {"allow_partial", "channels", "close", "closed", "file", "header", "lost", "metadata", "notes", "read", "size"}


def test_errors_of_arguments_can_be_pickled() -> None:
    with pytest.raises(InputError) as caught:
        encoded(PIXELS, quality=101)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.for_option) == (str(caught.value), "--quality is a number from 0 to 100, not 101")


def test_the_error_for_a_number_as_text_says_how_to_convert_it() -> None:
    with pytest.raises(InputError, match=r"quality is a number from 0 to 100, not '60' \(str\): float\(quality\) converts it"):
        encoded(PIXELS, quality="60")
    with pytest.raises(InputError, match=r"size is a whole number of at least 1, not '2000' \(str\): int\(size\) converts it"):
        encoded(PIXELS, size="2000")


@pytest.mark.parametrize("given", [{"exif": "text"}, {"icc": None}, {"xmp": bytearray(3)}])
def test_metadata_is_of_bytes(given: dict[str, Any]) -> None:
    name, value = next(iter(given.items()))
    with pytest.raises(InputError, match=f"{name} of the metadata is bytes, not .*{type(value).__name__}"):
        encoded(PIXELS, metadata=Metadata(**given))


def test_keywords_of_the_api_are_the_fields_of_the_options() -> None:
    """A field that is missing among the choices could not be given to the API; region and scale are parameters of their own."""
    assert EncodeChoices.__annotations__.keys() == {field.name for field in fields(EncodeOptions)}
    assert DecodeChoices.__annotations__.keys() | {"region", "scale"} == {field.name for field in fields(DecodeOptions)}
