"""Who may look: where others can reach the registry, it wants its token."""

import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Visit
from tests.browser.registry import Registry
from tests.browser.story import delivered

pytestmark = pytest.mark.xdist_group("browser")

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def locked(tmp_path):
    registry = Registry(tmp_path, token=TOKEN)
    delivered(registry, "secret.tif")
    yield registry
    registry.close()


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def test_the_wrong_token_is_refused_and_the_right_one_opens(locked: Registry, visit: Visit):
    page = visit(locked, "#/files")
    expect(page.get_by_role("heading", level=1, name="Log in")).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()
    expect(page.get_by_text("secret.tif")).to_have_count(0)
    expect(page.get_by_text("~/.local/state/penstock/registry")).to_be_visible()
    log_in(page, "wrong")
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    log_in(page, TOKEN)
    expect(page.get_by_role("link", name="secret.tif")).to_be_visible()
    expect(page.get_by_role("heading", level=1, name="Files")).to_be_focused()


def test_the_cookie_is_kept_from_scripts_and_other_sites_and_carries_live_updates(
    locked: Registry, visit: Visit
):
    page = visit(locked)
    log_in(page, TOKEN)
    expect(page.get_by_role("row", name="microscope-3")).to_be_visible()
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"]
    assert page.evaluate("document.cookie") == ""
    with page.expect_response("**/api/v1/events") as stream:
        page.reload()
    assert stream.value.status == 200
    delivered(locked, "b.tif")
    expect(page.get_by_role("row", name="microscope-3")).to_contain_text("2 delivered")


def test_who_logs_out_sees_nothing_any_more(locked: Registry, visit: Visit):
    page = visit(locked)
    log_in(page, TOKEN)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    expect(page.get_by_text("microscope-3")).to_have_count(0)
    assert page.context.cookies() == []
    page.reload()
    expect(page.get_by_role("heading", level=1, name="Log in")).to_be_visible()


def test_a_password_manager_finds_its_way(locked: Registry, visit: Visit):
    page = visit(locked)
    expect(page.get_by_label("Token")).to_have_attribute("autocomplete", "current-password")
    expect(page.get_by_label("Token")).to_have_attribute("type", "password")
    form = page.locator("form")
    expect(form).to_have_attribute("action", "/login")
    expect(form).to_have_attribute("method", "post")


def test_on_this_machine_nobody_logs_in_or_out(registry: Registry, visit: Visit):
    delivered(registry, "a.tif")
    page = visit(registry)
    expect(page.get_by_role("row", name="microscope-3")).to_be_visible()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)
