"""Names that may hold anything are shown, on one line, and do nothing; numbers read as in the terminal."""

import os

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import Upload, delivered

from chunkproto import Reason
from penstock import display

pytestmark = pytest.mark.xdist_group("browser")

HOSTILE = [
    "<img src=x onerror=alert(1)>.tif",
    "<script>alert(1)</script>",
    "'; DROP TABLE files; --",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "a\nb\tc\x1b[31m\x7f.tif",
    "\u202egpj.exe",
    "${alert(1)}{{7*7}}",
    "%2e%2e%2f?#&=.tif",
    "Pr\u00fcfung \u5b9f\u9a13 \U0001f52c.tif",
]


@pytest.mark.parametrize("where", ["overview", "files", "life"])
def test_hostile_names_are_text(registry: Registry, visit: Visit, where: str):
    for name, reason in zip(HOSTILE, Reason, strict=False):
        Upload(registry, f"run/{name}").uploaded().rejected("archive", reason, f"detail of {name}")
    page = visit(registry, "#/" if where == "overview" else "#/files")
    for name in HOSTILE:
        link = page.get_by_role("link", name=f"run/{display.shown(name)}", exact=True)
        expect(link).to_be_visible()
        if where == "life":
            link.click()
            expect(page.get_by_role("heading", level=1)).to_have_text(display.shown(name.split("/")[-1]))
            page.go_back()
    expect(page.locator("main img, main script")).to_have_count(0)


def test_escapes_are_marked_so_that_a_backslash_cannot_pass_for_one(registry: Registry, visit: Visit):
    delivered(registry, "real\nbreak")
    delivered(registry, "only\\nletters")
    page = visit(registry, "#/files")
    expect(page.get_by_role("link", name=r"real\nbreak").locator(".escape")).to_have_text(r"\n")
    expect(page.get_by_role("link", name=r"only\nletters").locator(".escape")).to_have_count(0)


def test_a_name_that_is_not_utf_8_is_shown_byte_by_byte(registry: Registry, visit: Visit):
    delivered(registry, os.fsdecode(b"latin-\xe4\xf6-\xc3\xa4.txt"))
    page = visit(registry, "#/files")
    page.get_by_role("link", name=r"latin-\xe4\xf6-ä.txt").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(r"latin-\xe4\xf6-ä.txt")


def test_a_name_of_4_kb_is_elided_in_lists_and_whole_in_its_life(registry: Registry, visit: Visit):
    name = "begin/" + "/".join(["x" * 200] * 20) + "/the-end.tif"
    delivered(registry, name)
    page = visit(registry, "#/files", viewport={"width": 320, "height": 700})
    link = page.get_by_role("link", name="the-end.tif")
    shown = link.inner_text()
    assert len(shown) <= 90
    assert "…" in shown
    assert shown.startswith("begin/")
    no_sideways_scrolling(page)
    link.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("the-end.tif")
    expect(page.get_by_text(name)).to_be_visible()
    no_sideways_scrolling(page)


def no_sideways_scrolling(page: Page) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{wide} px wider than the screen"


def test_names_sizes_and_times_read_as_in_the_terminal(registry: Registry, visit: Visit):
    page = visit(registry)
    names = [*HOSTILE, "\xad\u200b\u2028\u3000\U000e0001\ue000", " ordinary name.tif"]
    numbers = [0, 1, 1023, 1024, 1536, 1023898, 1048575, 5 << 30, 999 << 40, 1 << 62]
    durations = [0, 0.12, 0.994, 0.996, 4.24, 99.94, 99.96, 187, 3599.6, 7322]
    rates = [0, 100_000, 9_940_000, 9_960_000, 212e6, 1.2e9]
    seen = page.evaluate(
        """async ({names, numbers, durations, rates}) => {
            const units = await import("/show/units.js");
            const {plain} = await import("/show/names.js");
            return {
                names: names.map((name) => plain(name)),
                sizes: numbers.map(units.size),
                durations: durations.map(units.duration),
                rates: rates.map(units.rate),
                counts: numbers.slice(0, 8).map((number) => units.count(number, "file")),
            };
        }""",
        {"names": names, "numbers": numbers, "durations": durations, "rates": rates},
    )
    assert seen == {
        "names": [display.shown(name) for name in names],
        "sizes": [display.size(number) for number in numbers],
        "durations": [display.seconds(duration) for duration in durations],
        "rates": [display.rate(rate) for rate in rates],
        "counts": [display.count(number, "file") for number in numbers[:8]],
    }
