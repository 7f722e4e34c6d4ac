"""The .vqz file format, versions 0.3 and 0.4. This docstring is the specification.

All integers are little-endian. `u16` and `u32` have 2 and 4 bytes. A `varint` is an unsigned LEB128 number of at most 5 bytes: 7
bits per byte, least significant first, with bit 7 set in every byte but the last; the last byte is not 0 unless it is the only one.
Shifts of negative integers round towards minus infinity. *Reserved* bits and values must be refused; *unused* ones are ignored.

1. FILE
=======
    8 bytes   magic               89 56 51 5A 0D 0A 1A 0A
    1 byte    version             16 * major + minor; major must be 0, and while it is, minor must be 4 in files with pixel
                                  sections (bit 3 of the flags) and 3 in all others
    varint    width               1..65535 pixels
    varint    height              1..65535 pixels
    1 byte    layout              bits 0-1: 0 grey, 1 colour with 4x4 chroma, 2 colour with 8x8 chroma, 3 tokens (section 7)
                                  bits 2-3: bits per sample: 0 for 8, 1 for 10, 2 for 12, 3 for 16
                                  bits 4-5: number of layers - 1, 0..2; 3: no layers, in files with pixel sections (else reserved)
                                  bit 6: the fields marked * are present
                                  bit 7: fine DCs (5.1), reserved in token files and without layers
    1 byte *  flags               bit 2: there is an alpha plane;  bit 3: each tile group has a pixel section, reserved in token
                                  files;  bit 1: there is a pattern codebook (6.2), reserved in files with layers and token files;
                                  bit 0: critical, reserved (step map);
                                  bits 4-7: optional features (4: the plain decode is closer to the original than the synthesis
                                  of the model; 5, in files without layers: the samples are those that the encoder was given;
                                  6, in grey files with layers: the picture is in colour, its three components are equal;
                                  others unused)
    1 byte *  group               0: one tile group; k = 3..13: tile groups of 2**k x 2**k cells; others are reserved
    6 bytes   model id            the first 6 bytes of the model's SHA-256          ) absent without layers, but the model id is
    u16       step                quantiser step in 1/64 of a grey level, 1..65535  ) there with a pattern codebook; token files
    1 byte    merge map           bits 0-4: number of one of the model's merge maps ) have one other byte in place of the last two
                                  bits 5-7: strength of masking (5.5)               ) of these three fields (section 7)
    varint *  others              number of sections besides the pixel and index sections
  * for each pixel section, then for each index section:
      varint  length              stored bytes of the section
      u32     checksum            CRC-32 (zlib) of the stored bytes
  * for each other section:
      1 byte  type                bit 7 set: optional
      varint  length
      u32     checksum
    u32       checksum            CRC-32 of all bytes before this field; without bit 6, also of all bytes after it
    sections                      one after the other in the order of the table; the file ends with the last one

Without bit 6 the picture has one layer and one tile group, and its index section is the rest of the file.
There are as many pixel sections as tile groups, or none; and layers * groups index sections, ordered by layer, then by tile group,
row by row. Without layers the layout is 0 (grey) or 2 (colour), others are reserved, and alpha is a sample of the pixel sections
(6.2). With layers an alpha plane is a section of its own, which must exist if and only if bit 2 of the flags is set. Types of other
sections: 01 alpha plane in files of 8 bits per sample, 02 deep alpha plane in all others, both described in alpha.py's docstring;
03 palette, at most one, only in files with pixel sections; every other type of 00-7F, and 01 to 03 where they do not belong, is
reserved and critical (refuse); 81 ICC profile, 82 EXIF from its TIFF header on, 83 XMP (at most 16 MiB and one section of each);
84, with a pattern codebook: an ICC profile by means of the model (profile_parts.py), at most one and not beside 81; 85 the model
that the file names (embedded.py in weights/), at most one; other optional types are skipped. Every checksum is verified before the
bytes are used.

2. GEOMETRY
===========
The picture, its right column and bottom row repeated, is a grid of h = ceil(height / 8) rows and w = ceil(width / 8) columns of
cells (8x8 pixels). A tile group is a rectangle of cells that is coded independently of all others. Everything below happens within
one group; h, w and the edges of the grid are those of the group. A *channel* is one DCT coefficient of one component (plane) on the
grid. Channels are ordered: the DC of each component, then the coefficients of the tiles below in their order, each given as its
(vertical, horizontal) frequency. `t` after a list means the list with each pair mirrored.

    H3 = 03 12    H4 = 04 13    H5 = 05 14 23 24    H6 = 06 15 07 16    H7 = 25 35 26 45
    H8 = 17 27 36 37 46 47 56 57    C2 = 01 10    C4 = 11 02 20 22    C8 = 03 12 13 23 30 21 31 32
    number: component coefficients
     0: 0 01     1: 0 10     2: 1 C2     3: 2 C2     4: 0 11     5: 0 02     6: 0 20     7: 0 H3     8: 0 H3t    9: 1 C4
    10: 2 C4    11: 0 H4    12: 0 H4t   13: 0 22 33 14: 0 H5    15: 0 H5t   16: 1 C8    17: 2 C8    18: 0 H6    19: 0 H6t
    20: 0 44 34 43 55       21: 0 H7    22: 0 H7t   23: 0 H8    24: 0 H8t   25: 0 66 67 76 77       26: 1 33    27: 2 33
    only with 8x8 chroma, each for component 1 and then 2:
    28, 29: 04 05 14 15 24 25 34 35     30, 31: its mirror     32, 33: 06 07 16 17 26 27 36 37     34, 35: its mirror
    36, 37: 44 45 54 55 46 64 56 65     38, 39: 47 74 57 75 66 67 76 77

A grey file has only the tiles of component 0. With one layer, layer 0 holds everything; with two, the DCs are layer 0 and all tiles
layer 1; with three, the DCs are layer 0, tiles 0-10 layer 1 and the other tiles layer 2. A *latent* is an integer in 1/16 of a
quantiser step, clamped to +-32767.

3. INDEX SECTION
================
    records   bits, most significant bit of each byte first, filled up with zeros to a whole byte. For each stream 0 .. S-1 of the
              merge map (S = 1 + the largest stream number in it) and each of its parts (two in split form, else one):
      size    bytes of the part before compression: number(size); for the second part in split form golomb(0, first part's size -
              size), and nothing if the first part is empty. The record of an empty part ends here.
      mode    1: block with the part's dictionary; 000: zstd frame; 001: block with its own Huffman tree; 01: verbatim
      length  stored bytes L of the part.  Verbatim: nothing, L = size.  Frame or own tree: number(L).  With dictionary: one
              expected(size) if size < 1024, else expected(q) three times, q = ceil(size / 4), and expected(size - 3 q); L is the
              sum of these lengths. In the latter case the L bytes are the four Huffman streams of the literals, and for
              decompression the lengths of the first three are put before them as three u16.
    bytes     L of each part
    bytes     the raw bits: the rest of the section

number(v): let n be the number of bits of v (0 for v = 0). If n < 15, n in 4 bits, else 1111 and n - 15 in 5 bits; then v without
its leading 1, in n - 1 bits.
golomb(k, v): let u = (v >> k) + 1 have z + 1 bits. z zeros, u in z + 1 bits, the low k bits of v. z <= 32.
expected(n): golomb(max(0, b // 2 - 1), x), b the number of bits of n. It stands for the length (n * M >> 14) + x / 2 if x is even,
else (n * M >> 14) - (x + 1) / 2. M is the sum of l * 2**(11 - l) over the code lengths l > 0 of the part's dictionary.

The raw bits have at most 4 * channels * cells + 16 bytes, and so have all `size` together. A frame is a zstd frame (RFC 8878)
without its magic number and without its next two bytes, which are always 00 38 (no content size, checksum or dictionary id; window
128 KiB). It decompresses to exactly `size` bytes, and nothing follows it. A block is the content of the literals section of a frame
that has one block and no sequences; `size` and L (with the three u16, if any) are at most 131072. The whole frame of a block is
    00 38     the two bytes above
    3 bytes   block header: 5 + 8 (H + L + 1)
    H bytes   literals section header: T + 4 F + 16 size + (L << (4 + n)), L < 1 << n, with T = 2 for a block with its own Huffman
              tree, T = 3 for one with the dictionary's, and
                  F, n, H = 0, 10, 3    if size < 256 (T = 2) or size < 1024 (T = 3)
                            1, 10, 3    else if size < 1024
                            2, 14, 4    else if size < 16384
                            3, 18, 5    else
    L bytes   the block
    00        no sequences

The parts of a stream become symbols (0..255), by the form that the model gives the stream.
  Direct form: each byte is a symbol.
  Split form: part 0 holds runs. A run is the sum of any number of bytes 255 and the one byte below 255 that ends it; the last byte
  of part 0 is not 255. Part 1 holds one symbol for each run, and each symbol is preceded by its run of symbols 0.
  Pair form, with the model's pair table (256 entries: zeros, tail): the bytes are p pairs and then l literals, p + l = size, where
  l is the number of pairs whose tail is 256. Each pair gives `zeros` symbols 0 and then: its tail, if that is 0..255; the next
  literal, if it is 256; nothing, if it is -1.
All streams together have at most 2 * channels * cells symbols. After its last symbol a stream continues with zeros. When all tiles
are decoded, no symbol may be left, and fewer than 8 raw bits, all of them 0. Raw bits are read most significant bit of each byte
first.

4. MODEL
========
Tensors are described in exact.py, the model id in folder.py. A codebook has a dimension d, K codewords in the order of their
symbols, and possibly an escape symbol. table[set][log2 T][class] is the codebook of a tile of size T, or -1 for none.
Codebooks of dimension 1 are scalar. Symbol s stands for letter `alphabet[s]`. Letter 0 is the value 0; letters 1..30 are +1, -1,
... +15, -15; the following letters are, for octave e = 4..10 and eighth j = 0..7, +b and -b with b = (8 + j) << (e - 3), each
followed by e - 3 raw bits r. The residual is word[s] + sign(word[s]) * 16 * r, where word[s] is codeword s.

5. DECODING A TILE GROUP
========================
`code(set, T, cells, means, classes)` decodes residuals [T][n] of n cells, and sets latent = clamp(mean + residual). The residuals
of graphic cells (6.2) and of cells whose class c has table[set][log2 T][c] = -1 are 0; nothing is read for them, but all that
follows from their latents and residuals is as for other cells. For every other class c, in ascending order, with the n_c remaining
cells of class c in the order of the list:
  Read n_c * T/d symbols from the stream of the class's codebook, cell by cell, within a cell piece by piece. Piece i gives the
  residuals of coefficients i*d .. i*d+d-1. A symbol >= K is an error.
  Then, in a scalar codebook, read the raw bits of each symbol, in the same order. In other codebooks, for each escape symbol in
  order, read d symbols of the last codebook, which give its d residuals; the raw bits of all of these symbols follow, in
  order.
  Only then comes the next class.

Logarithm: log16(x) = 16 e + ((16 x) >> e) - 16 with e = floor(log2 x). Step inputs: 1, L = log16(step) - 176, (L*L) >> 4.
Features of one magnitude m (0..8191): f1 = log16(m + 8) - log16(8), f2 = log16(m + 64) - log16(64). Features of a sum s of four
magnitudes: g1 = log16(s + 32) - log16(32), g2 = log16(s + 256) - log16(256).
Class = clamp((sum of scale weights * features + sum of bias * step inputs) >> 14, 0, 31).
Mean = (sum of mean weights * features + 512) >> 10, with features clamped to +-4095 (only here, not for scale magnitudes).

5.1 DCs, one component after the other. First cell 0 alone: mean 0, class from `dc.root.C` (bias only). Then for each stride
S = 2**k, k from ceil(log2 max(h, w)) - 1 down to 0, three passes with weights `dc.C.min(k,4).P`; a pass without cells is skipped.
Lattices with spacing 2S: K starts at (0, 0), A at (S, S), B at (0, S), C at (S, 0). Pass 0 codes A, 1 codes B, 2 codes C; cells are
coded row by row. Neighbour X(i, j) of the target in row a, column b of its lattice is the cell in row a + i, column b + j of
lattice X, each clamped into X; it is missing if X has no cells at all.
  neighbours of pass 0: K(0,0) K(0,1) K(1,0) K(1,1), then K(i,j), i and j from -1 to 2, i first, without those four
  pass 1: K(0,0) K(0,1) A(-1,0) A(0,0) K(0,-1) K(0,2) A(-2,0) A(1,0) K(-1,0) K(-1,1) K(1,0) K(1,1) A(-1,-1) A(-1,1) A(0,-1) A(0,1)
  pass 2: K(0,0) K(1,0) A(0,-1) A(0,0) B(0,-1) B(0,0) B(1,-1) B(1,0) K(-1,0) K(2,0) A(0,-2) A(0,1) K(0,-1) K(0,1) K(1,-1) K(1,1)
          A(-1,-1) A(-1,0) A(1,-1) A(1,0)
  base = (sum of the first n neighbours + n/2) div n, rounded down; n = 4 in pass 0, 2 in passes 1 and 2
  Differences: D[i] = neighbour - base, 0 if missing; for each earlier component o, E_o[i] = its latent at neighbour i minus its
  latent at the target, i = 0..3, 0 if missing. Mean features: D, then E_0, E_1.
  Scale magnitudes, each min(., 8191): 2 (|D0| + |D1| + |D2| + |D3|); |D4| + ... + |D11|; in pass 0 4 |D0 - D3| and 4 |D1 - D2|, in
  passes 1 and 2 4 |D0 - D1| and 4 |D2 - D3|; 2 * (sum of |residual| over those of neighbours 0..3 that are not missing); then, for
  each earlier component, 8 * its |residual| at the target and 2 * (|E_o[0]| + ... + |E_o[3]|).
  Scale features: f1 of all magnitudes, then f2 of all. The mean for `code` is base + mean; set 0, T = 1.
  Fine DCs: for cell 0, and in passes with S >= 4 (component 0) or S >= 2 (others), `code` gets min(class + 2, 31) as class, and a
  residual r that it decodes stands for (r + 1) >> 1.

5.2 Feature rows. When all DCs are known, for each component: the mean rows are the latents of the 8 surrounding cells (row by row,
edge cells repeated outside) minus the cell's own. The scale rows are f1, f2 of each of three magnitudes, each min(., 8191): the sum
of the 8 absolute differences, 4 * (left + right) and 4 * (up + down) of them; f1, f2 of the first magnitude come first, then of the
second, then of the third. Component 0 has its own bank of scale rows; components 1 and 2 share one, which begins with the rows of
component 1.

5.3 Tiles in order, each in two passes: first the cells with row + column even, then the odd ones, row by row; set 1.
  Scale features: all rows of bank 0 so far; for chroma then all rows of the chroma bank so far; in the odd pass then g1, g2 of the
  sum of the magnitudes of the four adjacent cells. Outside the grid the edge cell is repeated, which here is the odd cell itself,
  whose magnitude is still 0.
  Weights: in the even pass row 0 of `scale` and of the bias, in the odd pass row 1, with `scale_own` for the last two features.
  Means are 0 unless the model has `tile.TT.mean`. Then the features are all mean rows of the component so far, with the weights of
  coefficient j in row j (even) or T + j (odd); in the odd pass also the coefficient's own latents left, right, up, down (repeated
  at the edge as above: 0), with weights `mean_own`.
  After both passes the tile's magnitude is m = min(8191, (8 / T) * sum of |residual|), in 1/128 step. Its scale rows are added to
  the component's bank: f1, f2 of m; g1, g2 of the sum over left, right, up, down; g1, g2 of the sum over the four diagonal cells
  (edge cells repeated). Tiles of component 0 add mean rows for each coefficient until there are 83 rows: the latent itself, left,
  right, up, down.

5.4 Context network, in models with tensors `context.*`. The mean and the score (the sum that is shifted to the class) of 5.1 to 5.3
are called *linear* here. The network adds to both. The score is first clamped to 0 .. 2**19 - 1 (also where it is an input below)
and then gains `ds`; class = clamp(score >> 14, 0, 31). The mean gains (dm + 512) >> 10. Wherever 5.1 to 5.3 make features of a
|residual| or its magnitude, they use the difference to the linear mean, residual + ((dm + 512) >> 10). Weights are [out, in];
(a, b) is the concatenation of lists.
  F(x) = sign(x) * ((log16(|x| + 4) - 32) >> 1), with |x| at most 65536; U(s) = clamp(s >> 10, 0, 127),
    V(s) = clamp(s >> shift[0], 0, 127)
  Step inputs E = 32, L >> 1, (L * L) >> 8 with L = log16(step) - 176.
  DC passes that have weights dc.C.0.P and dc.C.1.P: inputs = F of the mean features (clamped as they are), their |F|,
    scale features >> 1, score >> 12, F(linear mean without base), E; h = U(first @ inputs + first_bias),
    g = U(second @ h + second_bias); ds, dm = out @ g + out_bias
  States are one vector per cell. When all DCs are known, with D_C = F of the DCs of component C of the 24 surrounding cells, row by
  row from (-2, -2) to (2, 2), each minus the cell's own (edge cells repeated outside):
    luma = luma.dc @ (D_0, |D_0|) + luma.step @ E;  chroma = chroma.dc @ (D_1, D_2, |D_1|, |D_2|) + chroma.step @ E
  A tile has values at each cell: F(latent) of its T coefficients, then |F(residual to the linear mean)| of the T. They are 0
  outside the grid and where the tile is not decoded yet. For tile TT of 0..27 (others have no network), in each of the two passes
  (`half`):
    inputs = V(luma), for chroma tiles also V(chroma), score >> 12, F of the T linear means (0 if there are none). In the odd pass
    the V of luma (in chroma tiles: of chroma) is that of the state + own @ (values of left, of right, of up, of down).
    h = U(hidden[half] @ inputs + hidden_bias[half]); out[half] @ h + out_bias[half] is ds and, in tiles with means, the T of dm
  After both passes luma (in chroma tiles: chroma) gains state @ (values of the surrounding cells and the cell itself, row by row:
    25 cells from (-2, -2) for tiles 0..6, 9 from (-1, -1) for others).

5.5 Masking, in files whose masking strength s is not 0: the codewords of tiles, but not of DCs, are scaled by a size that depends
on the cell. When all DCs are known, the grid is extended by two cells on each side, which repeat its edge cells. The activity of a
cell is a = (Q * step * step) >> 20. Q is a sum over the 3x3 cells around it; each of these contributes the squares of four
differences, clamped to +-4095: of its own latent of component 0 to those of the cells to the left, to the right, above and below.
  level = clamp((s * (log16(a + 34560) - log16(530000)) + 16) >> 5, -16, 16) + (4 for components 1, 2)
          + (-3 0 2 4 6 7 8 for a tile whose largest frequency is 1 2 3 4 5 6 7);  size = floor(256 * 2**(level / 16) + 1/2)
  The class of a tile is then clamp((clamp(score, 0, 2**19 - 1) - 2560 * level) >> 14, 0, 31), with the score of 5.3 or, with a
  network, the score that 5.4 has corrected; a residual r that `code` decodes in the cell stands for (r * size + 128) >> 8.

6. PIXELS
=========
6.1 With layers. The plain decode is exact; dct.py's docstring has its arithmetic, with coefficient = latent * step in 1/1024 of a
grey level. In files with several tile groups the seams between these are then smoothed as in seams.py's docstring.

6.2 In files with pixel sections each cell is *graphic* or not. The pixel section of a tile group, described in the docstring of
pixel_sections.py, says which cells are, and holds their pixels as indices into the palette of the file (index_planes.py,
context_planes.py and palettes.py in format/, rare_colours.py in transform/). The palette section is shared by all tile groups;
without one the palette has no colours, so all colours are rare. Cells at the right and bottom edge have only those of their pixels
that are in the picture.
  With layers a pixel has the samples of 6.1, one or three, and those of graphic cells replace 6.1's after the seams are smoothed.
  Without layers the pixel section also holds all other pixels, by prediction (predicted.py in codec/, pixel_pyramid.py in
  entropy/). With a pattern codebook, a list of pictures in a graphic model (graphic.py in weights/), it begins with cells that are
  copied from these (patterns.py in format/), and the model's network may tell contexts (context_planes.py in format/). The list may
  be empty. A pixel has one sample or three, red, green and blue; then one for alpha, if bit 2 of the flags is set. Seams are not
  smoothed. Sections 3 to 5 do not apply, except as far as those docstrings refer to them.
A sample of 2**depth or more, in a palette or in a pixel, is an error. Samples of more than 8 bits have 16 bits in all that is taken
modulo the size of a sample.

7. TOKENS
=========
A token file has one index per cell, of the single codebook of a model of kind token. Sections 2 to 6 do not apply. In the layout
byte bit 2 says that the picture is in colour, and bits 3-5 and 7 are reserved. In place of step and merge map there is
    1 byte    grid                bits 0-3: b - 1, b the bits of an index; bit 4: cells are 16x16 pixels, else 8x8; others reserved
Samples have 8 bits, `group` is 0, and there is one index section. The picture, its right column and bottom row repeated, is a grid
of h = ceil(height / side) rows and w = ceil(width / side) columns of cells. The low plane holds the low 8 bits of the indices of
all n = h * w cells, row by row; if b > 8, the high plane holds the other bits. The section is
    1 byte    modes               bits 0-1 of the low plane, bits 2-3 of the high plane (0 without one): 0 packed, 1 zstd frame,
                                  2 block (3 reserved);  bits 4-7: reserved
    varint    length              stored bytes of the low plane; only if it is not packed and there is a high plane
    bytes     the low plane, then the high plane, as they are stored; the section ends with them
Packed values have the plane's min(b, 8) or b - 8 bits each, most significant bit first, filled up with zeros to a whole byte.
Frames and blocks are those of section 3, without a dictionary; they decompress to n bytes, one per value. An index that is not
below 1 << b or not in the model's codebook is an error, and so is a grid that is not the model's. tokens.py's docstring defines the
pixels, in floating point: they agree within 1 of 255 on all machines.

8. EXAMPLE
==========
A grey picture of 16x8 pixels, coded with the model photo-lite in 30 bytes. Each of its rows is a period of a cosine.

    89 56 51 5A 0D 0A 1A 0A   magic
    03                        version 0.3
    10                        width 16
    08                        height 8
    00                        layout: grey, 8 bits per sample, one layer, no fields marked *, no fine DCs
    5A 65 DA 1D FF B9         model id of photo-lite
    96 11                     step 4502, 70.3 grey levels
    09                        merge map 9, masking strength 0
    DA 35 7B 66               checksum of all other bytes
    27 C5                     records of the index section
    37                        stream 0, part 0
    5A                        stream 0, part 1
    5A                        stream 1

In merge map 9 stream 0 has split form and stream 1 has pair form. The bits of the records:

    0010 0    number(2): stream 0, part 0 has 2 bytes before compression
    1         its mode is block with dictionary
    1         expected(2) with x = 0: 2 * 10212 >> 14 = 1 stored byte
    1         golomb(0, 0): stream 0, part 1 has 2 - 0 bytes
    1         its mode is block with dictionary
    1         expected(2) with x = 0: 2 * 8944 >> 14 = 1 stored byte
    0001      number(1): stream 1 has 1 byte
    01        its mode is verbatim

Part 0 of stream 0 decompresses to the runs 01 00, part 1 to the symbols 03 01; together they are the symbols 0 3 1. Pair 5A of
stream 1 stands for no zeros and the tail 56. All further symbols are 0, and there are no raw bits. The two cells (h = 1, w = 2) are
decoded in this order, with codebooks of dimension 1:

    DC, cell 0                class 31    codebook 31    stream 1    symbol 56    residual -48    mean   0    latent -48
    DC, cell 1                class 11    codebook 11    stream 0    symbol  0    residual   0    mean -48    latent -48
    tile 0 (01), cell 0       class  4    codebook 36    stream 0    symbol  3    residual  32    mean   0    latent  32
    tile 0 (01), cell 1       class  9    codebook 56    stream 0    symbol  1    residual -22    mean  -7    latent -29

All other residuals are 0, and the other latents equal their means. Every row of the decoded picture is

    114 127 121 111 99 88 79 74 75 81 88 102 112 121 123 111

9. CHANGES
==========
    0.1   first version
    0.2   a header without a table for files with a single section; blocks in place of frames with a dictionary; raw bits verbatim
          at the end
    0.3   the records of an index section are bits, together at its start. Added later under the same number, because older readers
          refuse what they do not know: alpha, 10 to 16 bits per sample, tokens, fine DCs, masking, deep alpha planes;
          and bit 4 of the flags and sections of type 85, which they ignore
    0.4   pixel sections, palettes, and files without layers; only files with pixel sections have this number. Added later under the
          same number, because older readers refuse them: the pattern codebook (bit 1 of the flags); contexts of palette indices
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from io import SEEK_END, BytesIO
from itertools import accumulate
from threading import Lock
from typing import BinaryIO, Final, NamedTuple

from vqcodec.checks import MAX_PIXELS
from vqcodec.errors import CorruptError, FormatError, LimitError, TruncatedError, UnsupportedError
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.header import MAX_METADATA, Header, Section, Tokens
from vqcodec.transform.layouts import COLOR_8X8, GREY, LAYOUTS

MAGIC: Final = bytes((0x89, 0x56, 0x51, 0x5A, 0x0D, 0x0A, 0x1A, 0x0A))
VERSION: Final = (0, 3)
"""Version of files without pixel sections."""
PIXELS_VERSION: Final = (0, 4)
"""Version of files with pixel sections."""
ID_BYTES: Final = 6
"""Bytes of a model id, which is the start of the model's SHA-256."""
MAX_SIDE: Final = 65535
MAX_STEP_64: Final = 65535
MIN_GROUP_LOG2, MAX_GROUP_LOG2 = 3, 13
INDICES, ALPHA, DEEP_ALPHA, PALETTE, ICC, EXIF, XMP, MODEL_ICC, MODEL = 0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83, 0x84, 0x85
PIXELS: Final = 0x100
"""Types of sections. `PIXELS` and `INDICES`, of tile groups, are not written to files: their sections have fixed places."""
NAMES: Final = {
    PIXELS: "pixels",
    INDICES: "indices",
    ALPHA: "alpha",
    DEEP_ALPHA: "deep alpha",
    PALETTE: "palette",
    ICC: "ICC",
    EXIF: "EXIF",
    XMP: "XMP",
    MODEL_ICC: "ICC of the model",
    MODEL: "model",
}
_ORDER: Final = {PIXELS: 0, INDICES: 1}
"""Order of the sections of tile groups, which come before all others."""
_METADATA: Final = (ICC, EXIF, XMP)
_OPTIONAL: Final = 0x80
"""Bit of a section's type."""
_FIRST_READ: Final = 1 << 14
"""Bytes read first; they hold the header and the table of most files."""
_LAYOUT_BITS: Final = 0x03
_TABLED: Final = 0x40
_FINE_DCS: Final = 0x80
"""Bits of the layout byte. `_TABLED`: the fields marked * are present."""
_TOKENS: Final = 3
"""Value of `_LAYOUT_BITS` in token files."""
_NO_LAYERS: Final = 3
"""Value of the bits of the number of layers in files without layers."""
_TOKENS_IN_COLOR: Final = 0x04
_TOKENS_RESERVED: Final = 0xB8
"""Bits of the layout byte of token files."""
_GRID_BITS: Final = 0x0F
_GRID_OF_16: Final = 0x10
_GRID_RESERVED: Final = 0xE0
"""Bits of the grid byte of token files."""
_CRITICAL: Final = 0x0F
_HAS_PATTERNS: Final = 0x02
_HAS_ALPHA: Final = 0x04
_HAS_PIXELS: Final = 0x08
_BEST_IS_PLAIN: Final = 0x10
_LOSSLESS: Final = 0x20
_EQUAL_COMPONENTS: Final = 0x40
"""Bits of the flags byte."""
_CRITICAL_NAMES: Final = {0: "a step map", 1: "a pattern codebook"}
"""Critical features by bit of the flags byte."""
_MASKING_SHIFT: Final = 5
"""Position of the masking strength in the byte of the merge map."""
_DEPTHS: Final = (8, 10, 12, 16)


