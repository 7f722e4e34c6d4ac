"""Conversions of colours by the published formulas, and by littlecms."""

import io

import numpy as np
from PIL import Image, ImageCms

from vqcodec.io import icc

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def linear(transfer: int, samples: np.ndarray) -> np.ndarray:
    """Linear light of samples 0 to 1: the inverse of a transfer function of H.273 (1, 4, 5, 7, 8, 13, 17)."""
    light = np.linspace(0, 1, 200_001)
    functions = {
        1: lambda x: np.where(x < 0.018053968510807, 4.5 * x, 1.09929682680944 * x**0.45 - 0.09929682680944),
        4: lambda x: x ** (1 / 2.2),
        5: lambda x: x ** (1 / 2.8),
        7: lambda x: np.where(x < 0.0228, 4 * x, 1.1115 * x**0.45 - 0.1115),
        8: lambda x: x,
        13: lambda x: np.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055),
        17: lambda x: x ** (1 / 2.6),
    }
    return np.interp(samples, functions[transfer](light), light)


def srgb(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return 255 * np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def xyz_of_rgb(primaries: icc.Primaries) -> np.ndarray:
    """Matrix from linear RGB to XYZ, adapted to D50 by Bradford (Lindbloom, "RGB/XYZ Matrices", "Chromatic Adaptation")."""
    white, *corners = ([x / y, 1, (1 - x - y) / y] if y else [x, 0, 1 - x] for x, y in np.array(primaries).reshape(4, 2))
    matrix = np.array(corners).T
    matrix = matrix * np.linalg.solve(matrix, white)
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = (cone @ [0.96422, 1, 0.82521]) / (cone @ white)
    return np.linalg.inv(cone) @ np.diag(scale) @ cone @ matrix


def converted(image: Image.Image, profile: bytes) -> np.ndarray:
    """The pixels in sRGB by littlecms, float [H, W, 3]. NOOPTIMIZE avoids its 33-point tables for curves of grey."""
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(
        own, SRGB, image.mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.NOOPTIMIZE
    )
    return np.asarray(ImageCms.applyTransform(image, transform)).astype(float)
