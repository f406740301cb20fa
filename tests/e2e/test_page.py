"""The registry's page through a port-forward, in a real browser, as somebody meets it who has the token."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.browser.test_for_everyone import RULES
from tests.e2e.browser import Visit, browser, log_in, photographed, visit
from tests.e2e.forwarding import forwarded

__all__ = ["browser", "visit"]

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("penstock")]


def test_a_file_is_followed_from_its_source_to_its_receipt(penstock, declare, visit: Visit):
    stream = declare("seen")
    stream.until()
    (digest,) = penstock.desk.write("seen", {"run-1/first.tif": 100_000}).values()
    penstock.desk.expect("seen", {"run-1/first.tif": digest})
    registry = penstock.registry
    with forwarded(registry.system, f"service/{registry.name}", "http") as url:
        page = visit(f"{url}/")
        with photographed(page, "page"):
            expect(page.get_by_role("heading", level=1, name="Log in")).to_be_visible(timeout=60_000)
            log_in(page, "not-the-token-that-helm-made")
            expect(page.get_by_role("alert")).to_have_text("This is not the token.")
            expect(page.get_by_text("seen")).to_have_count(0)
            log_in(page, registry.token)
            row = page.get_by_role("row", name="seen", exact=False)
            expect(row).to_contain_text("1 delivered")
            expect(row).to_contain_text(f"{penstock.lab.namespace}.seen")
            page.evaluate("window.neverReloaded = true")

            penstock.desk.write("seen", {"run-1/seen-live.tif": 300_000})
            expect(row).to_contain_text("2 delivered", timeout=30_000)

            find(page, "seen-live.tif")
            receipt = page.get_by_role("row", name=f"{penstock.lab.namespace}.seen")
            expect(receipt).to_contain_text("Delivered")
            for step in ("Discovered", "Delivered"):
                expect(page.get_by_text(step).first).to_be_visible()
            assert page.evaluate("window.neverReloaded")
            found = Axe().run(page, options=RULES)
            assert found.violations_count == 0, found.generate_report()


def find(page: Page, name: str) -> None:
    """Look a file up by the beginning of its name, and open it."""
    page.get_by_role("searchbox", name="Find a file").fill(name)
    page.keyboard.press("Enter")
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name="Life")).to_be_visible()
