"""Print, stamps and handwriting on a sheet: layers of ink, drawn in pixels of the canvas.

Every function that sets something into a box begins at its top and returns the place below what it drew, in pixels from the top
of the sheet. Boxes may reach beyond the sheet; what lies outside is not seen.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from scanned import text, tones
from scanned.faces import Face
from scanned.text import Language
from vqcodec.arrays import Float32

Colour = tuple[float, float, float]
"""Share of red, green and blue light that an ink lets through, 0 to 1."""
BLACK: Colour = (0.07, 0.07, 0.08)
CYAN, MAGENTA, YELLOW = (0.10, 0.62, 0.85), (0.85, 0.12, 0.48), (0.96, 0.88, 0.14)
SPOT_INKS: tuple[Colour, ...] = ((0.72, 0.10, 0.12), (0.10, 0.20, 0.58), (0.08, 0.42, 0.22), (0.85, 0.45, 0.05), (0.35, 0.16, 0.08))
"""Inks of coloured headings and areas."""
STAMP_INKS: tuple[Colour, ...] = ((0.70, 0.12, 0.20), (0.25, 0.18, 0.60), (0.12, 0.25, 0.65), (0.15, 0.15, 0.18))
PEN_INKS: tuple[Colour, ...] = ((0.10, 0.14, 0.45), (0.12, 0.12, 0.14), (0.28, 0.18, 0.10), (0.20, 0.24, 0.55))
_SCREEN_ANGLES = {CYAN: 0.26, MAGENTA: 1.31, YELLOW: 0.0, BLACK: 0.785}
"""Angles of the halftone screens in radians: the customary 15, 75, 0 and 45 degrees."""


def pale(colour: Colour, share: float) -> Colour:
    """An ink thinned to a share of its density, for tinted areas."""
    red, green, blue = (1 - share * (1 - light) for light in colour)
    return red, green, blue


class Box(NamedTuple):
    """A rectangle on the sheet, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left


@dataclass(frozen=True, kw_only=True)
class Type:
    """Face, language and measures of running text."""

    face: Face
    language: Language
    size: float  # pixels
    leading: float  # distance of lines in sizes
    is_justified: bool = True
    has_long_s: bool = False
    is_typed: bool = False  # each letter is struck by itself: uneven in place and strength

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        return self.face.at(self.size)

    def spelled(self, words: str) -> str:
        """The words with long s (ſ) where old print has it: everywhere but at the end of a word."""
        return re.sub(r"s(?=[^\W\d_])", "ſ", words) if self.has_long_s else words


