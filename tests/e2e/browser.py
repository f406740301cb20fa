"""A browser for tests here: `browser` and `visit` are fixtures, for a module to import."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.browser.conftest import Visit, launch, visit
from tests.browser.test_login import log_in as give_token
from tests.e2e import evidence

__all__ = ["Visit", "browser", "log_in", "photographed", "visit"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for one module: as long as it runs, no event loop can run in this thread."""
    with sync_playwright() as playwright, closing(launch(playwright)) as started:
        yield started


def log_in(page: Page, token: str) -> None:
    """Give the page its token, once it asks for it.

    On a busy machine a first request through a port-forward may get no answer. The page gives it up after
    15 s, says so, and asks again.
    """
    expect(page.get_by_label("Token")).to_be_visible(timeout=60_000)
    give_token(page, token)


@contextmanager
def photographed(page: Page, name: str) -> Iterator[None]:
    """Leave a picture of the page with the other evidence if something is not as it should be."""
    try:
        yield
    except BaseException:
        if directory := os.environ.get(evidence.VARIABLE):
            os.makedirs(directory, exist_ok=True)
            page.screenshot(path=Path(directory, f"{name}.png"), full_page=True)
        raise
