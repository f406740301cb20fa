"""The client: each failure is one line with the way out; the token reaches the registry and nobody else."""

import json
import socket
import threading

import pytest
from cli.tests.registry.stub import OVERVIEW, Stub, problem, says

from penstock.main import main
from penstock.registry_client import (
    NotAllowed,
    NotKnown,
    RegistryClient,
    RegistryError,
    RegistryUnavailable,
    connect,
)
from servicekit.exceptions import ConfigurationError
from servicekit.logs import mask_secrets

TOKEN = "correct-horse-battery"


def client(registry: Stub, token: str | None = None) -> RegistryClient:
    return RegistryClient(registry.url, token=token, token_origin="PENSTOCK_TOKEN")


def test_the_token_is_sent_as_a_bearer(registry):
    client(registry, TOKEN).overview()
    assert registry.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


def test_without_a_token_none_is_sent(registry):
    client(registry).overview()
    assert "Authorization" not in registry.asked[0].headers


def test_the_address_may_have_a_path_and_end_with_a_slash(registry):
    registry.routes["/lab/api/v1/overview"] = says(OVERVIEW)
    assert RegistryClient(f"{registry.url}/lab/").overview() == OVERVIEW


@pytest.mark.parametrize("view", ["/#/", "/#/files?state=rejected", "#/streams/scope", "/#/files/1#x"])
def test_the_address_may_be_pasted_from_a_browser(registry, view):
    pasted = RegistryClient(registry.url + view)
    assert pasted.overview() == OVERVIEW
    assert pasted.url == registry.url


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_named_and_the_token_goes_nowhere(registry, status):
    with Stub() as elsewhere:
        target = f"{elsewhere.url}/api/v1/overview\x1b[31m"
        registry.routes["/api/v1/overview"] = (status, {"Location": target}, b"")
        with pytest.raises(RegistryError, match=r"sends us on to .*\\x1b\[31m.*--registry"):
            client(registry, TOKEN).overview()
        assert elsewhere.asked == []


def test_no_proxy_is_asked_about_this_machine(registry, monkeypatch):
    with Stub() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        client(registry, TOKEN).overview()
        assert proxy.asked == []
    assert len(registry.asked) == 1


def test_who_is_not_there_is_named_with_the_way_to_start_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RegistryUnavailable, match=f"127.0.0.1:{port} .*penstock registry"):
        RegistryClient(f"http://127.0.0.1:{port}").overview()


