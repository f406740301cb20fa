"""The webhook: every pod that the API server asks about gets an answer, and none goes without its sidecar."""

import asyncio
import base64
import contextlib
import copy
import gzip
import io
import json
import logging
import os
import ssl
import time

import aiohttp
import jsonpatch
import pytest
from hypothesis import example as given_example
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from tests.certificates import Authority
from tests.streams import INSTALLATION, example

from penstock_operator.objects import INJECT_LABEL
from penstock_operator.resource.stream import InvalidResource
from penstock_operator.webhook import LARGE_AT_ONCE, MAX_BODY, SMALL_BODY, Webhook
from servicekit.exceptions import ConfigurationError, PenstockError
from servicekit.http import Health

STREAM = example("sidecar")
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "generateName": "simulation-7d9f-",
        "labels": {"app": "simulation", INJECT_LABEL: "simulation"},
    },
    "spec": {
        "containers": [
            {
                "name": "simulation",
                "image": "simulation:1",
                "volumeMounts": [{"name": "results", "mountPath": "/results"}],
            }
        ],
        "volumes": [{"name": "results", "emptyDir": {}}],
    },
}
EXPIRY = "penstock_operator_webhook_certificate_expiry_timestamp_seconds"
REFUSED = "penstock_operator_webhook_certificate_refused"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority") / "made")


@pytest.fixture(scope="module")
def signed(authority):
    return authority.sign()


@pytest.fixture
def directory(tmp_path, signed):
    write(tmp_path, signed)
    return tmp_path


def write(directory, pair):
    (directory / "tls.crt").write_bytes(pair.certificate)
    (directory / "tls.key").write_bytes(pair.key)


async def find(namespace, name):
    return STREAM if (namespace, name) == ("lab", "simulation") else None


@contextlib.asynccontextmanager
async def running(directory, authority, find=find, **settings):
    """A webhook, and what posts to it."""
    webhook = Webhook(find, INSTALLATION, certificates=str(directory), host="127.0.0.1", port=0, **settings)
    trusting = ssl.create_default_context(cadata=authority.certificate.decode())
    async with (
        webhook,
        aiohttp.ClientSession(
            f"https://127.0.0.1:{webhook.port}", connector=aiohttp.TCPConnector(ssl=trusting)
        ) as client,
    ):
        yield Asking(webhook, client, trusting)


class Asking:
    """The API server's part."""

    def __init__(self, webhook, client, trusting):
        self.webhook, self.client, self.trusting = webhook, client, trusting

    async def __call__(self, pod=POD, **request):
        """The response to an AdmissionReview that is as it should be."""
        sent = review(pod, **request)
        status, text = await self.raw(json.dumps(sent).encode())
        assert status == 200, text
        return well_formed(json.loads(text), sent["request"]["uid"])

    async def raw(self, body, **options):
        async with self.client.post("/inject", data=io.BytesIO(body), **options) as response:
            assert response.status != 200 or response.content_type == "application/json"
            return response.status, await response.text()

    async def certificate(self):
        """That of a new connection, as DER."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.webhook.port, ssl=self.trusting)
        seen = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        return seen


def review(pod=POD, **request):
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "lab",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:job-controller"},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        }
        | request,
    }


def well_formed(answer, uid):
    """The response in an answer, which is one by the API's rules."""
    assert answer.keys() == {"apiVersion", "kind", "response"}
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response = answer["response"]
    assert response["uid"] == uid
    if response["allowed"]:
        assert "status" not in response
        assert ("patch" in response) == ("patchType" in response)
        if "patch" in response:
            assert response["patchType"] == "JSONPatch"
            assert isinstance(json.loads(base64.b64decode(response["patch"], validate=True)), list)
    else:
        assert response["status"]["code"] in (403, 422)
        assert response["status"]["message"]
        assert "\n" not in response["status"]["message"]
        assert "patch" not in response
    return response


def patched(response, pod=POD):
    return jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"])))


def pod(**changes):
    made = copy.deepcopy(POD)
    made["spec"] |= changes
    return made


def labelled(name):
    made = copy.deepcopy(POD)
    made["metadata"]["labels"][INJECT_LABEL] = name
    return made


