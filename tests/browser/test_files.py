"""Finding a file, and its life from the closing at the source to the receipts."""

import re
import time

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import Upload, delivered

pytestmark = pytest.mark.xdist_group("browser")


def test_a_search_finds_a_file_by_its_name_and_shows_its_life(registry: Registry, visit: Visit):
    upload = delivered(registry, "run-7/Frame-0042.tif").delivered("cluster")
    delivered(registry, "run-7/other.tif")
    page = visit(registry)
    page.get_by_role("searchbox", name="Find a file").fill("frame")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="1 file", exact=True)).to_be_visible()
    page.get_by_role("link", name="run-7/Frame-0042.tif").click()

    expect(page.get_by_role("heading", level=1, name="Frame-0042.tif")).to_be_focused()
    expect(page.get_by_text("Delivered").first).to_be_visible()
    life = page.get_by_role("list", name="What happened, in order").get_by_role("listitem")
    steps = [re.split(r"\d", text)[0].split("\n")[0].strip() for text in life.all_inner_texts()]
    assert steps == ["Closed", "Discovered", "Begun", "In Kafka", "Delivered", "Delivered"]
    receipts = page.get_by_role("table", name="Receipts of the destinations")
    for destination in ("archive", "cluster"):
        row = receipts.get_by_role("row", name=destination)
        expect(row).to_contain_text("Delivered")
        expect(row.get_by_title(upload.digest)).to_be_visible()


def test_a_search_by_the_beginning_of_a_path(registry: Registry, visit: Visit):
    for name in ("run-7/a.tif", "run-7/b.tif", "run-8/a.tif"):
        delivered(registry, name)
    page = visit(registry, "#/files")
    page.get_by_role("searchbox", name="Name or path begins with").fill("run-7/")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="2 files")).to_be_visible()
    expect(page.get_by_role("link", name="run-8/a.tif")).to_have_count(0)


def test_files_by_state_page_by_page(registry: Registry, visit: Visit):
    for number in range(55):
        delivered(registry, f"{number:03}.tif", at=time.time() - number)
    Upload(registry, "bad.tif").uploaded().rejected()
    page = visit(registry, "#/files")
    page.get_by_role("combobox", name="State").select_option("Delivered")
    expect(page.get_by_role("heading", name="50 files on this page")).to_be_visible()
    expect(page.get_by_role("link", name="bad.tif")).to_have_count(0)
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("heading", name="5 files on this page")).to_be_focused()
    expect(page.get_by_role("link", name="054.tif")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("link", name="000.tif")).to_be_visible()


def test_what_the_uploader_did_about_a_rejection(registry: Registry, visit: Visit):
    first = Upload(registry, "a.tif", at=time.time() - 60)
    first.uploaded(at=time.time() - 50).rejected("archive", "digest", "other bytes", at=time.time() - 40)
    again = Upload(registry, "a.tif", at=time.time() - 30, version=first, to=("archive",))
    again.uploaded(at=time.time() - 20).delivered("archive", at=time.time() - 10)
    page = visit(registry, "#/files?search=a.tif")
    page.get_by_role("link", name="a.tif").click()
    earlier = page.get_by_role("group").filter(has_text="Rejected")
    earlier.locator("summary").click()
    expect(earlier).to_contain_text("other bytes")
    expect(earlier).to_contain_text("Sent again")
    earlier.get_by_role("link", name="See that upload").click()
    expect(page.get_by_role("heading", level=1, name="Upload")).to_be_focused()
    expect(page.get_by_role("main")).to_contain_text(again.id)
    expect(page.get_by_role("row", name="archive")).to_contain_text("Delivered")


def test_another_version_keeps_the_receipts_of_the_earlier_one_apart(registry: Registry, visit: Visit):
    delivered(registry, "a.tif", at=time.time() - 60)
    Upload(registry, "a.tif", size=3 << 20).progress(0).uploaded()
    page = visit(registry, "#/files?search=a.tif")
    page.get_by_role("link", name="a.tif").click()
    expect(page.get_by_role("heading", name="The version at the source now")).to_be_visible()
    expect(page.get_by_role("heading", name="An earlier version")).to_be_visible()
    expect(page.get_by_role("row", name="archive")).to_contain_text("This is about an earlier version.")


def test_the_life_of_a_file_goes_on_while_it_is_looked_at(registry: Registry, visit: Visit):
    upload = Upload(registry, "a.tif").progress(0)
    page = visit(registry, "#/files?search=a.tif")
    page.get_by_role("link", name="a.tif").click()
    expect(page.get_by_role("listitem").filter(has_text="Begun")).to_be_visible()
    upload.uploaded().delivered()
    expect(page.get_by_role("listitem").filter(has_text="Delivered")).to_be_visible()


def test_the_digest_can_be_copied(registry: Registry, visit: Visit):
    upload = delivered(registry, "a.tif")
    page = visit(registry, "#/files?search=a.tif", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("link", name="a.tif").click()
    page.get_by_role("button", name="Copy the digest", exact=True).click()
    expect(page.get_by_text("Copied the digest")).to_be_attached()
    assert page.evaluate("navigator.clipboard.readText()") == upload.digest


def test_a_file_that_nobody_knows_is_no_dead_end(registry: Registry, visit: Visit):
    page = visit(registry, "#/files/00000000-0000-0000-0000-000000000000")
    expect(page.get_by_role("heading", level=1, name="Nothing here")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("No such file is known")
    page.get_by_role("link", name="Find a file").click()
    expect(page.get_by_role("heading", level=1, name="Files")).to_be_focused()


@pytest.mark.parametrize("kind", ["file", "upload", "stream"])
def test_an_address_that_is_none_is_told_in_words(registry: Registry, visit: Visit, kind: str):
    name = "no%20topic" if kind == "stream" else "999999"
    page = visit(registry, f"#/{kind}s/{name}")
    expect(page.get_by_role("heading", level=1, name="Nothing here")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text(re.compile(f"^Nothing hereNo (such )?{kind} "))


def test_files_by_destination_as_that_one_sees_them(registry: Registry, visit: Visit):
    for name in ("a.tif", "b.tif"):
        delivered(registry, name)
    Upload(registry, "b.tif.copy").uploaded().delivered("archive").delivered("lab")
    page = visit(registry, "#/files")
    page.get_by_role("combobox", name="Destination").select_option("lab")
    expect(page.get_by_role("heading", name="1 file", exact=True)).to_be_visible()
    page.get_by_role("combobox", name="State").select_option("Waiting for it")
    expect(page.get_by_role("heading", name="2 files")).to_be_visible()
    expect(page.get_by_role("row", name="a.tif")).to_contain_text("Delivered to 1 of 2, waiting for lab")
    assert page.url.endswith("?destination=lab&state=uploaded")


def test_times_in_a_table_stand_in_one_line(registry: Registry, visit: Visit):
    Upload(registry, "run/long/" + "name-" * 15 + ".tif", at=time.time() - 90_000).uploaded(
        at=time.time() - 89_000
    ).rejected("archive", "unportable-path", "':' cannot stand in a name there " * 4, at=time.time() - 88_000)
    page = visit(registry, "#/files", viewport={"width": 1280, "height": 800})
    time_ = page.get_by_role("table", name="Files found").get_by_role("row").nth(1).get_by_role("time")
    expect(time_).to_have_text("24 h ago")
    assert time_.evaluate("time => time.getClientRects().length") == 1