class TableEntry(NamedTuple):
    """A section in the table of a file: its type, its stored bytes, and the CRC-32 of these."""

    type: int
    length: int
    checksum: int


class FileHead(NamedTuple):
    """Everything before the sections of a file."""

    header: Header
    table: list[TableEntry]
    start: int
    """The offset of the first section."""


def write_file(header: Header, sections: Sequence[Section]) -> bytes:
    """A whole .vqz file, whose sections are put into order by type. The inverse of `read_file`."""
    flagged = header.best_is_plain or header.equal_components
    tabled = bool(header.group_log2) or header.layers != 1 or len(sections) != 1 or flagged
    head = bytearray(MAGIC)
    version = PIXELS_VERSION if header.pixels else VERSION
    head.append(version[0] << 4 | version[1])
    head += write_varint(header.width) + write_varint(header.height)
    head.append(_layout_byte(header) | (_TABLED if tabled else 0))
    if tabled:
        features = {
            _HAS_PATTERNS: header.patterns,
            _HAS_ALPHA: header.alpha,
            _HAS_PIXELS: header.pixels,
            _BEST_IS_PLAIN: header.best_is_plain,
            _LOSSLESS: header.lossless,
            _EQUAL_COMPONENTS: header.equal_components,
        }
        head += bytes((sum(bit for bit, there in features.items() if there), header.group_log2))
    head += header.model_id
    if header.tokens:
        head.append(header.tokens.bits - 1 | (_GRID_OF_16 if header.tokens.side == 16 else 0))
    elif header.layers:
        head += header.step_64.to_bytes(2, "little") + bytes((header.merge_map | header.masking << _MASKING_SHIFT,))
    sections = sorted(sections, key=lambda section: _ORDER.get(section.type, len(_ORDER)))
    body = b"".join(section.data for section in sections)
    if not tabled:
        return bytes(head) + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body
    head += write_varint(sum(section.type not in _ORDER for section in sections))
    for section in sections:
        head += b"" if section.type in _ORDER else bytes((section.type,))
        head += write_varint(len(section.data)) + zlib.crc32(section.data).to_bytes(4, "little")
    return bytes(head) + zlib.crc32(head).to_bytes(4, "little") + body