def test_who_accepts_and_says_nothing_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr("penstock.registry_client.TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(RegistryUnavailable, match=r"nothing within 0\.2 s"):
            RegistryClient(url).overview()


def test_who_speaks_no_tls_is_asked_for_by_http(registry):
    url = registry.url.replace("http:", "https:")
    with pytest.raises(RegistryUnavailable, match=f"speaks http, not https: name it as {registry.url}"):
        RegistryClient(url).overview()


@pytest.mark.parametrize("answer", [b"", b"\x15\x03\x01\x00\x02\x02\x16", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_who_speaks_no_http_is_told_from_a_registry_that_is_away(answer):
    with socket.create_server(("127.0.0.1", 0)) as broker:

        def hang_up() -> None:
            connection, _ = broker.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(RegistryUnavailable, match=r"does not speak HTTP.*Kafka") as raised:
            RegistryClient(f"http://127.0.0.1:{broker.getsockname()[1]}").overview()
        thread.join()
    assert "RemoteDisconnected" not in str(raised.value)


@pytest.mark.parametrize(
    "reply", [problem(401, "no"), problem(403, "no"), problem(503, "away"), problem(302, ""), (200, {}, b"x")]
)
@pytest.mark.parametrize("token", [None, TOKEN])
def test_no_word_of_an_error_is_taken_for_a_secret(registry, reply, token):
    registry.routes["/api/v1/overview"] = reply
    with pytest.raises(RegistryError) as raised:
        client(registry, token).overview()
    assert mask_secrets(str(raised.value)) == str(raised.value)


def test_a_registry_that_wants_a_token_says_how_to_give_one(registry):
    registry.routes["/api/v1/overview"] = problem(401, "a token is needed")
    with pytest.raises(NotAllowed, match=r"--token-file.*PENSTOCK_TOKEN"):
        client(registry).overview()


def test_a_wrong_token_is_named_by_where_it_comes_from_and_not_shown(registry):
    registry.routes["/api/v1/overview"] = problem(401, "no")
    with pytest.raises(NotAllowed, match="token of PENSTOCK_TOKEN") as raised:
        client(registry, TOKEN).overview()
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("reply", "says_so"),
    [
        (problem(422, "limit: at most 1000"), "answers 422: limit: at most 1000"),
        (problem(503, "the database\nis away"), "answers 503: the database is away; its log says more"),
        ((500, {}, b"<h1>oops"), "answers 500: Internal Server Error"),
        ((404, {}, b"<h1>not here"), "no registry of ours"),
        ((200, {}, b"<html>hello"), "no registry of ours"),
        ((200, {}, b"[]"), "no registry of ours"),
        (says({"at": "soon"}), "no registry of ours"),
        ((200, {}, b"\xff\xfe"), "no registry of ours"),
    ],
)
def test_what_makes_no_sense_is_one_line(registry, reply, says_so):
    registry.routes["/api/v1/overview"] = reply
    with pytest.raises(RegistryError) as raised:
        client(registry).overview()
    assert says_so in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_it_does_not_know_is_told_apart(registry):
    registry.routes["/api/v1/files/1"] = problem(404, "no such file is known (any more)")
    with pytest.raises(NotKnown, match=r"no such file is known \(any more\)"):
        client(registry).file(1)


@pytest.mark.parametrize(
    ("topics", "hint"),
    [
        (["other", "scope"], ": did you mean scope?"),
        (["other", "x\x1b"], r"; it knows other, x\x1b"),
        ([], "; it knows none yet"),
        (
            [f"{n:03}" for n in range(99)],
            "; it knows 000, 001, 002, 003, 004, 005, 006, 007, 008, 009 and others",
        ),
    ],
)
def test_a_stream_that_is_not_known_is_named_with_what_may_be_meant(registry, topics, hint):
    registry.routes["/api/v1/streams/scpoe"] = problem(404, "no such stream")
    registry.tell("/streams", {"items": [{"topic": topic} for topic in topics]})
    with pytest.raises(NotKnown) as raised:
        client(registry).stream("scpoe")
    assert str(raised.value).endswith("has heard nothing of stream 'scpoe'" + hint)


def test_an_answer_without_end_does_not_fill_our_memory(registry, monkeypatch):
    monkeypatch.setattr("penstock.registry_client.MAX_ANSWER_BYTES", 100)
    registry.tell("/overview", OVERVIEW | {"more": "x" * 200})
    with pytest.raises(RegistryError, match="no registry of ours"):
        client(registry).overview()


def test_paths_that_are_not_utf8_are_asked_for_exactly(registry):
    registry.tell("/files/lookup", {"items": [], "next": None})
    client(registry).lookup("s", ["plain", "b\udcff"])
    asked = json.loads(registry.asked[0].body)
    assert asked == {"stream": "s", "paths": [{"path": "plain"}, {"path_base64": "Yv8="}]}


def test_a_long_answer_to_a_lookup_is_asked_for_in_parts(registry):
    def some(asked):
        paths = json.loads(asked.body)["paths"]
        return says({"items": [], "next": "more" if len(paths) > 2 else None})

    registry.routes["/api/v1/files/lookup"] = some
    client(registry).lookup("s", [f"{n}" for n in range(7)])
    parts = [json.loads(asked.body) for asked in registry.asked]
    complete = [path["path"] for part in parts if len(part["paths"]) <= 2 for path in part["paths"]]
    assert complete == [f"{n}" for n in range(7)]


@pytest.mark.parametrize(
    "url",
    ["registry.lab", "ftp://x", "http://", "http://[::1", "http://h:port", "http://h/?a=b", "https://h#x"],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigurationError, match="--registry"):
        RegistryClient(url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigurationError, match="--token-file") as raised:
        RegistryClient("https://me:hunter2@registry.lab")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("token", ["two words", "a\r\nX-Evil: 1", "größe"])
def test_what_cannot_be_a_token_is_refused_and_not_repeated(token, monkeypatch):
    monkeypatch.setenv("PENSTOCK_TOKEN", token)
    with pytest.raises(ConfigurationError, match="PENSTOCK_TOKEN holds no token") as raised:
        connect("http://127.0.0.1:1", None)
    assert token not in str(raised.value)
    assert mask_secrets(str(raised.value)) == str(raised.value)


def test_a_token_file_wins_over_the_variable(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("PENSTOCK_TOKEN", "another")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    connect(registry.url, str(tmp_path / "token")).overview()
    assert registry.asked[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(("content", "why"), [(None, "cannot be read: No such file"), ("\n", "is empty")])
def test_a_token_file_without_a_token_is_wrong_use(tmp_path, content, why):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=f"--token-file .*{why}"):
        connect("http://127.0.0.1:1", str(file))


def test_a_token_in_the_clear_is_warned_of(monkeypatch, capsys):
    monkeypatch.setenv("PENSTOCK_TOKEN", TOKEN)
    connect("http://registry.lab:8650", None)
    assert "unencrypted" in capsys.readouterr().err
    for harmless in ("http://localhost:8650", "https://registry.lab"):
        connect(harmless, None)
    assert capsys.readouterr().err == ""


def test_a_command_ends_with_1_and_one_line(capsys, monkeypatch):
    monkeypatch.setenv("PENSTOCK_REGISTRY", "http://127.0.0.1:1")
    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("penstock status: no registry answers at http://127.0.0.1:1 (")
    assert said.count("\n") == 1
