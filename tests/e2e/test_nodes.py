"""Nodes that are drained, replicas on several of them, and NetworkPolicies that are enforced.

What takes two nodes, or a network that keeps to NetworkPolicies, is marked `two_nodes`: it runs on the
cluster that `make e2e` makes with kind, and is left out on others. The rest runs everywhere: pods that are
evicted as a drain evicts them, and all that has to go on with the policies in place.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.cluster import Answer, Kubectl, own_namespace
from tests.e2e.flow import Flow
from tests.e2e.installed import (
    OPERATOR,
    POLL_SECONDS,
    RELEASE,
    Penstock,
    Stream,
    apply,
    installed,
    namespaces,
)
from tests.e2e.pods import alive, pods_of, ready
from tests.images.pods import pod_spec
from tests.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("nodes")]

two_nodes = pytest.mark.two_nodes

PATIENCE_SECONDS = 3
"""How long somebody waits to be connected who, it seems, may not."""


# Files that flow while their pods move


@contextmanager
def flowing(penstock: Penstock, name: str, **downloader: Any) -> Iterator[Flow]:
    """Files that go through four partitions to two downloaders."""
    scaling = {"partitionsPerReplica": 2}
    stream = penstock.declare(name, topic={"partitions": 4}, downloader={"scaling": scaling, **downloader})
    flow = Flow(stream, penstock.desk)
    try:
        flow.start()
        stream.until_replicas(2)
        yield flow
    finally:
        flow.remove()
        penstock.lab("delete", "dstream", name, "--wait=false")


def pods(stream: Stream) -> list[dict[str, Any]]:
    """Both sides' pods, but for those that are ending."""
    return alive([*stream.pods("uploader"), *stream.pods("downloader")])


def names(of: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["name"] for pod in of}


def places(of: list[dict[str, Any]]) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in of}


def until_settled(stream: Stream, *, without: set[str], on: str | None = None) -> None:
    """Wait until three pods are ready, none of them one of these, all on a node if one is named."""

    def settled() -> bool:
        there = pods(stream)
        return (
            len(there) == 3
            and all(map(ready, there))
            and not names(there) & without
            and (on is None or places(there) == {on})
        )

    eventually(settled, 180, lambda: stream.lab("get", "pods", "-o", "wide").out, POLL_SECONDS)


def evict(kubectl: Kubectl, pod: str) -> None:
    """Have a pod leave its node, as a drain does: what forbids disruptions is asked."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod}/eviction"
    evicted = kubectl("create", "--raw", path, "-f", "-", given=eviction)
    assert evicted.ok, evicted.err


def drain(cluster: Kubectl, node: str, chosen: str, *options: str) -> Answer:
    """Have pods with a label leave a node, which takes none from then on; nobody else's have to go."""
    return cluster("drain", node, f"--pod-selector={chosen}", "--delete-emptydir-data", *options)


def all_has_arrived(flow: Flow, penstock: Penstock) -> None:
    """Write some more files, and look at all: at both ends, and at what was visible in between."""
    before = flow.written()
    eventually(lambda: len(flow.written()) >= len(before) + 5, 30, "files are written", POLL_SECONDS)
    flow.stop()
    written = flow.everything_arrives(timeout=120)
    digests = {path: file.sha256 for path, file in written.items()}
    assert penstock.desk.sent(flow.stream.name) == digests
    assert penstock.desk.delivered(flow.stream.name) == digests


def test_files_arrive_whole_and_once_while_all_pods_of_a_stream_are_evicted(penstock):
    with flowing(penstock, "evicted") as flow:
        before = names(pods(flow.stream))
        eventually(lambda: len(flow.seen()) >= 5, 60, "files arrive", POLL_SECONDS)
        for pod in before:
            evict(penstock.lab, pod)
        until_settled(flow.stream, without=before)
        all_has_arrived(flow, penstock)


def test_a_drain_would_be_let_do_it(penstock, declare):
    """The API server is asked, and does nothing: no budget of ours, nor anything else, would hold a node."""
    stream = declare("dry")
    stream.until()
    there = pods(stream)
    for node in places(there):
        said = drain(penstock.cluster, node, "penstock.dev/stream=dry", "--dry-run=server")
        assert said.ok, said.err
        for pod in there:
            if pod["spec"]["nodeName"] == node:
                assert (
                    f"evicting pod {penstock.lab.namespace}/{pod['metadata']['name']} (server dry run)"
                    in (said.out + said.err)
                )
    assert names(pods(stream)) == names(there)