def _layout_byte(header: Header) -> int:
    """The layout byte without `_TABLED`."""
    if header.tokens:
        return _TOKENS | (_TOKENS_IN_COLOR if LAYOUTS[header.layout].components == 3 else 0)
    layers = header.layers - 1 if header.layers else _NO_LAYERS
    return header.layout | _DEPTHS.index(header.depth) << 2 | layers << 4 | (_FINE_DCS if header.fine_dcs else 0)


def alpha_type(depth: int) -> int:
    """The type of the alpha section of a file with `depth` bits per sample."""
    return ALPHA if depth == 8 else DEEP_ALPHA


def read_file(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Header, list[Section]]:
    """The header and the sections of a whole file, all checksums verified; unknown optional sections are left out.

    Raises TruncatedError, CorruptError, UnsupportedError, LimitError.
    """
    file = File(BytesIO(data), max_pixels)
    file.check()
    known = (*_ORDER, ALPHA, DEEP_ALPHA, PALETTE, MODEL, *_METADATA, *((MODEL_ICC,) if file.header.patterns else ()))
    return file.header, [Section(entry.type, file.section(n)) for n, entry in enumerate(file.table) if entry.type in known]


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> FileHead:
    """The header and the table of a file that begins with `data`; a file without a table must be whole, for its checksum.

    Raises FormatError and its subclasses, LimitError.
    """
    reader, version = _after_version(data)
    width, height, layout = reader.varint(), reader.varint(), reader.byte()
    tabled = bool(layout & _TABLED)
    flags, group_log2 = (reader.byte(), reader.byte()) if tabled else (0, 0)
    known = _HAS_ALPHA | (_HAS_PIXELS if version == PIXELS_VERSION else 0)
    if flags & _HAS_PIXELS and layout & _LAYOUT_BITS != _TOKENS and layout >> 4 & 3 == _NO_LAYERS:
        known |= _HAS_PATTERNS
    if flags & _CRITICAL & ~known:
        needs = [name for bit, name in _CRITICAL_NAMES.items() if flags >> bit & 1] or ["an unknown feature"]
        raise UnsupportedError(f"unsupported file: it needs {', '.join(needs)}")
    header = Header(
        width=width,
        height=height,
        layout=layout & _LAYOUT_BITS,
        layers=1,
        group_log2=group_log2,
        model_id=b"",
        step_64=0,
        alpha=bool(flags & _HAS_ALPHA),
        pixels=bool(flags & _HAS_PIXELS),
        best_is_plain=bool(flags & _BEST_IS_PLAIN),
    )
    if header.layout == _TOKENS:
        header, reserved = _read_token_fields(reader, header, layout)
    elif header.pixels and layout >> 4 & 3 == _NO_LAYERS:
        header, reserved = _read_pixel_fields(reader, header, layout, flags)
    else:
        header, reserved = _read_dct_fields(reader, header, layout, flags)
    table = _read_table(reader, header) if tabled else []
    end = reader.cursor
    checksum, rest = reader.integer(4), b"" if tabled else data[end + 4 :]
    if checksum != zlib.crc32(rest, zlib.crc32(data[:end])):
        raise CorruptError("corrupt file: its checksum is wrong")
    if not tabled:
        table = [TableEntry(INDICES, len(rest), zlib.crc32(rest))]
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise CorruptError(f"corrupt file: an invalid size of {width}x{height} pixels")
    if header.layers > 1 and not tabled:
        raise UnsupportedError("unsupported file: it has layers but no table of sections")
    if reserved or header.pixels != (version == PIXELS_VERSION):
        raise CorruptError("corrupt file: a reserved value in the header")
    if width * height > max_pixels:
        raise LimitError(f"{width}x{height} is more than {max_pixels} pixels (--max-pixels)")
    return FileHead(header, table, reader.cursor)


