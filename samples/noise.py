"""Smooth random fields for the surfaces in the samples, deterministic for a seed."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LATTICE = 64  # period of the noise in units
# The rotation between octaves hides the lattice, which would be visible on planes along its axes.
_TURN = np.array([[0.36, 0.48, -0.80], [-0.80, 0.60, 0.0], [0.48, 0.64, 0.60]], np.float32)


def value_noise(points: Floats, seed: int) -> Floats:
    """Noise in -1..1 with features of about one unit, at points float32 [N, 3]; returns float32 [N]."""
    lattice = np.random.default_rng(seed).uniform(-1, 1, (_LATTICE,) * 3).astype(np.float32)
    cell = np.floor(points).astype(np.int32)
    t = points - cell
    tx, ty, tz = (t * t * (3 - 2 * t)).T  # smoothstep: no visible lattice
    (x0, y0, z0), (x1, y1, z1) = (cell % _LATTICE).T, ((cell + 1) % _LATTICE).T

    def layer(z: NDArray[np.int32]) -> Floats:
        low = _mix(lattice[x0, y0, z], lattice[x1, y0, z], tx)
        return _mix(low, _mix(lattice[x0, y1, z], lattice[x1, y1, z], tx), ty)

    return _mix(layer(z0), layer(z1), tz)


def fractal(points: Floats, seed: int, octaves: int = 5) -> Floats:
    """Sum of octaves of `value_noise`, each at twice the frequency and half the amplitude of the one before; about -1..1."""
    total = np.zeros(len(points), np.float32)
    for octave in range(octaves):
        points = points @ _TURN
        finer = points * np.float32(2**octave) + np.float32(17.3 * octave)
        total += value_noise(finer, seed + octave) / 2 ** (octave + 1)
    return total


def spectral(size: int, exponent: float, seed: int) -> Floats:
    """Periodic noise float32 [size, size] with amplitude proportional to frequency**-exponent; mean 0, standard deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1
    white = np.fft.rfft2(np.random.default_rng(seed).standard_normal((size, size)))
    white[0, 0] = 0
    field = np.fft.irfft2(white / frequency**exponent, s=(size, size))
    return (field / field.std()).astype(np.float32)


def _mix(a: Floats, b: Floats, t: Floats) -> Floats:
    """Linear interpolation."""
    return a + (b - a) * t
