"""`make e2e` without a cluster: what tests/e2e/kind/run asks of docker, kind and kubectl, and what it leaves.

Neither Docker nor kind's images are everywhere. Programs of these names stand in for them here: they write
down what they are asked for, and answer as little as the script needs. The cluster itself is made in the
public workflow.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.images.pods import NAMES, ROOT, VERSION

KIND = ROOT / "tests/e2e/kind"
NODES = ("penstock-e2e-control-plane", "penstock-e2e-worker", "penstock-e2e-worker2")
GATEWAY = "172.18.0.1"

STAND_IN = f"""#!{sys.executable} -IS
import json, os, pathlib, sys

file = pathlib.Path(sys.argv[0])
program, here, asked = file.name, file.parents[1], " ".join(sys.argv[1:])
with open(here / "calls", "a") as calls:
    print(json.dumps([program, *sys.argv[1:]]), file=calls)
cluster = here / "cluster"
if f"{{program}} {{asked}}".startswith(os.environ.get("FAIL") or "-"):
    sys.exit(1)
if asked.startswith("create cluster"):
    cluster.touch()
elif asked.startswith("delete cluster"):
    cluster.unlink(missing_ok=True)
elif asked.startswith("get clusters") and cluster.exists():
    print("penstock-e2e")
elif asked.startswith("get nodes"):
    print(*{NODES}, sep="\\n")
elif "host.docker.internal" in asked:
    print(os.environ.get("DESKTOP", ""), end="")
    sys.exit(not os.environ.get("DESKTOP"))
elif "route show default" in asked:
    print("default via {GATEWAY} dev eth0")