def refusal(response):
    assert response["allowed"] is False
    return response["status"]["code"], response["status"]["message"]


@contextlib.contextmanager
def counted(**results):
    """How many injections of each result there are meanwhile; of the others there are none."""

    def counts():
        return {
            result: REGISTRY.get_sample_value("penstock_operator_injections_total", {"result": result})
            for result in ("injected", "unchanged", "refused", "failed")
        }

    before, timed = counts(), REGISTRY.get_sample_value("penstock_operator_injection_seconds_count")
    yield
    assert {result: number - before[result] for result, number in counts().items()} == {
        result: results.get(result, 0) for result in before
    }
    assert REGISTRY.get_sample_value("penstock_operator_injection_seconds_count") - timed == sum(
        results.values()
    )


# Allowed


@pytest.mark.asyncio
async def test_a_pod_that_asks_gets_its_sidecar(directory, authority):
    async with running(directory, authority) as ask:
        with counted(injected=1):
            response = await ask()
        after = patched(response)
    assert [container["name"] for container in after["spec"]["initContainers"]] == ["penstock-uploader"]
    assert after["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    assert after["spec"]["containers"] == POD["spec"]["containers"]
    assert after["metadata"]["annotations"] == {"penstock.dev/injected": "simulation"}
    assert "warnings" not in response


@pytest.mark.asyncio
async def test_asked_again_it_changes_nothing(directory, authority):
    async with running(directory, authority) as ask:
        with counted(injected=1, unchanged=1):
            once = patched(await ask())
            assert await ask(once) == {"uid": review()["request"]["uid"], "allowed": True}


@pytest.mark.asyncio
async def test_what_a_jobs_author_should_hear_are_warnings(directory, authority):
    async with running(directory, authority) as ask:
        response = await ask(pod(restartPolicy="Never"))
    (warning,) = response["warnings"]
    assert "/drained" in warning


@pytest.mark.asyncio
async def test_the_namespace_is_the_requests(directory, authority):
    """A pod that is just made often does not say where."""
    seen = []

    async def find(namespace, name):
        seen.append((namespace, name))
        return STREAM

    async with running(directory, authority, find) as ask:
        elsewhere = copy.deepcopy(POD)
        elsewhere["metadata"]["namespace"] = "not-this-one"
        assert (await ask(elsewhere, namespace="lab-2"))["allowed"]
    assert seen == [("lab-2", "simulation")]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "request_",
    [
        {"operation": "UPDATE"},
        {"operation": "DELETE", "object": None},
        {"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}},
        {"object": {"metadata": {"name": "of-somebody-else"}, "spec": {}}},
        {"object": {"metadata": {"labels": None}, "spec": {}}},
    ],
    ids=str,
)
async def test_what_is_no_new_pod_that_asks_stays_as_it_is(directory, authority, request_):
    async def find(namespace, name):
        raise AssertionError("nobody asked for a stream")

    async with running(directory, authority, find) as ask:
        with counted(unchanged=1):
            response = await ask(**request_)
    assert response == {"uid": review()["request"]["uid"], "allowed": True}


# Refused


@pytest.mark.asyncio
async def test_no_such_stream(directory, authority):
    async with running(directory, authority) as ask:
        with counted(refused=1):
            response = await ask(labelled("simulatoin"))
    code, message = refusal(response)
    assert code == 403
    assert message == (
        "no sidecar of DirectoryStream lab/simulatoin for this pod: there is no such DirectoryStream: make "
        "it, correct the label penstock.dev/inject (kubectl get directorystreams -n lab lists those that "
        "there are), or take the label off"
    )


@pytest.mark.asyncio
async def test_a_pod_that_cannot_have_one_is_told_why(directory, authority):
    async with running(directory, authority) as ask:
        with counted(refused=1):
            code, message = refusal(await ask(pod(containers=[{"name": "a", "image": "a"}])))
    assert code == 422
    assert message.startswith("no sidecar of DirectoryStream lab/simulation for this pod: no container of")
    assert "mount one there" in message


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PenstockError("namespace lab is not looked after: see values.yaml"), "namespace lab is not looked"),
        (
            InvalidResource(["spec.topic: is missing: give it", "spec.x: no"]),
            "is missing: give it; spec.x: no",
        ),
    ],
)
async def test_a_stream_that_cannot_be_told_is_the_reason(directory, authority, error, reason):
    async def find(namespace, name):
        raise error

    async with running(directory, authority, find) as ask:
        with counted(refused=1):
            code, message = refusal(await ask())
    assert code == 403
    assert "lab/simulation" in message
    assert reason in message


