"""The .vqz format, version 0.3: this docstring is its specification.

All integers are little-endian. `varint` is an unsigned LEB128 of at most 5 bytes: 7 bits a byte, least significant first,
bit 7 set on all but the last byte, which is not 0 unless it is the only one. `u16`, `u32` are 2 and 4 bytes. Shifts of
negative integers round towards minus infinity. *Reserved* bits and values must be refused; *unused* ones are ignored.

1. FILE
=======
    8 bytes   magic               89 56 51 5A 0D 0A 1A 0A
    1 byte    version             16 * major + minor; major is 0, and another is refused; minor is 3, and while major is 0
                                  another is refused
    varint    width               1..65535 pixels
    varint    height              1..65535 pixels
    1 byte    layout              bits 0-1: 0 grey, 1 colour with 4x4 chroma, 2 colour with 8x8 chroma, 3 tokens (section 7)
                                  bits 2-3: bits of a sample: 0 for 8, 1 for 10, 2 for 12, 3 for 16
                                  bits 4-5: layers - 1, 0..2 (3 reserved)
                                  bit 6: the fields marked * are there;  bit 7: fine DCs (5.1); in token files reserved
    1 byte *  flags               bit 2: there is one section of type 01, alpha; bits 0, 1, 3 critical, each reserved: refuse
                                  what is set (0: step map, 1: pattern codebook);  bits 4-7 optional: unused
    1 byte *  group               0: one tile group; k = 3..13: tile groups of 2**k cells square (others reserved)
    6 bytes   model id            the first 6 bytes of the model's SHA-256
    u16       step                1/64 of a grey level, 1..65535                    ) tokens have another byte
    1 byte    merge map           bits 0-4: number of one of the model's merge maps ) in place of both
                                  bits 5-7: strength of masking (5.5)               )
    varint *  others              number of sections besides the index sections
  * for each index section:
      varint  length              stored bytes of the section
      u32     checksum            CRC-32 (zlib) of the stored bytes
  * for each other section:
      1 byte  type                bit 7 set: optional
      varint  length
      u32     checksum
    u32       checksum            CRC-32 of all bytes from the magic up to here; without bit 6, and then of all that follow
    sections, one after the other in the order of the table; the file ends with the last one

Without bit 6 the picture is one layer and one tile group, and its index section is the rest of the file.
There are layers * groups index sections, ordered by layer, then by tile group, row by row. Types of the others: 01 alpha plane,
8 bits a pixel, as alpha.py's docstring says; others of 00-7F reserved (critical: refuse); 81 ICC profile, 82 EXIF, from its TIFF
header on, 83 XMP (at most 16 MiB and one each); other optional types are skipped. Every checksum is verified before the bytes
are looked at.

2. GEOMETRY
===========
The picture, its right and bottom edge repeated, is a grid of h = ceil(height / 8) rows and w = ceil(width / 8) columns of
cells (8x8 pixels). A tile group is a rectangle of cells that knows nothing of its neighbours; all below is within one
group, h and w its own. A *channel* is one DCT coefficient of one component (plane) on the grid. Channels are ordered: the
DC of each component, then the coefficients of the tiles below in their order, (vertical, horizontal) frequency.
`t` after a list means the list with each pair mirrored.

    H3 = 03 12    H4 = 04 13    H5 = 05 14 23 24    H6 = 06 15 07 16    H7 = 25 35 26 45
    H8 = 17 27 36 37 46 47 56 57    C2 = 01 10    C4 = 11 02 20 22    C8 = 03 12 13 23 30 21 31 32
    number: component coefficients
     0: 0 01     1: 0 10     2: 1 C2     3: 2 C2     4: 0 11     5: 0 02     6: 0 20     7: 0 H3     8: 0 H3t    9: 1 C4
    10: 2 C4    11: 0 H4    12: 0 H4t   13: 0 22 33 14: 0 H5    15: 0 H5t   16: 1 C8    17: 2 C8    18: 0 H6    19: 0 H6t
    20: 0 44 34 43 55       21: 0 H7    22: 0 H7t   23: 0 H8    24: 0 H8t   25: 0 66 67 76 77       26: 1 33    27: 2 33
    only with 8x8 chroma, each for component 1 and then 2:
    28, 29: 04 05 14 15 24 25 34 35     30, 31: its mirror     32, 33: 06 07 16 17 26 27 36 37     34, 35: its mirror
    36, 37: 44 45 54 55 46 64 56 65     38, 39: 47 74 57 75 66 67 76 77

A grey file has the tiles of component 0 only. Layers: with 2, the DCs are layer 0 and all tiles layer 1; with 3, tiles 0-10
are layer 1 and the rest layer 2; with 1 all is layer 0. A *latent* is an integer in 1/16 of a step, clamped to +-32767.

3. INDEX SECTION
================
    records   bits, most significant of each byte first, filled up with zeros to a whole byte; for each stream 0 .. S-1 of the
              merge map (S = 1 + the largest stream number in it), each of its parts (two for the split form, else one):
      size    bytes of the part before zstd: number(size); for the second part of the split form golomb(0, d), d = size of the
              first part - size, and nothing if the first part is empty. An empty part has no more than this.
      mode    1: block with the part's dictionary; 000: zstd frame; 001: block with a tree of its own; 01: verbatim
      length  stored bytes L of the part: verbatim: L = size, nothing is written; frame, block: number(L); block with
              dictionary: expected(size) below 1024; from there expected(q) three times, q = ceil(size / 4), and
              expected(size - 3 q): L is the sum of these, the stored bytes are the literals' four streams, and 3 u16, the
              lengths of the first three, are put before them
    bytes     L of each part
    bytes     the raw bits: the rest of the section

number(v): with n the bits of v (0 for v = 0), n in 4 bits if below 15, else 1111 and n - 15 in 5 bits; then v without its
leading 1, n - 1 bits. golomb(k, v): z zeros, then u = (v >> k) + 1, z + 1 bits with its leading 1, then the low k bits of v. z
<= 32. expected(n): golomb(max(0, b // 2 - 1), x), b the bits of n, which stands for n * M >> 14 and x / 2 more if x is even,
else (x + 1) / 2 less; M is the sum of l * 2^(11 - l) over the code lengths l > 0 of the part's dictionary.

The bytes of raw bits, and those of all `size` together, are each at most 4 * channels * cells + 16. A frame is a zstd frame
(RFC 8878) without its magic number and without its first two bytes, which are always 00 38 (no content size, checksum or
dictionary id; window 128 KiB); it decompresses to exactly `size` bytes, and nothing follows it. A block, `size` and L at most
131072, is the content of the literals section of a frame of one block without sequences, here with the 3 u16, if there are any,
in L; the whole frame is 00 38, u24 5 + 8 (H + L + 1), the literals header of H bytes, the L bytes, 00. Literals header: T + 4 F
+ 16 size + (L << (4 + n)), where T is 2 for a block with a Huffman tree of its own, 3 for one with the dictionary's; F, n, H =
0, 10, 3 for a `size` below 256 (T = 2) or 1024 (T = 3), else 1, 10, 3 for one below 1024, else 2, 14, 4 for one below 16384,
else 3, 18, 5. L < 1 << n.

A stream's parts become symbols (0..255). Direct form: each byte is a symbol. Split form: part 0 holds runs: a run is the sum of
bytes 255 and of the byte below 255 that ends it; part 1 has one symbol for each run, and each symbol is preceded by its run of
symbols 0; the last byte of part 0 is not 255. Pair form, with the model's pair table (256 entries: zeros, tail): the bytes are
p pairs and then l literals, p + l = size, l the number of pairs whose tail is 256. Each pair gives `zeros` symbols 0 and then
its tail, if it is 0..255; for 256 the next literal; for -1 nothing. The symbols of all streams are at most 2 * channels *
cells. Beyond its last symbol a stream goes on with zeros. When all tiles are decoded, no symbol may be left, and fewer than 8
raw bits, all 0. Raw bits are read most significant bit of each byte first.

4. MODEL
========
Tensors are described in exact.py, the id in folder.py. A codebook has a dimension d, K codewords in the order of their symbols,
perhaps an escape symbol. table[set][log2 T][class] gives the codebook of a tile of size T, or -1.
Codebooks of dimension 1 are scalar: symbol s stands for letter `alphabet[s]`: 0: value 0; 1..30: +1, -1, ... +15, -15; then for
octave e = 4..10, eighth j = 0..7: +b, -b with b = (8 + j) << (e - 3), followed by e - 3 raw bits r.
Its residual is word[s] + sign(word[s]) * 16 * r.

5. DECODING A GROUP
===================
`code(set, T, cells, means, classes)` decodes residuals [T][n] of n cells, and sets latent = clamp(mean + residual):
  for class c in ascending order, for which table[set][log2 T][c] >= 0 (else the residuals are 0), with the cells of class c
  in order of the list: read n_c * T/d symbols from the codebook's stream, cell by cell, within a cell piece by piece; piece i
  gives the residuals of coefficients i*d .. i*d+d-1. Then: in a scalar codebook, each symbol's raw bits are read in the same
  order; in others, for each escape symbol in order, d symbols of the last codebook (with their raw bits after them all, in
  order) give its d residuals. A symbol >= K is an error.
The order of streams within is: all symbols of a class, then its raw bits or escapes, then the next class.

Logarithm: log16(x) = 16 e + ((16 x) >> e) - 16 with e = floor(log2 x). Step inputs: 1, L = log16(step) - 176, (L*L) >> 4.
Single features of a magnitude m (0..8191): f1 = log16(m + 8) - log16(8), f2 = log16(m + 64) - log16(64). Features of a sum
of four magnitudes: g1 = log16(s + 32) - log16(32), g2 = log16(s + 256) - log16(256).
Class = clamp((sum scale weights * features + sum bias * step inputs) >> 14, 0, 31).
Mean = (sum mean weights * features + 512) >> 10, features clamped to +-4095 (for the mean only, not for scale magnitudes).

5.1 DC, one component after the other. First cell 0 alone: mean 0, class from `dc.root.C` (bias only). Then for stride
S = 2**k, k from ceil(log2 max(h, w)) - 1 down to 0, three passes (skipped when they have no cells), with weights
`dc.C.min(k,4).P`. Lattices of spacing 2S: K at (0, 0), A at (S, S), B at (0, S), C at (S, 0). Pass 0 codes A, 1 codes B, 2
codes C; cells row by row. The neighbour X(i, j) of the target in row a, column b of its lattice is the cell in row a + i,
column b + j of lattice X, each clamped into X; where X has no cells at all it is missing.
  neighbours of pass 0: K(0,0) K(0,1) K(1,0) K(1,1), then K(i,j), i and j from -1 to 2, i first, without those four
  pass 1: K(0,0) K(0,1) A(-1,0) A(0,0) K(0,-1) K(0,2) A(-2,0) A(1,0) K(-1,0) K(-1,1) K(1,0) K(1,1) A(-1,-1) A(-1,1) A(0,-1) A(0,1)
  pass 2: K(0,0) K(1,0) A(0,-1) A(0,0) B(0,-1) B(0,0) B(1,-1) B(1,0) K(-1,0) K(2,0) A(0,-2) A(0,1) K(0,-1) K(0,1) K(1,-1) K(1,1)
          A(-1,-1) A(-1,0) A(1,-1) A(1,0)
  base = (sum of the first 4 (pass 0) or 2 (passes 1, 2) + n/2) div n, n = 4 or 2 (rounding down)
  differences D[i] = neighbour - base, 0 where missing; for each earlier component o, E_o[i] = its latent at neighbour i minus
  its latent at the target, i = 0..3, 0 where missing. Mean features: D, then E_0, E_1.
  Scale magnitudes, each min(., 8191): 2 (|D0| + |D1| + |D2| + |D3|); |D4| + ... + |D11|; 4 |D0 - D3| and 4 |D1 - D2| in pass
  0, 4 |D0 - D1| and 4 |D2 - D3| in passes 1 and 2; 2 * (the |residual| of neighbours 0..3 that are not missing, summed); then
  for each earlier component 8 * its |residual| at the target, 2 * (|E_o[0]| + ... + |E_o[3]|).
  Scale features: f1 of all, then f2 of all. The value is base + mean; set 0, T = 1.
  Fine DCs: of cell 0, and in passes with S >= 4 (component 0) or S >= 2 (others), `code` is given min(class + 2, 31) as class, and
  a residual r that it decodes stands for (r + 1) >> 1.

5.2 Feature rows. When all DCs are known, for each component: mean rows are the latents of the 8 cells around (row by row,
edge cells repeated outside) minus the cell's own; scale rows are f1, f2 of each of: the sum of the 8 absolute differences;
4 * (left + right); 4 * (up + down), each min(., 8191). Component 0 has a scale bank of its own, components 1 and 2 share one,
which begins with component 1's rows. f1, f2 of the first magnitude come first, then f1, f2 of the second, and so on.

5.3 Tiles in order, each in two passes: the cells with row + column even, then the odd ones, row by row; set 1.
  Scale features: all rows of bank 0 so far, for chroma then all rows of the chroma bank so far; in the odd pass then g1, g2 of
  the sum of the magnitudes of the four cells beside (edge cells repeated: a repeated cell is the odd cell itself, 0 as yet).
  Weights: `scale` row 0 and bias row 0 in the even pass, row 1 in the odd, with `scale_own` for the last two.
  Means are 0 unless the model has `tile.TT.mean`: then all mean rows of the component so far, weights of coefficient j in row
  j (even) or T + j (odd); in the odd pass also the coefficient's own latents left, right, up, down (repeated at the edge as
  above: 0), `mean_own`.
  After both passes the tile's magnitude is m = min(8191, (8 / T) * sum of |residual|), 1/128 step. Its scale rows, added to
  its bank: f1, f2 of m; g1, g2 of the sum over left, right, up, down; g1, g2 of the sum over the four diagonal cells (edge cells
  repeated). Tiles of component 0 add mean rows for each coefficient until there are 83 rows: the latent itself, left, right,
  up, down.

5.4 Context network, of models with tensors `context.*`. What is above are the *linear* mean and score (the sum that is shifted
for the class). The network adds to both: the score is clamped to 0 .. 2**19 - 1 (it is so in inputs too) and then gains `ds`,
class = clamp(score >> 14, 0, 31); the mean gains (dm + 512) >> 10. Wherever 5.1 to 5.3 make features of a |residual| or its
magnitude, it is that of the difference to the linear mean, residual + ((dm + 512) >> 10). Weights are [out, in]; lists (a, b)
follow one another.
  F(x) = sign(x) * ((log16(|x| + 4) - 32) >> 1), with |x| at most 65536; U(s) = clamp(s >> 10, 0, 127),
    V(s) = clamp(s >> shift[0], 0, 127)
  step inputs E = 32, L >> 1, (L * L) >> 8 with L = log16(step) - 176
  DC passes with weights dc.C.0.P and dc.C.1.P: inputs = F of the mean features (clamped as they are), their |F|, scale features
    >> 1, score >> 12, F(linear mean without base), E; h = U(first @ inputs + first_bias), g = U(second @ h + second_bias);
    ds, dm = out @ g + out_bias
  States, a vector a cell. When all DCs are known, with D_C = F of the DCs of component C of the 24 cells around, row by row from
    (-2, -2) to (2, 2), each minus the cell's own (edge cells repeated outside):
    luma = luma.dc @ (D_0, |D_0|) + luma.step @ E;  chroma = chroma.dc @ (D_1, D_2, |D_1|, |D_2|) + chroma.step @ E
  A tile has values at each cell, T of F(latent) and then T of |F(residual to the linear mean)|; they are 0 outside the grid and
    where the tile is not decoded yet. Tile TT of 0..27 (others: no network), in each half:
    inputs = V(luma), for chroma tiles V(chroma), score >> 12, F of the T linear means (0 without any); in the odd half the V of
    luma, for chroma tiles of chroma instead, is that of the state + own @ (values of left, of right, of up, of down)
    h = U(hidden[half] @ inputs + hidden_bias[half]); out[half] @ h + out_bias[half] are ds and, of tiles with means, T of dm
  After both halves, luma (of chroma tiles: chroma) gains state @ (values of the cells around, its own among them, row by row: 25
    from (-2, -2) for tiles 0..6, 9 from (-1, -1) for others)

5.5 Masking, of files whose strength s of masking is not 0: tiles, but not DCs, have words of a size of their own in each cell. When
all DCs are known, the grid is extended by two cells on each side, which repeat its edge cells; the activity of a cell is
a = (Q * step * step) >> 20, Q the sum over the 3x3 cells around it of the squares of four differences each, clamped to +-4095: of
component 0's latent to those of the cells left, right, above and below.
  level = clamp((s * (log16(a + 34560) - log16(530000)) + 16) >> 5, -16, 16) + (4 for components 1, 2)
          + (-3 0 2 4 6 7 8 for a tile whose largest frequency is 1 2 3 4 5 6 7);  size = floor(256 * 2**(level / 16) + 1/2)
  A tile's class is then clamp((clamp(score, 0, 2**19 - 1) - 2560 * level) >> 14, 0, 31), its score that of 5.3 or, with a network,
  as 5.4 corrects it; and a residual r that `code` decodes in that cell stands for (r * size + 128) >> 8.

6. PIXELS
=========
The plain decode is exact; its arithmetic is in dct.py's docstring: coefficient = latent * step, in 1/1024. In files of several
tile groups the seams between these are smoothed then, as seams.py's docstring says.

7. TOKENS
=========
A file of tokens has one index a cell, of the one codebook of a model of kind token. Sections 2 to 6 do not apply to it. In its
layout byte bit 2 says that the picture is in colour, and bits 3-5 and 7 are reserved; in place of step and merge map it has
    1 byte    grid                bits 0-3: b - 1, b the bits of an index; bit 4: cells are 16x16 pixels, else 8x8; others reserved
Samples are of 8 bits, `group` is 0, and there is one index section. The picture, its right and bottom edge repeated, is a grid of
h = ceil(height / side) rows and w = ceil(width / side) columns of cells. The low 8 bits of the indices of all n = h * w cells, row
by row, are the low plane; if b > 8 the other bits are the high plane. The section is
    1 byte    modes               bits 0-1 of the low plane, bits 2-3 of the high plane (0 without one): 0 packed, 1 zstd frame,
                                  2 block (3 reserved);  bits 4-7: reserved
    varint    length              stored bytes of the low plane, if it is not packed and there is a high plane
    bytes     the low plane, then the high plane, as they are stored; the section ends with them
Packed values have the plane's min(b, 8) or b - 8 bits each, most significant first, filled up with zeros to a whole byte. Frames
and blocks are those of section 3, without a dictionary; n bytes, one a value, come out of them. An index that is not below 1 << b,
or not in the model's codebook, is an error, and so is a grid that is not the model's. Pixels are what tokens.py's docstring says,
in floating point: within 1 of 255 the same on every machine.

8. CHANGES
==========
    0.1   first version
    0.2   a header without a table for single sections; blocks instead of frames with a dictionary; raw bits verbatim at the end
    0.3   the records of an index section are bits, together at its beginning; since then without a new number, as readers refuse
          what they do not know: alpha, 10 to 16 bits a sample, tokens, fine DCs, masking
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from io import SEEK_END, BytesIO
from itertools import accumulate
from threading import Lock
from typing import BinaryIO, Final

from vqcodec.errors import CorruptError, FormatError, LimitError, TruncatedError, UnsupportedError
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.header import MAX_METADATA, MAX_PIXELS, Header, Section, Tokens
from vqcodec.transform.layouts import COLOR_8X8, GREY, LAYOUTS

MAGIC: Final = bytes((0x89, 0x56, 0x51, 0x5A, 0x0D, 0x0A, 0x1A, 0x0A))
VERSION: Final = (0, 3)
ID_BYTES: Final = 6
"""Of a model's SHA-256."""
MAX_SIDE: Final = 65535
MAX_STEP: Final = 65535
MIN_GROUP_LOG2, MAX_GROUP_LOG2 = 3, 13
INDICES, ALPHA, ICC, EXIF, XMP = 0x00, 0x01, 0x81, 0x82, 0x83
"""Types of sections; that of index sections is not written."""
NAMES: Final = {INDICES: "indices", ALPHA: "alpha", ICC: "ICC", EXIF: "EXIF", XMP: "XMP"}
_METADATA: Final = (ICC, EXIF, XMP)
_OPTIONAL: Final = 0x80
_FIRST_READ: Final = 1 << 14
"""Bytes that hold the header and the table of most files."""
_TABLED: Final = 0x40
"""Bit of the layout byte: there are tile groups, layers or other sections, and a table of them."""
_FINE_DCS: Final = 0x80
"""Bit of the layout byte."""
_CRITICAL_NAMES: Final = {0: "a step map", 1: "a pattern codebook"}
_HAS_ALPHA: Final = 0x04
_MASKING_SHIFT: Final = 5
"""Of the byte of the merge map: masking is above it."""
_TOKENS: Final = 3
"""In the layout byte's bits of the layout."""
_TOKENS_IN_COLOR: Final = 0x04
_TOKENS_OF_16: Final = 0x10
"""Bits of the layout byte and of the grid byte of token files."""
_DEPTHS: Final = (8, 10, 12, 16)


