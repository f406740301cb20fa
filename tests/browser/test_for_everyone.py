"""By keyboard, by ear, on a phone, in the dark, with less motion."""

import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import Upload, delivered
from tests.browser.test_names import no_sideways_scrolling

pytestmark = pytest.mark.xdist_group("browser")

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
VIEWS = ["#/", "#/streams/microscope-3", "#/files", "life", "#/services", "#/aside"]


@pytest.fixture
def busy(registry: Registry) -> Registry:
    """A registry with something of everything."""
    for number in range(12):
        delivered(registry, f"run-0411/frame-{number:04}.tif", at=time.time() - 60 * number)
    Upload(registry, "run-0412/tomogram.h5", 700 << 20).progress(300 << 20)
    Upload(registry, "run-0412/a.png").uploaded().delivered("cluster")
    bad = Upload(registry, "run-0412/bad\x1b:name.tif").uploaded()
    bad.rejected("archive", "unportable-path", "no ':' there")
    registry.heartbeat("uploader", "scope-3.lab", files_in_flight=1)
    registry.heartbeat("downloader", "cluster-gw", at=time.time() - 600)
    registry.heartbeat(
        "downloader", "archive-1", topic="microscope-3", destination="archive", directory="/data/archive"
    )
    return registry


def go_to(page: Page, registry: Registry, view: str) -> None:
    page.goto(registry.url + ("#/files?search=frame-0003" if view == "life" else view))
    if view == "life":
        page.get_by_role("link", name="frame-0003.tif").click()
        expect(page.get_by_role("heading", name="Life")).to_be_visible()
    expect(page.get_by_role("main").locator("h2, table").first).to_be_attached()


def test_the_heading_keeps_the_focus_when_an_answer_is_late(busy: Registry, visit: Visit):
    page = visit(busy)
    page.goto(busy.url + "#/files?search=frame-0003")
    link = page.get_by_role("link", name="frame-0003.tif")
    expect(link).to_be_visible()
    held: list[Route] = []
    page.route("**/api/v1/files/*", lambda route: route.continue_() if held else held.append(route))
    link.click()
    expect(page.get_by_role("heading", level=1, name="File", exact=True)).to_be_focused()
    for route in held:
        route.continue_()
    expect(page.get_by_role("heading", level=1, name="frame-0003.tif")).to_be_focused()


def test_by_keyboard_alone(busy: Registry, visit: Visit):
    page = visit(busy)
    expect(page.get_by_role("row", name="microscope-3")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("searchbox", name="Find a file")).to_be_focused()
    page.keyboard.type("frame-0003")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Files")).to_be_focused()
    link = page.get_by_role("link", name="frame-0003.tif")
    expect(link).to_be_visible()
    for _ in range(8):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    expect(link).to_be_focused()
    assert link.evaluate("link => getComputedStyle(link).outlineStyle") == "solid", "focus is not visible"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="frame-0003.tif")).to_be_focused()


def test_the_ways_through_the_page_stand_in_one_line_on_a_phone(busy: Registry, visit: Visit):
    page = visit(busy, viewport={"width": 390, "height": 844}, has_touch=True)
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    expect(links.first).to_contain_text("1")
    tops = {link.bounding_box()["y"] for link in links.all()}
    assert len(links.all()) == 4
    assert len(tops) == 1, f"the navigation wraps: {tops}"


def test_on_a_phone_nothing_scrolls_sideways(busy: Registry, visit: Visit):
    page = visit(busy, viewport={"width": 320, "height": 640}, has_touch=True)
    for view in VIEWS:
        go_to(page, busy, view)
        no_sideways_scrolling(page)


# What a screen reader goes by, and what the eye needs: WCAG 2.2 AA, as far as a program can tell.
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_has_no_complaints(busy: Registry, visit: Visit, scheme: str):
    page = visit(busy, color_scheme=scheme)
    for view in VIEWS:
        go_to(page, busy, view)
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"


def test_the_colours_follow_the_system(busy: Registry, visit: Visit):
    page = visit(busy)
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) != light


def test_nothing_moves_for_who_does_not_want_it(busy: Registry, visit: Visit):
    page = visit(busy, reduced_motion="reduce")
    expect(page.get_by_role("progressbar").first).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    styles = page.evaluate(
        """[...document.querySelectorAll('*')].filter((element) => {
            const part = element.localName === 'progress' ? '::-webkit-progress-value' : null;
            const style = getComputedStyle(element, part);
            return style.transitionDuration.split(', ').some((time) => time !== '0s');
        }).map((element) => element.localName)"""
    )
    assert styles == []


def test_changes_are_told_without_chatter(busy: Registry, visit: Visit):
    page = visit(busy)
    announcer = page.locator("[aria-live]")
    expect(page.get_by_role("row", name="microscope-3")).to_be_visible()
    expect(announcer).to_be_empty()
    delivered(busy, "one-more.tif")
    expect(page.get_by_role("row", name="microscope-3")).to_contain_text("13 delivered")
    expect(announcer).to_be_empty()
    Upload(busy, "bad-too.tif").uploaded().rejected()
    expect(announcer).to_have_text("1 more file did not arrive")