def _after_version(data: bytes) -> tuple[ByteReader, tuple[int, int]]:
    """A reader behind the magic and the version, and the version; raises FormatError and its subclasses if these are wrong."""
    if data[: len(MAGIC)] != MAGIC:
        if data and MAGIC.startswith(data):
            raise TruncatedError("truncated file")
        raise FormatError("not a .vqz file")
    reader = ByteReader(data)
    reader.take(len(MAGIC))
    version = divmod(reader.byte(), 16)
    if version not in (VERSION, PIXELS_VERSION):
        known = f"{VERSION[0]}.{VERSION[1]} and {PIXELS_VERSION[0]}.{PIXELS_VERSION[1]}"
        raise UnsupportedError(f"unsupported file: its format version is {version[0]}.{version[1]}; this vqcodec reads {known}")
    return reader, version


def _read_dct_fields(reader: ByteReader, header: Header, layout: int, flags: int) -> tuple[Header, bool]:
    """The header with model, step, merge map and the fields of the layout byte; and whether a reserved value is set."""
    model_id, step_64 = reader.take(ID_BYTES), reader.integer(2)
    masking, merge_map = divmod(reader.byte(), 1 << _MASKING_SHIFT)
    header = replace(
        header,
        layers=(layout >> 4 & 3) + 1,
        model_id=model_id,
        step_64=step_64,
        merge_map=merge_map,
        depth=_DEPTHS[layout >> 2 & 3],
        fine_dcs=bool(layout & _FINE_DCS),
        masking=masking,
        equal_components=header.layout == GREY.code and bool(flags & _EQUAL_COMPONENTS),
    )
    return header, header.layers == 4 or step_64 == 0 or _reserved_group(header)


