"""The emulated API by itself; tests/e2e/test_emulation.py compares it with a real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import httpx2
import kopf
import lightkube
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType
from tests.integration.operator import emulated_api_fields as ownership
from tests.integration.operator.emulated_api import EmulatedApi, kopf_running
from tests.integration.operator.emulated_api_fields import Conflicts, Items, Manager
from tests.integration.operator.emulated_api_store import Refused, Store, selector, selects

Stream = create_namespaced_resource("penstock.dev", "v1alpha1", "DirectoryStream", "directorystreams")
StreamStatus = Stream.Status
Deployment = create_namespaced_resource("apps", "v1", "Deployment", "deployments")

SPEC = {
    "kafka": {"bootstrapServers": "kafka:9092"},
    "topic": {"name": "balance"},
    "downloader": {"destination": {"persistentVolumeClaim": {"claimName": "lab-data"}}},
}


def stream(name="scope", **metadata):
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "DirectoryStream",
        "metadata": {"name": name, "namespace": "lab"} | metadata,
        "spec": SPEC,
    }


def config(name="one", data=None, **metadata):
    metadata = {"name": name, "namespace": "lab"} | metadata
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {}}


def deployment(name="scope", image="penstock:1", **spec):
    template = {"spec": {"containers": [{"name": "downloader", "image": image}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "lab"},
        "spec": {"replicas": 2, "template": template} | spec,
    }


# Who owns what, for any objects

RULES = {
    ("set",): "set",
    ("items",): Items({"name": None}),
    ("items", "inner"): Items({"port": None, "protocol": "TCP"}),
    ("whole",): "atomic",
    ("owners",): Items({"uid": None}, atomic=True),
}
leaves = st.integers(0, 2) | st.text("ab", max_size=1)


def some(**parts):
    return st.fixed_dictionaries({}, optional=parts)


def named(key, names, item):
    return st.lists(st.tuples(names, item), min_size=1, max_size=3, unique_by=lambda pair: pair[0]).map(
        lambda pairs: [inner | {key: name} for name, inner in pairs]
    )


inner_items = named("port", st.sampled_from([1, 2]), some(protocol=st.just("UDP"), value=leaves))
items = named("name", st.sampled_from("xyz"), some(value=leaves, inner=inner_items))
objects = some(
    plain=leaves,
    fields=some(a=leaves, b=leaves, deep=some(c=leaves, d=leaves)),
    set=st.lists(st.sampled_from("pqr"), unique=True, min_size=1),
    items=items,
    whole=some(a=leaves, b=leaves),
    list=st.lists(leaves, max_size=2),
    owners=named("uid", st.sampled_from("uv"), some(value=leaves)),
)
A, B, EDITOR = Manager("a", "Apply"), Manager("b", "Apply"), Manager("editor", "Update")


def apply(state, manager, said, force=True):
    return ownership.applied(*state, manager, said, RULES, force)


def leaves_of(obj, paths):
    """What is at these paths; an empty object may have been filled by others."""
    found = ownership.fields(obj, RULES)
    filled = {path[:1] for path in found} | {path[:2] for path in found}
    return {path: found.get(path, {} if path in filled else "missing") for path in paths}


NOTHING: tuple = ({}, {})


@given(objects, objects, objects)
def test_an_apply_twice_is_an_apply_once(before, others, said):
    state = apply(apply(NOTHING, A, before), B, others)
    once = apply(state, A, said)
    assert apply(once, A, said) == once


@given(objects, objects)
def test_what_is_applied_is_there_and_owned(before, said):
    obj, owners = apply(apply(NOTHING, B, before), A, said)
    wanted = ownership.fields(said, RULES)
    assert leaves_of(obj, wanted.keys()) == wanted
    assert owners.get(A, frozenset()) == wanted.keys() - {()} or said == {}


@given(objects, objects, objects)
def test_two_managers_do_not_touch_each_others_fields(first, others, second):
    """Whatever A says next without force: B's fields are as they were, or A is told of a conflict."""
    state = apply(apply(NOTHING, A, first), B, others)
    obj, owners = state
    of_b = owners.get(B, frozenset())
    with contextlib.suppress(Conflicts):
        after, new_owners = apply(state, A, second, force=False)
        assert leaves_of(after, of_b) == leaves_of(obj, of_b)
        assert new_owners.get(B, frozenset()) == of_b


