"""`penstock verify` against something that answers like a registry: totals, lists, JSON, exit codes."""

import json
import os
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from blake3 import blake3
from cli.tests.registry.stub import problem, says

from penstock.main import main
from penstock.verification import report, run

AT = 1_800_000_000.0
SCOPE = ["--stream", "scope"]


class FakeRegistry:
    """Knows files by their path on the wire."""

    def __init__(self, stub, destinations=("archive",)) -> None:
        self.stub = stub
        self.files: dict[str, dict] = {}
        self.destinations(*destinations)
        stub.routes["/api/v1/files/lookup"] = self.lookup
        stub.tell("/streams", {"items": [{"topic": "scope"}]})
        stub.routes["/api/v1/files"] = self.of_source
        self.programs()

    def destinations(self, *names: str) -> None:
        found = {"topic": "scope", "health": "ok", "destinations": [{"name": name} for name in names]}
        self.stub.tell("/streams/scope", found)

    def knows(self, path: str, content: bytes, *answers: dict, state: str = "delivered", **given) -> dict:
        number = uuid.UUID(int=len(self.files) + 1)
        self.files[path] = {
            "id": str(number), "stream": "scope", "source": "here", "path": path, "size": len(content),
            "state": state, "bytes_done": 0, "digest": blake3(content).hexdigest(), "upload_id": str(number),
            "uploaded_at": AT, "first_at": AT, "last_at": AT, "answers": list(answers),
        } | given  # fmt: skip
        return self.files[path]

    def programs(self, *statuses: dict) -> None:
        common = {"kind": "penstock", "program_id": "x", "service": "x", "host": "lab1", "version": "1"}
        common |= {"state": "alive", "last_at": AT}
        self.stub.tell("/services", {"items": [common | {"status": status} for status in statuses]})

    def of_source(self, asked):
        source = parse_qs(urlsplit(asked.path).query)["source"][0]
        return says({"items": [file for file in self.files.values() if file["source"] == source]})

    def lookup(self, asked):
        wanted = [path["path"] for path in json.loads(asked.body)["paths"]]
        return says({"items": [self.files[path] for path in wanted if path in self.files], "next": None})

    @property
    def questions(self) -> list[dict]:
        return [json.loads(asked.body) for asked in self.stub.asked if asked.path == "/api/v1/files/lookup"]


def receipt(content: bytes, destination: str = "archive", **given) -> dict:
    return {
        "destination": destination, "outcome": "delivered", "current": True, "at": AT,
        "upload_id": str(uuid.UUID(int=1)), "digest": blake3(content).hexdigest(),
    } | given  # fmt: skip


@pytest.fixture
def fake(registry):
    return FakeRegistry(registry)


@pytest.fixture
def verify(fake, tmp_path, capsys):
    """Run it on `tmp_path/data`, and return exit code, stdout and stderr."""
    (tmp_path / "data").mkdir()

    def run_it(*arguments: str, directory=None):
        code = main(
            ["verify", str(directory or tmp_path / "data"), *([] if "--stream" in arguments else SCOPE),
             "--registry", fake.stub.url, *arguments]
        )  # fmt: skip
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


@pytest.fixture
def data(tmp_path, verify):
    return tmp_path / "data"


def test_all_of_it_arrived_is_0(verify, data, fake):
    for name in ("a", "b"):
        (data / name).write_bytes(name.encode())
        fake.knows(name, name.encode(), receipt(name.encode()))
    code, out, err = verify()
    assert (code, err) == (0, "2 files checked, 2 B\n")
    assert "2 files, 2 B: everything has arrived (receipts for exactly these bytes from archive)" in out
    assert "rejected" not in out.splitlines()[-1]


def test_one_missing_receipt_is_1_and_names_the_file(verify, data, fake):
    for name in ("a", "b"):
        (data / name).write_bytes(name.encode())
    fake.knows("a", b"a", receipt(b"a"))
    fake.knows("b", b"b", state="uploaded")
    code, out, _ = verify()
    assert code == 1
    lines = out.splitlines()
    assert any(line.startswith("on its way ") and line.endswith(" b") for line in lines)
    assert not any(line.endswith(" a") for line in lines)
    assert lines[-1] == "2 files, 2 B: 1 arrived, 1 not"


def test_every_destination_needs_a_receipt_of_its_own(verify, data, fake):
    fake.destinations("archive", "backup")
    (data / "a").write_bytes(b"a")
    fake.knows("a", b"a", receipt(b"a"))
    assert verify()[0] == 1
    assert verify("--destination", "archive")[0] == 0
    code, out, _ = verify("--destination", "archive", "--destination", "backup", "--json")
    assert code == 1
    [file] = json.loads(out)["files"]
    assert file["destinations"]["archive"]["state"] == "arrived"
    assert file["destinations"]["backup"]["state"] == "on_its_way"
    assert file["state"] == "on_its_way"