def _read_pixel_fields(reader: ByteReader, header: Header, layout: int, flags: int) -> tuple[Header, bool]:
    """The header of a file without layers; and whether a reserved value is set."""
    patterns = bool(flags & _HAS_PATTERNS)
    header = replace(
        header,
        layers=0,
        model_id=reader.take(ID_BYTES) if patterns else b"",
        depth=_DEPTHS[layout >> 2 & 3],
        patterns=patterns,
        lossless=bool(flags & _LOSSLESS),
    )
    return header, header.layout not in (GREY.code, COLOR_8X8.code) or bool(layout & _FINE_DCS) or _reserved_group(header)


def _reserved_group(header: Header) -> bool:
    """Whether the size of the tile groups is a reserved value."""
    return not (header.group_log2 == 0 or MIN_GROUP_LOG2 <= header.group_log2 <= MAX_GROUP_LOG2)


def _read_token_fields(reader: ByteReader, header: Header, layout: int) -> tuple[Header, bool]:
    """The header of a token file with its grid; and whether a reserved value is set."""
    model_id, grid = reader.take(ID_BYTES), reader.byte()
    tokens = Tokens(side=16 if grid & _GRID_OF_16 else 8, bits=(grid & _GRID_BITS) + 1)
    header = replace(header, layout=(COLOR_8X8 if layout & _TOKENS_IN_COLOR else GREY).code, model_id=model_id, tokens=tokens)
    return header, bool(layout & _TOKENS_RESERVED or grid & _GRID_RESERVED or header.group_log2 or header.pixels)


