"""The overview: what went wrong first, streams at a glance, files on their way, all of it live."""

import time

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import Upload, delivered

from penstock_registry.store.batch import Aside

pytestmark = pytest.mark.xdist_group("browser")


def headings(page: Page) -> list[str]:
    return page.get_by_role("main").get_by_role("heading", level=2).all_inner_texts()


def test_who_has_just_started_is_told_what_to_run(registry: Registry, visit: Visit):
    page = visit(registry)
    expect(page.get_by_role("heading", name="No stream yet")).to_be_visible()
    expect(page.get_by_text("penstock watch DIRECTORY --topic scope")).to_be_visible()
    delivered(registry, "first.tif")
    expect(page.get_by_role("row", name="microscope-3")).to_be_visible()
    expect(page.get_by_role("heading", name="No stream yet")).to_have_count(0)


def test_failures_come_first_with_reason_advice_and_time(registry: Registry, visit: Visit):
    delivered(registry, "fine.tif")
    upload = Upload(registry, "scans/sample:17.tif", at=time.time() - 200)
    upload.uploaded(at=time.time() - 199)
    upload.rejected("archive", "unportable-path", "':' cannot be in a name there", at=time.time() - 192)
    page = visit(registry)
    expect(page.get_by_role("heading", name="1 file did not arrive")).to_be_visible()
    assert headings(page)[:2] == ["1 file did not arrive", "Streams"]
    failure = page.get_by_role("article").filter(has_text="scans/sample:17.tif")
    expect(failure.get_by_role("heading")).to_have_text(
        "archive rejected 1 file of microscope-3: name not possible there"
    )
    expect(failure).to_contain_text("':' cannot be in a name there")
    expect(failure).to_contain_text("Rename the file at the source")
    expect(failure).to_contain_text("3 min ago")
    expect(page).to_have_title("(1) Overview \N{EN DASH} Penstock")
    failure.get_by_role("link", name="scans/sample:17.tif").click()
    expect(page.get_by_role("heading", level=1, name="sample:17.tif")).to_be_focused()


def test_nothing_is_said_of_failures_where_there_are_none(registry: Registry, visit: Visit):
    delivered(registry, "fine.tif")
    page = visit(registry)
    expect(page.get_by_text("Nothing went wrong")).to_be_visible()
    assert headings(page)[0] == "Streams"


def test_a_stream_shows_health_rate_and_the_lag_of_each_destination(registry: Registry, visit: Visit):
    delivered(registry, "a.tif", size=60_000_000).delivered("cluster")
    Upload(registry, "b.tif", 3 << 20).uploaded().delivered("archive")
    page = visit(registry)
    row = page.get_by_role("row", name="microscope-3")
    expect(row).to_contain_text("2 delivered")
    expect(row.get_by_role("listitem").filter(has_text="archive")).to_contain_text("up to date")
    expect(row.get_by_role("listitem").filter(has_text="cluster")).to_contain_text("1 file, 3.0 MiB behind")
    expect(row).to_contain_text("MB/s")
    expect(row.get_by_role("img", name="Last hour:")).to_be_visible()


def test_a_progress_bar_grows_and_the_file_leaves_without_a_reload(registry: Registry, visit: Visit):
    delivered(registry, "earlier.tif")
    upload = Upload(registry, "run/tomogram.h5", 100 << 20).progress(10 << 20)
    page = visit(registry)
    bar = page.get_by_role("progressbar", name="Upload of run/tomogram.h5")
    expect(bar).to_have_attribute("value", str(10 << 20))
    bar.evaluate("bar => { bar.seenBefore = true }")
    upload.progress(45 << 20)
    expect(bar).to_have_attribute("value", str(45 << 20))
    expect(page.get_by_text("45 % · 45.0 MiB of 100.0 MiB")).to_be_visible()
    assert bar.evaluate("bar => bar.seenBefore"), "the bar was replaced, not changed"
    upload.uploaded()
    expect(page.get_by_text("In Kafka, waiting for archive · 100.0 MiB")).to_be_visible()
    upload.delivered("archive")
    expect(page.get_by_text("No file is on its way.")).to_be_visible()


def test_focus_and_scrolling_stay_where_they_are_while_news_come(registry: Registry, visit: Visit):
    for number in range(30):
        Upload(registry, f"run/{number:02}.h5", at=time.time() - 100 + number).progress(
            0, at=time.time() - 50 + number
        )
    page = visit(registry)
    link = page.get_by_role("link", name="run/05.h5")
    link.focus()
    before = page.evaluate("scrollY")
    assert before > 0
    delivered(registry, "other/done.tif", topic="another-stream")
    Upload(registry, "run/new.h5").progress(0)
    expect(page.get_by_role("link", name="run/new.h5")).to_be_attached()
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()


def test_services_say_whether_they_are_alive(registry: Registry, visit: Visit):
    delivered(registry, "a.tif")
    registry.heartbeat("uploader", "scope-3.lab")
    registry.heartbeat("downloader", "cluster-gw", at=time.time() - 600)
    registry.heartbeat("downloader", "old-pc", at=time.time() - 600, state="stopped")
    page = visit(registry)
    services = page.get_by_role("region", name="Services").get_by_role("listitem")
    expect(services.filter(has_text="uploader on scope-3.lab")).to_contain_text("Alive")
    expect(services.filter(has_text="downloader on cluster-gw")).to_contain_text("Silent")
    expect(services.filter(has_text="downloader on cluster-gw")).to_contain_text("last heard 10 min ago")
    expect(services.filter(has_text="downloader on old-pc")).to_contain_text("Stopped")
    page.get_by_role("link", name="All about the services").click()
    expect(page.get_by_role("heading", level=1, name="Services")).to_be_focused()
    expect(page.get_by_role("row", name="uploader on scope-3.lab")).to_contain_text("88.0 MiB")