def write_file(header: Header, sections: Sequence[Section]) -> bytes:
    """A whole .vqz file, index sections first; the inverse of `read_file`."""
    tabled = bool(header.group_log2) or header.layers > 1 or len(sections) != 1
    head = bytearray(MAGIC)
    head.append(VERSION[0] << 4 | VERSION[1])
    head += write_varint(header.width) + write_varint(header.height)
    head.append(_layout_byte(header) | (_TABLED if tabled else 0))
    head += bytes((_HAS_ALPHA if header.alpha else 0, header.group_log2) if tabled else ()) + header.model_id
    if header.tokens:
        head.append(header.tokens.bits - 1 | (_TOKENS_OF_16 if header.tokens.side == 16 else 0))
    else:
        head += header.step_64.to_bytes(2, "little") + bytes((header.merge_map | header.masking << _MASKING_SHIFT,))
    body = b"".join(section.data for section in sections)
    if not tabled:
        return bytes(head) + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body
    head += write_varint(sum(section.type != INDICES for section in sections))
    for section in sections:
        head += b"" if section.type == INDICES else bytes((section.type,))
        head += write_varint(len(section.data)) + zlib.crc32(section.data).to_bytes(4, "little")
    return bytes(head) + zlib.crc32(head).to_bytes(4, "little") + body


