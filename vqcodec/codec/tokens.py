"""Token files: pixels -> DCT of each cell -> encoder -> one codeword for each cell -> planes of indices, and back.

A VQ-VAE (van den Oord, Vinyals and Kavukcuoglu 2017) with the DCT as its first and last layer:

    planes = inverse colour matrix (color.py) times pixels - 128; a grey picture is one plane
    coefficient x[c, v, u] of a cell: orthonormal DCT-II of its side x side pixels, component by component, row by row
    z = encoder((x - mean) / scale)                                                               float32 [D, h, w]
    index = the k that minimises |z - codebook[k]|^2                                              one for each cell
    x = mean + scale * decoder(codebook[index])

Both networks are those of convolution.py. A colour model codes a grey picture with zeros for chroma, and decodes only the first
component. Files hold integer indices, which every machine reads exactly. The networks compute in floating point: pixels agree
within 1 of 255 between machines. weights/token.py lists the tensors of a token model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vqcodec.arrays import Float32, Int32, Pixels, UInt8, UInt16, UInt32
from vqcodec.codec import devices
from vqcodec.codec.choices import effort_of
from vqcodec.codec.picture import Picture
from vqcodec.codec.reader import Reader
from vqcodec.entropy.codebook_search import nearest, search_weights
from vqcodec.errors import CorruptError, InputError, ModelError
from vqcodec.format import container
from vqcodec.format.header import Header, Section, Tokens
from vqcodec.format.token_planes import pack, unpack
from vqcodec.nets import convolution
from vqcodec.nets.convolution import RunNetwork
from vqcodec.options import DecodeOptions, EncodeOptions
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side, usable_cores
from vqcodec.transform import dct, downscaling
from vqcodec.transform.color import COLOR_SHIFT, inverse_color_matrix
from vqcodec.transform.layouts import COLOR_8X8, GREY, LAYOUTS
from vqcodec.transform.rect import Rect
from vqcodec.weights.refiner import Refiner
from vqcodec.weights.token import TokenModel

# ------------------------------------------------------------------------------------------------ pixels and coefficients


def forward_matrix(side: int, components: int, color_matrix: Int32) -> Float32:
    """Matrix float32 [side * side * components, C] from a cell's pixels minus 128 to its coefficients."""
    basis = dct.basis(side).astype(np.float32)
    colors = inverse_color_matrix(color_matrix) if components == 3 else np.ones((1, 1))
    found = np.einsum("vy,ux,cr->yxrcvu", basis, basis, colors)
    return found.reshape(side * side * components, -1).astype(np.float32)


def inverse_matrix(side: int, components: int, color_matrix: Int32) -> Float32:
    """Matrix float32 [C, side * side * components] from a cell's coefficients to its pixels minus 128."""
    basis = dct.basis(side).astype(np.float32)
    colors = color_matrix / (1 << COLOR_SHIFT) if components == 3 else np.ones((1, 1))
    found = np.einsum("vy,ux,rc->cvuyxr", basis, basis, colors)
    return found.reshape(side * side * components, -1).astype(np.float32)


