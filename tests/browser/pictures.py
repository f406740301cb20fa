"""Take the pictures that docs/registry.md shows: `python -m tests.browser.pictures [DIRECTORY]`."""

import math
import random
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright
from tests.browser.conftest import launch
from tests.browser.registry import Registry
from tests.browser.story import Upload

MOST_BYTES = 200_000
SOURCES = {"microscope-3": "scope-3.lab", "beamline-7": "beamline-7.lab", "spectrometer": "raman.lab"}


def tell(registry: Registry) -> list[Upload]:
    """A day at a laboratory: two instruments that work, one that rests, names that Windows cannot have.

    Returns what is being uploaded.
    """
    now, dice = time.time(), random.Random(4)
    for minute in range(24 * 60, 60, -5):
        busy = max(0.15, 1.2 + math.sin(minute / 83) + 0.4 * math.sin(minute / 17) + dice.random() / 3)
        name = f"run-{412 - minute // 60:04}/frame-{minute:04}.tif"
        _arrive(
            registry, name, int(busy * 4e9), now - 60 * minute, cluster_after=1500 if minute > 90 else 300
        )
    for minute in range(60, 0, -1):
        size = int(8e8 * (1.6 + math.sin(minute / 9) + dice.random() / 2))
        _arrive(registry, f"run-0412/frame-{minute:04}.tif", size, now - 60 * minute)
    for second in range(55, 10, -6):
        _arrive(registry, f"run-0412/frame-{second:04}-b.tif", 150_000_000, now - second)
    for minute in range(58, 0, -1):
        size = int(2.2e9 + 4e8 * dice.random())
        _arrive(
            registry, f"scan-88/{minute:05}.h5", size, now - 60 * minute, topic="beamline-7", only="archive"
        )
    _arrive(registry, "scan-88/00000.h5", 2_400_000_000, now - 20, topic="beamline-7", only="archive")
    for day in range(3, 1, -1):
        _arrive(
            registry, f"sample-{day}.csv", 90_000, now - 86_400 * day, topic="spectrometer", only="archive"
        )
    again = Upload(registry, "run-0412/tomogram-0006.h5", 3_900_000_000, at=now - 900)
    again.discovered().progress(0, at=now - 899).uploaded(at=now - 870)
    again.delivered("archive", at=now - 864)
    again.rejected(
        "analysis-cluster", "digest", "the bytes that arrived are not those that were read", at=now - 860
    )
    second = Upload(
        registry,
        "run-0412/tomogram-0006.h5",
        3_900_000_000,
        at=now - 858,
        version=again,
        to=("analysis-cluster",),
    )
    second.progress(0, at=now - 857).uploaded(at=now - 830).delivered("analysis-cluster", at=now - 821)
    for number, name in enumerate(("overview", "detail", "raw")):
        bad = Upload(
            registry,
            f"scan-88/sample:17/{name}.tif",
            6_300_000,
            at=now - 195 - number,
            topic="beamline-7",
            source_id=SOURCES["beamline-7"],
        )
        bad.discovered().uploaded(at=now - 193 - number)
        bad.rejected(
            "archive",
            "unportable-path",
            "':' cannot stand in a name on this file system",
            at=now - 192 - number,
        )
    tomogram = Upload(registry, "run-0412/tomogram-0007.h5", 5_400_000_000, at=now - 80)
    tomogram.progress(3_100_000_000, at=now - 8)
    smaller = Upload(registry, "run-0412/tomogram-0008.h5", 730_000_000, at=now - 20)
    smaller.progress(95_000_000, at=now - 8)
    Upload(registry, "run-0412/preview/0007.png", 2_300_000, at=now - 6).uploaded(at=now - 5)
    preview = Upload(registry, "run-0412/preview/0006.png", 2_300_000, at=now - 9).uploaded(at=now - 8)
    preview.delivered("archive", at=now - 6)
    for topic, source in list(SOURCES.items())[:2]:
        registry.heartbeat("uploader", source, topic=topic, source_id=source, directory="/data/outbox")
    for host, topic, destination in (
        ("archive-1", "microscope-3", "archive"),
        ("archive-2", "beamline-7", "archive"),
        ("cluster-gateway", "microscope-3", "analysis-cluster"),
    ):
        registry.heartbeat(
            "downloader", host, topic=topic, destination=destination, directory=f"/srv/{topic}"
        )
    return [tomogram, smaller]


def _arrive(
    registry: Registry,
    path: str,
    size: int,
    at: float,
    topic: str = "microscope-3",
    only: str | None = None,
    cluster_after: float = 9,
) -> None:
    upload = Upload(registry, path, size, at=at - 3, topic=topic, source_id=SOURCES[topic])
    upload.uploaded(at=at)
    upload.delivered("archive", at=at + 4)
    if only is None:
        upload.delivered("analysis-cluster", at=at + cluster_after)


def overview(page: Page, uploading: list[Upload]) -> None:
    expect(page.get_by_role("row", name="spectrometer")).to_be_visible()
    for upload in uploading:
        upload.advance(46_000_000 if upload.size > 1e9 else 12_000_000)
    expect(page.get_by_text(" left")).to_have_count(len(uploading))


def stream(page: Page, _uploading: list[Upload]) -> None:
    page.goto(page.url + "streams/microscope-3?range=24h")
    expect(page.get_by_role("img", name="analysis-cluster")).to_be_visible()


def life(page: Page, _uploading: list[Upload]) -> None:
    page.goto(page.url + "files?search=tomogram-0006")
    page.get_by_role("link", name="tomogram-0006.h5").click()
    page.get_by_role("group").filter(has_text="Rejected").locator("summary").click()


PICTURES = {
    "overview-light": (overview, {"viewport": {"width": 1180, "height": 1370}}),
    "overview-dark": (overview, {"viewport": {"width": 1180, "height": 1370}, "color_scheme": "dark"}),
    "overview-phone": (overview, {"viewport": {"width": 390, "height": 844}}),
    "stream": (stream, {"viewport": {"width": 1180, "height": 980}}),
    "life-of-a-file": (life, {"viewport": {"width": 1180, "height": 1180}}),
}


def main(directory: Path) -> None:
    """Write all pictures."""
    with tempfile.TemporaryDirectory() as state, sync_playwright() as playwright:
        registry = Registry(Path(state))
        browser = launch(playwright)
        with registry.at_once():
            uploading = tell(registry)
        for upload, bytes_done in zip(uploading, (3_100_000_000, 95_000_000), strict=True):
            upload.progress(bytes_done)
        for name, (show, options) in PICTURES.items():
            page = browser.new_context(timezone_id="Europe/Berlin", **options).new_page()
            page.goto(registry.url + "#/")
            show(page, uploading)
            page.evaluate("document.activeElement.blur()")
            path = directory / f"{name}.png"
            page.screenshot(path=path, animations="disabled")
            size = path.stat().st_size
            print(f"{path}: {size} bytes")
            assert size <= MOST_BYTES, f"{path} has more than {MOST_BYTES} bytes"
        browser.close()
        registry.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/pictures"))
