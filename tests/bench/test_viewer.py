"""Pages with viewers of pictures: nothing is loaded, and in a browser the divider, zoom and difference work by mouse and keys."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from helpers.browser import Page, open_browser
from vqcodec.arrays import UInt8
from vqcodec.bench.compare import compare
from vqcodec.bench.compare_page import Named, error_shares, to_html
from vqcodec.bench.page import Crop, ImageCrops
from vqcodec.bench.page import to_html as bench_html
from vqcodec.bench.results import BenchResults

RED, GREEN = (200, 40, 40), (190, 60, 40)
DIFFERENCE = [80, 160, 0]  # 8 times 10, 20 and 0


def filled(colour: tuple[int, int, int]) -> UInt8:
    return np.full((100, 160, 3), colour, np.uint8)


def compare_page(first: str = "a.png", second: str = "b.vqz") -> str:
    return to_html(compare(filled(RED), filled(GREEN)), Named(first, 1234), Named(second, 200))


class Tags(HTMLParser):
    """The attributes of all tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_page_refers_to_nothing_outside() -> None:
    page = compare_page()
    references = [
        value for _, attributes in Tags(page).found for name, value in attributes.items() if name in ("src", "href", "xlink:href")
    ]
    assert len(references) == 2
    assert all(value.startswith("data:image/png;base64,") for value in references)
    assert not re.search(r"https?:|@import|url\(", page)
    assert "default-src 'none'" in page


def test_names_are_escaped_and_equal_names_told_apart() -> None:
    page = compare_page("<b>'x'&.png", "<b>'x'&.png")
    assert "<b>" not in page
    alts = [attributes["alt"] for tag, attributes in Tags(page).found if tag == "img"]
    assert alts[:2] == ["<b>'x'&.png (A)", "<b>'x'&.png (B)"]


def test_figures_have_units_and_equal_pictures_are_identical() -> None:
    assert "<td>a.png</td><td>1,234 bytes, 0.617 bpp</td>" in compare_page()
    page = to_html(compare(filled(RED), filled(RED)), Named("a", 1), Named("b", 1))
    assert "<td>PSNR, dB</td><td>identical</td>" in page
    assert "99 % by at most 0." in page


def test_error_shares_take_the_largest_channel() -> None:
    first = np.zeros((2, 2, 3), np.uint8)
    second = first.copy()
    second[0, 0], second[0, 1] = (1, 3, 0), (0, 0, 1)
    assert error_shares(first, second).tolist() == [0.5, 0.75, 0.75, 1.0]
    assert error_shares(second[..., 2], first[..., 2]).tolist() == [0.75, 1.0]


def test_transparent_and_deep_pictures_are_shown_as_they_are_compared() -> None:
    clear = np.full((20, 20, 4), 65535, np.uint16)
    clear[..., 3] = 0
    opaque = np.full((20, 20, 4), 65535, np.uint16)
    comparison = compare(opaque, clear)
    assert [int(shown.mean()) for shown in comparison.shown] == [255, 0]
    assert "Transparent pictures are shown on black" in to_html(comparison, Named("a", 1), Named("b", 1))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


def middle_of_frame(page: Page) -> tuple[float, float]:
    left, top, width, height = page.value(
        "(box => [box.left, box.top, box.width, box.height])(document.querySelector('.frame').getBoundingClientRect())"
    )
    return left + width / 2, top + height / 2


def colours_at(page: Page, *offsets: int) -> list[list[int]]:
    """Colours beside the middle of the frame, this many pixels to the right of it and 30 below."""
    shown = page.screenshot()
    x, y = middle_of_frame(page)
    return [shown[int(y) + 30, int(x) + offset].tolist() for offset in offsets]


@pytest.mark.slow
def test_a_browser_shows_the_comparison(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(compare_page(), encoding="utf-8")
    browser.requests.clear()
    browser.open(path, 1000, 900)
    assert [url for url in browser.requests if not url.startswith("data:")] == [path.as_uri()]

    assert colours_at(browser, -60, 60) == [[*RED], [*GREEN]]
    x, y = middle_of_frame(browser)
    browser.drag((x, y), (x + 100, y))
    assert colours_at(browser, -60, 60) == [[*RED], [*RED]]
    browser.value("document.querySelector('.divider').focus()")
    browser.press("Home")
    browser.press("ArrowRight")
    assert colours_at(browser, -60, 60) == [[*GREEN], [*GREEN]]
    assert browser.value("document.querySelector('.divider').ariaValueNow") == "1"
    browser.press("l")
    assert colours_at(browser, -60, 60) == [[*RED], [*RED]]
    browser.press("x")
    assert colours_at(browser, -60, 60) == [[*GREEN], [*GREEN]]
    browser.press("d")
    assert colours_at(browser, -60, 60) == [DIFFERENCE, DIFFERENCE]

    width = "document.querySelector('.stack').clientWidth"
    browser.press("1")
    assert browser.value(width) == 160
    for _ in range(3):
        browser.press("+")
    assert browser.value(width) == 1280
    assert browser.value("document.querySelector('.scroll').scrollLeft") > 0
    browser.press("0")
    assert browser.value(width) == 960 // 160 * 160


@pytest.mark.slow
def test_the_page_fits_a_phone_and_every_control_has_a_name(browser: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(compare_page("a" * 60 + ".png"), encoding="utf-8")
    browser.open(path, 360, 700, touch=True)
    assert browser.value("document.documentElement.scrollWidth") == 360
    named = "e => e.ariaLabel || e.labels?.length || e.textContent.trim()"
    assert browser.value(f"[...document.querySelectorAll('button, input, select, [tabindex]')].every({named})")
    touchable = "e => !e.offsetParent || e.offsetHeight >= 30"
    assert browser.value(f"[...document.querySelectorAll('.bar button, .bar label')].every({touchable})")
    reached = [browser.press("Tab") or browser.value("document.activeElement.className") for _ in range(7)]
    assert reached[1:] == ["out", "in", "fit", "one", "scroll", "divider"]


@pytest.mark.slow
def test_crops_of_the_bench_are_chosen_by_name_or_by_a_click(browser: Page, tmp_path: Path, results: BenchResults) -> None:
    crops = [Crop(name, 0.25, 30.0, filled(colour)) for name, colour in (("original", RED), ("jpeg", GREEN), ("vqz", (1, 2, 3)))]
    crops.insert(2, Crop("avif", 0.9, 30.0, None))
    path = tmp_path / "bench.html"
    path.write_text(bench_html(results, "<svg viewBox='0 0 9 9'></svg>", [ImageCrops("one", crops), ImageCrops("two", crops)]))
    browser.open(path, 1000, 900)
    assert browser.value("document.querySelectorAll('.frame').length") == 2
    browser.value("document.querySelector('.frame').scrollIntoView()")
    assert colours_at(browser, -60, 60) == [[*RED], [*GREEN]]
    browser.value("document.querySelectorAll('figure')[3].click()")
    assert colours_at(browser, -60, 60) == [[*RED], [1, 2, 3]]
    options = "[...document.querySelector('.pick-left').options].map(option => option.text)"
    assert browser.value(options) == ["original", "jpeg", "vqz"]
