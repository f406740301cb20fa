"""The images in a real cluster: restricted pods, a clear word when something is missing, a quick end.

They have to be there already: docs/images.md says how.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.cluster import Kubectl
from tests.images.pods import NAMES, ROOT, SECURITY, USER, container_state, pod_spec, restrict
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("images")]

NOBODY = "127.0.0.1:1"
"""Where no Kafka is: services wait for one."""
METRICS = {"PENSTOCK_METRICS_PORT": "8651", "PENSTOCK_METRICS_HOST": "0.0.0.0"}
ALIVE = {"httpGet": {"path": "/healthz", "port": 8651}, "periodSeconds": 1}
DATA = {"/data": {"emptyDir": {}}}
STREAM = {"PENSTOCK_DIRECTORY": "/data", "PENSTOCK_TOPIC": "t", "PENSTOCK_BOOTSTRAP_SERVERS": NOBODY}
GRACE_SECONDS = 60

LACKING: dict[str, tuple[list[str], str]] = {
    # name: (arguments, what is said)
    "uploader": ([], r"penstock-uploader: --directory \(PENSTOCK_DIRECTORY\) is missing"),
    "downloader": ([], r"penstock-downloader: --topic \(PENSTOCK_TOPIC\) is missing"),
    "registry": ([], r"penstock-registry: the state directory .* cannot be made: .*\(PENSTOCK_STATE_DIR\)"),
    "operator": ([], r"penstock-operator: no Kubernetes to connect to: "),
    "broker": (["broker", "--host", "0.0.0.0"], r"penstock broker: --host 0\.0\.0\.0 .*: --advertise HOST"),
}

FACTS = """
import importlib.machinery, importlib.util, json, os, pathlib, shutil, site, sysconfig

def refusal(directory):
    try:
        with open(os.path.join(directory, "written"), "w"):
            return None
    except OSError as error:
        return os.strerror(error.errno)

