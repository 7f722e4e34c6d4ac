"""Samples of graphics beside photographs: a mixed page, a screenshot, a chart and a logo with alpha."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Pixels = NDArray[np.uint8]

INK, GREY, PALE = (30, 32, 38), (112, 116, 124), (226, 229, 234)
BLUE, GREEN, RED, ORANGE, VIOLET = (38, 98, 186), (46, 140, 96), (196, 60, 52), (226, 142, 40), (120, 80, 168)

PROSE = """
The harbour of Aldersund was dredged for the last time in the spring. Since then the ferries lie at the outer
quay, and the old basin belongs to the rowing club, to the fish stalls and, on Saturdays, to everybody. The town has asked
three offices how the quay could look in ten years. All of them kept the cranes; one has hung gardens between them.
The winning plan needs no new land. It moves the road behind the warehouses, opens their ground floors to the water and
gives the long wall a step that is wide enough to sit on. The first part is to be ready before the boats return in May.
In the market hall 1,260 people put a mark on the list. Most of them want shade, and few would miss the car park. A tram
along the rails of the old goods line was the one question on which the two sides of the river did not agree. The drawings
hang in the town hall until the end of the month, also on Sundays. Whoever cannot come finds them on a screen in the library,
with a form for remarks. Remarks are read aloud in the council on the ninth, all of them, however long it takes.
"""


def mixed_page(photo: Pixels) -> Pixels:
    """A page of a brochure with a photograph, text, a coloured head and bars, uint8 [600, 440, 3].

    `photo` is uint8 [H, W, 3]; a part of it is shown, halved.
    """
    width, height = 440, 600
    image = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 64), (24, 62, 92))
    draw.text((24, 14), "Quay and town", (255, 255, 255), ImageFont.load_default(26))
    draw.text((25, 44), "News of the works department, issue 12", (176, 208, 226), ImageFont.load_default(12))
    shown = Image.fromarray(photo).crop((110, 100, 502, 380)).reduce(2)
    image.paste(shown, (24, 84))
    draw.text((24, 230), "Still from the survey of the market hall.", GREY, ImageFont.load_default(10.5))
    draw.rectangle((236, 84, width - 24, 224), (240, 234, 220))
    draw.text((248, 92), "Votes", (150, 84, 30), ImageFont.load_default(16))
    for row, (name, share) in enumerate((("Gardens", 0.91), ("Steps", 0.74), ("Tram", 0.38), ("Car park", 0.12))):
        y = 120 + 25 * row
        draw.text((248, y), name, INK, ImageFont.load_default(12))
        draw.rectangle((306, y + 2, 306 + 96 * share, y + 13), (BLUE, GREEN, ORANGE, RED)[row])
    _columns(draw, PROSE, left=24, top=258, right=width - 24, bottom=560)
    draw.line((24, 572, width - 24, 572), (24, 62, 92))
    draw.text((width - 24, 578), "3", GREY, ImageFont.load_default(11), anchor="ra")
    return np.asarray(image)


def _columns(draw: ImageDraw.ImageDraw, prose: str, *, left: int, top: int, right: int, bottom: int) -> None:
    """Two columns of ragged text."""
    font, leading, gutter = ImageFont.load_default(12.4), 16.3, 20
    wide = (right - left - gutter) / 2
    places = [(left + (wide + gutter) * column, y) for column in (0, 1) for y in np.arange(top, bottom - leading, leading)]
    words = prose.split()
    for x, y in places:
        line = []
        while words and draw.textlength(" ".join([*line, words[0]]), font) <= wide:
            line.append(words.pop(0))
        draw.text((x, y), " ".join(line), INK, font)


# ------------------------------------------------------------------------------------------------ the screenshot

FOLDERS = {"Inbox": "3", "Drafts": "1", "Sent": "", "Archive": "", "Junk": "12", "Trash": ""}
MAILS = (
    ("Ines Bakker", "Re: figures for the spring report", "09:42"),
    ("Build robot", "main: 214 passed, 0 failed", "09:15"),
    ("Tomas Lind", "Lunch on Thursday?", "08:57"),
    ("Harbour office", "Berth 7 is free from Monday", "Mon"),
    ("A. Okafor", "Corrected table, second page", "Mon"),
    ("Ines Bakker", "figures for the spring report", "Sun"),
    ("Library", "Three books are due soon", "Sun"),
)
MESSAGE = (
    "Hello,",
    "",
    "the totals of columns two and four agree now. I",
    "put the new sheet into the shared folder.",
    "",
    "Two footnotes are open: the ferries of the second",
    "quarter, and who pays for the lamps on the quay.",
    "Planned were 12,400 and 13,050; we spent 12,180",
    "and 13,377. Could you look at them by Friday?",
    "",
    "Ines",
)


def screenshot() -> Pixels:
    """A mail program: folders, a list of messages, an open one, buttons, uint8 [400, 640, 3]."""
    image = Image.new("RGB", (640, 400), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    _title_bar(image, draw)
    _folders(draw)
    _messages(draw)
    _open_message(draw)
    return np.asarray(image)


def _title_bar(image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
    ramp = np.linspace((236, 238, 241), (216, 219, 224), 30).round().astype(np.uint8)
    image.paste(Image.fromarray(np.repeat(ramp[:, None], 640, 1)), (0, 0))

    def lights(sheet: ImageDraw.ImageDraw, scale: int) -> None:
        for place, colour in enumerate(((236, 96, 86), (244, 190, 60), (98, 196, 84))):
            sheet.circle((scale * (18 + 20 * place), scale * 15), 6 * scale, colour)

    _smooth(image, lights)
    draw.text((320, 15), "Mail - Inbox (3)", (70, 74, 80), ImageFont.load_default(13), anchor="mm")
    draw.line((0, 30, 640, 30), (184, 188, 194))
    for place, label in enumerate(("New", "Reply", "Forward", "Archive", "Delete")):
        x = 12 + 74 * place
        draw.rounded_rectangle((x, 38, x + 66, 60), 4, (248, 249, 250), (190, 194, 200))
        draw.text((x + 33, 49), label, INK, ImageFont.load_default(12), anchor="mm")
    draw.rounded_rectangle((468, 38, 628, 60), 11, (255, 255, 255), (190, 194, 200))
    draw.text((482, 49), "Search", (160, 164, 170), ImageFont.load_default(12), anchor="lm")


def _folders(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((0, 68, 116, 400), (244, 245, 247))
    for row, (label, count) in enumerate(FOLDERS.items()):
        y = 78 + 24 * row
        if row == 0:
            draw.rectangle((0, y - 3, 116, y + 19), BLUE)
        tone = (255, 255, 255) if row == 0 else INK
        draw.rectangle((12, y + 3, 22, y + 12), outline=tone)
        draw.text((30, y), label, tone, ImageFont.load_default(12.5))
        draw.text((106, y), count, tone, ImageFont.load_default(12.5), anchor="ra")
    draw.line((116, 68, 116, 400), (210, 213, 218))


def _messages(draw: ImageDraw.ImageDraw) -> None:
    for row, (sender, subject, time) in enumerate(MAILS):
        y = 68 + 46 * row
        if row == 0:
            draw.rectangle((117, y, 330, y + 45), (222, 234, 250))
        draw.text((136, y + 7), sender, INK, ImageFont.load_default(12.5))
        draw.text((322, y + 8), time, GREY, ImageFont.load_default(11), anchor="ra")
        draw.text((136, y + 25), subject[:31], GREY, ImageFont.load_default(11.5))
        if row < 3:
            draw.ellipse((123, y + 11, 129, y + 17), BLUE)
        draw.line((117, y + 46, 330, y + 46), PALE)
    draw.line((331, 68, 331, 400), (210, 213, 218))


def _open_message(draw: ImageDraw.ImageDraw) -> None:
    draw.text((346, 80), MAILS[0][1], INK, ImageFont.load_default(15))
    draw.text((346, 102), "Ines Bakker, today, 09:42", GREY, ImageFont.load_default(11.5))
    draw.line((346, 122, 614, 122), PALE)
    for row, line in enumerate(MESSAGE):
        draw.text((346, 132 + 18 * row), line, INK, ImageFont.load_default(12))
    draw.rectangle((346, 356, 492, 384), (246, 247, 249), (206, 209, 214))
    draw.rectangle((354, 362, 368, 378), (74, 150, 90))
    draw.text((376, 370), "spring.ods, 48 KB", INK, ImageFont.load_default(11.5), anchor="lm")
    draw.rectangle((628, 68, 640, 400), (240, 241, 243))
    draw.rounded_rectangle((630, 74, 637, 236), 3, (190, 193, 198))


# ------------------------------------------------------------------------------------------------ chart and logo


def chart() -> Pixels:
    """Five smooth curves with markers over a grid, antialiased, uint8 [360, 560, 3]."""
    width, height = 560, 360
    image = Image.new("RGB", (width, height), (255, 255, 255))
    left, top, right, bottom = 52, 34, 540, 312
    colours = (BLUE, GREEN, RED, ORANGE, VIOLET)
    t = np.linspace(0, 1, 160)
    x = left + (right - left) * t

    def height_of(curve: int) -> NDArray[np.float64]:
        rise = (0.76 - 0.11 * curve) * (1 - np.exp(-(2.2 + 0.7 * curve) * t))
        return bottom - (bottom - top) * (0.12 - 0.02 * curve + rise + 0.025 * np.sin(9 * t + 1.7 * curve))

    def plot(draw: ImageDraw.ImageDraw, scale: int) -> None:
        for level in np.linspace(bottom, top, 6):
            draw.line([scale * v for v in (left, level, right, level)], PALE, scale)
        band = np.concatenate([np.stack([x, height_of(0) - 14], 1), np.stack([x, height_of(0) + 14], 1)[::-1]])
        draw.polygon([tuple(point) for point in (scale * band).tolist()], (222, 232, 246))
        for curve, colour in enumerate(colours):
            points = [tuple(point) for point in (scale * np.stack([x, height_of(curve)], 1)).tolist()]
            draw.line(points, colour, round(1.8 * scale), joint="curve")
            for point in points[8::24]:
                draw.circle(point, 3.4 * scale, (255, 255, 255), colour, round(1.4 * scale))
        draw.line([scale * v for v in (left, top, left, bottom, right, bottom)], INK, scale)
        for row, colour in enumerate(colours):
            draw.line([scale * v for v in (424, 222 + 17 * row, 448, 222 + 17 * row)], colour, round(1.8 * scale))

    _smooth(image, plot)
    draw = ImageDraw.Draw(image)
    draw.text((left, 10), "Share of readers by week", INK, ImageFont.load_default(16))
    for step, level in enumerate(np.linspace(bottom, top, 6)):
        draw.text((left - 8, level), f"{20 * step} %", GREY, ImageFont.load_default(11), anchor="rm")
    for week, place in enumerate(np.linspace(left, right, 9)):
        draw.text((place, bottom + 8), str(6 * week), GREY, ImageFont.load_default(11), anchor="ma")
    draw.text(((left + right) / 2, bottom + 26), "week of the year", GREY, ImageFont.load_default(11.5), anchor="ma")
    for row, label in enumerate(("north", "coast", "islands", "inland", "capital")):
        draw.text((456, 222 + 17 * row), label, INK, ImageFont.load_default(11.5), anchor="lm")
    return np.asarray(image)


def logo() -> Pixels:
    """A mark and a name with soft edges and a shadow on nothing, uint8 [180, 360, 4]."""
    width, height, scale = 360, 180, 4
    big = Image.new("L", (width * scale, height * scale))
    draw = ImageDraw.Draw(big)
    for row in range(3):
        for column in range(3):
            x, y, size = scale * (28 + 40 * column), scale * (32 + 40 * row), scale * 34
            radius = scale * (17 if (row + column) % 2 else 7)
            draw.rounded_rectangle((x, y, x + size, y + size), radius, 255)
    draw.line([scale * v for v in (45, 49, 85, 129, 125, 49)], 0, 9 * scale, joint="curve")
    draw.text((scale * 160, scale * 92), "tesserae", 255, ImageFont.load_default(46 * scale), anchor="lm")
    shape = np.asarray(big.reduce(scale), np.float32) / 255
    shadow = np.asarray(big.reduce(scale).filter(ImageFilter.GaussianBlur(5)), np.float32) / 255
    shadow = 0.45 * np.roll(shadow, (4, 3), (0, 1))
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    colours = np.float32([18, 92, 150]) * (1 - ramp) + np.float32([228, 108, 60]) * ramp  # float32 [1, W, 3]
    alpha = shape + shadow * (1 - shape)
    colours = colours * (shape / np.maximum(alpha, 1e-6))[:, :, None]  # the shadow is black
    visible = np.rint(255 * alpha) > 0
    return np.dstack([np.where(visible[:, :, None], np.rint(colours), 0), np.rint(255 * alpha)]).astype(np.uint8)


def _smooth(image: Image.Image, paint: Callable[[ImageDraw.ImageDraw, int], None]) -> None:
    """Let `paint(draw, scale)` draw on the image enlarged by `scale`, then reduce it: antialiased lines."""
    scale = 4
    large = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    paint(ImageDraw.Draw(large), scale)
    image.paste(large.reduce(scale))
