"""The documentation's site in a browser: it asks nobody else for anything, is searched, and copied from."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from tests.browser.conftest import Visit
from tests.docs.test_site import build

pytestmark = pytest.mark.xdist_group("docs site")

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
"""Not best practices: the theme has landmarks of its own, and tables of Markdown have heads, if empty."""

PAGES = ["index.html", "tutorials/cluster.html", "reference/cli.html", "registry.html", "guarantees.html"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site."""
    directory: Path = tmp_path_factory.mktemp("site")
    built = build(directory)
    assert built.returncode == 0, built.stdout + built.stderr
    handler = functools.partial(Quiet, directory=str(directory / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        serving.join()


def test_it_is_searched(site: str, visit: Visit):
    page = visit(site, "index.html")
    page.get_by_role("button", name="Search").first.click()
    page.get_by_role("combobox").fill("max-inflight")
    page.locator("a", has_text="penstock watch").filter(has_text="Commands").click()
    expect(page.get_by_role("heading", level=1, name="Commands")).to_be_attached()


def test_what_is_copied_are_the_commands(site: str, visit: Visit):
    page = visit(site, "tutorials/laptop.html", permissions=["clipboard-read", "clipboard-write"])
    block = page.locator(".highlight", has_text="wait-drained ~/microscope --delivered")
    block.hover()
    block.get_by_role("button").click()
    copied = "navigator.clipboard.readText()"
    assert page.evaluate(copied).splitlines() == [
        "cp docs/pictures/*.png ~/microscope/",
        "penstock wait-drained ~/microscope --delivered --receipt-from archive",
        "ls ~/archive",
    ]
    page.goto(site + "tutorials/cluster.html")
    block = page.locator(".highlight", has_text="helm install")
    block.hover()
    block.get_by_role("button").click()
    assert page.evaluate(copied).startswith(
        "helm install penstock charts/penstock --namespace penstock --create-namespace \\\n    --set "
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_it_is_for_everyone(site: str, visit: Visit, name: str, scheme: str):
    page = visit(site, name, color_scheme=scheme)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", PAGES)
def test_it_fits_a_phone(site: str, visit: Visit, name: str):
    page = visit(site, name, viewport={"width": 360, "height": 780})
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    page.wait_for_function(
        f"{wide} <= 0", timeout=15_000
    )  # once the theme's script has made its tables scroll
