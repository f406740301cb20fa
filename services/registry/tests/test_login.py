"""Who may ask, off loopback."""

import pytest

from penstock_registry.api.login import COOKIE, COOKIE_SECONDS, Login

TOKEN = "correct-horse-battery"


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def login(clock):
    return Login(TOKEN, clock=clock)


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN} "])
def test_the_token_admits(login, header):
    assert login.admits(header, {})


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udcff"]
)
def test_nothing_else_does(login, header):
    assert not login.admits(header, {})


def test_a_cookie_admits_for_twelve_hours(login, clock):
    cookie = login.cookie()
    assert login.admits(None, {COOKIE: cookie})

    clock.now += COOKIE_SECONDS - 1
    assert login.admits(None, {COOKIE: cookie})

    clock.now += 2
    assert not login.admits(None, {COOKIE: cookie})


def test_a_cookie_cannot_be_prolonged(login):
    until, _, signature = login.cookie().partition(".")

    assert not login.admits(None, {COOKIE: f"{int(until) + 1}.{signature}"})


@pytest.mark.parametrize("cookie", ["", ".", "x", "9999999999", "9999999999.ff", "é.é", "\udcff.x"])
def test_a_cookie_that_was_made_up_is_none(login, cookie):
    assert not login.admits(None, {COOKIE: cookie})


def test_registries_with_the_same_token_accept_each_others_cookies(login, clock):
    assert Login(TOKEN, clock=clock).is_cookie(login.cookie())


def test_a_new_token_ends_all_cookies(login, clock):
    assert not Login(TOKEN + "2", clock=clock).is_cookie(login.cookie())


def test_a_cookie_does_not_hold_the_token(login):
    assert TOKEN not in login.cookie()
