"""The page beside real services: Kafka, an uploader, a downloader and the registry as processes."""

from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Visit
from tests.integration.registry.running import Registry
from tests.kafka import Kafka
from tests.stream import Stream, digest_of

pytestmark = pytest.mark.xdist_group("browser")


def test_a_file_dropped_into_the_source_is_seen_to_arrive(kafka: Kafka, tmp_path: Path, visit: Visit):
    events = kafka.create_topic()
    stream = Stream(kafka, tmp_path)
    registry = Registry(kafka, tmp_path / "registry", streams=[stream.topic], events=events)
    with closing(stream), closing(registry):
        registry.start()
        page = visit(f"{registry.url}/")
        expect(page.get_by_role("heading", name="No stream yet")).to_be_visible()
        page.evaluate("window.neverReloaded = true")

        stream.uploader(events_topic=events, source_id="microscope-3")
        (stream.source / "run-7").mkdir()
        (stream.source / "run-7" / "frame.tif").write_bytes(b"frame" * 1000)
        row = page.get_by_role("row", name=stream.topic)
        expect(row).to_contain_text("1 in Kafka", timeout=30_000)
        page.get_by_role("link", name="run-7/frame.tif").click()
        stream.downloader(events_topic=events)
        receipt = page.get_by_role("row", name=f"{stream.topic}-group")
        expect(receipt).to_contain_text("Delivered", timeout=30_000)
        digest = digest_of(stream.destination / "run-7" / "frame.tif")
        expect(receipt.get_by_title(digest)).to_be_visible()

        page.get_by_role("link", name="Overview").click()
        expect(row).to_contain_text("1 delivered")
        expect(row).to_contain_text(f"{stream.topic}-group")
        services = page.get_by_role("region", name="Services").get_by_role("listitem")
        downloader = services.filter(has_text="downloader")
        expect(downloader).to_contain_text("Alive")
        expect(downloader).to_contain_text(f"{stream.topic} \N{RIGHTWARDS ARROW} {stream.topic}-group")
        expect(downloader).to_contain_text(str(stream.destination))
        assert page.evaluate("window.neverReloaded")