# Two nodes


@pytest.fixture(scope="module")
def nodes(cluster: Kubectl) -> list[str]:
    """The nodes that take pods."""
    found = cluster("get", "nodes", "-o", "json").object["items"]
    taking = [
        node["metadata"]["name"]
        for node in found
        if ready(node)
        and not node["spec"].get("unschedulable")
        and all(taint["effect"] == "PreferNoSchedule" for taint in node["spec"].get("taints", ()))
    ]
    if len(taking) < 2:
        pytest.fail(
            f"needs two nodes that take pods, and there is {', '.join(taking) or 'none'}: `make e2e` without "
            'E2E_KUBECONFIG makes a cluster that has them; `-m "cluster and not two_nodes"` leaves these out',
            pytrace=False,
        )
    return taking


@contextmanager
def cordoned(cluster: Kubectl, *nodes: str) -> Iterator[None]:
    """Nodes that take no new pods."""
    try:
        for node in nodes:
            assert cluster("cordon", node).ok
        yield
    finally:
        for node in nodes:
            cluster("uncordon", node)


@two_nodes
def test_files_arrive_whole_and_once_while_their_node_is_drained(penstock, nodes):
    """Whatever else of Penstock is on the node (operator, registry, Kafka) moves with them."""
    # Who writes and who looks are no Deployments, and would not come back: they are on the node that stays.
    stays = penstock.lab("get", "pod/desk", "-o", "jsonpath={.spec.nodeName}").out
    (drained, *others) = [node for node in nodes if node != stays]
    cluster = penstock.cluster
    with cordoned(cluster, drained, *others), flowing(penstock, "drained") as flow:
        cluster("uncordon", drained)
        with cordoned(cluster, stays):
            before = names(pods(flow.stream))
            for pod in before:
                evict(penstock.lab, pod)
            until_settled(flow.stream, without=before, on=drained)
        seen = len(flow.seen())
        eventually(lambda: len(flow.seen()) >= seen + 5, 60, "files arrive", POLL_SECONDS)

        done = drain(cluster, drained, "app.kubernetes.io/name=penstock", "--timeout=110s")
        assert done.ok, done.out + done.err
        until_settled(flow.stream, without=names(pods(flow.stream)) & before, on=stays)
        penstock.operator_ready()
        penstock.registry.wait_until_ready()
        penstock.kafka.wait_until_ready()
        all_has_arrived(flow, penstock)
        flow.stream.until("Ready", reason="AllReady")


@two_nodes
def test_downloaders_on_two_nodes_share_a_destination(penstock, nodes):
    apart = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
    }
    with flowing(penstock, "spread", pod={"topologySpreadConstraints": [apart]}) as flow:
        there = alive(flow.stream.pods())
        assert len(places(there)) == 2, there
        members = penstock.kafka.members(flow.stream.status["consumerGroup"])
        assert [len(held) for held in members.values()] == [2, 2]
        all_has_arrived(flow, penstock)


# NetworkPolicies


CONNECT = f"""
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), {PATIENCE_SECONDS})
except OSError as error:
    print(error)
"""
"""Says what was in the way, if something was."""


def connected(kubectl: Kubectl, pod: str, host: str, port: int) -> bool:
    """Whether a pod of ours is connected; nobody there, and nobody let through, look the same to it."""
    said = kubectl("exec", pod, "--", "python", "-c", CONNECT, host, str(port))
    assert said.ok, f"nobody has tried to connect: {said.err}"
    return said.out == ""


@dataclass(frozen=True)
class Network:
    """An installation with its policies, and somebody in each kind of namespace who tries to connect."""

    penstock: Penstock
    stream: Stream
    callers: dict[str, Kubectl]

    def address(self, target: str) -> tuple[str, int]:
        system, lab = self.penstock.system, self.penstock.lab
        services = {
            "kafka": (f"{RELEASE}-kafka", 9092),
            "page": (f"{RELEASE}-registry", 8650),
            "registry's metrics": (f"{RELEASE}-registry", 8651),
            "webhook": (f"{RELEASE}-webhook", 443),
        }
        if target in services:
            name, port = services[target]
            return f"{name}.{system.namespace}.svc", port
        kubectl, deployment = {
            "operator's metrics": (system, OPERATOR),
            "downloader's metrics": (lab, f"{self.stream.name}-downloader"),
            "uploader's metrics": (lab, f"{self.stream.name}-uploader"),
        }[target]
        (pod,) = alive(pods_of(kubectl, deployment))
        return pod["status"]["podIP"], 8651

    def reaches(self, caller: str, target: str) -> bool:
        host, port = self.address(target)
        return connected(self.callers[caller], "caller", host, port)