@pytest.mark.asyncio
async def test_a_stream_that_is_not_found_in_time(directory, authority):
    async def find(namespace, name):
        await asyncio.Event().wait()

    async with running(directory, authority, find, find_seconds=0.05) as ask:
        with counted(refused=1):
            code, message = refusal(await ask())
    assert code == 403
    assert "could not be looked up within 0.05 s: try again" in message


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name", ["", "../../secrets/x", "UPPER", "a b", "x" * 254, "x" * 100_000, "a\nb", "é"]
)
async def test_a_label_that_is_no_name_is_asked_of_nobody(directory, authority, name):
    """Labels are not checked yet when webhooks are asked, and names become parts of URLs."""

    async def find(namespace, name):
        raise AssertionError("nobody may be asked")

    async with running(directory, authority, find) as ask:
        with counted(refused=1):
            code, message = refusal(await ask(labelled(name)))
    assert code == 403
    assert "has to be the name of a DirectoryStream" in message
    assert len(message) < 1000


@pytest.mark.asyncio
@pytest.mark.parametrize("namespace", ["", "../x", "a/b"])
async def test_a_namespace_that_is_none_is_asked_of_nobody(directory, authority, namespace):
    async def find(namespace, name):
        raise AssertionError("nobody may be asked")

    async with running(directory, authority, find) as ask:
        with counted(refused=1):
            _, message = refusal(await ask(namespace=namespace))
    assert "in the pod's namespace" in message


# Bugs


@pytest.mark.asyncio
async def test_a_bug_refuses_the_pod_in_one_line(directory, authority, caplog):
    async def find(namespace, name):
        raise KeyError("never foreseen: password=hunter2")

    caplog.set_level(logging.INFO)
    async with running(directory, authority, find) as ask:
        with counted(failed=1):
            code, message = refusal(await ask())
    assert code == 403
    assert "lab/simulation" in message
    assert "(KeyError), which is a bug" in message
    assert "hunter2" not in message
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "refused a pod: this is a bug: KeyError" in line.getMessage()
    assert line.exc_info is None


@pytest.mark.asyncio
@pytest.mark.parametrize("spec", [None, [], "x", {"containers": [{}]}, {"containers": 1}], ids=str)
async def test_a_pod_of_no_known_form_is_never_let_through(directory, authority, spec):
    made = copy.deepcopy(POD) | {"spec": spec}
    async with running(directory, authority) as ask:
        assert refusal(await ask(made))[0] in (403, 422)


# Not even questions


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"9" * 10_000,
        json.dumps(review() | {"apiVersion": "admission.k8s.io/v1beta1"}).encode(),
        json.dumps(review() | {"kind": "Pod"}).encode(),
        json.dumps(review() | {"request": None}).encode(),
        json.dumps(review(uid=7)).encode(),
        json.dumps(review(uid="")).encode(),
        json.dumps(review(object=[])).encode(),
        json.dumps(review(object={"metadata": {"labels": {"a": 1}}})).encode(),
        json.dumps(review(object={"metadata": 5})).encode(),
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
async def test_what_is_no_review_is_a_bad_request(directory, authority, body):
    async with running(directory, authority) as ask:
        with counted():
            status, text = await ask.raw(body)
    assert status == 400
    assert text.startswith("not an AdmissionReview of admission.k8s.io/v1 about a pod: ")
    assert text.count("\n") == 1
    assert len(text) < 1000


@pytest.mark.asyncio
async def test_bodies_have_a_limit(directory, authority):
    async with running(directory, authority) as ask:
        status, _ = await ask.raw(b" " * (MAX_BODY + 1))
        assert status == 413
        assert (await ask())["allowed"]


