"""Whatever the docs tell to type is run: here, or on a cluster (tests/e2e/test_docs.py); or says why not."""

import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click import Group
from jsonschema import Draft7Validator
from tests.docs.pages import (
    DATA,
    OTHER_SHELLS,
    ROOT,
    SCRIPTS,
    SESSIONS,
    SHOWN,
    Command,
    File,
    MarkError,
    pages,
    read,
)
from tests.docs.reader import ELSEWHERE, Reader, normal
from tests.docs.reasons import NOT_CHECKED, NOT_RUN
from tests.docs.stand_ins import KAFKA_PORT, Cluster, Laptop

from penstock.main import COMMANDS, penstock
from penstock_downloader.settings import DownloaderSettings
from penstock_operator.resource import DirectoryStream
from penstock_registry.settings import RegistrySettings
from penstock_uploader.settings import UploaderSettings
from servicekit.exceptions import ConfigurationError

OF_THEIR_OWN = {
    # a page whose scripts another test runs, each with what it has to answer
    "docs/api.md": "tests/integration/cli/test_api_page.py",
}

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
VALUES = yaml.safe_load((ROOT / "charts/penstock/values.yaml").read_text("utf-8"))
VALUES_SCHEMA = json.loads((ROOT / "charts/penstock/values.schema.json").read_text("utf-8"))


def over(defaults: object, given: object) -> object:
    """Values as Helm lays them over the chart's own."""
    if not isinstance(defaults, dict) or not isinstance(given, dict):
        return given
    return defaults | {name: over(defaults.get(name), value) for name, value in given.items()}


BLOCKS = [block for page in pages() for block in page.blocks]


# What is written


def test_every_block_says_its_language_and_it_is_one_that_the_tests_know():
    known = (*SESSIONS, *SCRIPTS, *OTHER_SHELLS, *DATA, *SHOWN)
    assert [f"{block.where}: {block.language!r}" for block in BLOCKS if block.language not in known] == []


def test_what_is_not_run_or_not_checked_has_one_of_the_reasons():
    assert [b.where for b in BLOCKS if b.not_run is not None and b.not_run not in NOT_RUN] == []
    assert [b.where for b in BLOCKS if b.not_checked is not None and b.not_checked not in NOT_CHECKED] == []
    unneeded = [b.where for b in BLOCKS if b.not_run is not None and not b.has_commands]
    unneeded += [b.where for b in BLOCKS if b.not_checked is not None and b.language not in DATA]
    assert unneeded == []


def test_a_reason_that_no_block_has_is_none():
    assert set(NOT_RUN) == {block.not_run for block in BLOCKS} - {None}
    assert set(NOT_CHECKED) == {block.not_checked for block in BLOCKS} - {None}


def test_commands_of_other_shells_say_that_they_are_not_run():
    others = [block for block in BLOCKS if block.language in OTHER_SHELLS or "\n> " in f"\n{block.text}"]
    assert [block.where for block in others if block.has_commands and block.not_run is None] == []


def test_what_takes_a_cluster_says_so():
    """Everything else is run at a laptop."""
    commands = [
        command
        for page in pages()
        for command in page.steps("laptop")
        if isinstance(command, Command) and re.match(r"(kubectl|helm)\b", command.text)
    ]
    assert [f"{command.where}: {command.text}" for command in commands] == []


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is_run_there(command):
    file, call = ELSEWHERE[command]
    assert call in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("page", OF_THEIR_OWN)
def test_a_page_with_a_test_of_its_own_is_read_by_it(page):
    assert Path(page).name in (ROOT / OF_THEIR_OWN[page]).read_text("utf-8")
    [found] = [found for found in pages() if found.name == page]
    assert {block.language for block in found.blocks if block.has_commands} <= set(SCRIPTS)


def typed() -> Iterator[tuple[str, str]]:
    """Everything that somebody may type: PAGE:LINE and the words, those within lines of text included."""
    for page in pages():
        yield from page.inline
        for block in page.blocks:
            if block.has_commands:
                yield block.where, re.sub(r"\\\n", " ", block.text)


@pytest.mark.parametrize(
    ("where", "line"),
    [
        pytest.param(where, found[0], id=f"{where} {found[0][:40]}")
        for where, text in typed()
        for found in re.finditer(r"(?<![\w./-])penstock +[a-z-]+\b[^\n|;&)]*", text)
        if found[0].split()[1] in COMMANDS or text.startswith("penstock ")
        if not found[0].split()[1].startswith("-")
    ],
)
def test_penstock_has_the_commands_and_options_that_the_docs_name(where, line):
    assert isinstance(penstock, Group)
    words = shlex.split(line, comments=True)
    command = penstock.get_command(None, words[1])  # type: ignore[arg-type]
    assert command is not None, f"{where}: there is no penstock {words[1]}"
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= {"--help"}
    asked = {word.split("=")[0] for word in words if word.startswith("--")}
    assert asked <= known, where


