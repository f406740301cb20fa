"""Where the registry listens, and what it says until its database answers."""

import socket

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from penstock_registry.database_file import check_database_file
from penstock_registry.settings import RegistrySettings
from penstock_registry.web import Gate, address, listen
from servicekit.exceptions import ConfigurationError


class TestAddress:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_of_all_addresses_is_the_machines_name(self, host):
        assert address(host, 8650) == f"http://{socket.gethostname()}:8650/"

    @pytest.mark.parametrize(
        ("host", "url"),
        [("127.0.0.1", "http://127.0.0.1:1/"), ("::1", "http://[::1]:1/"), ("lab-pc", "http://lab-pc:1/")],
    )
    def test_of_one_is_that(self, host, url):
        assert address(host, 1) == url


class TestListening:
    def refusal(self, host, port):
        with pytest.raises(ConfigurationError) as refused:
            listen(host, port).close()
        text = str(refused.value)
        assert "\n" not in text
        return text

    def test_at_what_is_no_address_of_this_machine_says_which_are(self):
        text = self.refusal("192.0.2.1", 0)

        assert "127.0.0.1 for this machine alone" in text
        assert "port" not in text

    def test_at_a_port_that_is_taken_says_so(self):
        with listen("127.0.0.1", 0) as taken:
            assert "is a registry running already?" in self.refusal("127.0.0.1", taken.getsockname()[1])


def test_until_the_database_answers_the_page_is_there_and_the_api_says_why_it_is_not():
    gate = Gate(PlainTextResponse("the page"), "the database is away")
    client = TestClient(gate)

    assert client.get("/").text == client.get("/main.js").text == "the page"
    refused = client.get("/api/v1/overview")
    assert (refused.status_code, refused.json()["detail"]) == (503, "the database is away")
    gate.reason = None
    assert client.get("/api/v1/overview").text == "the page"


class TestDatabaseFile:
    def refusal(self, database):
        with pytest.raises(ConfigurationError) as refused:
            check_database_file(RegistrySettings.load(database=database))
        return str(refused.value)

    def test_in_a_directory_that_is_not_there_is_refused_in_one_line(self, tmp_path):
        text = self.refusal(f"sqlite:///{tmp_path}/missing/x.db")

        assert f"there is no directory '{tmp_path}/missing'" in text
        assert "--database (PENSTOCK_DATABASE)" in text
        assert "\n" not in text

    def test_that_is_a_directory_is_refused(self, tmp_path):
        assert "is a directory" in self.refusal(f"sqlite:///{tmp_path}")

    @pytest.mark.parametrize("database", ["sqlite:///{}/x.db", "postgresql://a:b@nowhere/x"])
    def test_any_other_is_left_to_the_database(self, tmp_path, database):
        check_database_file(RegistrySettings.load(database=database.format(tmp_path)))