class Sheet:
    """A sheet under the press: one layer of coverage for each ink."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.layers: dict[Colour, Image.Image] = {}

    def draw(self, colour: Colour = BLACK) -> ImageDraw.ImageDraw:
        """A pencil for the layer of an ink; fill 255 is full coverage, 0 removes it."""
        return ImageDraw.Draw(self.layers.setdefault(colour, Image.new("L", (self.width, self.height))))

    def add(self, coverage: Float32, left: float, top: float, colour: Colour = BLACK) -> None:
        """Print a coverage float32 [h, w], 0 to 1, with its top left corner at a place."""
        self.draw(colour)
        plate = Image.new("L", (self.width, self.height))
        plate.paste(Image.fromarray((np.clip(coverage, 0, 1) * 255).astype(np.uint8)), (round(left), round(top)))
        self.layers[colour] = ImageChops.lighter(self.layers[colour], plate)


# ------------------------------------------------------------------------------------------------ text


def paragraphs(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator, *, colour: Colour = BLACK) -> float:
    """Fill a box with paragraphs of nonsense."""
    y = box.top
    while y < min(box.bottom, sheet.height + 2 * type_.size):
        y = _paragraph(sheet, box._replace(top=y), type_, rng, colour) + rng.choice((0, 0, 0.4)) * type_.size
    return y


def headline(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator, *, colour: Colour = BLACK) -> float:
    """One to three centred lines in a larger size, some bold, with a rule below some."""
    large = replace(type_, size=type_.size * rng.uniform(1.15, 2.6))
    bold = int(large.size > 14 and rng.random() < 0.6) * max(1, round(large.size / 34))
    draw, y = sheet.draw(colour), box.top + 0.7 * type_.size
    for _ in range(int(rng.integers(1, 4))):
        words = _fitting(large, box.width * rng.uniform(0.5, 0.98), rng)
        y += large.size
        _put(draw, words, box.left + (box.width - large.font.getlength(words)) / 2, y, large, bold=bold)
        y += 0.2 * large.size
    if rng.random() < 0.5:
        y += 0.35 * type_.size
        half = box.width * rng.uniform(0.08, 0.5)
        middle = box.left + box.width / 2
        draw.line((middle - half, y, middle + half, y), 255, max(1, round(type_.size / 16)))
    return y + 0.7 * type_.size


def table(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator) -> float:
    """Rows of words and numbers, with leaders or ruled lines."""
    draw, font, pitch = sheet.draw(), type_.font, type_.size * rng.uniform(1.15, 1.7)
    columns = int(rng.integers(1, max(2, min(6, box.width / (7 * type_.size) + 1))))
    rows = int(rng.integers(4, 16))
    ruled, leaders, thickness = rng.random() < 0.55, rng.random() < 0.5, max(1, round(type_.size / 18))
    edges = box.left + box.width * np.concatenate([[0], np.linspace(rng.uniform(0.35, 0.6), 1, columns + 1)])
    top = box.top + 0.5 * pitch
    for row in range(rows):
        y = top + pitch * (row + 0.75)
        label = _fitting(type_, 0.9 * (edges[1] - edges[0]), rng)
        _put(draw, label, edges[0] + 0.3 * type_.size, y, type_)
        if leaders and not ruled:
            start = edges[0] + 0.6 * type_.size + font.getlength(label)
            for x in np.arange(start, edges[1], 0.7 * type_.size):
                draw.text((x, y), ".", 255, font, anchor="ls")
        for right in edges[2:]:
            draw.text((right - 0.4 * type_.size, y), text.number(rng), 255, font, anchor="rs")
    bottom = top + pitch * rows
    if ruled:
        for x in edges:
            draw.line((x, top, x, bottom), 255, thickness)
        for row in range(0, rows + 1, int(rng.choice((1, 1, 2, rows)))):
            draw.line((box.left, top + pitch * row, box.right, top + pitch * row), 255, thickness)
    return bottom + 0.5 * pitch


def notice(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator, *, colour: Colour = BLACK) -> float:
    """An advertisement: centred lines of several sizes in a frame, the first perhaps white on a solid bar."""
    draw, frame, y = sheet.draw(colour), max(1, round(type_.size / 10)), box.top + 0.9 * type_.size
    inner, top = box.width - 2 * type_.size, y - 0.4 * type_.size
    for line in range(int(rng.integers(3, 7))):
        size = type_.size * (rng.uniform(1.4, 3.2) if line in (0, 2) else rng.uniform(0.7, 1.2))
        large = replace(type_, size=size)
        words = _fitting(large, inner, rng)
        x = box.left + (box.width - large.font.getlength(words)) / 2
        is_reversed = line == 0 and rng.random() < 0.3
        if is_reversed:
            draw.rectangle((box.left + 3 * frame, y, box.right - 3 * frame, y + 1.5 * size), 255)
        y += 1.12 * size
        _put(draw, words, x, y, large, bold=int(line != 1 and rng.random() < 0.5), fill=0 if is_reversed else 255)
        y += 0.35 * size
    for gap in (0, 3 * frame) if rng.random() < 0.5 else (0,):
        draw.rectangle((box.left + gap, top + gap, box.right - gap, y + type_.size - gap), outline=255, width=frame)
    return y + 1.6 * type_.size


def letter_text(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator) -> float:
    """A typed letter: place and date, greeting, paragraphs, close."""
    draw = sheet.draw()
    date = _fitting(type_, box.width / 2, rng) + f", {text.number(rng)}"
    _put(draw, date, box.left + box.width * 0.5, box.top + type_.size, type_)
    y = box.top + 4 * type_.size
    _put(draw, _fitting(type_, box.width / 3, rng) + type_.language.comma, box.left, y, type_)
    y = paragraphs(sheet, Box(box.left, y + type_.size, box.right, box.bottom - 4 * type_.size), type_, rng)
    _put(draw, _fitting(type_, box.width / 3, rng), box.left + box.width * 0.5, y + 2 * type_.size, type_)
    return y + 3 * type_.size


def _paragraph(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator, colour: Colour) -> float:
    """One paragraph, with a run of words in bold or spaced letters here and there. Lines below the box are left out."""
    draw, font = sheet.draw(colour), type_.font
    words = [type_.spelled(word) for word in text.paragraph(type_.language, rng)]
    space = font.getlength(" ") if type_.language.space else 0.0
    indent = type_.size * rng.choice((0, 1, 1.6))
    stressed = range(start := int(rng.integers(0, 3 * len(words))), start + int(rng.integers(1, 5)))
    bold = int(type_.size > 18 and rng.random() < 0.7)
    y, place = box.top, 0
    for line in _lines(words, type_, space, box.width, indent):
        y += type_.size * type_.leading
        if y > box.bottom:
            break
        free = box.width - line.width - (indent if place == 0 else 0)
        gap = space + (free / (len(line.words) - 1) if type_.is_justified and not line.is_last and len(line.words) > 1 else 0)
        x = box.left + (indent if place == 0 else 0)
        for word in line.words:
            length = font.getlength(word)
            if -type_.size < y < sheet.height + type_.size and -length < x < sheet.width + length:
                left = box.left + box.right - x - length if type_.language.right_to_left else x
                _put(draw, word, left, y, type_, bold=bold if place in stressed else 0, rng=rng)
            x += length + gap
            place += 1
    return y


class _Line(NamedTuple):
    """Words of a line and their width with single spaces."""

    words: list[str]
    width: float
    is_last: bool


def _lines(words: Sequence[str], type_: Type, space: float, width: float, indent: float) -> Iterator[_Line]:
    """Break words into lines of at most `width`; the first is shorter by `indent`. Long words may be divided."""
    line: list[str] = []
    used, room, font = -space, width - indent, type_.font
    for word in words:
        rest, length = word, font.getlength(word)
        if line and used + space + length > room:
            head = _head(word, type_, room - used - space)
            if head:
                line.append(f"{head}-")
                used += space + font.getlength(line[-1])
                rest = word[len(head) :]
            yield _Line(line, used, False)
            line, used, room, length = [], -space, width, font.getlength(rest)
        line.append(rest)
        used += space + length
    yield _Line(line, used, True)


def _head(word: str, type_: Type, room: float) -> str:
    """The longest beginning of a word that fits with a hyphen and leaves three letters; "" if there is none."""
    if not type_.is_justified or not type_.language.is_spliceable or type_.language.right_to_left:
        return ""
    heads = (word[:count] for count in range(len(word) - 4, 1, -1))
    return next((head for head in heads if head.isalpha() and type_.font.getlength(f"{head}-") <= room), "")


def _put(
    draw: ImageDraw.ImageDraw,
    words: str,
    x: float,
    y: float,
    type_: Type,
    *,
    bold: int = 0,
    fill: int = 255,
    rng: np.random.Generator | None = None,
) -> None:
    """Draw words with their baseline at y; `bold` thickens strokes by pixels. With `rng`, typed letters are uneven."""
    direction = "rtl" if type_.language.right_to_left else None
    if not type_.is_typed or rng is None:
        draw.text((x, y), words, fill, type_.font, anchor="ls", direction=direction, stroke_width=bold)
        return
    for letter in words:
        dx, dy = rng.normal(0, 0.015 * type_.size, 2)
        draw.text((x + dx, y + dy), letter, int(np.clip(rng.normal(225, 25), 120, 255)), type_.font, anchor="ls", stroke_width=bold)
        x += type_.font.getlength(letter)


def _fitting(type_: Type, width: float, rng: np.random.Generator) -> str:
    """A phrase that is at most `width` wide; a single word may be wider."""
    words = [text.phrase(type_.language, rng, 1) for _ in range(int(rng.integers(1, 9)))]
    shorter = (type_.spelled(type_.language.space.join(words[:count])) for count in range(len(words), 0, -1))
    phrases = list(shorter)
    return next((phrase for phrase in phrases if type_.font.getlength(phrase) <= width), phrases[-1])


# ------------------------------------------------------------------------------------------------ pictures


def picture(sheet: Sheet, box: Box, rng: np.random.Generator, *, has_colour: bool) -> float:
    """A scene by halftone or engraving, about three quarters as high as wide; in colour by four inks."""
    width = max(16, round(box.width))
    height = round(width * rng.uniform(0.5, 1.1))
    seen = tones.scene(height, width, rng)
    top, pitch = box.top + 8, rng.uniform(4, 13)
    if has_colour:
        _process_inks(sheet, seen, box.left, top, pitch * 0.7)
    else:
        grey = seen @ np.array([0.3, 0.6, 0.1], np.float32)
        is_halftone = rng.random() < 0.7
        coverage = tones.halftone(grey, pitch, 0.785) if is_halftone else tones.engraving(grey, pitch, rng.uniform(0, 3), rng)
        sheet.add(coverage, box.left, top)
    if rng.random() < 0.5:
        sheet.draw().rectangle((box.left, top, box.right, top + height), outline=255, width=2)
    return top + height + 10


def _process_inks(sheet: Sheet, seen: Float32, left: float, top: float, pitch: float) -> None:
    """Print a picture float32 [h, w, 3] in cyan, magenta, yellow and black."""
    lack = 1 - seen
    black = 0.8 * lack.min(2) ** 1.5
    for channel, colour in enumerate((CYAN, MAGENTA, YELLOW)):
        light = 1 - np.clip(lack[:, :, channel] - 0.7 * black, 0, 1)
        sheet.add(tones.halftone(light, pitch, _SCREEN_ANGLES[colour]), left, top, colour)
    sheet.add(tones.halftone(1 - black, pitch, _SCREEN_ANGLES[BLACK]), left, top)


def chart(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator, *, colour: Colour = BLACK) -> float:
    """Two axes with numbers and one to three curves."""
    draw, thin = sheet.draw(), max(1, round(type_.size / 16))
    height, small = box.width * rng.uniform(0.4, 0.8), replace(type_, size=max(10, 0.7 * type_.size))
    left, top, right, bottom = box.left + 2 * small.size, box.top + small.size, box.right, box.top + height
    draw.line((left, top, left, bottom, right, bottom), 255, thin)
    for share in np.linspace(0, 1, int(rng.integers(3, 7))):
        draw.line((left - 4, bottom + (top - bottom) * share, left, bottom + (top - bottom) * share), 255, thin)
        draw.text((left - 6, bottom + (top - bottom) * share), f"{100 * share:.0f}", 255, small.font, anchor="rm")
    x = np.linspace(left, right, 80)
    for _ in range(int(rng.integers(1, 4))):
        curve = np.cumsum(rng.normal(0, 1, 80)) * 0.06 + rng.uniform(0.3, 0.7)
        points = list(zip(x, bottom + (top - bottom) * np.clip(curve, 0.02, 0.98), strict=True))
        sheet.draw(colour).line(points, 255, thin + int(rng.integers(0, 3)), joint="curve")
    return bottom + 2 * small.size


# ------------------------------------------------------------------------------------------------ stamps and pens


def stamp(sheet: Sheet, type_: Type, rng: np.random.Generator) -> None:
    """A round stamp: two rings, words around, a date across; worn and a little turned."""
    radius, colour = type_.size * rng.uniform(2.5, 6), STAMP_INKS[rng.integers(len(STAMP_INKS))]
    side = math.ceil(2 * radius) + 8
    plate = Image.new("L", (side, side))
    draw, middle, line = ImageDraw.Draw(plate), side / 2, max(1, round(radius / 25))
    for share in (1, 0.62):
        draw.circle((middle, middle), share * radius, outline=255, width=line)
    font = type_.face.at(0.26 * radius)
    around = text.phrase(type_.language, rng, 4)[:24]
    for place, letter in enumerate(around):
        angle = 2 * math.pi * place / len(around)
        _turned(plate, letter, font, middle + 0.81 * radius * math.sin(angle), middle - 0.81 * radius * math.cos(angle), angle)
    date = f"{rng.integers(1, 31)}. {rng.integers(1, 13)}. {rng.integers(1850, 1999)}"
    draw.text((middle, middle), date, 255, type_.face.at(0.24 * radius), anchor="mm")
    turned = np.asarray(plate.rotate(float(rng.normal(0, 20)), Image.Resampling.BICUBIC), np.float32) / 255
    worn = np.clip(0.75 + 0.4 * tones.spectral(side, side, 0.9, rng), 0.05, 1)
    sheet.add(turned * worn, rng.uniform(0, sheet.width) - side / 2, rng.uniform(0, sheet.height) - side / 2, colour)


def _turned(plate: Image.Image, letter: str, font: ImageFont.FreeTypeFont, x: float, y: float, angle: float) -> None:
    """Draw a letter with its middle at (x, y), turned clockwise by `angle` radians."""
    side = math.ceil(2 * font.size) + 2
    small = Image.new("L", (side, side))
    ImageDraw.Draw(small).text((side / 2, side / 2), letter, 255, font, anchor="mm")
    small = small.rotate(-math.degrees(angle), Image.Resampling.BICUBIC)
    plate.paste(small, (round(x - side / 2), round(y - side / 2)), small)


def handwriting(sheet: Sheet, box: Box, size: float, rng: np.random.Generator, *, colour: Colour | None = None) -> float:
    """Lines of a cursive hand that nobody can read: loops of a slanted pen, thicker downwards."""
    colour = PEN_INKS[rng.integers(len(PEN_INKS))] if colour is None else colour
    hand = _Hand(
        size=size, slant=rng.uniform(0.1, 0.7), pen=max(1.5, size * rng.uniform(0.05, 0.11)), roundness=rng.uniform(0.2, 0.6)
    )
    y, pitch = box.top + size, size * rng.uniform(1.4, 1.8)
    while y < min(box.bottom, sheet.height + size):
        x = box.left + rng.uniform(0, 1.5) * size
        while x < box.right - size * rng.uniform(1, 5):
            x = _scribble(sheet.draw(colour), x, y + rng.normal(0, 0.05) * size, hand, rng) + rng.uniform(0.35, 0.8) * size
        y += pitch
    return y


def signature(sheet: Sheet, x: float, y: float, size: float, rng: np.random.Generator) -> None:
    """One or two large scribbles with a flourish below."""
    colour = PEN_INKS[rng.integers(len(PEN_INKS))]
    draw, hand = sheet.draw(colour), _Hand(size=size, slant=rng.uniform(0.2, 0.8), pen=max(1.5, 0.07 * size), roundness=0.5)
    end = x
    for _ in range(int(rng.integers(1, 3))):
        end = _scribble(draw, end, y, hand, rng) + 0.4 * size
    bend = np.linspace(0, 1, 30)
    flourish = zip(end + (x - end) * bend, y + size * (0.5 + 0.3 * np.sin(3 * bend)), strict=True)
    draw.line(list(flourish), 255, max(1, round(hand.pen)), joint="curve")


@dataclass(frozen=True, kw_only=True)
class _Hand:
    """Habits of a writer. Sizes are in pixels."""

    size: float  # of capitals
    slant: float
    pen: float  # width of a stroke
    roundness: float  # 0.2: pointed, 0.6: looped


def _scribble(draw: ImageDraw.ImageDraw, x: float, y: float, hand: _Hand, rng: np.random.Generator) -> float:
    """A word of two to nine letters on the baseline y. Returns its right end."""
    letters, steps = int(rng.integers(2, 10)), 16
    heights = rng.choice((0.40, 0.45, 0.36, 0.22, 0.95, 0.85, -0.45), letters) * hand.size  # x-heights, ascenders, descender
    widths = rng.uniform(0.25, 0.55, letters) * hand.size
    loops = hand.roundness * rng.uniform(0.5, 1.3, letters)
    phase = np.arange(letters * steps) / steps  # in letters
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * phase)
    up = np.repeat(heights, steps) * swing + 0.03 * hand.size * np.sin(2.3 * phase)
    wide = np.repeat(widths, steps)
    along = x + np.cumsum(wide) / steps + wide * np.repeat(loops, steps) * np.sin(2 * np.pi * phase + 0.7) + hand.slant * up
    points = list(zip(along.tolist(), (y - up).tolist(), strict=True))
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        draw.line((x0, y0, x1, y1), 255, max(1, round(hand.pen * (1.25 if y1 > y0 else 0.7))))
    return float(along[-1])


def entry(sheet: Sheet, x: float, y: float, size: float, colour: Colour, rng: np.random.Generator) -> None:
    """One or two words by hand on the baseline y."""
    hand = _Hand(size=size, slant=0.4, pen=max(1.5, 0.08 * size), roundness=0.4)
    for _ in range(int(rng.integers(1, 3))):
        x = _scribble(sheet.draw(colour), x, y, hand, rng) + 0.5 * size