def test_failures_come_first_with_what_to_do(verify, data, fake):
    for name in ("a", "b", "c", "d"):
        (data / name).write_bytes(name.encode())
    fake.knows("a", b"a", state="uploaded")
    refused = {"outcome": "rejected", "digest": None, "reason": "size", "detail": "4 GB is too much"}
    file = fake.knows("b", b"b", receipt(b"", **refused), state="rejected", reason="size", advice="Do this.")
    fake.stub.tell(f"/files/{file['id']}", file | {"uploads": []})
    fake.knows("c", b"old", receipt(b"old"))
    code, out, _ = verify()
    assert code == 1
    states = [
        line[:12].strip() for line in out.splitlines() if line[:1].islower() and line[:22].endswith(" B")
    ]
    assert states == ["rejected", "never left", "changed", "on its way"]
    assert "archive: size: 4 GB is too much; not sent again" in out
    assert "what to do: Do this." in out


def test_a_file_that_was_here_and_has_changed_is_said_to_have_changed(verify, data, fake):
    (data / "a").write_bytes(b"new")
    fake.knows("a", b"old", receipt(b"old"))
    code, out, _ = verify("--json")
    assert code == 1
    [file] = json.loads(out)["files"]
    assert file["state"] == "changed"
    assert file["digest"] == blake3(b"new").hexdigest()
    assert file["destinations"]["archive"]["last_answer"]["digest"] == blake3(b"old").hexdigest()


def test_the_document_says_what_was_asked_and_what_came_out(verify, data, fake):
    (data / "a").write_bytes(b"a")
    (data / "b").write_bytes(b"bb")
    fake.knows("lab/a", b"a", receipt(b"a"))
    code, out, err = verify("--json", "--prefix", "lab", "--source", "here")
    assert (code, err) == (1, "2 files checked, 3 B\n")
    document = json.loads(out)
    files = {file.pop("path"): file for file in document.pop("files")}
    assert document == {
        "ok": False,
        "stream": "scope",
        "directory": str(data),
        "source": "here",
        "prefix": "lab",
        "destinations": ["archive"],
        "totals": {
            "files": 2, "bytes": 3, "arrived": 1, "never_left": 1, "on_its_way": 0, "rejected": 0,
            "changed": 0, "changing": 0, "skipped": 0, "unreadable": 0,
            "by_destination": {
                "archive": {"arrived": {"files": 1, "bytes": 1}, "never_left": {"files": 1, "bytes": 2}}
            },
        },
    }  # fmt: skip
    assert files.keys() == {"a", "b"}
    assert files["a"]["sent_as"] == "lab/a"


def test_an_empty_directory_says_so(verify, data):
    code, out, _ = verify()
    assert (code, out) == (0, "there are no files here, so nothing has to arrive\n")
    code, out, _ = verify("--json")
    assert code == 0
    assert json.loads(out)["files"] == []


def test_while_no_destination_has_answered_nothing_has_arrived(verify, data, fake):
    fake.destinations()
    (data / "a").write_bytes(b"a")
    (data / "b").write_bytes(b"b")
    fake.knows("a", b"a", state="uploaded")
    code, out, _ = verify()
    assert code == 1
    assert "(none has answered yet)" in out
    assert "no destination of scope has answered yet" in out
    document = json.loads(verify("--json")[1])
    assert document["destinations"] == []
    assert {file["path"]: file["state"] for file in document["files"]} == {
        "a": "on_its_way",
        "b": "never_left",
    }


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--stream", "scpoe"], "has heard nothing of stream 'scpoe': did you mean scope?"),
        (["--destination", "archiv"], "a destination 'archiv' of stream 'scope': did you mean archive?"),
        (["--destination", "tape"], "a destination 'tape' of stream 'scope'; it knows archive, lab"),
        (["--source", "her"], "source 'her' sends to stream 'scope': did you mean here?"),
    ],
)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_name_that_is_not_known_is_one_line_and_1(verify, data, fake, arguments, line, as_json):
    (data / "a").write_bytes(b"a")
    fake.knows("a", b"a", receipt(b"a"))
    fake.stub.routes["/api/v1/streams/scpoe"] = problem(404, "no such stream")
    fake.programs(
        {"topic": "scope", "source_id": "here"}, {"topic": "scope", "destination": "lab"}, {"topic": "x"}
    )
    code, out, err = verify(*arguments, *as_json)
    assert (code, out) == (1, "")
    assert err.endswith(f"{line}\n")
    assert err.count("\n") == 1


def test_a_destination_whose_downloader_runs_and_has_answered_nothing_yet_is_waited_for(verify, data, fake):
    (data / "a").write_bytes(b"a")
    fake.knows("a", b"a", receipt(b"a"))
    fake.programs({"topic": "scope", "destination": "lab"})
    code, out, _ = verify("--destination", "lab")
    assert code == 1
    assert "lab: Kafka has it; the destination has not answered yet" in out


def test_a_destination_is_shown_with_where_it_is(verify, data, fake):
    (data / "a").write_bytes(b"a")
    fake.knows("a", b"a", receipt(b"a"))
    fake.programs({"topic": "scope", "destination": "archive", "directory": "/data/\x1bdst"})
    assert r"archive: /data/\x1bdst on lab1" in verify()[1].splitlines()
    fake.stub.routes["/api/v1/services"] = problem(500, "oops")
    assert verify()[0] == 0