def test_records_that_are_no_events_are_counted_and_shown_harmlessly(registry: Registry, visit: Visit):
    delivered(registry, "a.tif")
    head = b"<script>alert(1)</script>\x00\xff\x1b[2J"
    registry.learn(asides=[Aside("penstock.events", 0, 7, time.time(), "not JSON", head)])
    page = visit(registry)
    page.get_by_role("link", name="1 record").click()
    row = page.get_by_role("row", name="penstock.events")
    expect(row).to_contain_text("not JSON")
    expect(row).to_contain_text(r"<script>alert(1)</script>\x00\xff\x1b[2J")


def test_a_file_is_on_its_way_until_every_destination_has_it(registry: Registry, visit: Visit):
    delivered(registry, "earlier.tif").delivered("cluster").delivered("lab")
    upload = Upload(registry, "run/a.tif").uploaded().delivered("archive").delivered("cluster")
    page = visit(registry)
    way = page.get_by_role("region", name="On their way").get_by_role("listitem")
    expect(way).to_contain_text("Delivered to 2 of 3, waiting for lab")
    way.get_by_role("link", name="run/a.tif").click()
    expect(page.locator(".summary")).to_contain_text("Delivered to 2 of 3, waiting for lab")
    page.goto(registry.url + "#/files")
    row = page.get_by_role("row", name="run/a.tif")
    expect(row).to_contain_text("Delivered to 2 of 3, waiting for lab")
    upload.delivered("lab")
    expect(row).not_to_contain_text("of 3")
    page.goto(registry.url)
    expect(page.get_by_text("No file is on its way.")).to_be_visible()


def test_many_files_that_wait_do_not_push_everything_else_away(registry: Registry, visit: Visit):
    delivered(registry, "earlier.tif").delivered("lab")
    with registry.at_once():
        for number in range(30):
            Upload(registry, f"{number:02}.tif").uploaded().delivered("archive")
        Upload(registry, "big.tif", 1 << 30, at=time.time() - 60).progress(1 << 20, at=time.time() - 50)
    page = visit(registry)
    way = page.get_by_role("region", name="On their way")
    expect(way.get_by_role("listitem")).to_have_count(11)
    expect(way.get_by_role("listitem").filter(has_text="big.tif")).to_be_visible()
    expect(way).to_contain_text("20 more wait for a destination")
    page.get_by_role("link", name="30 files, 60.0 MiB behind").click()
    expect(page.get_by_role("combobox", name="Destination")).to_have_value("lab")
    expect(page.get_by_role("heading", name="30 files", exact=True)).to_be_visible()


def test_services_can_be_told_apart_and_keep_their_places(registry: Registry, visit: Visit):
    delivered(registry, "a.tif")
    now = time.time()

    def beat(destination: str, at: float) -> None:
        registry.heartbeat(
            "downloader",
            "vm",
            at=at,
            program=f"vm-{destination}",
            topic="microscope-3",
            destination=destination,
            directory=f"/data/{destination}",
        )

    registry.heartbeat("uploader", "vm", at=now, topic="microscope-3", source_id="vm_src", directory="/src")
    beat("beta", now)
    beat("alpha", now - 3)
    beat("gone", now - 600)
    expected = [
        ("Silent", "microscope-3 → gone", "/data/gone"),
        ("Alive", "microscope-3 → alpha", "/data/alpha"),
        ("Alive", "microscope-3 → beta", "/data/beta"),
        ("Alive", "vm_src → microscope-3", "/src"),
    ]

    def expect_in_order(things: Locator) -> None:
        expect(things).to_have_count(4)
        for thing, texts in zip(things.all(), expected, strict=True):
            for text in texts:
                expect(thing).to_contain_text(text)

    page = visit(registry)
    cards = page.get_by_role("region", name="Services").get_by_role("listitem")
    expect_in_order(cards)
    beat("alpha", now + 1)
    beat("beta", now + 0.5)
    delivered(registry, "b.tif")
    expect(page.get_by_role("row", name="microscope-3")).to_contain_text("2 delivered")
    expect_in_order(cards)
    page.goto(registry.url + "#/services")
    expect_in_order(page.get_by_role("table", name="Services").locator("tbody tr"))


def test_what_a_service_says_is_told_in_words(registry: Registry, visit: Visit):
    registry.heartbeat(
        "downloader",
        "vm",
        topic="scope",
        partitions=[0, 1],
        interval_seconds=10.0,
        problems={},
        new_thing=None,
    )
    page = visit(registry, "#/services")
    row = page.get_by_role("row", name="downloader on vm")
    row.get_by_text("What it says").click()
    expect(row.locator("dt")).to_have_text(["Stream", "Partitions", "New thing"])
    expect(row.locator("dd")).to_have_text(["scope", "0, 1", "none"])
    expect(row).to_contain_text("every 10 s")


def test_the_banner_is_as_wide_as_what_is_below_it(registry: Registry, visit: Visit):
    delivered(registry, "a.tif")
    page = visit(registry, viewport={"width": 1500, "height": 900})
    table = page.get_by_role("table", name="Streams").bounding_box()
    registry.stop()
    expect(page.get_by_role("status")).to_contain_text("No news")
    banner = page.locator(".banner").bounding_box()
    assert table
    assert banner
    assert (banner["x"], banner["width"]) == (table["x"], table["width"])