@given(objects, objects)
def test_who_is_forced_owns_no_more_what_was_taken(others, said):
    obj, owners = apply(apply(NOTHING, B, others), A, said)
    of_b = owners.get(B, frozenset())
    assert leaves_of(obj, of_b) == {path: ownership.fields(others, RULES)[path] for path in of_b}


@given(objects, objects)
def test_who_says_nothing_any_more_leaves_what_others_say(said, others):
    state = apply(apply(NOTHING, A, said), B, others)
    obj, owners = apply(state, A, {})
    assert A not in owners
    wanted = ownership.fields(others, RULES)
    assert leaves_of(obj, wanted.keys()) == wanted
    assert obj == apply(NOTHING, B, others)[0] or set(ownership.fields(obj, RULES)) >= wanted.keys()


@given(objects, objects)
def test_alone_a_manager_has_exactly_what_it_says(before, said):
    obj, _ = apply(apply(NOTHING, A, before), A, said)
    assert ownership.fields(obj, RULES) == ownership.fields(said, RULES)


@given(objects, objects, objects)
def test_an_edit_takes_what_it_changes(said, others, edited):
    obj, owners = apply(apply(NOTHING, A, said), B, others)
    owners = ownership.updated(obj, owners, EDITOR, edited, RULES)
    changed = ownership.changes(obj, edited, RULES)
    assert owners.get(EDITOR, frozenset()) == changed.written
    for manager in (A, B):
        assert not owners.get(manager, frozenset()) & (changed.written | changed.removed)


@given(objects)
def test_owned_fields_are_written_and_read_as_kubernetes_writes_them(said):
    paths = ownership.owned(said, RULES) - {()}
    assert ownership.from_fields_v1(ownership.as_fields_v1(paths)) == paths


