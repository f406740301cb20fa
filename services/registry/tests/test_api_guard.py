"""Who is answered, and what browsers are told: on loopback, and anywhere else."""

import time

import pytest
from starlette.testclient import TestClient

from penstock_registry.api import login
from penstock_registry.api.app import create_app
from penstock_registry.api.guard import MAX_BODY_BYTES
from penstock_registry.api.login import COOKIE, COOKIE_SECONDS
from penstock_registry.store.store import Store
from servicekit.exceptions import ConfigurationError

TOKEN = "correct-horse-battery"


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(f"sqlite:///{tmp_path_factory.mktemp('guard')}/registry.db") as store:
        store.migrate()
        yield store


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(login, "WRONG_TOKEN_SECONDS", 0.0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def page(tmp_path):
    directory = tmp_path / "page"
    (directory / "parts").mkdir(parents=True)
    (directory / "index.html").write_text("<!doctype html><title>Penstock</title>")
    (directory / "parts" / "chart.js").write_text("export {};")
    (directory / "secret.txt").write_text("not for the page")
    (tmp_path / "outside.js").write_text("outside")
    return directory


@pytest.fixture
def local(store, page):
    return TestClient(
        create_app(store.engine, token=None, loopback=True, page=str(page)), base_url="http://localhost:8650"
    )


@pytest.fixture
def remote(store, clock, page):
    app = create_app(store.engine, token=TOKEN, loopback=False, clock=clock, page=str(page))
    return TestClient(app, base_url="http://registry.example")


class TestOnLoopback:
    def test_nobody_needs_to_log_in(self, local):
        assert local.get("/api/v1/overview").status_code == 200

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1"])
    @pytest.mark.parametrize("path", ["/", "/api/v1/overview", "/healthz"])
    def test_a_name_that_was_made_to_lead_here_is_refused(self, local, host, path):
        response = local.get(path, headers={"Host": host})

        assert response.status_code == 403
        assert response.headers["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000"])
    def test_another_sites_page_is_refused(self, local, origin):
        assert local.get("/api/v1/overview", headers={"Origin": origin}).status_code == 403

    def test_its_own_page_is_answered(self, local):
        assert local.get("/api/v1/overview", headers={"Origin": "http://localhost:8650"}).status_code == 200


class TestOnLoopbackWithAToken:
    """Behind a proxy on the same machine everybody comes from loopback: a token that was given counts."""

    @pytest.fixture
    def proxied(self, store, page):
        app = create_app(store.engine, token=TOKEN, loopback=True, page=str(page))
        return TestClient(app, base_url="http://127.0.0.1:8650")

    def test_it_is_asked_for(self, proxied):
        assert proxied.get("/api/v1/overview").status_code == 401
        assert proxied.get("/").status_code == 200

    def test_who_has_it_may_come_by_the_proxys_name(self, proxied):
        given = {"Host": "penstock.lab.example", "Authorization": f"Bearer {TOKEN}"}

        assert proxied.get("/api/v1/overview", headers=given).status_code == 200

    def test_people_log_in_through_the_proxy(self, proxied):
        by_proxy = {"Host": "penstock.lab.example", "Origin": "https://penstock.lab.example"}

        answer = proxied.post("/login", data={"token": TOKEN}, headers=by_proxy)

        assert answer.status_code == 204
        assert "Secure" in answer.headers["Set-Cookie"]


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://registry.example"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
        ],
    )
    @pytest.mark.parametrize("path", ["/logout", "/login", "/api/v1/files/lookup"])
    def test_their_pages_log_nobody_in_or_out(self, remote, path, headers):
        bearer = {"Authorization": f"Bearer {TOKEN}"}

        answer = remote.post(path, data={"token": TOKEN}, headers=bearer | headers)

        assert answer.status_code == 403
        assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Sec-Fetch-Site": "same-origin"},
            # As browsers have it where a proxy asks by another name, and where the page sends no referrer.
            {"Sec-Fetch-Site": "same-origin", "Origin": "https://penstock.lab.example"},
            {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
            {"Origin": "http://registry.example"},
            {"Origin": "https://registry.example"},
        ],
    )
    def test_its_own_page_and_programs_are_answered(self, remote, headers):
        assert remote.post("/logout", headers=headers).status_code == 204


