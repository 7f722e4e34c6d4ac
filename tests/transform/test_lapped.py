"""The lapped transform: orthonormal basis functions, and both directions."""

import numpy as np

from vqcodec.transform import dct, lapped
from vqcodec.transform.layouts import COLOR_8X8


def test_basis_functions_are_orthonormal_to_each_other_and_to_those_of_the_next_cell() -> None:
    basis = lapped.basis()
    np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-6)
    np.testing.assert_allclose(basis[8:].T @ basis[:8], np.zeros((8, 8)), atol=1e-6)


def test_coefficients_come_back_in_the_inner_cells() -> None:
    x = np.random.default_rng(0).standard_normal((COLOR_8X8.channels, 5, 6)).astype(np.float32)
    found = lapped.from_lapped(lapped.to_lapped(x))
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], x[:, 1:-1, 1:-1], atol=1e-3)


def test_a_coefficient_is_its_basis_function_in_pixels() -> None:
    """One MLT coefficient of the middle cell of 3x3, through the inverse DCT of component 0."""
    channel, (_, v, u) = next((n, p) for n, p in enumerate(COLOR_8X8.positions) if p == (0, 2, 3))
    x = np.zeros((COLOR_8X8.channels, 3, 3), np.float32)
    x[channel, 1, 1] = 1
    coefficients = lapped.from_lapped(x)
    pixels = np.zeros((24, 24))
    for number, (component, down, right) in enumerate(COLOR_8X8.positions):
        if component == 0:
            block = np.outer(dct.basis(8)[down], dct.basis(8)[right])
            pixels += np.kron(coefficients[number], block)
        else:
            assert not coefficients[number].any()
    wanted = np.zeros((24, 24))
    wanted[4:20, 4:20] = np.outer(lapped.basis()[:, v], lapped.basis()[:, u])
    np.testing.assert_allclose(pixels, wanted, atol=1e-3)
