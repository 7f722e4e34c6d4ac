"""Aliases of array types. Shapes are given in docstrings and on the lines that create arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8 | np.uint16]
"""Samples [H, W, components]: uint8, or uint16 if they have more than 8 bits."""
Bool = NDArray[np.bool_]
UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]
UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Intp = NDArray[np.intp]
"""Indices into other arrays, such as cell numbers."""
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
