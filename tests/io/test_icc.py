"""ICC profiles: those written here convert by their formula in littlecms; those that do not fit are converted or left out."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from helpers.colorimetry import SRGB, converted, linear, srgb, xyz_of_rgb
from vqcodec.io import icc

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("primaries", icc.PRIMARIES)
@pytest.mark.parametrize("transfer", [1, 4, 5, 7, 8, 13, 17])
def test_profiles_follow_the_formula(primaries: int, transfer: int) -> None:
    pixels = np.random.default_rng(primaries).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pixels[:16, :16] = RAMP[:, :, None]
    colours = icc.Colours("test", icc.PRIMARIES[primaries], (icc.CURVES[transfer],) * 3)
    light = linear(transfer, pixels / 255) @ (np.linalg.inv(xyz_of_rgb(icc.PRIMARIES[1])) @ xyz_of_rgb(icc.PRIMARIES[primaries])).T
    found = converted(Image.fromarray(pixels), icc.profile(colours, grey=False))
    assert np.abs(found - srgb(light)).max() < 1.01
    grey = converted(Image.fromarray(RAMP), icc.profile(colours, grey=True))
    assert np.abs(grey - srgb(linear(transfer, RAMP / 255))[:, :, None]).max() < 1.01


def test_profiles_are_small_and_equal_for_equal_colours() -> None:
    colours = icc.Colours("test", icc.ADOBE_RGB, (icc.gamma_curve(2.2),) * 3)
    data = icc.profile(colours, grey=False)
    assert len(data) < 480
    assert data == icc.profile(colours, grey=False)
    assert len(icc.profile(colours, grey=True)) < 290
    assert ImageCms.getProfileDescription(io.BytesIO(data)).strip() == "test"


@pytest.mark.parametrize(
    "primaries",
    [
        (0.3, 0.3) * 4,  # a point
        (0.9, 0.05, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),  # white outside
        (0.3127, 0.0, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06),
        (float("nan"),) * 8,
        (1e9,) * 8,
    ],
)
def test_chromaticities_that_make_no_sense(primaries: icc.Primaries) -> None:
    with pytest.raises(ValueError, match=r"degenerate|outside|out of range"):
        icc.profile(icc.Colours("test", primaries), grey=False)


def test_gammas_that_make_no_sense() -> None:
    for gamma in (0, 0.01, 1e6, -1, float("nan")):
        with pytest.raises(ValueError, match="is out of range"):
            icc.gamma_curve(gamma)


# ------------------------------------------------------------------------------------------------ fitting

LINEAR = icc.Colours("linear", curves=(icc.gamma_curve(1),) * 3)


def test_a_profile_that_fits_stays_as_it_is() -> None:
    for grey in (False, True):
        data = icc.profile(LINEAR, grey=grey)
        assert icc.fitted(data, grey=grey) == (data, "")
        assert icc.fitted(data + b"\0\0", grey=grey) == (data + b"\0\0", "")  # padding, as in JPEG files
        assert icc.fitted(b"", grey=grey) == (b"", "")


def test_grey_and_rgb_profiles_convert_into_each_other() -> None:
    as_rgb, note = icc.fitted(icc.profile(LINEAR, grey=True), grey=False)
    assert note == "the grey ICC profile is converted to RGB, as the pixels are"
    as_grey, note = icc.fitted(icc.profile(LINEAR, grey=False), grey=True)
    assert note == "the RGB ICC profile is converted to grey, as the pixels are"
    wanted = srgb(RAMP / 255)[:, :, None]
    assert np.abs(converted(Image.fromarray(RAMP), as_grey) - wanted).max() < 1.01
    assert np.abs(converted(Image.merge("RGB", [Image.fromarray(RAMP)] * 3), as_rgb) - wanted).max() < 1.01
    assert icc.fitted(SRGB.tobytes(), grey=True)[0][16:20] == b"GRAY"


def test_profiles_that_cannot_be_converted_are_left_out() -> None:
    different = icc.Colours("test", curves=(icc.gamma_curve(1), icc.gamma_curve(2), icc.gamma_curve(3)))
    assert icc.fitted(icc.profile(different, grey=False), grey=True) == (
        b"",
        "the RGB ICC profile does not fit grey pixels and is left out",
    )
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for grey in (False, True):
        assert icc.fitted(lab, grey=grey)[0] == b""
        assert "left out" in icc.fitted(lab, grey=grey)[1]
        cmyk = bytearray(icc.profile(LINEAR, grey=False))
        cmyk[16:20] = b"CMYK"
        kind = "grey" if grey else "RGB"
        assert icc.fitted(bytes(cmyk), grey=grey) == (b"", f"the CMYK ICC profile does not fit {kind} pixels and is left out")


def test_damaged_profiles_are_left_out() -> None:
    whole = icc.profile(LINEAR, grey=False)
    damaged = [whole[:length] for length in range(1, len(whole), 7)]
    damaged.append(whole[:36] + b"xxxx" + whole[40:])
    damaged.append(whole[:128] + struct.pack(">I", 0xFFFFFFFF) + whole[132:])  # too many tags
    damaged.append(whole[:136] + struct.pack(">I", 0x7FFFFFFF) + whole[140:])  # a tag outside the profile
    damaged += [b"profile", bytes(200)]
    for data in damaged:
        for grey in (False, True):
            assert icc.fitted(data, grey=grey) == (b"", "the ICC profile is damaged and left out")
