"""A person with a browser, in front of a registry."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, expect, sync_playwright
from tests.browser.registry import Registry
from tests.kafka import kafka, own_broker, own_cluster

__all__ = ["kafka", "own_broker", "own_cluster"]

expect.set_options(timeout=15_000)

_FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
# What Chromium itself says of an answer that is no success, or does not come: tests bring that about.
_EXPECTED = re.compile(r"Failed to load resource")


def launch(playwright: Playwright) -> Browser:
    """Start the Chromium of this machine, or playwright's own."""
    flags = [*_FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else _FLAGS
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    try:
        return playwright.chromium.launch(executable_path=found, args=flags)
    except Error as error:
        reason = str(error).splitlines()[0]
        pytest.fail(
            f"no Chromium could be started ({reason}): install one (apt-get install chromium), "
            f"or let playwright do it (.venv/bin/playwright install --with-deps chromium)",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry that knows nothing yet."""
    started = Registry(tmp_path)
    yield started
    started.close()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open a page of a registry: `visit(registry, "#/files", color_scheme="dark")`.

    Whatever a test is about: no script fails, nothing is blocked, no dialog opens, and nothing is loaded
    from anywhere else.
    """
    contexts = []
    wrong: list[str] = []

    def open_page(registry: Registry | str, at: str = "#/", **options: Any) -> Page:
        url = registry if isinstance(registry, str) else registry.url
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "console",
            lambda said: (
                wrong.append(f"console: {said.text}")
                if said.type == "error" and not _EXPECTED.match(said.text)
                else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((url, "data:")) else wrong.append(f"loaded {request.url}")
            ),
        )
        page.goto(url + at)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