def test_fields_as_kubernetes_writes_them():
    said = {"items": [{"name": "x", "inner": [{"port": 1, "value": 2}]}], "set": ["p"], "fields": {"a": 1}}
    assert ownership.as_fields_v1(ownership.owned(said, RULES)) == {
        "f:fields": {"f:a": {}},
        "f:items": {
            'k:{"name":"x"}': {
                ".": {},
                "f:name": {},
                "f:inner": {'k:{"port":1,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:value": {}}},
            }
        },
        "f:set": {'v:"p"': {}},
    }


# The store


@pytest.fixture
def store():
    return Store()


def test_versions_only_grow_and_only_with_changes(store):
    configmaps = store.resource("ConfigMap")
    first = store.apply(configmaps, "lab", "one", config(data={"a": "1"}), "a")
    again = store.apply(configmaps, "lab", "one", config(data={"a": "1"}), "a")
    assert again == first
    other = store.apply(configmaps, "lab", "one", config(data={"a": "1"}), "b")
    assert int(other["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert [change.version for change in store.history] == [2, 3]


def test_what_is_forgotten_is_refused_to_a_watch(store):
    store.create(store.resource("ConfigMap"), "lab", config(), "a")
    before = store.version
    assert store.changes_since(before) == []
    store.forget()
    with pytest.raises(Refused) as refused:
        store.changes_since(before)
    assert refused.value.code == 410
    assert store.changes_since(store.version) == []


def test_owned_objects_go_with_the_last_of_their_owners(store):
    configmaps = store.resource("ConfigMap")
    owners = [store.create(configmaps, "lab", config(name), "a") for name in ("first", "second")]
    references = [{"uid": owner["metadata"]["uid"]} for owner in owners]
    store.create(configmaps, "lab", config("owned", ownerReferences=references), "a")
    store.delete(configmaps, "lab", "first")
    store.collect_garbage()
    assert store.get(configmaps, "lab", "owned")
    store.delete(configmaps, "lab", "second")
    store.collect_garbage()
    assert store.all(configmaps, selects()) == []


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("a", {"a": ""}, True),
        ("a", {"b": ""}, False),
        ("!a", {"b": ""}, True),
        ("a in (1, 2),b", {"a": "2", "b": "x"}, True),
        ("a in (1,2)", {}, False),
        ("a notin (1,2)", {}, True),
        ("a!=1", {"a": "1"}, False),
        ("app.kubernetes.io/name==x", {"app.kubernetes.io/name": "x"}, True),
    ],
)
def test_label_selectors(text, labels, selected):
    assert selector(text)(labels) is selected


@pytest.mark.parametrize("text", ["a in (", "a=1=2", ",", "a b"])
def test_a_label_selector_that_is_none_is_refused(text):
    with pytest.raises(Refused):
        selector(text)


# Over HTTP


@pytest_asyncio.fixture
async def api() -> AsyncIterator[EmulatedApi]:
    async with EmulatedApi() as api:
        yield api


@pytest_asyncio.fixture
async def client(api) -> AsyncIterator[lightkube.AsyncClient]:
    client = lightkube.AsyncClient(
        api.kubeconfig, field_manager="penstock", trust_env=False, timeout=httpx2.Timeout(5)
    )
    yield client
    await client.close()


async def code_of(request) -> int:
    with pytest.raises(ApiError) as refused:
        await request
    assert refused.value.status.code is not None
    return refused.value.status.code


@pytest.mark.asyncio
async def test_lightkube_reads_applies_and_deletes(api, client):
    api.create(stream())
    applied = await client.apply(Deployment.from_dict(deployment()), force=True)
    assert applied.metadata.generation == 1
    api.edit("deployments", "lab", "scope", {"spec": {"replicas": 5, "paused": True}})
    applied = await client.apply(Deployment.from_dict(deployment()), force=True)
    assert applied.spec == deployment()["spec"] | {"paused": True}
    assert applied.metadata.generation == 3

    api.roll_out("lab", "scope", ready=1)
    found = [one async for one in client.list(Deployment, namespace="lab")]
    assert [one.status["readyReplicas"] for one in found] == [1]
    assert found[0].metadata.generation == 3

    status = stream() | {"status": {"lag": 3}}
    del status["spec"]
    await client.apply(StreamStatus.from_dict(status), force=True)
    assert api.get("DirectoryStream", "lab", "scope")["status"]["lag"] == 3
    assert api.get("DirectoryStream", "lab", "scope")["spec"]["suspend"] is False

    await client.delete(Deployment, "scope", namespace="lab")
    assert await code_of(client.get(Deployment, "scope", namespace="lab")) == 404
    assert api.writes == {
        "patch deployments": 2,
        "patch directorystreams/status": 1,
        "delete deployments": 1,
    }
    assert {asked.manager for asked in api.requests if asked.verb == "patch"} == {"penstock"}


@pytest.mark.asyncio
async def test_what_is_not_emulated_is_refused(api, client):
    api.create(deployment("one"))
    patch = client.patch(Deployment, "one", {"spec": {}}, namespace="lab", patch_type=PatchType.STRATEGIC)
    assert await code_of(patch) == 415
    assert await code_of(client.deletecollection(Deployment, namespace="lab")) == 405
    assert await code_of(client.delete(Deployment, "one", namespace="lab", dry_run=True)) == 400
    foreground = client.delete(
        Deployment, "one", namespace="lab", cascade=lightkube.types.CascadeType.FOREGROUND
    )
    assert await code_of(foreground) == 400
    with pytest.raises(Refused, match="null in an apply is not emulated"):
        api.apply(config(data={"a": None}))
    Unknown = create_namespaced_resource("batch", "v1", "Job", "jobs")  # noqa: N806
    assert await code_of(client.get(Unknown, "one", namespace="lab")) == 404


@pytest.mark.asyncio
async def test_refusals_are_for_the_next_requests_of_their_kind(api, client):
    api.create(deployment())
    fault = api.refuses(422, "patch", "deployments", name="scope", times=2, message="spec: no")
    await client.get(Deployment, "scope", namespace="lab")
    for _ in range(2):
        assert await code_of(client.apply(Deployment.from_dict(deployment(image="other")), force=True)) == 422
    assert fault.met == 2
    assert (
        await client.apply(Deployment.from_dict(deployment(image="other")), force=True)
    ).metadata.generation == 2
    assert [asked.answered for asked in api.asked("patch", "deployments")] == [422, 422, 200]

    for_ever = api.refuses(500, times=None)
    for _ in range(3):
        assert await code_of(client.get(Deployment, "scope", namespace="lab")) == 500
    for_ever.end()
    await client.get(Deployment, "scope", namespace="lab")


@pytest.mark.asyncio
async def test_429_says_when_to_come_back(api):
    api.refuses(429, retry_after=7)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{api.url}/api/v1/namespaces/lab/pods") as answer,
    ):
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        assert (await answer.json())["reason"] == "TooManyRequests"


