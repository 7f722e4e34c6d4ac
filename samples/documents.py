"""Samples that are not photographs: a printed page with a chart, a scan of an old typed letter, a scene in pixel art."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from noise import Floats, fractal, spectral

Pixels = NDArray[np.uint8]

PAGE_TITLE = "On quantising pictures"
PAGE_LEAD = "Notes for readers who like their pictures small and their arithmetic exact."
PAGE_TEXT = """
A picture is cut into blocks of eight by eight pixels. Each block is turned by the cosine transform into
sixty-four numbers, of which the first says how bright the block is and the others how it changes from place to place.
In most blocks nearly all of these numbers are close to nothing, and that is what every codec of the last forty
years has lived on.
¶A vector quantiser takes several numbers at a time and looks for the entry of a codebook that is nearest to
them. Only the number of the entry is kept. If the entries are chosen well, where the data is dense and not
where it is rare, a group of eight numbers costs less than eight numbers one by one.
¶How are the entries chosen? Take many groups from many pictures. Begin with any codebook. Give each group to
its nearest entry, move every entry to the mean of its groups, and repeat until nothing moves. Entries that
nobody chose are thrown away and started again beside the busiest ones. Lloyd found this in 1957; Linde, Buzo
and Gray made it work for vectors in 1980.
¶The nearest entry is not always the best one. A frequent entry costs few bits, a rare one many, and an encoder
that counts the bits as well as the error makes files a tenth smaller at the same quality. It may pick an entry
that is slightly farther away, if its number is short.
¶What a block is likely to hold can be guessed from its neighbours. Beside a quiet sky there is more sky; along
an edge the edge goes on. A guess of the size of the numbers, made alike by the encoder and the decoder, selects
one codebook among many, each for its own kind of block, from silence to noise.
¶Guesses must agree to the last bit. Two machines may round a sum differently, and one wrong guess is enough to
lose the rest of the file. Integers do not round. So all that the decoder needs in order to read is counted in
integers, and the same file gives the same picture everywhere and for as long as somebody can multiply.
"""

LETTER = """
                                    14 November 1961

Dear Mr. Halloran,

    Thank you for your letter of the 2nd and for
the negatives, which arrived without a scratch.
The prints are drying on the line as I write.

    You ask whether the grain can be kept. It can,
but it wants patience: a finer paper, a longer bath,
and no more than four sheets at a time. I enclose
two trials. The one marked "B" had eleven minutes
at 19 degrees and seems to me the better of the two.

        negatives .......... 36        $ 4.50
        prints, 18 x 24 .... 12        $ 9.60
        postage ............            $ 0.85
                                       ------
                                       $14.95

    The harbour series I should like to do again
from the start. Could you send the first roll?

                    Yours very truly,


                         E. Lindqvist