def _read_table(reader: ByteReader, header: Header) -> list[TableEntry]:
    """The entries of the pixel sections, then of the index sections, then of the others."""
    others = reader.varint()
    h, w = (-(-cells // (1 << header.group_log2)) if header.group_log2 else 1 for cells in header.cells)
    counts = {PIXELS: header.pixels * h * w, INDICES: header.layers * h * w}
    table = [TableEntry(kind, reader.varint(), reader.integer(4)) for kind, count in counts.items() for _ in range(count)]
    return table + [TableEntry(reader.byte(), reader.varint(), reader.integer(4)) for _ in range(others)]


class File:
    """An open file. Sections are read and checked on demand, from any thread.

    A forked process must not use it: both processes would move the position of one file descriptor. `read_bytes` counts the bytes
    read so far.
    """

    def __init__(self, source: BinaryIO, max_pixels: int = MAX_PIXELS) -> None:
        """Read the header from a seekable stream. Raises FormatError and its subclasses, LimitError."""
        self._source, self._lock = source, Lock()
        self.size = source.seek(0, SEEK_END)
        self.read_bytes = 0
        self.header, self.table, start = self._read_head(max_pixels)
        self.offsets = [start + length for length in accumulate((entry.length for entry in self.table), initial=0)]
        self._others = (self.header.pixels + self.header.layers) * len(self.header.groups)
        kinds = [entry.type for entry in self.table[self._others :]]
        of_alpha = alpha_type(self.header.depth)
        known = {of_alpha, PALETTE} if self.header.pixels else {of_alpha}
        unknown = [kind for kind in kinds if not kind & _OPTIONAL and kind not in known]
        if unknown:
            raise UnsupportedError(f"unsupported file: it needs sections of type {unknown[0]:#04x}")
        has_alpha = self.header.alpha and self.header.layers > 0  # without layers alpha is in the pixel sections
        repeated = any(kinds.count(kind) > 1 for kind in (PALETTE, MODEL, *_METADATA)) or self._has_two_profiles(kinds)
        if kinds.count(of_alpha) != has_alpha or repeated:
            raise CorruptError("corrupt file: its sections do not match its header")
        if any(entry.type in _METADATA and entry.length > MAX_METADATA for entry in self.table):
            raise LimitError("a metadata section is larger than 16 MiB")

    def _has_two_profiles(self, kinds: list[int]) -> bool:
        """Whether sections of these types give more than one ICC profile."""
        return self.header.patterns and MODEL_ICC in kinds and kinds.count(MODEL_ICC) + kinds.count(ICC) > 1

    def _read_head(self, max_pixels: int) -> FileHead:
        """`read_header` on as few bytes as it needs: a file without a table is read whole, for its checksum."""
        head, wanted = b"", _FIRST_READ
        while True:
            more = self._read_at(len(head), wanted)
            head += more
            complete = len(head) >= self.size or not more  # a stream may end before its declared size
            try:
                if complete or _has_table(head):
                    return read_header(head, max_pixels)
                wanted = self.size - len(head)
            except TruncatedError:
                if complete:
                    raise
                wanted = 7 * len(head)

    def _read_at(self, offset: int, length: int) -> bytes:
        """The `length` bytes from an offset on, or fewer if the file ends before. Unbuffered streams may return less per call."""
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
        entry = self.table[number]
        if self.offsets[number] + entry.length > self.size:
            raise TruncatedError("truncated file")
        stored = self._read_at(self.offsets[number], entry.length)
        if zlib.crc32(stored) != entry.checksum:
            raise CorruptError("corrupt file: a section's checksum is wrong")
        return stored

    def indices(self, group: int, layers: int) -> list[bytes]:
        """The index sections of the first `layers` layers of a tile group. Raises TruncatedError, CorruptError."""
        return [self.section(number) for number in self._numbers(group, layers)]

    def intact_indices(self, group: int, layers: int) -> list[bytes | None]:
        """`indices`, with None from the first damaged section on: later layers cannot be decoded without it."""
        found: list[bytes | None] = []
        for number in self._numbers(group, layers):
            with suppress(FormatError):
                if None not in found:
                    found.append(self.section(number))
                    continue
            found.append(None)
        return found

    def _numbers(self, group: int, layers: int) -> range:
        """The entries of the table that hold the first `layers` layers of a tile group."""
        groups = len(self.header.groups)
        first = self.header.pixels * groups
        return range(first + group, first + layers * groups, groups)

    def pixels(self, group: int) -> bytes:
        """The pixel section of a tile group. Raises TruncatedError, CorruptError."""
        return self.section(group)

    def other(self, kind: int) -> bytes:
        """The section of a type that is not of tile groups, or b"" if there is none. Raises TruncatedError, CorruptError."""
        numbers = [n for n, entry in enumerate(self.table) if n >= self._others and entry.type == kind]
        return self.section(numbers[0]) if numbers else b""

    def check(self) -> None:
        """Raise TruncatedError or CorruptError unless all checksums are right and the file ends with its last section."""
        for number in range(len(self.table)):
            self.section(number)
        if self.offsets[-1] != self.size:
            raise CorruptError("corrupt file: bytes after the last section")


def _has_table(head: bytes) -> bool:
    """Whether a file has a table, from its first bytes; raises TruncatedError if they do not tell, FormatError if it is no file."""
    reader, _ = _after_version(head)
    reader.varint(), reader.varint()
    return bool(reader.byte() & _TABLED)