@pytest.mark.asyncio
async def test_connections_are_reset_before_or_after_the_work(api, client):
    wanted = Deployment.from_dict(deployment())
    api.cuts("patch", "deployments")
    with pytest.raises(httpx2.TransportError):
        await client.apply(wanted)
    assert api.find("deployments", "lab", "scope") is None
    api.loses_answers("patch", "deployments")
    with pytest.raises(httpx2.TransportError):
        await client.apply(wanted)
    assert api.get("deployments", "lab", "scope")["spec"]["replicas"] == 2
    assert [asked.answered for asked in api.requests] == [None, None]


@pytest.mark.asyncio
async def test_a_request_hangs_until_its_client_or_the_test_ends_it(api):
    hurried = lightkube.AsyncClient(api.kubeconfig, trust_env=False, timeout=httpx2.Timeout(0.05))
    fault = api.hangs("get", times=None)
    with pytest.raises(httpx2.TimeoutException):
        await hurried.get(Deployment, "scope", namespace="lab")
    await hurried.close()
    patient = lightkube.AsyncClient(api.kubeconfig, trust_env=False, timeout=httpx2.Timeout(30))
    asking = asyncio.create_task(patient.get(Deployment, "scope", namespace="lab"))
    await api.until(lambda: fault.met == 2)
    fault.end()
    with pytest.raises(httpx2.TransportError):
        await asking
    await patient.close()


@pytest.mark.asyncio
async def test_the_api_goes_away_and_comes_back_where_it_was(api, client):
    api.create(deployment())
    url = api.url
    async with api.away():
        with pytest.raises(httpx2.ConnectError):
            await client.get(Deployment, "scope", namespace="lab")
        api.edit("deployments", "lab", "scope", {"spec": {"replicas": 7}})
    assert api.url == url
    assert (await client.get(Deployment, "scope", namespace="lab")).spec["replicas"] == 7


@pytest.mark.asyncio
async def test_watches_are_cut_and_told_that_they_are_too_late(api):
    api.create(config())
    url = f"{api.url}/api/v1/configmaps?watch=1"
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as watch:
            first = await watch.content.readline()
            assert b'"ADDED"' in first
            assert api.watched == {"configmaps": 1}
            api.edit("configmaps", "lab", "one", {"data": {"a": "1"}})
            assert b'"MODIFIED"' in await watch.content.readline()
            assert api.cut_watches("deployments") == 0
            assert api.cut_watches("configmaps") == 1
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await watch.content.readline()
        version = api.get("configmaps", "lab", "one")["metadata"]["resourceVersion"]
        async with session.get(f"{url}&resourceVersion={version}") as watch:
            api.delete("configmaps", "lab", "one")
            assert b'"DELETED"' in await watch.content.readline()
            assert api.forget() == 1
        async with session.get(f"{url}&resourceVersion={version}") as watch:
            assert b'"code": 410' in await watch.content.readline()
        await api.until(lambda: not api.watched)


@pytest.mark.asyncio
async def test_a_watch_ends_in_time(api):
    url = f"{api.url}/api/v1/configmaps?watch=1&timeoutSeconds=0"
    async with aiohttp.ClientSession() as session, session.get(url) as watch:
        assert await watch.read() == b""


@pytest.mark.asyncio
async def test_an_initial_stream_ends_with_its_bookmark(api):
    api.create(config())
    url = f"{api.url}/api/v1/configmaps?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
    async with aiohttp.ClientSession() as session, session.get(url) as watch:
        assert b'"ADDED"' in await watch.content.readline()
        assert b'"k8s.io/initial-events-end": "true"' in await watch.content.readline()


