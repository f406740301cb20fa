"""One stream: its destinations, its throughput as a picture that everyone can read, its files."""

import re
import time

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import Upload, delivered

pytestmark = pytest.mark.xdist_group("browser")


def test_its_destinations_and_newest_files(registry: Registry, visit: Visit):
    delivered(registry, "a.tif", size=1 << 20).delivered("cluster")
    Upload(registry, "b.tif", 3 << 20).uploaded().delivered("archive")
    page = visit(registry)
    page.get_by_role("link", name="microscope-3").first.click()
    expect(page.get_by_role("heading", level=1, name="microscope-3")).to_be_focused()
    destinations = page.get_by_role("table", name="Destinations")
    expect(destinations.get_by_role("row", name="archive")).to_contain_text("up to date")
    expect(destinations.get_by_role("row", name="cluster")).to_contain_text("1 file, 3.0 MiB behind")
    files = page.get_by_role("table", name="Newest files of microscope-3")
    expect(files.get_by_role("rowheader")).to_have_text(["b.tif", "a.tif"])


def test_throughput_can_be_seen_heard_and_read(registry: Registry, visit: Visit):
    minute = time.time() // 60 * 60
    delivered(registry, "a.tif", size=120_000_000, at=minute - 5 * 60 + 10)
    delivered(registry, "b.tif", size=600_000_000, at=minute - 3 * 60 + 10)
    page = visit(registry, "#/streams/microscope-3")
    picture = page.get_by_role("region", name="Throughput")
    expect(picture.get_by_role("img", name="archive: ")).to_have_accessible_name(
        # 720 MB in 60 minutes; 600 MB in the best of them.
        re.compile(r"archive: 0\.2 MB/s on average, at most 10 MB/s at ")
    )
    slider = picture.get_by_role("slider", name="Point in time to read")
    slider.press("Home")
    seen = []
    for _ in range(59):
        slider.press("ArrowRight")
        seen.append(slider.get_attribute("aria-valuetext"))
    assert [text for text in seen if "archive 2.0 MB/s" in text]
    assert [text for text in seen if "archive 10 MB/s" in text]
    picture.get_by_text("As a table").click()
    rows = picture.get_by_role("table", name="Throughput over time").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("572.2 MiB, 1 file")


def test_the_range_and_the_measure_are_chosen_by_links(registry: Registry, visit: Visit):
    delivered(registry, "a.tif", at=time.time() - 5 * 3600)
    page = visit(registry, "#/streams/microscope-3")
    expect(page.get_by_text("Nothing went through in the last 1 hour.")).to_be_visible()
    page.get_by_role("link", name="24 hours").click()
    expect(page.get_by_role("img", name="archive: ")).to_be_visible()
    expect(page.get_by_role("link", name="24 hours")).to_be_focused()
    page.get_by_role("link", name="Files", exact=True).and_(page.locator("main a")).click()
    expect(page.get_by_role("img", name="files/h")).to_be_visible()
    assert page.url.endswith("#/streams/microscope-3?range=24h&measure=files")
    for word in ("7 days", "30 days"):
        page.get_by_role("link", name=word).click()
        expect(page.get_by_role("link", name=word)).to_have_attribute("aria-current", "true")
        expect(page.get_by_role("img", name="archive: ")).to_be_visible()


@pytest.mark.parametrize("range_", ["1h", "24h", "7d", "30d"])
@pytest.mark.parametrize("measure", ["bytes", "files"])
def test_an_axis_has_one_unit_and_no_label_twice(registry: Registry, visit: Visit, range_: str, measure: str):
    minute = time.time() // 60 * 60
    for number in range(4):
        delivered(registry, f"{number}.tif", size=3_000, at=minute - 200 - 60 * number)
    page = visit(registry, f"#/streams/microscope-3?range={range_}&measure={measure}")
    expect(page.get_by_role("img", name="archive: ")).to_be_visible()
    zero, *labels = page.locator(".plot .values span").all_inner_texts()
    assert zero == "0"
    assert len(labels) == len(set(labels)) >= 2
    assert len({label.split()[1] for label in labels}) == 1, labels


def test_a_minute_that_is_not_over_is_no_part_of_the_picture(registry: Registry, visit: Visit):
    minute = time.time() // 60 * 60
    for at in (minute - 30, minute + 1):
        delivered(registry, f"{at}.tif", size=600_000_000, at=at)
    page = visit(registry, "#/streams/microscope-3")
    slider = page.get_by_role("slider", name="Point in time to read")
    last = re.compile(r"\d to \d\d:\d\d: .*archive 10 MB/s")
    expect(slider).to_have_attribute("aria-valuetext", last)
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", last)
    page.goto(registry.url + "#/streams/microscope-3?range=7d")
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("now, not over yet: .*archive "))
