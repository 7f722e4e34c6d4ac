"""The lapped transform: orthonormal basis functions, and both directions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.transform import dct, lapped
from vqcodec.transform.layouts import COLOR_8X8


def test_basis_functions_are_orthonormal_to_each_other_and_to_those_of_the_next_cell() -> None:
    basis = lapped.basis()
    np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-6)
    np.testing.assert_allclose(basis[8:].T @ basis[:8], np.zeros((8, 8)), atol=1e-6)


@given(st.integers(3, 7), st.integers(3, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_coefficients_come_back_in_the_inner_cells(h: int, w: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((COLOR_8X8.channels, h, w)).astype(np.float32)
    for back in (lapped.to_lapped(lapped.from_lapped(x)), lapped.from_lapped(lapped.to_lapped(x))):
        np.testing.assert_allclose(back[:, 1:-1, 1:-1], x[:, 1:-1, 1:-1], atol=2e-3)


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
