"""What the docs tell to type at a cluster is run on one. What is written how: CONTRIBUTING.md.

Each page has namespaces of its own, which go with it. The cluster and its definition of DirectoryStream are
everybody's: tests/docs/stand_ins.py says what is not done to them.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster import Kubectl
from tests.docs.pages import ROOT, Command, File, Page, pages
from tests.docs.reader import Reader
from tests.docs.stand_ins import NAMESPACES, Cluster
from tests.e2e.evidence import observed
from tests.e2e.installed import claim
from tests.e2e.kafka import deploy_kafka

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("docs")]

KAFKA = "kafka.kafka:9092"
"""Where the pages' Kafka is, if they do not bring one along."""

UNSAID = ("--create-namespace", "--install", "--reuse-values", "--reset-then-reuse-values", "--wait")
"""Options that say nothing of what is rendered, and which `helm template` does not know."""

BLOCKS = [block for page in pages() for block in page.blocks]


def on_a_cluster() -> list[object]:
    """The pages that have something to type there."""
    return [
        pytest.param(page, id=page.name)
        for page in pages()
        if any(b.has_commands and b.not_run is None and b.place == "cluster" for b in page.blocks)
    ]


def manifests(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if isinstance(one, dict) and "kind" in one]


def claims(body: object) -> Iterator[str]:
    """The names of the claims that a manifest asks for."""
    if isinstance(body, dict):
        if isinstance(body.get("claimName"), str):
            yield body["claimName"]
        for value in body.values():
            yield from claims(value)
    elif isinstance(body, list):
        for value in body:
            yield from claims(value)


def with_claims(steps: list[Command | File]) -> Iterator[Command | File]:
    """What a reader does; claims that the page does not make are there when its manifests are applied."""
    files = {step.name: manifests(step.text) for step in steps if isinstance(step, File)}
    made = {
        one["metadata"]["name"] for file in files.values() for one in file if one["kind"] == claim("")["kind"]
    }
    for step in steps:
        found = re.search(r"\bapply\b.* -f (\S+)", step.text) if isinstance(step, Command) else None
        wanted = sorted(set(claims(files.get(found[1], []))) - made) if found else []
        if wanted:
            given = {"apiVersion": "v1", "kind": "List", "items": [claim(name) for name in wanted]}
            apply = f"{step.text.partition(' apply')[0]} apply -f - <<'END'\n{json.dumps(given)}\nEND"
            yield Command(f"{step.where} (its claims)", apply)
        yield step


@pytest.fixture
def reader(page: Page, crd: Kubectl, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Somebody with a kubeconfig of their own; nothing that they have made stays."""
    here = Cluster(tmp_path, uuid.uuid4().hex[:6])
    theirs = {name: Kubectl(crd.kubeconfig, here.namespace(name)) for name in NAMESPACES}
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(crd.kubeconfig, kubeconfig)
    default = ["config", "set-context", "--current", "--namespace", here.namespace("default")]
    subprocess.run(["kubectl", "--kubeconfig", kubeconfig, *default], check=True, capture_output=True)
    named = " ".join(step.text for step in page.steps("cluster"))
    with contextlib.ExitStack() as stack:
        stack.callback(removed, here, theirs)
        assert theirs["default"]("create", "namespace", here.namespace("default")).ok
        if KAFKA in named:
            assert theirs["kafka"]("create", "namespace", here.namespace("kafka")).ok
            deploy_kafka(theirs["kafka"])
        reader = Reader(tmp_path, {**here.environment(), "KUBECONFIG": str(kubeconfig)}, here)
        stack.callback(reader.close)
        stack.enter_context(observed(request.config, "reader", *theirs.values()))
        yield reader


def removed(here: Cluster, theirs: dict[str, Kubectl]) -> None:
    """Take away what a reader has made."""
    for kubectl in theirs.values():
        for left in kubectl("get", "dstream", "-o", "name").out.split():
            kubectl("patch", left, "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')
        environment = {**here.environment(), "KUBECONFIG": kubectl.kubeconfig, "HOME": str(here.directory)}
        helm = ["helm", "--namespace", kubectl.namespace]
        listed = subprocess.run(
            [*helm, "list", "--short"], env=environment, capture_output=True, text=True, check=True
        )
        for release in listed.stdout.split():
            subprocess.run([*helm, "uninstall", release], env=environment, capture_output=True, check=True)
        kubectl("delete", "namespace", kubectl.namespace, "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize("page", on_a_cluster())
def test_a_page_can_be_followed(page, reader):
    reader.follow(list(with_claims(page.steps("cluster"))))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=block.where)
        for block in BLOCKS
        if block.language == "yaml" and block.not_checked is None and manifests(block.text)
    ],
)
def test_the_server_takes_the_pages_manifests(block, crd):
    for manifest in manifests(block.text):
        manifest["metadata"].pop("namespace", None)  # which need not be there
        answer = crd("create", "--dry-run=server", "-f", "-", given=manifest)
        assert answer.ok, f"{block.where}: {answer.err}"


def test_helm_renders_the_chart_with_the_options_that_the_docs_name(tmp_path):
    """Those included that are not run, such as what needs cert-manager."""
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    commands = [
        (block.where, command)
        for block in BLOCKS
        if block.has_commands
        for command in re.findall(r"^\$ (helm (?:install|upgrade) (?:.*\\\n)*.*)$", block.text, re.MULTILINE)
    ]
    assert len(commands) >= 7
    for where, command in commands:
        words = shlex.split(command.replace("\\\n", ""), comments=True)
        words = [word for word in words if word not in UNSAID]
        assert "charts/penstock" in words, where
        words = [str(ROOT / word) if word == "charts/penstock" else word for word in words]
        for file in (words[at + 1] for at, word in enumerate(words) if word in ("--values", "-f")):
            [text] = {block.text for block in BLOCKS if block.name == file}
            (tmp_path / file).write_text(text)
        done = subprocess.run(
            ["helm", "template", *words[2:]],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{where}: {done.stderr}"
