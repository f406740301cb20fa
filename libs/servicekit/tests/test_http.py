"""The HTTP server of a service: what it answers, and to whom."""

import http.client
import json
import socket
import threading

import pytest

from servicekit.exceptions import ConfigurationError, StateError
from servicekit.http import Health, HttpServer, Response, health_routes, is_loopback


def boom(_query):
    raise KeyError("x")


def misused(_query):
    raise ConfigurationError("timeout: must be a number")


def broken(_query):
    raise StateError("ledger is locked")


ROUTES = {
    ("GET", "/echo"): lambda query: Response(200, query),
    ("POST", "/resend"): lambda query: Response(202, {"resent": query["path"]}),
    ("GET", "/text"): lambda query: Response(200, "größe"),
    ("GET", "/bytes"): lambda query: Response(200, b"\0", "application/x"),
    ("GET", "/boom"): boom,
    ("GET", "/misused"): misused,
    ("GET", "/broken"): broken,
}


@pytest.fixture
def server():
    with HttpServer("127.0.0.1", 0, ROUTES, name="control") as server:
        yield server


@pytest.fixture
def ask(server):
    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    return ask


def test_a_query_comes_decoded(ask):
    status, headers, body = ask("GET", "/echo?path=a%20b%2Fc&timeout=5&empty=")

    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"path": "a b/c", "timeout": "5", "empty": ""}


def test_a_path_that_is_not_utf_8_comes_as_the_file_system_gives_it(server, ask):
    assert json.loads(ask("GET", "/echo?path=a%FF")[2]) == {"path": "a\udcff"}


def test_text_and_bytes_go_out_as_they_are(ask):
    assert ask("GET", "/text")[2] == "größe".encode()
    _, headers, body = ask("GET", "/bytes")
    assert (headers["Content-Type"], body) == ("application/x", b"\0")


def test_head_is_get_without_the_body(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"HEAD /text HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert b" 200 " in answer
    assert b"Content-Length: 7\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_changes_need_post(ask):
    assert ask("POST", "/resend?path=a")[0] == 202
    status, _, body = ask("GET", "/resend?path=a")
    assert status == 405
    assert b"POST" in body


def test_an_unknown_path_says_what_there_is(ask):
    status, _, body = ask("GET", "/nothing")

    assert status == 404
    assert "/echo" in json.loads(body)["paths"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [("/misused", 400, "must be a number"), ("/broken", 503, "locked"), ("/boom", 500, "this is a bug")],
)
def test_what_goes_wrong_is_said_and_ends_nothing(ask, path, status, said):
    answered = ask("GET", path)

    assert answered[0] == status
    assert said in json.loads(answered[2])["error"]
    assert ask("GET", "/text")[0] == 200


def test_a_body_is_not_taken_for_the_next_request(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/resend?path=a", b"GET /boom HTTP/1.1\r\nHost: localhost\r\n\r\n")
    response = connection.getresponse()
    response.read()
    connection.close()

    assert response.headers["Connection"] == "close"


class TestWebPages:
    """A page in a user's browser must not be able to command the service on the same machine."""

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1", "[::"]
    )
    def test_a_host_that_is_not_this_machine_is_refused(self, ask, host):
        assert ask("GET", "/text", Host=host)[0] == 403

    @pytest.mark.parametrize("host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:80"])
    def test_this_machine_by_any_name_is_answered(self, ask, host):
        assert ask("GET", "/text", Host=host)[0] == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost.evil.example"])
    def test_a_page_of_another_origin_is_refused(self, ask, origin):
        assert ask("POST", "/resend?path=a", Origin=origin)[0] == 403

    @pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
    def test_a_page_of_this_machine_at_another_port_is_refused(self, server, ask, name):
        own = f"{name}:{server.port}"
        for origin in (f"http://{name}:3000", f"http://{name}", f"https://{own}"):
            assert ask("POST", "/resend?path=a", Host=own, Origin=origin)[0] == 403

    def test_a_page_of_its_own_is_answered(self, server, ask):
        own = f"localhost:{server.port}"
        assert ask("POST", "/resend?path=a", Host=own, Origin=f"http://{own}")[0] == 202

    def test_what_is_no_web_page_is_answered(self, ask):
        assert ask("POST", "/resend?path=a")[0] == 202

    def test_a_listener_for_others_answers_any_host(self):
        with HttpServer("0.0.0.0", 0, ROUTES) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", "/text", headers={"Host": "penstock.svc:9100"})
            assert connection.getresponse().status == 200
            connection.close()


def test_a_port_in_use_is_said_with_what_to_do(server):
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{server.port} for metrics.*another port"):
        HttpServer("127.0.0.1", server.port, {}, name="metrics")


def test_a_closed_server_gives_its_port_back(server):
    server.close()

    HttpServer("127.0.0.1", server.port, {}).close()


def test_requests_are_answered_while_another_one_waits():
    release = threading.Event()
    routes = {
        ("GET", "/wait"): lambda query: Response(200, str(release.wait(10))),
        ("GET", "/go"): lambda query: Response(200, "ok"),
    }
    with HttpServer("127.0.0.1", 0, routes) as server:
        waiting = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        waiting.request("GET", "/wait")
        other = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        other.request("GET", "/go")
        assert other.getresponse().read() == b"ok"
        release.set()
        assert waiting.getresponse().read() == b"True"
        waiting.close()
        other.close()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback(host, loopback):
    assert is_loopback(host) is loopback


class TestHealth:
    def readyz(self, health):
        response = health_routes(health)["GET", "/readyz"]({})
        return response.status, response.body

    def test_is_not_ready_before_all_it_needs_was_there(self):
        health = Health("kafka", "ledger")
        assert self.readyz(health)[0] == 503

        health.ok("kafka")
        assert self.readyz(health) == (503, [{"name": "ledger", "message": "not started yet"}])

        health.ok("ledger")
        assert self.readyz(health) == (200, [])

    def test_a_problem_lasts_until_it_is_over(self):
        health = Health()
        assert health.ready

        health.problem("disk", "full")
        health.problem("disk", "read-only")
        assert health.problems == {"disk": "read-only"}

        health.ok("disk")
        assert health.ready

    def test_a_check_is_asked_each_time(self):
        health = Health("kafka")
        down = ["no broker"]
        health.check("kafka", lambda: down[0])
        assert self.readyz(health) == (503, [{"name": "kafka", "message": "no broker"}])

        down[0] = None
        assert health.ready

    def test_the_process_is_alive_whatever_its_problems(self):
        health = Health("kafka")

        assert health_routes(health)["GET", "/healthz"]({}).status == 200

    def test_metrics_are_prometheus_text(self):
        response = health_routes(Health())["GET", "/metrics"]({})

        assert response.encoded()[0].startswith("text/plain")
        assert b"penstock_kafka_client_brokers_up" in response.body