status = dict(line.split(":", 1) for line in open("/proc/1/status"))
packages = pathlib.Path(site.getsitepackages()[0])
libraries = pathlib.Path(sysconfig.get_path("stdlib"))
left_out = {"test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "site-packages", "dist-packages"}
compiled = importlib.util.cache_from_source
own = [path for path in libraries.rglob("*.py") if not left_out & set(path.relative_to(libraries).parts)]
sources = [*packages.rglob("*.py"), *own]
print(json.dumps({
    "ids": [*os.getresuid(), *os.getresgid()],
    "groups": os.getgroups(),
    "capabilities": int(status["CapEff"], 16),
    "may gain privileges": status["NoNewPrivs"].strip() != "1",
    "first": open("/proc/1/cmdline").read().split("\\0"),
    "refusals": {path: refusal(path) for path in ("/", "/opt/penstock", "/usr/local/lib", "/tmp", "/data")},
    "not compiled": [str(path) for path in sources if not os.path.exists(compiled(path))],
    "looked at twice": [
        str(path) for path in packages.rglob("*.py")
        if open(compiled(path), "rb").read(8)[4:] != b"\\1\\0\\0\\0"
    ],
    "tools": [name for name in ("pip", "pip3", "uv", "cc", "gcc", "make", "git") if shutil.which(name)],
    "modules": [name for name in ("pip", "setuptools", "ensurepip", "hatchling", "pytest", "jgo")
                if importlib.util.find_spec(name)],
    "tests": [str(path) for path in packages.glob("penstock*/**/tests")],
    "leftovers": [path for path in ("/build", "/root/.cache", "/src", "/var/cache/pip", "/var/cache/penstock")
                  if os.path.exists(path)],
    "lists": os.listdir("/var/lib/apt/lists"),
    "settings": [name for name in os.environ if "proxy" in name.lower() or "index" in name.lower()],
}))
"""


@pytest.fixture(scope="module")
def api(crd: Kubectl, kubectl: Kubectl) -> Kubectl:
    """kubectl in a namespace that takes restricted pods only, where the operator may do its work."""
    restrict(kubectl)
    assert kubectl("create", "serviceaccount", "operator").ok
    account = f"--serviceaccount={kubectl.namespace}:operator"
    assert kubectl("create", "rolebinding", "operator", "--clusterrole=cluster-admin", account).ok
    return kubectl


def needed(name: str, api: Kubectl) -> dict[str, Any]:
    """The spec of a pod that has what it needs, but for a Kafka."""
    if name == "broker":
        args = ["broker", "--data-dir", "/data"]
        spec = pod_spec(name, args=args, volumes=DATA, readinessProbe={"exec": {"command": _READY}})
    elif name == "registry":
        env = {"PENSTOCK_STATE_DIR": "/data", "PENSTOCK_BOOTSTRAP_SERVERS": NOBODY}
        spec = pod_spec(name, env=METRICS | env, volumes=DATA, readinessProbe=ALIVE)
    elif name == "operator":
        env = {"PENSTOCK_NAMESPACES": api.namespace}
        spec = pod_spec(name, env=METRICS | env, volumes=DATA, readinessProbe=ALIVE)
        spec |= {"serviceAccountName": "operator", "automountServiceAccountToken": True}
    else:
        spec = pod_spec(name, env=METRICS | STREAM, volumes=DATA, readinessProbe=ALIVE)
    return spec | {"terminationGracePeriodSeconds": GRACE_SECONDS}


_READY = ["/opt/penstock/bin/python", "-c", "import socket; socket.create_connection(('127.0.0.1', 9092), 1)"]


def create(api: Kubectl, name: str, spec: dict[str, Any], **metadata: Any) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}
    created = api("create", "-f", "-", given=pod)
    assert created.ok, created.err
    assert "would violate" not in created.err


def state(api: Kubectl, pod: str) -> dict[str, Any]:
    return container_state(api("get", f"pod/{pod}", "-o", "json").object)


def evidence(api: Kubectl, pod: str) -> Callable[[], str]:
    return lambda: api("describe", f"pod/{pod}").out + api("logs", pod).out


def ended(api: Kubectl, pod: str, within: float = 90) -> dict[str, Any]:
    """How its container ended."""
    return eventually(lambda: state(api, pod).get("terminated"), timeout=within, describe=evidence(api, pod))


def wait_until_ready(api: Kubectl, pod: str) -> None:
    def ready() -> bool:
        state(api, pod)
        condition = '{.status.conditions[?(@.type=="Ready")].status}'
        return api("get", f"pod/{pod}", "-o", f"jsonpath={condition}").out == "True"

    eventually(ready, timeout=120, describe=evidence(api, pod))


@pytest.fixture(scope="module")
def running(api: Kubectl) -> Callable[[str], str]:
    """The name of a pod that is ready, by the name of its image; all start at once."""
    for name in NAMES:
        create(api, f"runs-{name}", needed(name, api))

    def pod(name: str) -> str:
        wait_until_ready(api, f"runs-{name}")
        return f"runs-{name}"

    return pod


def asked(api: Kubectl, pod: str, code: str) -> str:
    done = api("exec", pod, "--", "/opt/penstock/bin/python", "-c", code)
    assert done.ok, done.err
    return done.out


@pytest.mark.parametrize("name", NAMES)
def test_what_is_lacking_is_said_in_a_line(api, name):
    args, says = LACKING[name]
    create(api, f"lacks-{name}", pod_spec(name, args=args))
    assert ended(api, f"lacks-{name}")["exitCode"] in (1, 2)
    said = api("logs", f"lacks-{name}").out
    assert re.search(f"^{says}", said, re.MULTILINE), said
    assert "Traceback" not in said
    assert "bug" not in said


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_as_nobody_and_writes_only_where_it_may(api, running, name):
    facts = json.loads(asked(api, running(name), FACTS))
    assert facts["ids"] == [USER] * 6
    assert set(facts["groups"]) == {USER}
    assert facts["capabilities"] == 0
    assert not facts["may gain privileges"]
    read_only = "Read-only file system"
    assert facts["refusals"] == {
        "/": read_only, "/opt/penstock": read_only, "/usr/local/lib": read_only, "/tmp": None, "/data": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_there_is_what_it_runs_on_and_no_more(api, running, name):
    facts = json.loads(asked(api, running(name), FACTS))
    nothing = (
        "not compiled",
        "looked at twice",
        "tools",
        "modules",
        "tests",
        "leftovers",
        "lists",
        "settings",
    )
    assert {what: facts[what] for what in nothing if facts[what]} == {}
    assert facts["first"][:3] == ["/usr/bin/tini", "-s", "--"]


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_that_is_deleted_ends_within_seconds(api, name):
    pod = f"ends-{name}"
    create(api, pod, needed(name, api), finalizers=["penstock.dev/to-see-how-it-ends"])
    try:
        wait_until_ready(api, pod)
        before = time.monotonic()
        assert api("delete", f"pod/{pod}", "--wait=false").ok
        how = ended(api, pod)
        seconds = time.monotonic() - before
    finally:
        api("patch", f"pod/{pod}", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    assert how["exitCode"] == 0, how
    assert seconds < GRACE_SECONDS / 3


def test_a_signal_that_comes_before_python_listens_is_not_lost(api):
    """As the first process, one without handlers would not be reached by it."""
    (program,) = re.findall(r'^ENTRYPOINT \["(.*), "\S+"\]$', _dockerfile("uploader"), re.MULTILINE)
    waits = ["/opt/penstock/bin/python", "-c", "print('here', flush=True); input()"]
    spec = pod_spec("uploader", command=[*json.loads(f'["{program}]'), *waits], stdin=True)
    create(
        api,
        "early",
        spec | {"terminationGracePeriodSeconds": GRACE_SECONDS},
        finalizers=["penstock.dev/early"],
    )
    try:
        eventually(lambda: api("logs", "early").out, timeout=60, describe=evidence(api, "early"))
        assert api("delete", "pod/early", "--wait=false").ok
        assert ended(api, "early", within=GRACE_SECONDS / 2)["exitCode"] == 128 + 15
    finally:
        api("patch", "pod/early", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_what_an_exec_leaves_behind_is_reaped(api, running):
    leave = "import subprocess; subprocess.Popen(['true'])"
    asked(api, running("uploader"), leave)
    zombies = (
        "import glob; print(sum(open(path).read().rsplit(')', 1)[1].split()[0] == 'Z'"
        " for path in glob.glob('/proc/[0-9]*/stat')))"
    )
    eventually(lambda: asked(api, running("uploader"), zombies) == "0\n")


def test_an_image_that_is_not_there_is_named_with_what_to_do(api):
    spec = pod_spec("uploader")
    spec["containers"] = [
        spec["containers"][0] | {"image": "penstock/uploader:never", "imagePullPolicy": "Never"}
    ]
    create(api, "missing", spec)
    with pytest.raises(pytest.fail.Exception, match=r"no image penstock/uploader:never .*`make images`"):
        ended(api, "missing")


def test_a_namespace_that_takes_restricted_pods_only_would_refuse_more(api):
    """So that the other tests say something."""
    spec = pod_spec("uploader", securityContext=SECURITY | {"allowPrivilegeEscalation": True})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "more"}, "spec": spec}
    refused = api("create", "-f", "-", given=pod)
    assert not refused.ok
    assert "allowPrivilegeEscalation" in refused.err


def _dockerfile(name: str) -> str:
    return (ROOT / f"services/{name}/Dockerfile").read_text("utf-8")