@pytest.mark.asyncio
async def test_the_largest_pod_that_the_api_server_takes_is_answered(directory, authority):
    made = copy.deepcopy(POD)
    made["metadata"]["annotations"] = {"large": "x" * (3 * 1024 * 1024)}
    async with running(directory, authority) as ask:
        assert patched(await ask(made), made)["spec"]["initContainers"]


@pytest.mark.asyncio
async def test_nothing_is_unpacked(directory, authority, caplog):
    async with running(directory, authority) as ask:
        for body in (
            gzip.compress(b" " * 20 * MAX_BODY),
            gzip.compress(json.dumps(review()).encode()),
            b"no",
        ):
            status, text = await ask.raw(body, headers={"Content-Encoding": "gzip"})
            assert status == 400, text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.asyncio
async def test_a_client_that_sends_half_a_question_is_left(directory, authority, monkeypatch, caplog):
    monkeypatch.setattr("penstock_operator.webhook.READ_SECONDS", 0.05)
    async with running(directory, authority) as ask:
        reader, writer = await asyncio.open_connection("127.0.0.1", ask.webhook.port, ssl=ask.trusting)
        writer.write(b'POST /inject HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"half')
        assert b" 408 " in await reader.readline()
        writer.close()
        # One that goes away in the middle bothers nobody either.
        _, other = await asyncio.open_connection("127.0.0.1", ask.webhook.port, ssl=ask.trusting)
        other.write(b'POST /inject HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"half')
        await other.drain()
        other.transport.abort()
        assert (await ask())["allowed"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.asyncio
async def test_there_is_nothing_else(directory, authority):
    async with running(directory, authority) as ask:
        async with ask.client.get("/inject") as response:
            assert response.status == 405
        async with ask.client.post("/") as response:
            assert response.status == 404


@pytest.mark.asyncio
async def test_whoever_speaks_no_tls_is_not_answered(directory, authority, caplog):
    async with running(directory, authority) as ask:
        reader, writer = await asyncio.open_connection("127.0.0.1", ask.webhook.port)
        writer.write(b"POST /inject HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await reader.read()
        writer.close()
        assert (await ask())["allowed"]


def _places(body):
    """Whatever is in a body, wherever: what holds it, and its key or index."""
    items = body.items() if isinstance(body, dict) else enumerate(body)
    for key, value in list(items):
        yield body, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


FIELDS = sorted({key for _, key in _places(review()) if isinstance(key, str)})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=12,
)


def strange(body):
    """A body of the known form with some parts of it replaced by anything."""
    return st.builds(_replaced, st.just(body), st.lists(st.tuples(st.integers(0, 200), JSON), max_size=2))


def _replaced(body, changes):
    body = copy.deepcopy(body)
    for number, value in changes:
        places = list(_places(body))
        container, key = places[number % len(places)]
        container[key] = value
    return body


@settings(max_examples=200)
@given(body=JSON | strange(review()))
@given_example(body=review(pod(containers=[{"volumeMounts": [{"name": "results", "mountPath": "results"}]}])))
def test_any_json_gets_a_well_formed_answer(any_webhook, body):
    """Never a 500, never nothing; and no pod that asks goes without its sidecar."""
    loop, ask = any_webhook
    status, text = loop.run_until_complete(asyncio.wait_for(ask.raw(json.dumps(body).encode()), 20))
    assert status in (200, 400)
    if status == 200:
        response = well_formed(json.loads(text), body["request"]["uid"])
        request = body["request"]
        labels = ((request["object"] or {}).get("metadata", {}).get("labels")) or {}
        asks = (
            request["operation"] == "CREATE" and request["kind"]["kind"] == "Pod" and INJECT_LABEL in labels
        )
        if response["allowed"] and asks:
            after = patched(response, request["object"]) if "patch" in response else request["object"]
            assert any(
                container["name"] == "penstock-uploader" for container in after["spec"]["initContainers"]
            )


@pytest.fixture(scope="module")
def any_webhook(tmp_path_factory, authority, signed):
    """A webhook that runs for all examples of a property."""
    directory = tmp_path_factory.mktemp("certificates")
    write(directory, signed)
    loop = asyncio.new_event_loop()
    stack = contextlib.AsyncExitStack()
    ask = loop.run_until_complete(stack.enter_async_context(running(directory, authority)))
    yield loop, ask
    loop.run_until_complete(stack.aclose())
    loop.close()


# Many at once


@pytest.mark.asyncio
async def test_one_that_is_slow_holds_up_no_other(directory, authority):
    release = asyncio.Event()

    async def find(namespace, name):
        if name == "slow":
            await release.wait()
        return STREAM

    async with running(directory, authority, find, find_seconds=60) as ask:
        slow = [asyncio.create_task(ask(labelled("slow"))) for _ in range(10)]
        answers = await asyncio.gather(*(ask(uid=f"uid-{number}") for number in range(100)))
        assert [answer["uid"] for answer in answers] == [f"uid-{number}" for number in range(100)]
        assert not any(task.done() for task in slow)
        release.set()
        assert all(answer["allowed"] for answer in await asyncio.gather(*slow))


@pytest.mark.asyncio
async def test_a_stop_lets_those_under_way_be_answered(directory, authority):
    asked, release = asyncio.Event(), asyncio.Event()

    async def find(namespace, name):
        asked.set()
        await release.wait()
        return STREAM

    async with contextlib.AsyncExitStack() as stack:
        ask = await stack.enter_async_context(running(directory, authority, find))
        under_way = asyncio.create_task(ask())
        await asked.wait()
        stopping = asyncio.create_task(ask.webhook.__aexit__(None, None, None))
        release.set()
        assert (await under_way)["allowed"]
        await stopping
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", ask.webhook.port)


async def half_a_question(ask, size=MAX_BODY):
    """Send a question's head, and all of its body but the last byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ask.webhook.port, ssl=ask.trusting)
    writer.write(f"POST /inject HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
    writer.write(b" " * (size - 1))
    return reader, writer


@pytest.mark.asyncio
async def test_of_large_questions_few_are_read_at_once_and_no_small_one_waits(
    directory, authority, monkeypatch, caplog
):
    monkeypatch.setattr("penstock_operator.webhook.LARGE_WAIT_SECONDS", 1.0)
    reading, most = 0, 0
    read = aiohttp.web.BaseRequest.read

    async def counted(http):
        nonlocal reading, most
        large = http.content_length > SMALL_BODY
        reading += large
        most = max(most, reading)
        try:
            return await read(http)
        finally:
            reading -= large

    monkeypatch.setattr(aiohttp.web.BaseRequest, "read", counted)
    async with running(directory, authority) as ask:
        halves = await asyncio.gather(*(half_a_question(ask) for _ in range(5 * LARGE_AT_ONCE)))
        answers = [asyncio.create_task(reader.readline()) for reader, _ in halves]
        while sum(answer.done() for answer in answers) < 4 * LARGE_AT_ONCE:
            assert (await asyncio.wait_for(ask(), 5))["allowed"]
        assert {answer.result().split()[1] for answer in answers if answer.done()} == {b"503"}
        assert most == LARGE_AT_ONCE
        for answer, (_, writer) in zip(answers, halves, strict=True):
            answer.cancel()
            writer.transport.abort()
        made = copy.deepcopy(POD)
        made["metadata"]["annotations"] = {"large": "x" * 2 * SMALL_BODY}
        assert (await ask(made))["allowed"], "their places are free again"
    warnings = [record for record in caplog.records if "refused unread" in record.getMessage()]
    assert len(warnings) == 1, "told once, not for each"


@pytest.mark.asyncio
async def test_a_question_of_unknown_length_counts_as_large(directory, authority, monkeypatch):
    monkeypatch.setattr("penstock_operator.webhook.LARGE_WAIT_SECONDS", 0.05)
    release = asyncio.Event()

    async def find(namespace, name):
        await release.wait()
        return STREAM

    async def in_pieces():
        yield json.dumps(review()).encode()

    async def chunked(ask):
        async with ask.client.post("/inject", data=in_pieces()) as response:
            return response.status

    async with running(directory, authority, find, find_seconds=60) as ask:
        first = [asyncio.create_task(chunked(ask)) for _ in range(LARGE_AT_ONCE + 1)]
        (refused,), under_way = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        assert refused.result() == 503
        release.set()
        assert [await answer for answer in under_way] == [200] * LARGE_AT_ONCE


@pytest.mark.asyncio
async def test_connections_that_say_nothing_make_room_for_those_that_do(directory, authority, caplog):
    made = []
    async with running(directory, authority, connections=4) as ask:
        for _ in range(3):
            for _ in range(2):
                made.append(await asyncio.open_connection("127.0.0.1", ask.webhook.port, ssl=ask.trusting))
                made.append(await half_a_question(ask, 100))
            assert (await ask())["allowed"], "on the connection that it has, or on another"
        for reader, _ in made[:4]:  # the oldest
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
        for _, writer in made:
            writer.transport.abort()
    assert len([record for record in caplog.records if "the webhook has 4 conn" in record.getMessage()]) == 1


@pytest.mark.asyncio
async def test_a_question_that_is_being_answered_keeps_its_connection(directory, authority):
    asked, release = asyncio.Event(), asyncio.Event()

    async def find(namespace, name):
        asked.set()
        await release.wait()
        return STREAM

    async with running(directory, authority, find, connections=1) as ask:
        answer = asyncio.create_task(ask())
        await asked.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", ask.webhook.port, ssl=ask.trusting)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b"", "there is no place for another"
        writer.transport.abort()
        release.set()
        assert (await answer)["allowed"]


# Certificates while it serves: the pairs themselves are in test_webhook_certificates.py


@pytest.mark.asyncio
async def test_new_connections_get_the_renewed_certificate_and_old_ones_go_on(directory, authority, signed):
    async with running(directory, authority) as ask:
        assert (await ask())["allowed"]  # this connection stays
        assert await ask.certificate() == signed.der
        renewed = authority.sign(days=20)
        write(directory, renewed)
        assert await ask.certificate() == renewed.der
        assert REGISTRY.get_sample_value(EXPIRY) == pytest.approx(time.time() + 20 * 86400, abs=3600)
        assert (await ask())["allowed"]


@pytest.mark.asyncio
async def test_a_scrape_tells_of_what_cannot_be_used_before_anyone_connects(directory, authority, signed):
    health = Health()
    async with running(directory, authority, health=health) as ask:
        assert REGISTRY.get_sample_value(REFUSED) == 0
        os.unlink(directory / "tls.key")
        assert REGISTRY.get_sample_value(REFUSED) == 1
        assert health.ready  # or no pod would be answered
        assert await ask.certificate() == signed.der
        write(directory, signed)
        assert REGISTRY.get_sample_value(REFUSED) == 0


@pytest.mark.asyncio
async def test_an_expired_certificate_is_trouble(directory, authority):
    write(directory, authority.sign(days=-1))
    health = Health("webhook")
    async with running(directory, authority, health=health):
        assert "renew it" in health.problems["webhook"]
        assert REGISTRY.get_sample_value(EXPIRY) < time.time()
        write(directory, authority.sign())
        assert health.ready


@pytest.mark.asyncio
async def test_without_a_webhook_there_is_no_expiry(directory, authority):
    async with running(directory, authority):
        assert REGISTRY.get_sample_value(EXPIRY) > time.time()
        os.unlink(directory / "tls.key")
        assert REGISTRY.get_sample_value(REFUSED) == 1
    assert str(REGISTRY.get_sample_value(EXPIRY)) == "nan"
    assert REGISTRY.get_sample_value(REFUSED) == 0


# The start


@pytest.mark.asyncio
async def test_without_certificates_it_does_not_start(tmp_path, authority):
    with pytest.raises(ConfigurationError, match=r"tls.crt: No such file.*kubernetes.io/tls"):
        async with running(tmp_path, authority):
            pass


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_named(directory, authority):
    async with running(directory, authority) as ask:
        second = Webhook(
            find, INSTALLATION, certificates=str(directory), host="127.0.0.1", port=ask.webhook.port
        )
        with pytest.raises(ConfigurationError, match=rf"{ask.webhook.port}.*Choose another port"):
            await second.__aenter__()
        assert (await ask())["allowed"]