def test_logs_of_pods_that_a_label_chooses_say_how_many_lines():
    """By default kubectl shows ten of each: too few to look for anything in."""
    logs = [
        (where, line)
        for where, text in typed()
        for line in text.splitlines()
        if re.search(r"\bkubectl\b.* logs\b.* (--selector|-l)\b", line)
    ]
    assert logs
    assert [found for found in logs if "--tail" not in found[1]] == []


def test_make_has_the_targets_that_the_docs_name():
    named = {
        (where, found)
        for where, text in typed()
        for found in re.findall(r"^(?:\$ )?make ((?:[A-Z]+=\S+ )*[a-z0-9-]+)", text, re.MULTILINE)
    }
    missing = [
        (where, target)
        for where, target in named
        if not re.search(rf"^{target.split()[-1]}:", MAKEFILE, re.MULTILINE)
    ]
    assert named
    assert missing == []


# Manifests, values and settings


def checked(language: str) -> list[object]:
    return [pytest.param(block, id=block.where) for block in BLOCKS if block.language == language]


@pytest.mark.parametrize("block", checked("json"))
def test_json_is_json(block):
    json.loads(block.text)


@pytest.mark.parametrize("block", checked("yaml"))
def test_yaml_is_what_it_looks_like(block):
    """Manifests of Kubernetes' own are asked about on a cluster; test_metrics_page.py knows of rules."""
    for document in yaml.safe_load_all(block.text):
        if block.not_checked is not None:
            continue
        assert isinstance(document, dict), "a manifest or values; else it is `not checked`, and says why"
        if str(document.get("apiVersion", "")).startswith("penstock.dev/"):
            DirectoryStream.parse(document)
        elif set(document) <= set(VALUES_SCHEMA["properties"]):
            Draft7Validator(VALUES_SCHEMA).validate(over(VALUES, document))
        else:
            assert {"apiVersion", "kind", "metadata"} <= set(document) or set(document) == {"groups"}


@pytest.mark.parametrize("block", checked("toml"))
def test_settings_are_those_of_a_command(block, tmp_path):
    tomllib.loads(block.text)
    if block.not_checked is not None:
        return
    file = tmp_path / "penstock.toml"
    file.write_text(block.text)
    refused = []
    for settings in (UploaderSettings, DownloaderSettings, RegistrySettings):
        directory = {"directory": str(tmp_path)} if "directory" in settings.model_fields else {}
        try:
            settings.load(config=str(file), **directory)
            return
        except ConfigurationError as error:
            refused.append(f"{settings.__name__}: {error}")
    raise AssertionError(refused)


# What is run


