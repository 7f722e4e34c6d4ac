"""Token files: pixels -> cells -> DCT -> encoder -> one codeword a cell -> planes of indices, and back.

The VQ-VAE of van den Oord, Vinyals and Kavukcuoglu (2017) with the DCT as its first and last layer:

    planes = inverse colour matrix (color.py) times pixels - 128; a grey picture is one plane
    coefficient x[c, v, u] of a cell: orthonormal DCT-II of its side x side pixels, component by component, row by row
    z = encoder((x - mean) / scale)                                                               float32 [D, h, w]
    index = the k of least |z - words[k]|^2                                                       one a cell
    x = mean + scale * decoder(words[index])

Both networks are those of convolution.py. A model in colour codes a grey picture as one whose chroma is nothing, and of what comes
out only the first component is taken. Indices are integers in a file, so they are read exactly everywhere; what the networks make
of them is floating point, and pixels agree within 1 of 255 between machines.

weights/token.py has the tensors of a token model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from vqcodec.arrays import Float32, Int32, UInt8, UInt16
from vqcodec.entropy.codebook_search import nearest, search_weights
from vqcodec.errors import CorruptError, InputError, ModelError
from vqcodec.format import container, zstd_blocks
from vqcodec.format.bits import BitReader, ByteReader, pack_bits, write_varint
from vqcodec.format.header import Header, Section, Tokens
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.nets import convolution
from vqcodec.nets.convolution import RunNetwork
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side
from vqcodec.transform import dct
from vqcodec.transform.color import COLOR_SHIFT, inverse_color_matrix
from vqcodec.transform.layouts import COLOR_8X8, GREY, LAYOUTS
from vqcodec.weights.token import TokenModel

_PACKED: Final = 0
_MODES: Final = {Mode.VERBATIM: _PACKED, Mode.FRAME: 1, Mode.BLOCK: 2}
"""Of a plane; container.py has their meaning."""


# ------------------------------------------------------------------------------------------------ pixels and coefficients


def forward_matrix(side: int, components: int, color_matrix: Int32) -> Float32:
    """float32 [side * side * components, C]: pixels of a cell, less 128, to coefficients."""
    basis = dct.basis(side).astype(np.float32)
    colors = inverse_color_matrix(color_matrix) if components == 3 else np.ones((1, 1))
    found = np.einsum("vy,ux,cr->yxrcvu", basis, basis, colors)
    return found.reshape(side * side * components, -1).astype(np.float32)


def inverse_matrix(side: int, components: int, color_matrix: Int32) -> Float32:
    """float32 [C, side * side * components]: coefficients to pixels of a cell, less 128."""
    basis = dct.basis(side).astype(np.float32)
    colors = color_matrix / (1 << COLOR_SHIFT) if components == 3 else np.ones((1, 1))
    found = np.einsum("vy,ux,rc->cvuyxr", basis, basis, colors)
    return found.reshape(side * side * components, -1).astype(np.float32)


def forward(pixels: UInt8, side: int, color_matrix: Int32) -> Float32:
    """Pixels uint8 [H, W, 1 or 3] to coefficients float32 [C, h, w] in grey levels; edges are repeated. Undone in `decode`."""
    height, width, components = pixels.shape
    h, w = -(-height // side), -(-width // side)
    padded = np.pad(pixels, ((0, h * side - height), (0, w * side - width), (0, 0)), mode="edge")
    blocks = padded.reshape(h, side, w, side, components).transpose(0, 2, 1, 3, 4).reshape(h * w, -1)
    centred: Float32 = blocks.astype(np.float32) - np.float32(128)
    return (centred @ forward_matrix(side, components, color_matrix)).T.reshape(-1, h, w)


# ------------------------------------------------------------------------------------------------ coefficients and indices


def encode(pixels: UInt8, model: TokenModel, threads: int = 1) -> UInt16:
    """Pixels uint8 [H, W, 1 or 3] to indices uint16 [h, w]. Raises InputError for colour that the model does not have."""
    height, width, components = pixels.shape
    if components > model.components:
        raise InputError(f"token model {model.name} is of grey pictures: make this one grey first")
    side, halo = model.side, model.encoder.halo
    h, w = -(-height // side), -(-width // side)
    seen = np.broadcast_to(pixels, (height, width, model.components))
    mean, scale = model.mean[:, None, None], model.scale[:, None, None]
    weights = search_weights(model.codebook.T.astype(np.float32), np.zeros(len(model.codebook), np.float32))
    indices = shared_empty((h, w), np.uint16)

    def strip(rows: tuple[int, int]) -> None:
        top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
        x = (forward(seen[side * top : side * bottom], side, model.color) - mean) / scale
        z = convolution.run_network(model.encoder, x, (rows[0] - top, rows[1] - top))
        indices[rows[0] : rows[1]] = nearest(z.reshape(len(z), -1).T, weights)[0].reshape(-1, w)

    with progress.stage("coding"):
        side_by_side(strip, convolution.strips(halo, (h, w)), threads)
    return indices


def decode(
    indices: UInt16,
    model: TokenModel,
    shape: tuple[int, ...],
    *,
    scale: int = 1,
    threads: int = 1,
    run: RunNetwork | None = None,
) -> UInt8:
    """Indices uint16 [h, w] to pixels uint8 of `shape` [H, W, 1 or 3] or, from low frequencies, of one 2, 4 or 8 times smaller.

    `run` runs the decoder elsewhere than here, one strip at a time.
    """
    height, width, components = shape
    (h, w), side, halo = indices.shape, model.side, model.decoder.halo
    kept = side // scale  # frequencies that a smaller picture has
    low = np.s_[:components, :kept, :kept]
    matrix = inverse_matrix(kept, components, model.color) / np.float32(scale)
    run_decoder = run or partial(convolution.run_network, model.decoder)
    words = np.ascontiguousarray(model.codebook.T, np.float32)
    pixels = shared_empty((-(-height // scale), -(-width // scale), components), np.uint8)

    def strip(rows: tuple[int, int]) -> None:
        top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
        out = run_decoder(words[:, indices[top:bottom]], (rows[0] - top, rows[1] - top)).reshape(model.channels, -1)
        x = (model.mean[:, None] + model.scale[:, None] * out).reshape(model.components, side, side, -1)[low]
        dct.inverse_float(x.reshape(len(matrix), -1), w, matrix, pixels[kept * rows[0] : kept * rows[1]])

    with progress.stage("decoding"):
        side_by_side(strip, convolution.strips(halo, (h, w)), 1 if run else threads)
    return pixels


# ------------------------------------------------------------------------------------------------ indices and bytes


def pack(indices: UInt16, bits: int, levels: Sequence[int]) -> bytes:
    """Indices uint16 [h, w] of 1..16 bits to an index section; the inverse of `unpack`. `levels` of zstd are tried."""
    flat = indices.reshape(-1)
    mode, low = _pack_plane(flat & np.uint16(0xFF), min(bits, 8), levels)
    if bits <= 8:
        return bytes((mode,)) + low
    high_mode, high = _pack_plane(flat >> np.uint16(8), bits - 8, levels)
    length = b"" if mode == _PACKED else write_varint(len(low))
    return bytes((mode | high_mode << 2,)) + length + low + high


def unpack(section: bytes, cells: tuple[int, int], bits: int) -> UInt16:
    """An index section to indices uint16 [h, w] below 1 << bits; raises TruncatedError, CorruptError."""
    count = cells[0] * cells[1]
    reader = ByteReader(section)
    modes = reader.byte()
    low_bits, high_bits = min(bits, 8), max(bits - 8, 0)
    low_mode, high_mode = modes & 3, modes >> 2
    if low_mode == 3 or high_mode >= 3 or (high_mode and not high_bits):
        raise CorruptError("corrupt file: its tokens are not stored as they say")
    if not high_bits:
        return _unpack_plane(low_mode, section[1:], count, low_bits).astype(np.uint16).reshape(cells)
    length = -(-count * low_bits // 8) if low_mode == _PACKED else reader.varint()
    low = _unpack_plane(low_mode, reader.take(length), count, low_bits)
    high = _unpack_plane(high_mode, section[reader.cursor :], count, high_bits)
    return (low | high.astype(np.uint16) << np.uint16(8)).astype(np.uint16).reshape(cells)


def _pack_plane(values: UInt16, bits: int, levels: Sequence[int]) -> tuple[int, bytes]:
    """The mode and the stored bytes of values uint16 [n] of 1..8 bits: the smallest of what there is."""
    packed = pack_bits(values.astype(np.int32), np.full(len(values), bits, np.uint8))
    part = zstd_blocks.compress(values.astype(np.uint8).tobytes(), None, tuple(levels))
    return (_PACKED, packed) if len(packed) <= len(part.data) else (_MODES[part.mode], part.data)


def _unpack_plane(mode: int, stored: bytes, count: int, bits: int) -> UInt8:
    """The inverse of `_pack_plane`, uint8 [n]; raises CorruptError."""
    if mode == _PACKED:
        if len(stored) != -(-count * bits // 8):
            raise CorruptError("corrupt file: there are not as many tokens as the picture has cells")
        reader = BitReader(stored)
        found = reader.take_array(np.full(count, bits, np.uint8)).astype(np.uint8)
        reader.finish()
        return found
    data = zstd_blocks.decompress(StoredPart(count, Mode.FRAME if mode == _MODES[Mode.FRAME] else Mode.BLOCK, stored), None)
    found = np.frombuffer(data, np.uint8)
    if int(found.max(initial=0)) >> bits:
        raise CorruptError("corrupt file: a token has more bits than tokens have")
    return found


# ------------------------------------------------------------------------------------------------ files


def write(
    shape: tuple[int, ...], indices: UInt16, model: TokenModel, levels: Sequence[int], others: Sequence[Section] = ()
) -> bytes:
    """The token file of a picture of `shape` [H, W, 1 or 3] and its indices uint16 [h, w], with other sections besides."""
    height, width, components = shape
    layout = (GREY if components == 1 else COLOR_8X8).code
    alpha = any(section.type == container.ALPHA for section in others)
    tokens = Tokens(model.side, model.bits)
    header = Header(
        width=width,
        height=height,
        layout=layout,
        layers=1,
        group_log2=0,
        model_id=model.file_id,
        step_64=0,
        alpha=alpha,
        tokens=tokens,
    )
    section = Section(container.INDICES, pack(indices, tokens.bits, levels))
    return container.write_file(header, [section, *others])


def read(header: Header, section: bytes, model: TokenModel) -> UInt16:
    """The indices uint16 [h, w] of a token file from its index section, all of them in the codebook; the inverse of `write`.

    Raises CorruptError, TruncatedError.
    """
    indices = unpack(section, header.cells, model.bits)
    if int(indices.max()) >= len(model.codebook):
        raise CorruptError("corrupt file: an index is not in its codebook")
    return indices


def describe(header: Header) -> dict[str, Any]:
    """The facts in the header of a token file: pixels a side of a cell, rows and columns of cells, bits of an index."""
    assert header.tokens is not None
    rows, columns = header.cells
    return {"cell": header.tokens.side, "rows": rows, "columns": columns, "index_bits": header.tokens.bits}


def count_used(header: Header, section: bytes) -> int:
    """The number of different codewords in an index section; no model is needed. Raises CorruptError, TruncatedError."""
    assert header.tokens is not None
    return len(np.unique(unpack(section, header.cells, header.tokens.bits)))


def check_model(header: Header, model: TokenModel) -> None:
    """Raise ModelError or CorruptError unless the token file was made with `model`."""
    if header.model_id != model.file_id:
        raise ModelError(f"the file was made with model {header.model_id.hex()}, not with {model.name} ({model.file_id.hex()})")
    if header.tokens != Tokens(model.side, model.bits) or LAYOUTS[header.layout].components > model.components:
        raise CorruptError("corrupt file: its tokens are not those of its model")
