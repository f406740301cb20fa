"""What did not arrive: grouped, in words, and never said of destinations that have it."""

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import Upload, delivered

from chunkproto import Reason, SkipReason
from penstock_registry import advice

pytestmark = pytest.mark.xdist_group("browser")


def test_files_rejected_alike_are_one_entry_that_says_once_what_to_do(registry: Registry, visit: Visit):
    for number in range(13):
        upload = Upload(registry, f"run/{number:02}.tif", 20 << 20).uploaded().delivered("archive")
        upload.rejected("small", "too-large", f"{number} MiB more than it accepts")
    Upload(registry, "secret.tif").failed("unreadable", "Permission denied")
    page = visit(registry)
    expect(page.get_by_role("heading", level=2, name="14 files did not arrive everywhere")).to_be_visible()
    entries = page.get_by_role("article")
    expect(entries).to_have_count(2)
    rejected = entries.filter(has_text="small")
    expect(rejected.get_by_role("heading")).to_have_text("small rejected 13 files of microscope-3: too large")
    expect(rejected.get_by_text("larger than the destination accepts")).to_have_count(1)
    expect(rejected.get_by_role("listitem")).to_have_count(3)
    expect(rejected.get_by_role("listitem").first).to_contain_text("run/12.tif")
    expect(rejected.get_by_role("listitem").first).to_contain_text("12 MiB more than it accepts")
    expect(rejected.get_by_role("listitem").first).to_contain_text("Rejected by small, delivered to 1 of 2")
    expect(entries.filter(has_text="secret.tif").get_by_role("heading")).to_have_text(
        "The source failed to send 1 file of microscope-3: cannot be read"
    )
    rejected.get_by_role("link", name="All files that small rejected").click()
    expect(page.get_by_role("heading", name="13 files", exact=True)).to_be_visible()
    expect(page.get_by_role("combobox", name="Destination")).to_have_value("small")
    expect(page.get_by_role("combobox", name="State")).to_have_value("rejected")


def test_of_more_failures_than_are_shown_no_number_is_made_up(registry: Registry, visit: Visit):
    with registry.at_once():
        for number in range(25):
            Upload(registry, f"{number:02}.tif").uploaded().rejected("archive", "name-too-long")
    page = visit(registry)
    expect(page.get_by_role("heading", level=2, name="25 files did not arrive")).to_be_visible()
    entry = page.get_by_role("article")
    expect(entry.get_by_role("heading")).to_contain_text("rejected at least 20 files of")
    page.get_by_role("link", name="All 25 of them").click()
    expect(page.get_by_role("heading", name="25 files", exact=True)).to_be_visible()


def test_a_destination_that_rejects_is_not_called_up_to_date(registry: Registry, visit: Visit):
    Upload(registry, "a.tif").uploaded().delivered("archive").rejected("small", "too-large")
    page = visit(registry)
    lags = page.get_by_role("row", name="microscope-3").get_by_role("listitem")
    expect(lags.filter(has_text="archive")).to_contain_text("up to date")
    expect(lags.filter(has_text="small")).to_contain_text("nothing waits")
    expect(lags.filter(has_text="small")).not_to_contain_text("up to date")
    lags.filter(has_text="small").get_by_role("link", name="1 rejected").click()
    expect(page.get_by_role("link", name="a.tif")).to_be_visible()
    page.goto(registry.url + "#/streams/microscope-3")
    row = page.get_by_role("table", name="Destinations").get_by_role("row", name="small")
    expect(row).to_contain_text("nothing waits")


def test_a_file_that_one_destination_refused_is_seen_on_its_way_to_the_others(
    registry: Registry, visit: Visit
):
    delivered(registry, "earlier.tif")
    upload = Upload(registry, "big.tif", 20 << 20).progress(1 << 20)
    upload.rejected("small", "too-large").progress(2 << 20)
    page = visit(registry)
    way = page.get_by_role("region", name="On their way").get_by_role("listitem").filter(has_text="big.tif")
    expect(way).to_contain_text("10 % · 2.0 MiB of 20.0 MiB · rejected by small")
    upload.uploaded()
    expect(way).to_contain_text("Rejected by small, waiting for archive")


def test_every_reason_has_words(registry: Registry, visit: Visit):
    page = visit(registry)
    words = page.evaluate("""async () => (await import("/show/reasons.js")).REASON""")
    assert set(words) >= {*Reason, *SkipReason} | advice.KNOWN