def at_a_laptop() -> list[object]:
    """The pages that have something to type there."""
    return [
        pytest.param(page, id=page.name)
        for page in pages()
        if page.name not in OF_THEIR_OWN
        and any(b.has_commands and b.not_run is None and b.place == "laptop" for b in page.blocks)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("page", at_a_laptop())
def test_a_page_can_be_followed(page, tmp_path, own_broker, request):
    steps = page.steps("laptop")
    typed = [step.text for step in steps if isinstance(step, Command)]
    postgres = request.getfixturevalue("postgres") if any("@db1/" in text for text in typed) else ""
    laptop = Laptop(tmp_path, postgres)
    if any("penstock" in text for text in typed) and not any("penstock broker" in text for text in typed):
        own_broker(port=laptop.port(KAFKA_PORT))
    reader = Reader(tmp_path, laptop.environment(), laptop)
    try:
        reader.follow(steps)
    finally:
        reader.close()


# These tests themselves


PAGE = """
Text with `penstock demo --json`.

<!-- before: mkdir /data/scope -->
```console
$ one \\
    --more
shown 12 ms
...
$ two
^C
```

<!-- not run: Windows -->

```powershell
> three
```

<!-- commands: cluster -->

- in a list:

  ```yaml
  # stream.yaml
  a: 1
  ```

```console
$ kubectl apply -f stream.yaml
```
"""


def test_a_page_is_read_as_a_reader_reads_it():
    page = read("page.md", PAGE)
    assert page.inline == (("page.md:2", "penstock demo --json"),)
    assert page.steps("laptop") == [
        Command("page.md:5 (before)", "mkdir /data/scope"),
        Command("page.md:6", "one \\\n    --more", ("shown 12 ms", "...")),
        Command("page.md:10", "two", (), interrupted=True),
        File("page.md:24", "stream.yaml", "# stream.yaml\na: 1\n"),
    ]
    assert [step.where for step in page.steps("cluster")] == ["page.md:24", "page.md:30"]


@pytest.mark.parametrize(
    "text",
    [
        "<!-- not run: Windows -->\n\nText.\n",
        "<!-- not run: Windows -->\n",
        "<!-- commands: nowhere -->\n",
        "```console\noutput first\n```\n",
    ],
)
def test_a_comment_or_a_block_without_meaning_is_an_error(text):
    with pytest.raises(MarkError):
        read("page.md", text).steps("laptop")


def test_lines_are_the_same_but_for_numbers_and_ids():
    assert normal("3 files in 1.5 s,  7d2c5f0c9d6b") == normal("12 files in 20.1 s, 0a1b2c")
    assert normal("AGE 40s") == normal("AGE   2m3s")
    assert normal("delivered") != normal("rejected")


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("--bootstrap-servers kafka1:9093,kafka2:9093", "--bootstrap-servers 127.0.0.1:1001"),
        ("curl http://127.0.0.1:8650/data/", "curl http://127.0.0.1:1001/data/"),
        ("penstock broker", "penstock broker --port 1001"),
        ("kubectl --namespace penstock get pods", "kubectl --namespace docs-1-penstock get pods"),
        ("operator.namespaces={penstock,kafka}", "operator.namespaces={docs-1-penstock,docs-1-kafka}"),
        ("bootstrapServers: kafka.kafka:9092", "bootstrapServers: kafka.docs-1-kafka:9092"),
        ("directorystream.penstock.dev/a penstock.a", "directorystream.penstock.dev/a docs-1-penstock.a"),
        ("helm install a charts/penstock", "helm install a charts/penstock --set crd.install=false"),
        ("kubectl get dstream NAME", "kubectl get dstream balance"),
        ("NAME TOPIC", "NAME TOPIC"),
        ("kubectl logs a | grep b", "set -o pipefail; kubectl logs a | { grep b || test $? = 1; }"),
        ("kubectl port-forward service/a 8650", "kubectl port-forward service/a 1001:8650"),
    ],
)  # fmt: skip
def test_what_the_reader_has_stands_for_what_the_pages_name(said, here, monkeypatch):
    ports = iter(range(1001, 1009))
    monkeypatch.setattr("tests.docs.stand_ins.free_ports", lambda number: [next(ports)])
    assert Cluster(Path("DIR"), "1")(said) == here


def test_directories_of_a_laptop_have_stand_ins_too():
    laptop, cluster = Laptop(Path("DIR")), Cluster(Path("DIR"), "1")
    for said, here in [
        ("penstock watch /data/scope", "penstock watch DIR/data/scope"),
        ("ls ~/data/a", "ls ~/data/a"),
        ("cat docs/data/a", "cat docs/data/a"),
    ]:
        assert laptop(said) == here
        assert cluster(said) == said


def follow(tmp_path: Path, text: str) -> None:
    reader = Reader(tmp_path, {"PATH": os.environ["PATH"]}, lambda said: said)
    try:
        reader.follow(read("page.md", text).steps("laptop"))
    finally:
        reader.close()


def test_what_runs_until_ctrl_c_has_ended_when_a_page_says_so(tmp_path):
    follow(
        tmp_path,
        "```console\n$ kubectl() { echo Forwarding from 1; trap 'touch over; exit 0' INT; sleep 99; }\n"
        "$ kubectl port-forward service/a\n$ ! test -e over\n```\n"
        "<!-- before: ^C -->\n```console\n$ test -e over\n```\n",
    )


def test_a_reader_has_one_shell_and_the_files_of_the_page(tmp_path):
    follow(
        tmp_path,
        '```yaml title="a.yaml"\nb: 1\n```\n```console\n$ mkdir sub && A=2\n$ cd sub\n$ cat ../a.yaml\nb: 9\n'
        "$ echo A=$A; ls ../Makefile\nA=2\n```\n",
    )


@pytest.mark.parametrize(
    ("commands", "why"),
    [
        ("$ true\n$ false", "page.md:3: exit code 1"),
        ("$ echo a b\na c", "page.md:2: the page shows a line that is not printed: 'a c'"),
        ("$ printf 'b\\na\\n'\na\nb", "is not printed: 'b'"),
        ("$ exit 0", "ended the shell"),
        ("$ penstock status --watch", "it ended by itself"),
    ],
)
def test_what_does_not_work_or_prints_something_else_is_found(tmp_path, commands, why):
    with pytest.raises(AssertionError, match=re.escape(why)):
        follow(tmp_path, f"```console\n{commands}\n```\n")
