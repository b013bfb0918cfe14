"""The page in a browser: it shows, moves by keyboard, prints, and asks for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..run.test_hand_work import base, out  # noqa: F401

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
LOOKS = [
    {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "has_touch": True},
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a Chromium."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


@pytest.fixture
def tell(browser: Any, base: tuple[Path, Path]) -> Iterator[Any]:  # noqa: F811
    """Return a function that opens the page; at the end it must have kept quiet."""
    heard: list[str] = []
    contexts = []

    def open_page(**look: Any) -> Any:
        context = browser.new_context(**(look or LOOKS[0]))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(request.url[:80]))
        address = (base[1] / "report.html").as_uri()
        page.goto(address)
        # Pictures in the page are no requests to anybody.
        heard[:] = [text for text in heard if not text.startswith("data:") and text != address]
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [text for text in heard if not text.startswith("data:")] == []


@pytest.mark.parametrize("look", LOOKS, ids=["light", "dark", "phone"])
def test_the_page_shows_all_pictures_and_fits_its_window(tell: Any, look: dict[str, Any]) -> None:
    page = tell(**look)
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 1)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelector('.view').getBoundingClientRect().height > 100")
    dark = look["color_scheme"] == "dark"
    shade = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--page')")
    assert (shade.strip() == "#ffffff") != dark


@pytest.mark.parametrize("look", LOOKS[:2], ids=["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(tell: Any, look: dict[str, Any]) -> None:
    page = tell(**look)
    colors = page.evaluate(
        "['text', 'muted', 'accent', 'page', 'panel'].map(n => getComputedStyle("
        "document.documentElement).getPropertyValue('--' + n).trim())"
    )
    *texts, plain, panel = map(luminance, colors)
    for text in texts:
        for behind in (plain, panel):
            high, low = max(text, behind), min(text, behind)
            assert (high + 0.05) / (low + 0.05) >= 4.5


def luminance(color: str) -> float:
    """Return the relative luminance that WCAG 2 defines."""
    parts = [byte / 255 for byte in bytes.fromhex(color.removeprefix("#"))]
    linear = [part / 12.92 if part <= 0.04 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_arrows_on_the_slider_swipe(tell: Any) -> None:
    page = tell()
    edge = "document.querySelector('.divider').getBoundingClientRect().x"
    before = page.evaluate(edge)
    page.focus(".swipe")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('.view').style.getPropertyValue('--swipe')") == (
        "60%"
    )
    assert page.evaluate(edge) > before
    clip = "getComputedStyle(document.querySelector('.labels')).clipPath"
    assert page.evaluate(clip) == "inset(0px 0px 0px 60%)"
    page.keyboard.press("Home")
    assert page.evaluate(clip) == "inset(0px 0px 0px 0%)"


def test_keys_zoom_and_move_the_map(tell: Any) -> None:
    page = tell()
    where = (
        "['--z', '--x', '--y'].map(n => parseFloat(document.querySelector('.view')"
        ".style.getPropertyValue(n)))"
    )
    page.focus(".view")
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoom, x, y = page.evaluate(where)
    assert zoom == pytest.approx(2.25)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(where) == pytest.approx([zoom, x - 60, y - 60])
    for _ in range(100):
        page.keyboard.press("ArrowRight")
    width = page.evaluate("document.querySelector('.view').clientWidth")
    # The map never leaves its frame.
    assert page.evaluate(where)[1] == pytest.approx(width * (1 - zoom))
    page.keyboard.press("0")
    assert page.evaluate(where) == [1, 0, 0]


def test_everything_that_can_be_used_can_be_reached_by_tab(tell: Any) -> None:
    page = tell()
    wanted = page.evaluate(
        "[...document.querySelectorAll('input, button, summary, a[href], .view')].length"
    )
    reached = set()
    for _ in range(wanted + 20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "[...document.querySelectorAll('input, button, summary, a[href], .view')]"
                ".indexOf(document.activeElement)"
            )
        )
    assert reached >= set(range(wanted))


def test_dragging_swipes_with_the_mouse(tell: Any) -> None:
    page = tell()
    box = page.locator(".view").bounding_box()
    middle = box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, middle, steps=5)
    page.mouse.up()
    assert float(page.input_value(".swipe")) == pytest.approx(25, abs=1)


def test_the_page_prints_with_its_settings_and_without_controls(tell: Any) -> None:
    page = tell()
    page.emulate_media(media="print")
    shown = "getComputedStyle(document.querySelector('{}')).display"
    assert page.evaluate(shown.format(".controls")) == "none"
    assert page.evaluate("getComputedStyle(document.querySelector('.labels')).clipPath") == "none"
    left, right = (
        page.evaluate(f"document.querySelectorAll('.pane')[{at}].getBoundingClientRect().x")
        for at in (0, 1)
    )
    assert left < right
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