CALLER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "caller"},
    "spec": pod_spec("downloader", command=["sleep", "infinity"]) | {"terminationGracePeriodSeconds": 0},
}


@pytest.fixture(scope="module")
def network(crd: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    home = tmp_path_factory.mktemp("helm-network")
    with (
        namespaces(crd, home) as here,
        own_namespace(crd) as guest,
        own_namespace(crd) as stranger,
        installed(here),
    ):
        policies = {"enabled": True, "registryNamespaces": [guest.namespace]}
        small = {"resources": {"requests": {"cpu": "50m"}}}
        here.release.upgrade(
            here.values(demoKafka={"enabled": True} | small, registry=small, networkPolicies=policies)
        )
        callers = {"system": here.system, "lab": here.lab, "guest": guest, "stranger": stranger}
        for kubectl in callers.values():
            apply(kubectl, CALLER)
        for kubectl in callers.values():
            waited = kubectl("wait", "--for=condition=Ready", "pod/caller", "--timeout=90s")
            assert waited.ok, waited.err
        stream = here.declare("policed")
        stream.until()
        yield Network(here, stream, callers)


TARGETS = {
    # target: who may connect
    "kafka": {"system", "lab"},
    "page": {"system", "guest"},
    "registry's metrics": {"system"},
    "operator's metrics": {"system"},
    "downloader's metrics": {"system"},
    "uploader's metrics": {"system"},
    # API servers are no pods, and their addresses are not known to the chart by itself.
    "webhook": {"system", "lab", "guest", "stranger"},
}
CALLERS = ("system", "lab", "guest", "stranger")
MAY = [(caller, target) for target, allowed in TARGETS.items() for caller in CALLERS if caller in allowed]
MAY_NOT = [
    (caller, target) for target, allowed in TARGETS.items() for caller in CALLERS if caller not in allowed
]


def test_files_flow_with_the_policies_in_place(network):
    """All reach Kafka who have to, and the kubelet asks them all how they are."""
    here = network.penstock
    kinds = here.system("get", "networkpolicies", "-o", "name").out.split()
    assert {kind.rpartition("/")[2] for kind in kinds} == {
        OPERATOR,
        f"{RELEASE}-registry",
        f"{RELEASE}-kafka",
    }
    assert len(here.lab("get", "networkpolicies", "-o", "name").out.split()) == 1
    sent = here.desk.write("policed", {"one.raw": 1_000, "run/two.raw": 3_000_000})
    here.desk.expect("policed", sent, timeout=90)
    network.stream.until("Ready", reason="AllReady")
    with here.registry.connected() as api:
        eventually(
            lambda: {file["state"] for file in api.all("files", stream="policed")} == {"delivered"},
            60,
            "the registry has read the receipts",
            POLL_SECONDS,
        )


def test_the_api_server_reaches_the_webhook_with_the_policies_in_place(network):
    spec = pod_spec("downloader", command=["true"])
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "labelled", "labels": {"penstock.dev/inject": "no-such-stream"}},
        "spec": spec,
    }
    refused = network.penstock.lab("create", "--dry-run=server", "-f", "-", given=pod)
    assert "there is no such DirectoryStream" in refused.err


@pytest.mark.parametrize(("caller", "target"), MAY)
def test_who_may_connect_is_connected(network, caller, target):
    eventually(lambda: network.reaches(caller, target), 30, f"{caller} reaches {target}", POLL_SECONDS)


@two_nodes
@pytest.mark.parametrize(("caller", "target"), MAY_NOT)
def test_who_may_not_connect_is_not_connected(network, caller, target):
    allowed = min(TARGETS[target])
    eventually(lambda: network.reaches(allowed, target), 30, f"{target} is there", POLL_SECONDS)
    eventually(
        lambda: not network.reaches(caller, target),
        30,
        f"{caller} does not reach {target}: does the cluster enforce NetworkPolicies? (kind does since 0.24)",
        POLL_SECONDS,
    )


@two_nodes
def test_the_demo_kafka_connects_to_nobody(network):
    kafka, page = network.penstock.kafka, network.address("page")
    eventually(
        lambda: not connected(kafka.kubectl, f"deployment/{kafka.name}", *page),
        30,
        "the Kafka's pod does not reach the registry",
        POLL_SECONDS,
    )
