"""By keyboard, by ear, on a phone, in the dark, with less motion."""

import time

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import Upload, delivered
from tests.browser.test_names import no_sideways_scrolling

pytestmark = pytest.mark.xdist_group("browser")

VIEWS = ["#/", "#/streams/microscope-3", "#/files", "life", "#/services", "#/problems"]


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
    return registry


def go_to(page: Page, registry: Registry, view: str) -> None:
    page.goto(registry.url + ("#/files?search=frame-0003" if view == "life" else view))
    if view == "life":
        page.get_by_role("link", name="frame-0003.tif").click()
        expect(page.get_by_role("heading", name="Life")).to_be_visible()
    expect(page.get_by_role("main").locator("h2, table").first).to_be_attached()


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


def test_on_a_phone_nothing_scrolls_sideways(busy: Registry, visit: Visit):
    page = visit(busy, viewport={"width": 320, "height": 640}, has_touch=True)
    for view in VIEWS:
        go_to(page, busy, view)
        no_sideways_scrolling(page)


# What a screen reader goes by, and what the eye needs: WCAG 2.2 AA, as far as a program can tell.
AUDIT = """() => {
    const wrong = [];
    const shown = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    const say = (what, element) => wrong.push(`${what}: ${element.outerHTML.slice(0, 120)}`);

    for (const [role, count] of [["main", 1], ["header", 1], ["nav", 1], ["h1", 1]]) {
        const found = document.querySelectorAll(role === "nav" ? "header nav" : role).length;
        if (found !== count) wrong.push(`${found} ${role}`);
    }
    let level = 0;
    for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
        const own = Number(heading.localName[1]);
        if (own > level + 1) say(`heading ${own} after ${level}`, heading);
        level = own;
    }
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`twice the id ${id}`);
    for (const element of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
        for (const name of ["aria-labelledby", "aria-describedby"]) {
            const id = element.getAttribute(name);
            if (id && !document.getElementById(id)) say(`${name} names nothing`, element);
        }
    }
    const named = "a, button, input, select, progress, summary, svg[role=img]";
    for (const element of document.querySelectorAll(named)) {
        const told = element.getAttribute("aria-label") || element.labels?.[0]?.textContent;
        const label = told || element.textContent;
        if (!label.trim() && element.getAttribute("aria-hidden") !== "true") say("no name", element);
    }
    for (const element of document.querySelectorAll("[style]")) {
        if (!element.closest(".plot")) say("a style attribute", element);
    }
    for (const element of document.querySelectorAll("a, button, input, select")) {
        const box = element.getBoundingClientRect();
        const inText = getComputedStyle(element).display === "inline";
        const small = !inText && box.width > 1 && box.height < 24;
        if (small && shown(element)) say(`only ${box.height} px high`, element);
    }

    const channels = (colour) => {
        const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (rgb) => {
        const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = rgb.slice(0, 3).map((value) => linear(value / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const [r, g, b, alpha] = channels(getComputedStyle(at).backgroundColor);
            if (alpha === 255) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const seen = new Set();
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || seen.has(element) || !shown(element)) continue;
        seen.add(element);
        const ink = luminance(channels(getComputedStyle(element).color));
        const paper = luminance(ground(element));
        const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        if (contrast < 4.5) say(`contrast ${contrast.toFixed(2)}`, element);
    }
    if (seen.size < 10) wrong.push(`only ${seen.size} texts looked at`);
    return wrong;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_landmarks_headings_names_and_contrast(busy: Registry, visit: Visit, scheme: str):
    page = visit(busy, color_scheme=scheme)
    for view in VIEWS:
        go_to(page, busy, view)
        assert (view, page.evaluate(AUDIT)) == (view, [])


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