def _layout_byte(header: Header) -> int:
    if header.tokens:
        return _TOKENS | (_TOKENS_IN_COLOR if LAYOUTS[header.layout].components == 3 else 0)
    return header.layout | _DEPTHS.index(header.depth) << 2 | (header.layers - 1) << 4 | (_FINE_DCS if header.fine_dcs else 0)


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Header, list[tuple[int, int, int]], int]:
    """The header, the table (type, length, checksum) and the offset of the first section.

    Raises FormatError and its kinds, LimitError.
    """
    reader = _begun(data)
    width, height, layout = reader.varint(), reader.varint(), reader.byte()
    tabled = bool(layout & _TABLED)
    flags, group = (reader.byte(), reader.byte()) if tabled else (0, 0)
    if flags & 0x0F & ~_HAS_ALPHA:
        needs = [name for bit, name in _CRITICAL_NAMES.items() if flags >> bit & 1] or ["an unknown feature"]
        raise UnsupportedError(f"unsupported file: it needs {', '.join(needs)}")
    model_id, alpha = reader.take(ID_BYTES), bool(flags & _HAS_ALPHA)
    if layout & 3 == _TOKENS:
        grid, code = reader.byte(), (COLOR_8X8 if layout & _TOKENS_IN_COLOR else GREY).code
        tokens = Tokens(16 if grid & _TOKENS_OF_16 else 8, (grid & 0x0F) + 1)
        header = Header(
            width=width,
            height=height,
            layout=code,
            layers=1,
            group_log2=group,
            model_id=model_id,
            step_64=0,
            alpha=alpha,
            tokens=tokens,
        )
        reserved = bool(layout & 0xB8 or grid & 0xE0 or group)
    else:
        step_64 = reader.integer(2)
        masking, merge_map = divmod(reader.byte(), 1 << _MASKING_SHIFT)
        header = Header(
            width=width,
            height=height,
            layout=layout & 3,
            layers=(layout >> 4 & 3) + 1,
            group_log2=group,
            model_id=model_id,
            step_64=step_64,
            merge_map=merge_map,
            depth=_DEPTHS[layout >> 2 & 3],
            alpha=alpha,
            fine_dcs=bool(layout & _FINE_DCS),
            masking=masking,
        )
        reserved = header.layers == 4 or step_64 == 0 or not (group == 0 or MIN_GROUP_LOG2 <= group <= MAX_GROUP_LOG2)
    table = _read_table(reader, header) if tabled else []
    end = reader.cursor
    checksum, rest = reader.integer(4), b"" if tabled else data[end + 4 :]
    if checksum != zlib.crc32(rest, zlib.crc32(data[:end])):
        raise CorruptError("corrupt file: its checksum is wrong")
    if not tabled:
        table = [(INDICES, len(rest), zlib.crc32(rest))]
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise CorruptError(f"corrupt file: a picture of {width}x{height}")
    if header.layers > 1 and not tabled:
        raise UnsupportedError("unsupported file: its layout is of a newer version")
    if reserved:
        raise CorruptError("corrupt file: a reserved value in the header")
    if width * height > max_pixels:
        raise LimitError(f"{width}x{height} is more than {max_pixels} pixels (--max-pixels)")
    return header, table, reader.cursor


