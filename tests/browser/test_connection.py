"""A registry that goes away and comes back: said, and over by itself."""

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import delivered

pytestmark = pytest.mark.xdist_group("browser")


def test_a_registry_that_is_down_is_said_and_seen_again_without_a_reload(registry: Registry, visit: Visit):
    delivered(registry, "a.tif")
    page = visit(registry)
    row = page.get_by_role("row", name="microscope-3")
    expect(row).to_contain_text("1 delivered")
    registry.stop()
    banner = page.get_by_role("status")
    expect(banner).to_contain_text("the registry does not answer")
    expect(row).to_contain_text("1 delivered")
    delivered(registry, "b.tif")
    registry.start()
    expect(banner).to_be_empty()
    expect(row).to_contain_text("2 delivered")


def test_news_come_by_asking_where_events_do_not_pass(registry: Registry, visit: Visit):
    page = visit(registry)
    page.context.route("**/api/v1/events", lambda route: route.fulfill(status=502, body="a proxy"))
    page.reload()
    delivered(registry, "a.tif")
    expect(page.get_by_role("row", name="microscope-3")).to_contain_text("1 delivered")
