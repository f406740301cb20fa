"""Every example of docs/api.md does what the page says, asked of a registry that wants its token."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from blake3 import blake3
from tests.integration.cli.commands import clean_environment
from tests.integration.cli.registries import Registry
from tests.stream import Stream
from tests.waiting import eventually

from penstock.registry_client import RegistryClient
from penstock_registry.api import models

TEXT = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
TOKEN = "correct-horse-battery-staple"
FRAME = os.urandom(500)


def blocks(language: str) -> dict[str, str]:
    """The code of a language, by the heading before it."""
    found: dict[str, str] = {}
    for section in re.split(r"^#+ ", TEXT, flags=re.MULTILINE)[1:]:
        for code in re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL):
            assert section.splitlines()[0] not in found
            found[section.splitlines()[0]] = code
    return found


SHELL = blocks("sh")


class Reader:
    """Somebody who copies the examples into a shell, one after the other."""

    def __init__(self, url: str, topic: str, directory: Path) -> None:
        self.url, self.topic, self.directory = url, topic, directory
        state = directory / ".local" / "state" / "penstock" / "registry"
        state.mkdir(parents=True)
        (state / "token").write_text(TOKEN + "\n")
        self.environment = clean_environment(HOME=str(directory), REGISTRY=url, TOKEN=TOKEN)
        self.run("Token")

    def command(self, heading: str) -> list[str]:
        return ["bash", "-euo", "pipefail", "-c", self.adapted(SHELL[heading])]

    def adapted(self, code: str) -> str:
        code = code.replace("REGISTRY=http://127.0.0.1:8650\n", "")
        return re.sub(r"(stream=|\"stream\": )(\"?)scope\b", rf"\g<1>\g<2>{self.topic}", code)

    def run(self, heading: str) -> str:
        done = subprocess.run(
            self.command(heading), cwd=self.directory, env=self.environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (heading, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def reader(kafka, tmp_path_factory):
    """All of it once: a stream with a file that arrived and one that was rejected."""
    directory = tmp_path_factory.mktemp("api")
    (directory / "token").write_text(TOKEN)
    (directory / "home").mkdir()
    (directory / "stream").mkdir()
    stream = Stream(kafka, directory / "stream")
    (stream.source / "run-7").mkdir()
    (stream.source / "run-7" / "frame-0001.tif").write_bytes(FRAME)
    (stream.source / "run-7" / "large.tif").write_bytes(os.urandom(5000))
    given = {"PENSTOCK_HOST": "0.0.0.0", "PENSTOCK_TOKEN_FILE": str(directory / "token")}
    try:
        with Registry(kafka, directory, stream.topic, **given) as registry:
            stream.uploader(events_topic=registry.events)
            stream.downloader(events_topic=registry.events, group="archive", max_file_size=1000)
            url = f"http://127.0.0.1:{urlsplit(registry.url).port}"
            client = RegistryClient(url, token=TOKEN)

            def known() -> bool:
                items = client.get("/files", {"stream": stream.topic})["items"]
                return sorted(item["state"] for item in items) == ["delivered", "rejected"]

            eventually(known, 60, describe=lambda: registry.said[-2000:])
            yield Reader(url, stream.topic, directory / "home")
    finally:
        stream.close()


def test_without_the_token_nothing_is_answered(reader):
    (reader.directory / "none").write_text("")
    code = reader.adapted(SHELL["Everything at a glance"]).replace("@registry.auth", "@none")
    done = subprocess.run(
        ["bash", "-c", code], cwd=reader.directory, env=reader.environment, capture_output=True, check=False
    )
    assert done.returncode == 22
    assert json.loads(done.stdout)["status"] == 401


def test_the_auth_file_is_for_its_owner_alone(reader):
    assert (reader.directory / "registry.auth").stat().st_mode & 0o077 == 0


def test_everything_at_a_glance(reader):
    overview = json.loads(reader.run("Everything at a glance"))
    assert [stream["topic"] for stream in overview["streams"]] == [reader.topic]


def test_a_file_is_found_by_its_path_and_as_the_page_shows_it(reader):
    [file] = json.loads(reader.run("Has this file arrived?"))["items"]
    [answer] = file["answers"]
    expected = ("archive", "delivered", True, blake3(FRAME).hexdigest())
    assert (answer["destination"], answer["outcome"], answer["current"], answer["digest"]) == expected
    [shown] = models.Files.model_validate_json(blocks("json")["Has this file arrived?"]).items
    assert shown.path == file["path"]


def test_what_did_not_arrive(reader):
    [file] = json.loads(reader.run("What did not arrive, and why"))["items"]
    assert (file["path"], file["by"], file["reason"]) == ("run-7/large.tif", "archive", "too-large")
    assert file["advice"]


def test_nothing_waits(reader):
    assert json.loads(reader.run("What one destination still waits for"))["items"] == []


def test_receipts(reader):
    [receipt] = json.loads(reader.run("Receipts of the last hour"))["items"]
    assert (receipt["path"], receipt["outcome"]) == ("run-7/frame-0001.tif", "delivered")


def test_what_has_not_changed_is_not_sent_again(reader):
    heading = "Only if something has changed"
    (reader.directory / "streams.etag").touch()
    reader.run(heading)
    [stream] = json.loads((reader.directory / "streams.json").read_text())["items"]
    assert stream["topic"] == reader.topic
    assert (reader.directory / "streams.etag").read_text().strip()


def test_the_overview_comes_as_it_happens(reader):
    with subprocess.Popen(
        reader.command("As it happens"), cwd=reader.directory, env=reader.environment,
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            lines = iter(process.stdout)
            assert next(line for line in lines if line.startswith("event: ")) == "event: overview\n"
            overview = json.loads(next(lines).removeprefix("data: "))
        finally:
            process.terminate()
    assert [stream["topic"] for stream in overview["streams"]] == [reader.topic]


@pytest.mark.parametrize("limit", ["1000", "1"])
def test_a_long_list_comes_in_pages(reader, limit):
    code = reader.adapted(blocks("python")["All of a long list"]).replace("limit=1000", f"limit={limit}")
    done = subprocess.run(
        [sys.executable, "-c", code], env=reader.environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "delivered 500 'run-7/frame-0001.tif'",
        "rejected 5000 'run-7/large.tif'",
    ], done.stderr


def test_every_example_is_one_of_these():
    tested = Path(__file__).read_text()
    assert [heading for heading in SHELL if f'"{heading}"' not in tested] == []


def test_the_table_names_every_route(reader):
    routes = RegistryClient(reader.url, token=TOKEN).get("/openapi.json")["paths"]
    section = TEXT.split("## Token")[0]
    named = re.findall(r"`(?:GET |POST )?(/[a-z0-9/{}_-]+)`", section)
    paths = {path if path.startswith("/api") else f"/api/v1{path}" for path in named}
    assert paths == set(routes)