def _begun(data: bytes) -> ByteReader:
    """A reader that has seen magic and version; raises FormatError and its kinds."""
    if data[: len(MAGIC)] != MAGIC:
        if data and MAGIC.startswith(data):
            raise TruncatedError("truncated file")
        raise FormatError("not a .vqz file")
    reader = ByteReader(data)
    reader.take(len(MAGIC))
    version = divmod(reader.byte(), 16)
    if version != VERSION:
        raise UnsupportedError(f"unsupported file: format {version[0]}.{version[1]}, this is a reader of {VERSION[0]}.{VERSION[1]}")
    return reader


def _read_table(reader: ByteReader, header: Header) -> list[tuple[int, int, int]]:
    others = reader.varint()
    h, w = (-(-cells // (1 << header.group_log2)) if header.group_log2 else 1 for cells in header.cells)
    table = [(INDICES, reader.varint(), reader.integer(4)) for _ in range(header.layers * h * w)]
    return table + [(reader.byte(), reader.varint(), reader.integer(4)) for _ in range(others)]


class File:
    """A file whose sections are read and checked as they are asked for, from any thread, but not from a fork: that would move the
    place in the file that both read at.

    `read_bytes` counts what was read of it.
    """

    def __init__(self, source: BinaryIO, max_pixels: int = MAX_PIXELS) -> None:
        """Reads the header from a seekable stream. Raises FormatError and its kinds, LimitError."""
        self._source, self._lock = source, Lock()
        self.size = source.seek(0, SEEK_END)
        self.read_bytes = 0
        head, wanted = b"", _FIRST_READ
        while True:
            more = self._read_at(len(head), wanted)
            head += more
            try:
                tabled = _has_table(head)
                if tabled or len(head) >= self.size or not more:
                    self.header, self.table, start = read_header(head, max_pixels)
                    break
                wanted = self.size - len(head)
            except TruncatedError:
                if len(head) >= self.size or not more:  # a stream may end before the place that it says is its end
                    raise
                wanted = 7 * len(head)
        self.offsets = [start + length for length in accumulate((length for _, length, _ in self.table), initial=0)]
        self._others = self.header.layers * len(self.header.groups)
        kinds = [kind for kind, _, _ in self.table[self._others :]]
        unknown = [kind for kind in kinds if not kind & _OPTIONAL and kind != ALPHA]
        if unknown:
            raise UnsupportedError(f"unsupported file: it needs sections of type {unknown[0]:#04x}")
        if kinds.count(ALPHA) != self.header.alpha or any(kinds.count(kind) > 1 for kind in _METADATA):
            raise CorruptError("corrupt file: its sections are not those that the header says")
        if any(kind in _METADATA and length > MAX_METADATA for kind, length, _ in self.table):
            raise LimitError("metadata of more than 16 MiB")

    def _read_at(self, offset: int, length: int) -> bytes:
        """So many bytes or, where the file ends before, fewer: unbuffered streams may give less than is asked for at a time."""
        parts = []
        with self._lock:
            self._source.seek(offset)
            while length > 0 and (part := self._source.read(length)):
                parts.append(part)
                length -= len(part)
                self.read_bytes += len(part)
        return b"".join(parts)

    def section(self, number: int) -> bytes:
        """The stored bytes of an entry of the table; raises TruncatedError, CorruptError."""
        _, length, checksum = self.table[number]
        if self.offsets[number] + length > self.size:
            raise TruncatedError("truncated file")
        stored = self._read_at(self.offsets[number], length)
        if zlib.crc32(stored) != checksum:
            raise CorruptError("corrupt file: a section's checksum is wrong")
        return stored

    def indices(self, group: int, layers: int) -> list[bytes]:
        """The index sections of the first so many layers of a tile group. Raises TruncatedError, CorruptError."""
        return [self.section(number) for number in self._numbers(group, layers)]

    def _numbers(self, group: int, layers: int) -> range:
        groups = len(self.header.groups)
        return range(group, layers * groups, groups)

    def intact_indices(self, group: int, layers: int) -> list[bytes | None]:
        """As `indices`; from the first damaged one on, as nothing after it can be read without it, None."""
        found: list[bytes | None] = []
        for number in self._numbers(group, layers):
            with suppress(FormatError):
                if None not in found:
                    found.append(self.section(number))
                    continue
            found.append(None)
        return found

    def other(self, kind: int) -> bytes:
        """The section of a type other than INDICES, empty where there is none. Raises TruncatedError, CorruptError."""
        numbers = [n for n, entry in enumerate(self.table) if n >= self._others and entry[0] == kind]
        return self.section(numbers[0]) if numbers else b""

    def check(self) -> None:
        """Raise TruncatedError or CorruptError unless every checksum holds and the file ends with its last section."""
        for number in range(len(self.table)):
            self.section(number)
        if self.offsets[-1] != self.size:
            raise CorruptError("corrupt file: bytes after the last section")


def _has_table(head: bytes) -> bool:
    """Of the first bytes of a file; raises TruncatedError where they do not tell, FormatError where it is none."""
    reader = _begun(head)
    reader.varint(), reader.varint()
    return bool(reader.byte() & _TABLED)


def read_file(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Header, list[Section]]:
    """Header and sections of a whole file, all checksums verified; unknown optional sections are left out.

    Raises TruncatedError, CorruptError, UnsupportedError, LimitError.
    """
    file = File(BytesIO(data), max_pixels)
    file.check()
    known = (INDICES, ALPHA, *_METADATA)
    return file.header, [Section(kind, file.section(n)) for n, (kind, _, _) in enumerate(file.table) if kind in known]