class TestElsewhere:
    def test_there_must_be_a_token(self, store):
        with pytest.raises(ConfigurationError, match="token"):
            create_app(store.engine, token=None, loopback=False)

    @pytest.mark.parametrize("path", ["overview", "files", "events", "openapi.json", "nothing"])
    def test_the_api_wants_it(self, remote, path):
        response = remote.get(f"/api/v1/{path}")

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.headers["Content-Type"] == "application/problem+json"

    def test_programs_send_it(self, remote):
        given = {"Authorization": f"Bearer {TOKEN}"}

        assert remote.get("/api/v1/overview", headers=given).status_code == 200

    @pytest.mark.parametrize("path", ["/", "/parts/chart.js", "/healthz"])
    def test_the_page_itself_holds_nothing_and_is_open(self, remote, path):
        assert remote.get(path).status_code == 200

    def test_people_log_in_with_it_and_out_again(self, remote):
        assert remote.post("/login", data={"token": TOKEN}).status_code == 204
        assert remote.get("/api/v1/overview").status_code == 200

        assert remote.post("/logout").status_code == 204
        assert remote.get("/api/v1/overview").status_code == 401

    def test_a_form_is_led_to_the_page(self, remote):
        response = remote.post(
            "/login", data={"token": TOKEN}, headers={"Accept": "text/html"}, follow_redirects=False
        )

        assert (response.status_code, response.headers["Location"]) == (303, "/")

    @pytest.mark.parametrize("token", ["wrong-horse-battery", "", "\u00e9", "x" * 1025])
    def test_a_wrong_token_gives_no_cookie(self, remote, token):
        response = remote.post("/login", data={"token": token})

        assert response.status_code in {401, 422}
        assert "Set-Cookie" not in response.headers
        assert remote.get("/api/v1/overview").status_code == 401

    @pytest.mark.parametrize("how", ["by the login", "by a header"])
    def test_guessing_is_slow(self, remote, monkeypatch, how):
        monkeypatch.setattr(login, "WRONG_TOKEN_SECONDS", 0.3)
        began = time.monotonic()

        if how == "by the login":
            answer = remote.post("/login", data={"token": "wrong-horse-battery"})
        else:
            answer = remote.get("/api/v1/overview", headers={"Authorization": "Bearer wrong-horse-battery"})

        assert answer.status_code == 401
        assert time.monotonic() - began >= 0.3

    def test_the_cookie_is_for_this_site_only_and_no_script_reads_it(self, remote):
        cookie = remote.post("/login", data={"token": TOKEN}).headers["Set-Cookie"].lower()

        assert cookie.startswith(COOKIE)
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "path=/" in cookie
        assert f"max-age={COOKIE_SECONDS}" in cookie
        assert "secure" not in cookie
        assert TOKEN not in cookie

    @pytest.mark.parametrize("how", ["directly", "through a proxy", "as the browser says"])
    def test_the_cookie_of_an_encrypted_connection_never_goes_over_another(self, remote, how):
        url = "https://registry.example/login" if how == "directly" else "/login"
        headers = {
            "through a proxy": {"X-Forwarded-Proto": "https"},
            "as the browser says": {"Origin": "https://registry.example"},
        }.get(how, {})

        cookie = remote.post(url, data={"token": TOKEN}, headers=headers).headers["Set-Cookie"]

        assert "Secure" in cookie

    def test_a_login_lasts_twelve_hours(self, remote, clock):
        cookie = remote.post("/login", data={"token": TOKEN}).cookies[COOKIE]
        given = {"Cookie": f"{COOKIE}={cookie}"}
        clock.now += COOKIE_SECONDS - 1
        assert remote.get("/api/v1/overview", headers=given).status_code == 200

        clock.now += 2
        assert remote.get("/api/v1/overview", headers=given).status_code == 401

    def test_any_name_of_this_host_is_answered(self, remote):
        given = {"Authorization": f"Bearer {TOKEN}", "Host": "penstock.lab.example"}

        assert remote.get("/api/v1/overview", headers=given).status_code == 200


class TestWhatBrowsersAreTold:
    @pytest.mark.parametrize(
        "path", ["/", "/parts/chart.js", "/api/v1/overview", "/nothing", "/api/v1/files?limit=0"]
    )
    def test_nothing_from_elsewhere_and_into_no_frame(self, local, path):
        headers = local.get(path).headers

        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert not [name for name in headers if name.startswith("access-control-")]

    def test_that_what_they_keep_must_be_asked_for_again(self, local):
        assert "no-cache" in local.get("/").headers["Cache-Control"]
        assert "no-cache" in local.get("/api/v1/overview").headers["Cache-Control"]


class TestHead:
    @pytest.mark.parametrize("path", ["/api/v1/streams", "/api/v1/openapi.json", "/healthz", "/"])
    def test_says_what_get_would_say_without_the_body(self, local, path):
        whole, head = local.get(path), local.head(path)

        assert (head.status_code, head.content) == (200, b"")
        for name in ("Content-Type", "Content-Length", "ETag"):
            assert head.headers.get(name) == whole.headers.get(name), name

    def test_of_live_updates_there_is_none(self, local):
        assert local.head("/api/v1/events").status_code == 405

    def test_wants_the_token_where_get_does(self, remote):
        assert remote.head("/api/v1/overview").status_code == 401


class TestThePage:
    def test_is_served(self, local):
        response = local.get("/")

        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "Penstock" in response.text
        assert local.get("/parts/chart.js").headers["Content-Type"] == "text/javascript; charset=utf-8"

    def test_that_has_not_changed_is_not_sent_again(self, local):
        etag = local.get("/").headers["ETag"]

        assert local.get("/", headers={"If-None-Match": etag}).status_code == 304

    @pytest.mark.parametrize(
        "path",
        [
            "/secret.txt",
            "/../outside.js",
            "/%2e%2e/outside.js",
            "/parts/..%2f..%2foutside.js",
            "/parts",
            "/parts/",
            "/%00.js",
            "//etc/passwd.js",
            "/__init__.py",
        ],
    )
    def test_is_all_that_is_served(self, local, path):
        response = local.get(path)

        assert response.status_code == 404
        assert response.headers["Content-Type"] == "application/problem+json"


class TestBounds:
    def test_a_body_that_says_that_it_is_too_long_is_refused(self, local):
        response = local.post("/api/v1/files/lookup", content=b"x" * (MAX_BODY_BYTES + 1))

        assert response.status_code == 413
        assert response.headers["Content-Type"] == "application/problem+json"

    def test_a_body_that_does_not_say_so_is_refused_when_it_is_seen(self, local):
        def endless():
            for _ in range(MAX_BODY_BYTES // 65536 + 2):
                yield b"x" * 65536

        assert local.post("/api/v1/files/lookup", content=endless()).status_code == 413