"""


def page() -> Pixels:
    """A printed page, uint8 [768, 600, 3]: title, two columns of text, a chart in colour."""
    width, height, margin, gutter = 600, 768, 44, 24
    image = Image.new("RGB", (width, height), (252, 251, 247))
    draw = ImageDraw.Draw(image)
    draw.text((margin, 36), PAGE_TITLE, (24, 30, 60), ImageFont.load_default(34))
    draw.text((margin, 80), PAGE_LEAD, (110, 110, 118), ImageFont.load_default(13.5))
    draw.line((margin, 106, width - margin, 106), (176, 44, 40), 2)

    column = (width - 2 * margin - gutter) // 2
    font, leading, indent = ImageFont.load_default(13.2), 17.4, 16
    places = [(margin + c * (column + gutter), top) for c, first in ((0, 124), (1, 318)) for top in np.arange(first, 696, leading)]
    for (x, y), line in zip(places, _wrapped(PAGE_TEXT, draw, font, column, indent), strict=False):
        x += indent * line.is_first
        gap = draw.textlength(" ", font)
        if not line.is_last and len(line.words) > 1:
            free = column - indent * line.is_first - sum(draw.textlength(word, font) for word in line.words)
            gap = free / (len(line.words) - 1)
        for word in line.words:
            draw.text((x, y), word, (26, 26, 28), font)
            x += draw.textlength(word, font) + gap
    _chart(draw, margin + column + gutter, 124, column, 172)
    draw.text((width / 2, 724), "17", (60, 60, 60), ImageFont.load_default(12), anchor="ma")
    return np.asarray(image)


class _Line(NamedTuple):
    """A line of text, and its place in the paragraph."""

    words: list[str]
    is_first: bool
    is_last: bool


def _wrapped(
    text: str,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: float,
    indent: float,
) -> list[_Line]:
    """Break text into lines of at most `width`; `indent` shortens the first line of a paragraph. "¶" separates paragraphs."""
    lines = []
    for paragraph in text.strip().split("¶"):
        line: list[str] = []
        first = True
        for word in paragraph.split():
            if line and draw.textlength(" ".join([*line, word]), font) > width - indent * first:
                lines.append(_Line(line, first, False))
                line, first = [], False
            line.append(word)
        lines.append(_Line(line, first, True))
    return lines


def _chart(draw: ImageDraw.ImageDraw, x: int, y: int, width: int, height: int) -> None:
    """Two curves over a grid, with a legend and a caption."""
    small = ImageFont.load_default(10.5)
    left, right, top, bottom = x + 26, x + width - 4, y + 4, y + height - 36
    for k in range(6):
        level = bottom - (bottom - top) * k / 5
        draw.line((left, level, right, level), (214, 214, 214))
        draw.text((left - 5, level), str(26 + 2 * k), (90, 90, 90), small, anchor="rm")
    for k in range(5):
        place = left + (right - left) * k / 4
        draw.text((place, bottom + 4), f"{0.25 * k:g}", (90, 90, 90), small, anchor="ma")
    t = np.linspace(0.03, 1, 60)
    for colour, scale, label, row in (((196, 52, 44), 0.80, "blocks", 0), ((38, 88, 168), 0.97, "vectors", 1)):
        curve = bottom - (bottom - top) * scale * np.log1p(14 * t) / np.log1p(14)
        draw.line(list(zip(left + (right - left) * t, curve, strict=True)), colour, 2, joint="curve")
        draw.line((right - 74, bottom - 30 + 14 * row, right - 56, bottom - 30 + 14 * row), colour, 2)
        draw.text((right - 50, bottom - 30 + 14 * row), label, (50, 50, 50), small, anchor="lm")
    draw.line((left, top, left, bottom, right, bottom), (60, 60, 60))
    draw.text((x, y + height - 14), "Fig. 1. Quality (dB) by rate (bits per pixel)", (70, 70, 70), small)


# ------------------------------------------------------------------------------------------------ the letter


def scan() -> Pixels:
    """A typed letter, folded twice, scanned at low contrast: grey, uint8 [720, 560]."""
    rng = np.random.default_rng(1961)
    width, height = 560, 720
    ink = _typed(rng, width, height)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    places = np.stack([x, y, 0 * x], 2).reshape(-1, 3)
    paper = 0.80 + 0.020 * fractal(places / 90, 3, 5).reshape(height, width)
    paper += 0.012 * fractal(places * np.float32([0.06, 0.9, 1]), 8, 2).reshape(height, width)  # fibres
    paper -= 0.10 * np.clip(np.hypot((x - width / 2) / width, (y - height / 2) / height) - 0.42, 0, None) * 2
    wander = 5 * fractal(places / 60, 12, 3).reshape(height, width)
    for fold in (height * 0.335, height * 0.668):
        across = y - fold - 0.010 * (x - width / 2) - 0.25 * wander
        paper += 0.055 * np.exp(-((across - 3) ** 2) / 9) - 0.115 * np.exp(-((across + 2) ** 2) / 5)
        paper -= 0.020 * np.exp(-np.clip(across, 0, None) / 40) * (across > 0)
        ink *= 1 - 0.55 * np.exp(-(across**2) / 8)
    ring = np.hypot(x - 428, y - 585) + 0.6 * wander
    stain = np.exp(-(((ring - 62) / 3.2) ** 2)) * 0.10 + (ring < 62) * 0.018 + np.exp(-(((ring - 57) / 5) ** 2)) * 0.03
    paper -= stain * (0.6 + 0.8 * np.clip(fractal(places / 35, 15, 3).reshape(height, width) + 0.5, 0, 1))
    worn = np.clip(0.86 + 0.5 * fractal(places / 3.0, 19, 2).reshape(height, width), 0.3, 1)
    page_light = paper * (1 - 0.74 * np.clip(ink, 0, 1) * worn)
    edge = np.clip((x - 6 - 0.006 * y) / 3, 0, 1)  # shadow of the scanner's lid beside the sheet
    page_light = page_light * edge + 0.30 * (1 - edge)
    page_light += 0.012 * rng.standard_normal((height, width)) + 0.006 * spectral(1024, 0.6, 2)[:height, :width]
    return (np.clip(page_light, 0, 1) * 255 + 0.5).astype(np.uint8)


def _typed(rng: np.random.Generator, width: int, height: int) -> Floats:
    """Ink of the letter, 0..1; each character is slightly displaced and the sheet slightly rotated."""
    scale = 3
    image = Image.new("L", (width * scale, height * scale), 0)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14.0 * scale)
    for row, line in enumerate(LETTER.strip("\n").split("\n")):
        for column, letter in enumerate(line):
            x = (42 + 8.55 * column + rng.normal(0, 0.16)) * scale
            y = (70 + 21.5 * row + rng.normal(0, 0.30) + 0.9 * (letter in "ey")) * scale
            strength = int(np.clip(rng.normal(205, 26), 110, 255))
            draw.text((x, y), letter, strength, font, anchor="ms")
            if rng.random() < 0.30:  # a hard stroke: the ribbon leaves a second edge
                draw.text((x + 0.45 * scale, y), letter, strength, font, anchor="ms")
    turned = image.rotate(0.55, Image.Resampling.BICUBIC).resize((width, height), Image.Resampling.BOX)
    soft = np.asarray(turned, np.float32) / 255
    return soft * 0.62 + 0.19 * (np.roll(soft, 1, 1) + np.roll(soft, 1, 0))


# ------------------------------------------------------------------------------------------------ pixel art

PALETTE = {
    ".": None,
    "k": (34, 28, 44),
    "w": (244, 238, 222),
    "r": (208, 70, 72),
    "o": (218, 125, 68),
    "y": (240, 208, 108),
    "g": (78, 138, 72),
    "G": (48, 92, 64),
    "l": (136, 188, 88),
    "b": (84, 58, 50),
    "B": (133, 92, 62),
    "s": (236, 188, 150),
    "u": (76, 108, 190),
    "m": (128, 128, 148),
    "M": (92, 90, 112),
    "d": (64, 60, 82),
}
HERO = """
...kkkk...
..krrrrk..
.krrrrrrk.
.kbssksk..
.kbsssss..
..kssssk..
.kuuuuuuk.
ksuuyyuusk
ksuuuuuusk
.kuuuuuuk.
..kbbkbbk.
..kbk.kbk.
.kbbk.kbbk
"""
TREE = """
.....kkkk.....
...kkllllkk...
..kllllllglk..
.kllgllllgggk.
.kllllggllgGk.
klllgllllgggGk
klgllllggggGGk
kllllggglgGgGk
.kgllgggGgGGk.
.kkggGgGGGGkk.
...kkkGGkkk...
.....kBbk.....
.....kBbk.....
.....kBbk.....
....kBBbbk....
"""
HOUSE = """
..........kk............
.........krrk.....kkk...
........krorrk....kmk...
.......krorrrrk...kMk...
......krorrorrrk..kmk...
.....krorrrrorrrk.kMk...
....krorrorrrrorrkkmk...
...krorrrrrrorrrrrkMk...
..krorrorrrrrrrorrrkk...
.krrrrrrrorrorrrrrrrrk..
kkkkkkkkkkkkkkkkkkkkkkk.
..kwwwwwwwwwwwwwwwwwk...
..kwkkkkwwwwwwwkkkkwk...
..kwkyykwwkkkwwkyykwk...
..kwkyykwkBBBkwkyykwk...
..kwkkkkwkBbBkwkkkkwk...
..kwwwwwwkBBBkwwwwwwk...
..kmwwmwwkBBykwwwmwwk...
..kwmwwwwkBBBkwwwmwmk...
..kkkkkkkkkkkkkkkkkkk...
"""


def pixel_art() -> Pixels:
    """A village at dusk, 144 x 96 squares of 4 x 4 pixels, uint8 [384, 576, 3]."""
    width, height = 144, 96
    rng = np.random.default_rng(8)
    sky = [(46, 44, 92), (70, 60, 116), (112, 78, 130), (170, 98, 128), (222, 132, 112), (244, 178, 118)]
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16
    dither = bayer[np.arange(height)[:, None] % 4, np.arange(width) % 4]
    shade = np.arange(height)[:, None] / 60 * (len(sky) - 1) + dither
    canvas = np.array(sky, np.uint8)[np.clip(shade.astype(int), 0, len(sky) - 1)]

    for x, y in zip(rng.integers(0, width, 40), rng.integers(0, 26, 40), strict=True):
        canvas[y, x] = (244, 238, 222)
    yy, xx = np.mgrid[:height, :width]
    moon = np.hypot(xx - 112, yy - 18)
    canvas[(moon < 9) & (np.hypot(xx - 108, yy - 15) > 7.5)] = (250, 240, 200)
    for base, colour, swing in ((50, (92, 74, 122), 9), (60, (64, 62, 104), 6)):
        ridge = base + swing * (np.sin(xx / 11 + base) + 0.6 * np.sin(xx / 4.7 + 2 * base) + 0.3 * np.sin(xx / 1.9))
        canvas[yy > ridge // 1] = colour
    meadow = 72 + 2.2 * np.sin(xx / 15.0)
    canvas[yy > meadow // 1] = PALETTE["G"]
    canvas[yy > (meadow + 2) // 1] = PALETTE["g"]
    tufts = (yy > meadow + 4) & (rng.random((height, width)) < 0.05)
    canvas[tufts] = PALETTE["l"]
    path = np.abs(xx - 62 - (yy - 74) * 0.9 - 2 * np.sin(yy / 3)) < 2 + (yy - 74) * 0.22
    canvas[path & (yy > 75)] = (206, 166, 112)
    canvas[path & (yy > 75) & (rng.random((height, width)) < 0.12)] = (168, 124, 84)
    water = yy > 84 + 1.5 * np.sin(xx / 7.0) + np.clip(102 - xx, 0, None) ** 1.5 / 2
    canvas[water] = (58, 86, 152)
    canvas[water & ((yy + xx // 5) % 4 == 0) & (rng.random((height, width)) < 0.6)] = (112, 148, 206)

    for x, y in ((4, 58), (22, 61), (88, 59), (118, 57)):
        _stamp(canvas, TREE, x, y)
    _stamp(canvas, HOUSE, 46, 56)
    _stamp(canvas, HERO, 74, 78)
    for x, y in zip(rng.integers(0, 60, 12), rng.integers(82, 95, 12), strict=True):
        canvas[y, x] = PALETTE["ryw"[(x + y) % 3]]
    return canvas.repeat(4, 0).repeat(4, 1)


def _stamp(canvas: Pixels, sprite: str, x: int, y: int) -> None:
    """Draw a sprite with its top left corner at (x, y); its letters are keys of PALETTE."""
    for row, line in enumerate(sprite.strip("\n").split("\n")):
        for column, letter in enumerate(line):
            colour = PALETTE.get(letter)
            if colour is not None:
                canvas[y + row, x + column] = colour