def test_patterns_that_leave_out_everything_prove_nothing(verify, data):
    (data / "sub").mkdir()
    (data / "sub" / "a.raw").write_bytes(b"a")
    for arguments in (["--include", "*.nope"], ["--exclude", "sub"], ["--include", "*.nope", "--json"]):
        code, out, err = verify(*arguments)
        assert (code, out) == (1, "")
        assert "leave out 1 file, all that is here: nothing was compared" in err


def test_files_are_listed_by_path(verify, data, fake):
    for name in ("b", "a/z", "c", "a/b"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_bytes(b"x")
    fake.knows("b", b"x", state="uploaded")
    _, out, _ = verify()
    listed = [line.split()[-1] for line in out.splitlines() if line.startswith(("never left", "on its way"))]
    assert listed == ["a/b", "a/z", "c", "b"]
    assert [file["path"] for file in json.loads(verify("--json")[1])["files"]] == listed


def test_the_document_names_the_directory_wherever_it_was_asked_from(verify, data, monkeypatch):
    monkeypatch.chdir(data.parent)
    assert json.loads(verify("--json", directory="data")[1])["directory"] == str(data)


def test_all_lists_everything_with_digests(verify, data, fake):
    (data / "a").write_bytes(b"a")
    fake.knows("a", b"a", receipt(b"a"))
    _, out, _ = verify("--all")
    [line] = [line for line in out.splitlines() if line.endswith(" a")]
    assert line.split() == ["arrived", "1", "B", blake3(b"a").hexdigest(), "a"]


def test_more_than_a_screen_is_counted(verify, data, fake, monkeypatch):
    monkeypatch.setattr(report, "LISTED", 3)
    for number in range(8):
        (data / f"{number}").touch()
    _, out, _ = verify()
    assert sum(line.startswith("never left") for line in out.splitlines()) == 3
    assert "and 5 other files; --all lists every one" in out


def test_many_files_are_asked_for_a_batch_at_a_time(verify, data, fake, monkeypatch):
    monkeypatch.setattr(run, "BATCH", 10)
    for number in range(25):
        (data / f"{number}").write_bytes(b"x")
        fake.knows(f"{number}", b"x", receipt(b"x"))
    assert verify()[0] == 0
    assert [len(question["paths"]) for question in fake.questions] == [10, 10, 5]


def test_hostile_names_are_shown_harmlessly_and_asked_for_exactly(verify, data, fake):
    os.makedirs(os.path.join(os.fsencode(data), b"\xff"))
    with open(os.path.join(os.fsencode(data), b"\xff/two\nlines \x1b[31m'; drop table--"), "wb") as file:
        file.write(b"x")
    fake.stub.tell("/files/lookup", {"items": [], "next": None})
    code, out, err = verify()
    assert code == 1
    assert "\x1b" not in out + err
    assert r"\xff/two\nlines \x1b[31m'; drop table--" in out
    asked = fake.questions[-1]["paths"][0]
    assert asked.keys() == {"path_base64"}
    [found] = json.loads(verify("--json")[1])["files"]
    assert "path_base64" in found


def test_a_watched_directory_says_for_itself_which_source_it_is(verify, data, fake):
    state = data / ".penstock" / "uploader"
    state.mkdir(parents=True)
    (state / "ledger.db").touch()
    (state / "source_id").write_text("lab-scope-12\n")
    (data / "run" / "1").mkdir(parents=True)
    (data / "run" / "1" / "a").write_bytes(b"a")
    (data / "elsewhere").touch()
    fake.knows("run/1/a", b"a", receipt(b"a"))
    code, out, _ = verify("--json", directory=data / "run")
    assert code == 0
    document = json.loads(out)
    assert document["source"] == "lab-scope-12"
    assert [file["path"] for file in document["files"]] == ["1/a"]
    assert [question["paths"] for question in fake.questions] == [[{"path": "run/1/a"}]]


@pytest.mark.parametrize(
    ("arguments", "says_so"),
    [
        (["verify"], "DIR (PENSTOCK_DIRECTORY) is missing"),
        (["verify", "{data}"], "--stream (PENSTOCK_TOPIC) is missing"),
        (["verify", "{data}/nothing", "--stream", "s"], "does not exist"),
        (["verify", "{data}", "--stream", "s", "--include", "/"], "matches nothing"),
        (["verify", "{data}", "--stream", "s", "--prefix", "{{planet}}"], "names something unknown"),
        (["verify", "{data}", "--stream", "s", "--prefix", "../up"], "cannot begin a path"),
        (["verify", "{data}", "--stream", "s", "--registry", "lab"], "must be an address"),
        (["verify", "{data}", "--stream", "s", "--state-dir", "{data}/x"], "is not watched"),
    ],
)
def test_wrong_use_is_2(data, capsys, arguments, says_so):
    assert main([argument.format(data=data) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert says_so in error
    assert error.count("\n") == 1
