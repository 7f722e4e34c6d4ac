"""One page: the kind of sheet, its type, what is on it, and its scan, all by one random generator."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from scanned import prints, text
from scanned.faces import KINDS, Face, Faces
from scanned.prints import Box, Sheet, Type
from scanned.scanner import MARGIN, SCALE, capture, random_look
from vqcodec.arrays import UInt8

Choice = TypeVar("Choice")
Maker = Callable[[Sheet, Type, np.random.Generator], None]
"""Prints a whole sheet."""


def make_page(height: int, width: int, faces: Faces, rng: np.random.Generator) -> UInt8:
    """A scan of nonsense: uint8 [height, width] in grey or [height, width, 3] in colour."""
    look = random_look(rng)
    kind = _choose(rng, {name: KINDS[name].weight for name in faces})
    type_ = _type(kind, faces[kind][rng.integers(len(faces[kind]))], rng)
    make = _choose(rng, _makers(kind))
    size = (SCALE * (height + 2 * MARGIN), SCALE * (width + 2 * MARGIN))
    front, back = Sheet(*size), Sheet(*size) if look.show_through else None
    make(front, type_, rng)
    if back is not None:
        make(back, type_, rng)
    return capture(front, back, look, rng)


def _choose(rng: np.random.Generator, weights: dict[Choice, float]) -> Choice:
    """One of the keys, by their weights."""
    shares = np.array(list(weights.values()))
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]


def _type(kind: str, face: Face, rng: np.random.Generator) -> Type:
    """A size and spacing for a face; most sizes are those of print at 150 to 400 dots an inch."""
    language = face.languages[rng.integers(len(face.languages))]
    largest = 34 if rng.random() < 0.9 else 64
    smallest = 15 if kind in ("chinese", "japanese", "korean", "devanagari", "arabic") else 11
    return Type(
        face=face,
        language=language,
        size=SCALE * math.exp(rng.uniform(math.log(smallest), math.log(largest))),
        leading=rng.uniform(1.0, 1.5) + (0.3 if kind in ("devanagari", "arabic") else 0),
        is_justified=kind not in ("typewriter", "handwriting") and rng.random() < 0.85,
        has_long_s=face.has_long_s and (kind == "black-letter" or (face.path is not None and "Essays" in face.path.stem)),
        is_typed=kind == "typewriter",
    )


def _makers(kind: str) -> dict[Maker, float]:
    """Sheets that a kind of type is used for, with weights."""
    if kind == "typewriter":
        return {letter: 4, form: 1}
    if kind == "handwriting":
        return {manuscript: 3, form: 1}
    if kind == "black-letter":
        return {newspaper: 5, book: 2}
    return {newspaper: 3, book: 3, magazine: 2, form: 1, letter: 0.5, manuscript: 0.3}


# ------------------------------------------------------------------------------------------------ sheets


def newspaper(sheet: Sheet, type_: Type, rng: np.random.Generator) -> None:
    """Narrow columns with rules between, which go on beyond the sheet: articles, headlines, notices, tables, pictures."""
    tight = min(type_.leading, rng.uniform(0.92, 1.15)) if type_.leading < 1.5 else type_.leading
    type_ = replace(type_, leading=tight, size=max(11 * SCALE, type_.size * rng.uniform(0.6, 1)))
    wide, gutter = type_.size * rng.uniform(13, 24), type_.size * rng.uniform(0.7, 1.4)
    has_rules, thickness = rng.random() < 0.7, max(1, round(type_.size * rng.uniform(0.03, 0.15)))
    columns = _columns(sheet, wide, gutter, -rng.uniform(0, wide), -rng.uniform(0, 2) * type_.size)
    for column in columns:
        if has_rules:
            x = column.right + gutter / 2
            sheet.draw().line((x, 0, x, sheet.height), 255, thickness)
        y = column.top
        while y < sheet.height:
            y = _article(sheet, column._replace(top=y), type_, rng)
    if rng.random() < 0.12:
        prints.stamp(sheet, type_, rng)


def _article(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator) -> float:
    """The next piece of a column of a newspaper."""
    piece = _choose(rng, {"text": 50, "headline": 22, "small": 6, "notice": 6, "table": 6, "picture": 5, "rule": 5})
    if piece == "headline":
        return prints.headline(sheet, box, type_, rng)
    if piece == "notice":
        return prints.notice(sheet, box, type_, rng)
    if piece == "table":
        return prints.table(sheet, box, type_, rng)
    if piece == "picture":
        return prints.picture(sheet, box, rng, has_colour=False)
    if piece == "rule":
        y, inset = box.top + 0.7 * type_.size, box.width * rng.uniform(0, 0.4)
        sheet.draw().line((box.left + inset, y, box.right - inset, y), 255, max(1, round(type_.size / 14)))
        return y + 0.3 * type_.size
    small = replace(type_, size=0.8 * type_.size) if piece == "small" else type_
    return prints.paragraphs(sheet, box._replace(bottom=box.top + type_.size * rng.uniform(4, 30)), small, rng)


def _columns(sheet: Sheet, wide: float, gutter: float, left: float, top: float) -> list[Box]:
    """Columns from `left` to the right end of the sheet."""
    return [Box(x, top, x + wide, sheet.height + wide) for x in np.arange(left, sheet.width, wide + gutter)]


def book(sheet: Sheet, type_: Type, rng: np.random.Generator) -> None:
    """One or two columns with margins: running head, text, a headline, a figure, footnotes."""
    box = _with_margins(sheet, type_, rng)
    head = replace(type_, size=0.85 * type_.size)
    y = prints.headline(sheet, box, head, rng) if rng.random() < 0.5 else box.top
    halves = [box._replace(top=y)]
    if rng.random() < 0.3:
        middle, gutter = (box.left + box.right) / 2, type_.size
        halves = [Box(box.left, y, middle - gutter, box.bottom), Box(middle + gutter, y, box.right, box.bottom)]
    for half in halves:
        y = half.top
        while y < half.bottom - 3 * type_.size:
            bottom = min(half.bottom, y + type_.size * rng.uniform(6, 50))
            y = prints.paragraphs(sheet, half._replace(top=y, bottom=bottom), type_, rng)
            if y < half.bottom - 12 * type_.size:
                y = _insert(sheet, half._replace(top=y + 0.5 * type_.size), type_, rng)
    if box.bottom < sheet.height - 6 * type_.size:
        sheet.draw().line((box.left, box.bottom + type_.size, box.left + 0.3 * box.width, box.bottom + type_.size), 255, 2)
        prints.paragraphs(
            sheet, box._replace(top=box.bottom + 1.2 * type_.size, bottom=sheet.height), replace(type_, size=0.75 * type_.size), rng
        )


def _insert(sheet: Sheet, box: Box, type_: Type, rng: np.random.Generator) -> float:
    """A headline or figure between two parts of a text, or nothing."""
    piece = _choose(rng, {"nothing": 50, "headline": 20, "picture": 12, "table": 10, "chart": 8})
    if piece == "headline":
        return prints.headline(sheet, box, type_, rng)
    if piece == "table":
        return prints.table(sheet, box, type_, rng)
    if piece == "chart":
        return prints.chart(sheet, box, type_, rng)
    return prints.picture(sheet, box, rng, has_colour=False) if piece == "picture" else box.top


def _with_margins(sheet: Sheet, type_: Type, rng: np.random.Generator) -> Box:
    """The type area: it ends on the sheet, or beyond its edge at some sides."""
    margins = rng.uniform(-6, 5, 4) * type_.size + SCALE * MARGIN * 0.5
    return Box(margins[0], margins[1], sheet.width - margins[2], sheet.height - margins[3])


def letter(sheet: Sheet, type_: Type, rng: np.random.Generator) -> None:
    """A typed letter with a signature, perhaps a stamp and notes by hand."""
    box = _with_margins(sheet, type_, rng)
    y = prints.letter_text(sheet, box._replace(top=max(box.top, 0)), type_, rng)
    prints.signature(sheet, box.left + box.width * rng.uniform(0.4, 0.7), y + type_.size, 1.6 * type_.size, rng)
    if rng.random() < 0.5:
        prints.stamp(sheet, type_, rng)
    if rng.random() < 0.4:
        x, y = rng.uniform(0, sheet.width * 0.7), rng.uniform(0, sheet.height * 0.8)
        prints.handwriting(sheet, Box(x, y, x + 14 * type_.size, y + 4 * type_.size), 1.1 * type_.size, rng)


def form(sheet: Sheet, type_: Type, rng: np.random.Generator) -> None:
    """Ruled fields with printed labels and entries by hand; some fields are tinted."""
    tint, colour = prints.SPOT_INKS[rng.integers(len(prints.SPOT_INKS))], prints.PEN_INKS[rng.integers(len(prints.PEN_INKS))]
    lines, shaded = prints.BLACK if rng.random() < 0.6 else tint, prints.pale(tint, rng.uniform(0.08, 0.35))
    label = replace(type_, size=max(16, 0.75 * type_.size))
    pitch, y = type_.size * rng.uniform(2.2, 3.5), rng.uniform(-1, 1) * type_.size
    while y < sheet.height:
        edges = np.concatenate([[-10], np.sort(rng.uniform(0.1, 0.9, int(rng.integers(0, 4)))) * sheet.width, [sheet.width + 10]])
        for left, right in itertools.pairwise(edges):
            if rng.random() < 0.08:
                sheet.draw(shaded).rectangle((left, y, right, y + pitch), fill=255)
            sheet.draw(lines).rectangle((left, y, right, y + pitch), outline=255, width=max(1, round(type_.size / 16)))
            words = text.phrase(type_.language, rng, int(rng.integers(1, 4)))
            if label.font.getlength(words) < right - left:
                place = (left + 0.3 * label.size, y + 0.95 * label.size)
                direction = "rtl" if type_.language.right_to_left else None
                sheet.draw(lines).text(place, words, 255, label.font, anchor="ls", direction=direction)
            if rng.random() < 0.6:
                prints.entry(sheet, left + type_.size, y + pitch - 0.4 * type_.size, 1.1 * type_.size, colour, rng)
        y += pitch
    if rng.random() < 0.5:
        prints.stamp(sheet, type_, rng)


def manuscript(sheet: Sheet, type_: Type, rng: np.random.Generator) -> None:
    """A page by hand, in a font or in loops, on plain or ruled paper."""
    ink = prints.PEN_INKS[rng.integers(len(prints.PEN_INKS))]
    box = Box(rng.uniform(0, 3) * type_.size, -type_.size, sheet.width - rng.uniform(0, 2) * type_.size, sheet.height + type_.size)
    pitch = type_.size * rng.uniform(1.3, 1.7)
    ruling = rng.choice(("none", "lines", "squares"))
    if ruling != "none":
        pale = sheet.draw((0.72, 0.80, 0.90))
        for y in np.arange(rng.uniform(0, pitch), sheet.height, pitch):
            pale.line((0, y, sheet.width, y), 200, 2)
        for x in np.arange(rng.uniform(0, pitch), sheet.width, pitch) if ruling == "squares" else ():
            pale.line((x, 0, x, sheet.height), 200, 2)
    if rng.random() < 0.5:
        by_hand = replace(type_, is_justified=False, leading=pitch / type_.size)
        prints.paragraphs(sheet, box, by_hand, rng, colour=ink)
    else:
        prints.handwriting(sheet, box, type_.size * rng.uniform(0.9, 1.5), rng, colour=ink)


def magazine(sheet: Sheet, type_: Type, rng: np.random.Generator) -> None:
    """Columns with pictures, headings and boxes in colour."""
    colour = prints.SPOT_INKS[rng.integers(len(prints.SPOT_INKS))]
    box = _with_margins(sheet, type_, rng)
    wide, gutter = type_.size * rng.uniform(16, 32), 1.5 * type_.size
    for column in _columns(sheet, wide, gutter, box.left, box.top):
        y = column.top
        while y < min(box.bottom, sheet.height):
            rest = column._replace(top=y)
            piece = _choose(rng, {"text": 42, "headline": 18, "picture": 20, "notice": 6, "chart": 6, "tint": 8})
            if piece == "text":
                y = prints.paragraphs(sheet, rest._replace(bottom=y + type_.size * rng.uniform(6, 30)), type_, rng)
            elif piece == "headline":
                y = prints.headline(sheet, rest, type_, rng, colour=colour)
            elif piece == "picture":
                y = prints.picture(sheet, rest, rng, has_colour=rng.random() < 0.8)
            elif piece == "notice":
                y = prints.notice(sheet, rest, type_, rng, colour=colour)
            elif piece == "chart":
                y = prints.chart(sheet, rest, type_, rng, colour=colour)
            else:
                bottom = y + type_.size * rng.uniform(5, 12)
                tint = prints.pale(colour, rng.uniform(0.08, 0.35))
                sheet.draw(tint).rectangle((rest.left - 8, y, rest.right + 8, bottom), fill=255)
                inside = rest._replace(top=y, left=rest.left + 8, right=rest.right - 8, bottom=bottom - 0.4 * type_.size)
                y = prints.paragraphs(sheet, inside, type_, rng) + type_.size