@pytest.mark.asyncio
async def test_waiting_sees_changes_and_says_what_it_saw_last(api):
    api.create(config())
    found = asyncio.create_task(api.until(lambda: api.get("configmaps", "lab", "one").get("data")))
    await asyncio.sleep(0)
    api.edit("configmaps", "lab", "one", {"data": {"a": "1"}})
    assert await found == {"a": "1"}
    with pytest.raises(AssertionError, match=r"not within 0 s: a dog \(last seen: None\)"):
        await api.until(lambda: api.find("configmaps", "lab", "two"), timeout=0, describe="a dog")


@pytest.mark.asyncio
async def test_quiet_is_when_nobody_writes(api, client):
    await api.quiet(0.05)

    async def restless():
        while True:
            await client.apply(Deployment.from_dict(deployment()), force=True)

    writing = asyncio.create_task(restless())
    with pytest.raises(AssertionError, match="not quiet within"):
        await api.quiet(0.1, timeout=0.1)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing


# With kopf: a small operator as ours is


@pytest_asyncio.fixture
async def operator(api) -> AsyncIterator[list[tuple[str | None, str, str]]]:
    """An operator that notes which event it saw of what, and that applies a Deployment for each stream."""
    registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.watching.reconnect_backoff = 0.01
    settings.networking.error_backoffs = [0.05] * 100
    seen: list[tuple[str | None, str, str]] = []

    @kopf.on.login(registry=registry)
    async def login(**_):
        return api.connection

    @kopf.on.startup(registry=registry)
    async def started(memo, **_):
        memo.client = lightkube.AsyncClient(
            api.kubeconfig, field_manager="penstock", trust_env=False, timeout=httpx2.Timeout(5)
        )

    @kopf.on.cleanup(registry=registry)
    async def stopped(memo, **_):
        await memo.client.close()

    @kopf.on.event("penstock.dev", "v1alpha1", "directorystreams", registry=registry)
    async def changed(type, name, body, memo, **_):  # noqa: A002
        seen.append((type, "stream", name))
        if type != "DELETED" and "deletionTimestamp" not in body["metadata"]:
            await memo.client.apply(Deployment.from_dict(deployment(name)), force=True)
            kopf.event(body, type="Normal", reason="Applied", message="its Deployment is as it should be")

    @kopf.on.event("apps", "v1", "deployments", registry=registry, labels={"of": "us"})
    async def rolled_out(type, name, **_):  # noqa: A002
        seen.append((type, "deployment", name))

    async with kopf_running(
        registry=registry, settings=settings, namespaces=["lab"], standalone=True, identity="test"
    ):
        yield seen


@pytest.mark.asyncio
async def test_kopf_lists_and_watches_and_posts_events(api, operator):
    await api.until(lambda: api.watched == {"directorystreams": 1, "deployments": 1})
    api.create(stream())
    await api.until(lambda: api.find("deployments", "lab", "scope"))
    await api.until(lambda: (None, "stream", "scope") in operator or ("ADDED", "stream", "scope") in operator)
    (said,) = await api.until(lambda: api.all("events", "lab"))
    assert (said["reason"], said["involvedObject"]["name"]) == ("Applied", "scope")
    await api.quiet(0.2)
    assert api.writes == {"patch deployments": 1, "create events": 1}
    api.delete("directorystreams", "lab", "scope")
    await api.until(lambda: ("DELETED", "stream", "scope") in operator)


@pytest.mark.asyncio
async def test_kopf_goes_on_after_cuts_410_and_an_api_that_was_away(api, operator):
    both = {"directorystreams": 1, "deployments": 1}
    await api.until(lambda: api.watched == both)
    api.cut_watches()
    api.create(stream("cut"))
    await api.until(lambda: api.find("deployments", "lab", "cut"))
    await api.until(lambda: api.watched == both)
    lists = len(api.asked("list", "directorystreams"))

    api.forget()
    api.create(stream("forgotten"))
    await api.until(lambda: api.find("deployments", "lab", "forgotten"))
    assert len(api.asked("list", "directorystreams")) == lists + 1

    await api.until(lambda: api.watched == both)
    async with api.away():
        api.create(stream("away"))
    await api.until(lambda: api.find("deployments", "lab", "away"))