def forward(pixels: UInt8, side: int, color_matrix: Int32) -> Float32:
    """Coefficients float32 [C, h, w] in grey levels of pixels uint8 [H, W, 1 or 3], edges repeated. `decode` inverts it."""
    height, width, components = pixels.shape
    h, w = -(-height // side), -(-width // side)
    padded = np.pad(pixels, ((0, h * side - height), (0, w * side - width), (0, 0)), mode="edge")
    blocks = padded.reshape(h, side, w, side, components).transpose(0, 2, 1, 3, 4).reshape(h * w, -1)
    centred: Float32 = blocks.astype(np.float32) - np.float32(128)
    return (centred @ forward_matrix(side, components, color_matrix)).T.reshape(-1, h, w)


# ------------------------------------------------------------------------------------------------ coefficients and indices


def encode(pixels: UInt8, model: TokenModel, threads: int = 1) -> UInt16:
    """Indices uint16 [h, w] of pixels uint8 [H, W, 1 or 3]. Raises InputError for a colour picture and a grey model."""
    height, width, components = pixels.shape
    if components > model.components:
        raise InputError(f"token model {model.name} is for grey pictures: convert this one to grey first")
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
    """Pixels uint8 of `shape` [H, W, 1 or 3], or at 1/`scale` of its size (`scale` 2, 4 or 8) from low frequencies, of indices
    uint16 [h, w].

    `run` runs the decoder network on a GPU, one strip at a time. None: numpy.
    """
    height, width, components = shape
    (h, w), side, halo = indices.shape, model.side, model.decoder.halo
    kept = side // scale  # frequencies of a smaller picture
    low = np.s_[:components, :kept, :kept]
    matrix = inverse_matrix(kept, components, model.color) / np.float32(scale)
    run_decoder = run or partial(convolution.run_network, model.decoder)
    codewords = np.ascontiguousarray(model.codebook.T, np.float32)  # float32 [D, K]
    pixels = shared_empty((-(-height // scale), -(-width // scale), components), np.uint8)

    def strip(rows: tuple[int, int]) -> None:
        top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
        out = run_decoder(codewords[:, indices[top:bottom]], (rows[0] - top, rows[1] - top)).reshape(model.channels, -1)
        x = (model.mean[:, None] + model.scale[:, None] * out).reshape(model.components, side, side, -1)[low]
        dct.inverse_float(x.reshape(len(matrix), -1), w, matrix, pixels[kept * rows[0] : kept * rows[1]])

    with progress.stage("decoding"):
        side_by_side(strip, convolution.strips(halo, (h, w)), 1 if run else threads)
    return pixels


# ------------------------------------------------------------------------------------------------ files


def write(
    shape: tuple[int, ...], indices: UInt16, model: TokenModel, levels: Sequence[int], others: Sequence[Section] = ()
) -> bytes:
    """A token file: the indices uint16 [h, w] of a picture of `shape` [H, W, 1 or 3], and `others`, the sections after them."""
    height, width, components = shape
    layout = (GREY if components == 1 else COLOR_8X8).code
    tokens = Tokens(model.side, model.bits)
    header = Header(
        width=width,
        height=height,
        layout=layout,
        layers=1,
        group_log2=0,
        model_id=model.file_id,
        step_64=0,
        alpha=any(section.type == container.ALPHA for section in others),
        tokens=tokens,
    )
    section = Section(container.INDICES, pack(indices, tokens.bits, levels))
    return container.write_file(header, [section, *others])


def read(header: Header, section: bytes, model: TokenModel) -> UInt16:
    """Indices uint16 [h, w] from the index section of a token file; the inverse of `write`.

    Raises CorruptError (also for an index outside the codebook), TruncatedError.
    """
    indices = unpack(section, header.cells, model.bits)
    if int(indices.max()) >= len(model.codebook):
        raise CorruptError("corrupt file: an index is not in its codebook")
    return indices


@dataclass(frozen=True)
class TokenCodec:
    """Codec for files of a token model."""

    model: TokenModel

    def encode(self, picture: Picture, options: EncodeOptions) -> bytes:
        """A file of a picture of 8 bits. Raises InputError for options that set the rate, which is fixed."""
        colours = picture.colours  # [H, W, 1 or 3]
        name, targets = self.model.name, (options.quality, options.bpp, options.size, options.psnr, options.ssimulacra2)
        if any(value is not None for value in (*targets, options.tune, options.tile)):
            fixed = "its rate is fixed, and it takes no quality, bpp, size, psnr, ssimulacra2, tune or tile"
            raise InputError(f"{name} is a token model: {fixed}")
        if colours.dtype != np.uint8:
            raise InputError(f"{name} is a token model, of 8 bits a sample: scale deeper ones to uint8 first")
        indices = encode(colours.astype(np.uint8, copy=False), self.model, options.threads or usable_cores())  # uint16 [h, w]
        return write(colours.shape, indices, self.model, effort_of(options.effort).plane_levels, picture.sections(options.effort))

    def decode(
        self, reader: Reader, options: DecodeOptions, region: Rect | None, opacity: Pixels | None, refiner: Refiner | None
    ) -> Pixels:
        """Samples uint8 [h, w, 1 or 3] of a file. A damaged file cannot be decoded in part, as it has a single index section."""
        if options.refine in ("best", "gan"):
            raise ModelError(f"{self.model.name} is a token model: its files have one decode, and neither best nor gan")
        header, scale, threads = reader.header, options.scale, options.threads or usable_cores()
        indices = read(header, reader.file.indices(0, 1)[0], self.model)  # uint16 [h, w]
        shape = header.height, header.width, LAYOUTS[header.layout].components
        run = devices.runner(options.device, self.model, "decoder", self.model.decoder, reader.tell)
        pixels = decode(indices, self.model, shape, scale=scale, threads=threads, run=run)
        if scale > 1 and opacity is not None:
            whole = decode(indices, self.model, shape, threads=threads, run=run)
            downscaling.weigh_colours(pixels, downscaling.mixed_squares(opacity, scale), whole, opacity, scale)
        return pixels if region is None else pixels[region.rows, region.columns]

    def check(self, header: Header) -> None:
        """Raise ModelError or CorruptError unless the file was made with this model."""
        model = self.model
        if header.model_id != model.file_id:
            raise ModelError(f"the file was made with model {header.model_id.hex()}, not with {model.name} ({model.file_id.hex()})")
        if header.tokens != Tokens(model.side, model.bits) or LAYOUTS[header.layout].components > model.components:
            raise CorruptError("corrupt file: its tokens are not those of its model")

    def indices(self, reader: Reader) -> dict[str, UInt32]:
        """Columns uint32 [n]: the indices, and the row and the column of their cells."""
        grid = read(reader.header, reader.file.indices(0, 1)[0], self.model)
        rows, columns = np.indices(grid.shape, np.uint32)
        return {"index": grid.reshape(-1).astype(np.uint32), "row": rows.reshape(-1), "column": columns.reshape(-1)}

    def describe(self, reader: Reader) -> dict[str, Any]:
        """The size of the model's codebook. The file's indices are read, so damage is found."""
        read(reader.header, reader.file.indices(0, 1)[0], self.model)
        return {"codewords": len(self.model.codebook)}


def header_facts(header: Header) -> dict[str, Any]:
    """Facts from the header of a token file: side of a cell in pixels, rows and columns of cells, bits per index."""
    assert header.tokens is not None
    rows, columns = header.cells
    return {"cell": header.tokens.side, "rows": rows, "columns": columns, "index_bits": header.tokens.bits}


def used_codewords(reader: Reader) -> dict[str, Any]:
    """The number of different codewords in a token file, without its model; empty for other files. Raises CorruptError."""
    header = reader.header
    if header.tokens is None:
        return {}
    return {"used_codewords": len(np.unique(unpack(reader.file.indices(0, 1)[0], header.cells, header.tokens.bits)))}