"""


@dataclass(frozen=True)
class Ended:
    code: int
    said: str
    calls: list[str]
    command: dict[str, str]
    """What the command was told, if it ran."""

    def times(self, beginning: str) -> int:
        return sum(call.startswith(beginning) for call in self.calls)

    def order(self, *beginnings: str) -> list[int]:
        return [
            next(number for number, call in enumerate(self.calls) if call.startswith(beginning))
            for beginning in beginnings
        ]


@dataclass(frozen=True)
class Place:
    """A copy of what the script needs of the repository, and a PATH of stand-ins."""

    root: Path
    programs: Path

    def without(self, *names: str) -> None:
        for name in names:
            (self.programs / name).unlink()

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {"HOME": str(self.root), "PATH": str(self.programs), "IMAGES": "uploader broker test-postgres"}
        return kept | variables

    def command(self, code: int = 0) -> list[str]:
        script = (
            "import json, os; told = {name: os.environ[name] for name in ('E2E_KUBECONFIG', 'E2E_HOST')}; "
            f"json.dump(told, open({str(self.programs.parent / 'command')!r}, 'w')); raise SystemExit({code})"
        )
        return [sys.executable, "-c", script]

    def run(self, command: Sequence[str], **variables: str) -> Ended:
        done = subprocess.run(
            [self.root / "tests/e2e/kind/run", *command],
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(done.returncode, done.stderr, self.calls(), self.told())

    def calls(self) -> list[str]:
        log = self.programs.parent / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [" ".join(json.loads(line)) for line in lines]

    def told(self) -> dict[str, str]:
        said = self.programs.parent / "command"
        return json.loads(said.read_text()) if said.exists() else {}

    @property
    def state(self) -> Path:
        return self.root / ".kind"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root, programs = tmp_path / "repository", tmp_path / "stand-ins/bin"
    programs.mkdir(parents=True)
    for file in ("tests/e2e/kind/run", "images/build", "cli/pyproject.toml"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, root / file)
    for name in ("docker", "kind", "kubectl", "helm"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    for name in ("bash", "sed", "awk", "grep", "mkdir", "rm", "dirname", "git", "env"):
        found = shutil.which(name)
        assert found, name
        (programs / name).symlink_to(found)
    return Place(root, programs)


def test_the_command_runs_on_a_cluster_that_has_the_images_and_that_is_gone_afterwards(place):
    ended = place.run(place.command())
    assert ended.code == 0, ended.said
    assert ended.command == {"E2E_KUBECONFIG": str(place.state / "kubeconfig"), "E2E_HOST": GATEWAY}
    order = ended.order(
        "docker info",
        "docker build --tag",
        "kind create cluster --name penstock-e2e --config tests/e2e/kind/cluster.yaml --kubeconfig",
        f"kubectl --kubeconfig {place.state}/kubeconfig --namespace local-path-storage patch configmap",
        f"kubectl --kubeconfig {place.state}/kubeconfig --namespace local-path-storage rollout restart",
        f"kubectl --kubeconfig {place.state}/kubeconfig --namespace local-path-storage rollout status",
        "kind load docker-image --name penstock-e2e "
        + " ".join(f"penstock/{name}:{VERSION}" for name in ("uploader", "broker", "test-postgres")),
        *(f"docker exec {node} crictl pull docker.io/library/busybox:1.35" for node in NODES),
        "kind delete cluster --name penstock-e2e",
        "docker run --rm --network none --user 0 --entrypoint find",
    )
    assert order == sorted(order)
    assert not place.state.exists()


def test_another_kubernetes_is_taken_when_its_image_is_named(place):
    image = "kindest/node:v1.29.14@sha256:abc"
    ended = place.run(place.command(), KIND_NODE_IMAGE=image)
    (created,) = [call for call in ended.calls if call.startswith("kind create cluster")]
    assert created.endswith(f" --image {image}")


@pytest.mark.parametrize(
    ("failing", "code"),
    [("kind load", 1), ("docker exec", 1), ("kubectl", 1), ("", 3)],
)
def test_however_it_fails_the_cluster_goes_and_the_code_says_so(place, failing, code):
    ended = place.run(place.command(code=code), FAIL=failing)
    assert ended.code == code
    assert ended.times("kind delete cluster --name penstock-e2e") == 1
    assert bool(ended.command) == (failing == "")
    assert not place.state.exists()


def test_interrupted_it_takes_the_cluster_with_it(place):
    waiting = [sys.executable, "-c", "print('here', flush=True); input()"]
    process = subprocess.Popen(
        [place.root / "tests/e2e/kind/run", *waiting],
        env=place.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        while process.stdout.readline() not in ("here\n", ""):
            pass
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
        process.wait(30)
    assert process.returncode != 0
    assert any(call.startswith("kind delete cluster") for call in place.calls())


def test_kept_it_stays_and_the_next_run_takes_it_again(place):
    first = place.run(place.command(), KEEP="1")
    assert first.code == 0, first.said
    assert f"export E2E_KUBECONFIG={place.state}/kubeconfig" in first.said
    assert first.times("kind delete") == 0
    assert place.state.exists()
    second = place.run(place.command())
    assert second.code == 0, second.said
    assert (second.times("kind create cluster"), second.times("kind export kubeconfig")) == (1, 1)
    assert second.times("kind load docker-image") == 2
    assert second.times("kind delete cluster") == 1


def test_one_that_was_kept_does_not_pass_for_another_kubernetes(place):
    place.run(place.command(), KEEP="1")
    ended = place.run(place.command(), KIND_NODE_IMAGE="kindest/node:v1.29.14")
    assert ended.code == 2
    assert "KIND_NODE_IMAGE cannot change it: kind delete cluster --name penstock-e2e" in ended.said


def test_the_nodes_logs_are_evidence_of_a_failure_only(place, tmp_path):
    evidence = str(tmp_path / "evidence")
    assert place.run(place.command(), E2E_EVIDENCE=evidence).times("kind export logs") == 0
    failed = place.run(place.command(code=1), E2E_EVIDENCE=evidence)
    asked = f"kind export logs --name penstock-e2e {evidence}/kind"
    exported, deleted = (
        max(number for number, call in enumerate(failed.calls) if call.startswith(beginning))
        for beginning in (asked, "kind delete")
    )
    assert exported < deleted


def test_docker_desktop_has_another_way_to_this_machine(place):
    ended = place.run(place.command(), DESKTOP="192.168.65.254  STREAM host.docker.internal\n")
    assert ended.command["E2E_HOST"] == "192.168.65.254"


def test_what_is_missing_is_said_at_once_with_where_it_is(place):
    place.without("docker", "kind", "helm")
    ended = place.run(place.command())
    assert ended.code == 2
    assert ended.calls == []
    for words in (
        "https://docs.docker.com",
        "go install sigs.k8s.io/kind@v",
        "https://helm.sh",
        "E2E_KUBECONFIG",
    ):
        assert words in ended.said
    assert "kubernetes.io/docs/tasks/tools" not in ended.said


def test_a_docker_that_does_not_answer_is_said_before_anything_is_built(place):
    ended = place.run(place.command(), FAIL="docker info")
    assert ended.code == 2
    assert "docker does not answer: start it" in ended.said
    assert ended.times("docker build") == 0


def test_the_way_to_use_it_is_said(place):
    ended = place.run([])
    assert ended.code == 2
    assert "usage: IMAGES='uploader ...' tests/e2e/kind/run COMMAND..." in ended.said


# What kind is told


def test_two_nodes_take_pods_and_all_nodes_have_the_directory_of_volumes():
    nodes = yaml.safe_load((KIND / "cluster.yaml").read_text("utf-8"))["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    provisioner = yaml.safe_load((KIND / "volumes.yaml").read_text("utf-8"))["data"]["config.json"]
    shared = json.loads(provisioner)
    assert shared.keys() == {"sharedFileSystemPath"}, "beside a nodePathMap the provisioner refuses it"
    for node in nodes:
        (mount,) = node["extraMounts"]
        assert mount == {"hostPath": ".kind/volumes", "containerPath": shared["sharedFileSystemPath"]}
    assert ".kind/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


# What `make` makes of it


def made(*variables: str, kubeconfig: str = "") -> str:
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "e2e", *variables],
        cwd=ROOT,
        env=os.environ | {"E2E_KUBECONFIG": kubeconfig},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_kubeconfig_all_tests_run_on_a_cluster_of_kinds():
    said = made()
    (line,) = [line for line in said.splitlines() if "tests/e2e/kind/run" in line]
    images = re.search(r"IMAGES='([^']*)'", line)
    assert images
    ours = {f"test-{file.parent.name}" for file in ROOT.glob("tests/e2e/*/Dockerfile")}
    assert set(images[1].split()) == {*NAMES, *ours}
    assert line.endswith("pytest -m cluster tests/e2e")
    assert "two_nodes" not in said


def test_a_cluster_that_is_there_gets_the_images_and_no_tests_of_two_nodes():
    said = made("BUILD=true", "LOAD=loader --option", kubeconfig="/some/kubeconfig")
    assert f"loader --option penstock/uploader:{VERSION} " in said
    assert f"penstock/test-prometheus:{VERSION}" in said
    assert 'pytest -m "cluster and not two_nodes" tests/e2e' in said
    assert "tests/e2e/kind" not in said
