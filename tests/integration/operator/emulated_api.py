"""An emulated Kubernetes API in the test's own process: for the operator's tests that need no real cluster.

    async with EmulatedApi() as api:
        api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "lab"}})
        ...  # an operator that speaks to api.url
        await api.until(lambda: api.find("deployments", "lab", "scope"))
        assert api.writes["patch deployments"] == 1

What it stores and how it merges is in emulated_api_store and emulated_api_fields; here is what it takes over
HTTP. tests/e2e/test_emulation.py does the same things to it and to a real API server, and compares.

There: list (in pages) and watch with label selectors, POST, PUT, JSON and merge patches, server-side apply
with ownership per manager, finalizers, `/status`, generation, preconditions; the defaults of a
DirectoryStream, and what its schema does not declare.

Not there, and refused where it can be asked for: deletion of collections, foreground deletion, strategic
merge patches, dry runs, null in an apply. Not there either, and not noticed: validation, admission, RBAC,
namespaces that do not exist, the defaults of built-in kinds, controllers (a test is the Deployment
controller: `api.roll_out`; owned objects go at `api.collect_garbage()`).

kmock serves what else a client asks for (`/version`, `/api`, `/apis` and so on), and whatever a test declares
on `api.kmock`. Its own emulation of Kubernetes knows no resourceVersions, selectors and managers.

To run a kopf operator against it (`kopf_running` does it):

- In a thread and an event loop of its own. At its end kopf.operator() waits 5 seconds for, and then cancels,
  all tasks of its loop that began after it: a test's and those of this server, too.
- `settings.scanning.disabled = True`: it then looks once at the kinds that there are, and watches neither
  CustomResourceDefinitions nor namespaces. `standalone=True`: no peering. `identity="test"`: no look-up of
  the host.
- `@kopf.on.login(registry=registry)` returns `api.connection`; it is asked again after each 401.
- `settings.watching.reconnect_backoff` (0.1 s) and `settings.networking.error_backoffs` (1, 1, 2, 3, 5... s,
  then a failed list or watch ends the whole operator) say how soon it is back after cuts.

A lightkube client belongs to the loop that uses it: make it in `@kopf.on.startup`, close it in
`@kopf.on.cleanup`. `lightkube.AsyncClient(api.kubeconfig, trust_env=False, timeout=httpx2.Timeout(5))`;
`trust_env=False` keeps it from the environment's proxies.

Penstock's operator, all of it: `json.dumps(api.kubeconfig_object)` into a file that KUBECONFIG names, and
`penstock_operator.service.run(settings, stop)` in a thread: `asyncio.to_thread(run, settings, stop)`.
"""

import asyncio
import concurrent.futures
import contextlib
import copy
import functools
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import kmock
import kopf
import lightkube
import yaml
from aiohttp import web
from tests.integration.operator.emulated_api_fields import Object
from tests.integration.operator.emulated_api_store import (
    BUILT_IN,
    Refused,
    Resource,
    Store,
    custom,
    event,
    now,
    selects,
)

T = TypeVar("T")

CRD = Path(__file__).parents[3] / "charts/penstock/files/crds/directorystreams.yaml"


@functools.cache
def directorystreams() -> Resource:
    """Return what the chart's CRD declares."""
    return custom(yaml.safe_load(CRD.read_text()))


_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>v[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Asked:
    """A request that came, in the words of RBAC."""

    verb: str
    resource: str
    """The plural, with the subresource: `deployments`, `directorystreams/status`."""
    namespace: str
    """Empty: in all of them, or the resource has none."""
    name: str
    manager: str
    body: Any
    answered: int | None = None
    """The code of the answer; None while there is none, and for ever if the connection was cut."""

    @property
    def is_write(self) -> bool:
        """It asks for a change, whether there was one or not."""
        return self.verb in _VERBS.values()


@dataclass
class Fault:
    """What happens to requests instead of what they ask for."""

    how: Literal["refused", "cut", "hanging", "unanswered"]
    verb: str | None
    resource: str | None
    name: str | None
    left: int | None
    refusal: Refused | None = None
    retry_after: int | None = None
    met: int = 0
    """How many requests met it."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def concerns(self, asked: Asked) -> bool:
        """Return whether it is this request's turn."""
        return (
            not self.over.is_set()
            and (self.left is None or self.left > self.met)
            and self.verb in (None, asked.verb)
            and self.resource in (None, asked.resource)
            and self.name in (None, asked.name)
        )

    def end(self) -> None:
        """No further request meets it; those that hang are cut."""
        self.over.set()


@dataclass(eq=False)
class _Watch:
    """A watch that is open."""

    asked: Asked
    connection: web.BaseRequest
    news: asyncio.Event = field(default_factory=asyncio.Event)


class _Handler(kmock.KubernetesScaffold):
    """kmock for what is not stored."""

    api: "EmulatedApi"

    async def __call__(self, raw_request: web.BaseRequest) -> web.StreamResponse:
        answer = await self.api._answer(raw_request)
        return await super().__call__(raw_request) if answer is None else answer


class EmulatedApi:
    """An API server for a test: an asynchronous context manager."""

    def __init__(self, resources: Sequence[Resource] | None = None):
        self.store = Store((*BUILT_IN, directorystreams()) if resources is None else resources)
        self.requests: list[Asked] = []
        self.kmock = _Handler()
        self.kmock.api = self
        for resource in self.store.resources:
            self.kmock.resources[f"{resource.group}/{resource.version}/{resource.plural}".lstrip("/")] = (
                kmock.ResourceInfo(
                    namespaced=resource.namespaced,
                    kind=resource.kind,
                    singular=resource.kind.lower(),
                    verbs={"create", "delete", "get", "list", "patch", "update", "watch"},
                    subresources={"status"} if resource.has_status else set(),
                )
            )
        self._faults: list[Fault] = []
        self._watches: set[_Watch] = set()
        self._runner: web.ServerRunner | None = None
        self._port = 0
        self._changed = asyncio.Event()
        self.store.listeners.append(self._tell)

    async def __aenter__(self) -> Self:
        await self.kmock.__aenter__()
        await self.come_back()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.go_away()
        await self.kmock.__aexit__(None, None, None)

    # How to reach it

    @property
    def url(self) -> str:
        """Where it listens: the same address each time that it comes back."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connection(self) -> kopf.ConnectionInfo:
        """The same for kopf."""
        return kopf.ConnectionInfo(server=self.url, token="a-token")

    @property
    def kubeconfig(self) -> lightkube.KubeConfig:
        """The same for lightkube."""
        return lightkube.KubeConfig.from_dict(self.kubeconfig_object)

    @property
    def kubeconfig_object(self) -> Object:
        """The same for all others, to be written to a file."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "emulated", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": "a-token"}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "emulated", "user": "test", "namespace": "default"}}
            ],
            "current-context": "test",
        }

    # What others do in the cluster: at once, and not among the requests

    def create(self, obj: Object, manager: str = "kubectl") -> Object:
        """Create an object with its status, and return it. Raises Refused."""
        resource = self.store.resource(obj["kind"])
        metadata = obj["metadata"]
        created = self.store.create(resource, metadata.get("namespace", ""), copy.deepcopy(obj), manager)
        if resource.has_status and "status" in obj:
            name = created["metadata"]["name"]
            return self.edit(
                obj["kind"], metadata.get("namespace", ""), name, {"status": obj["status"]}, manager, "status"
            )
        return copy.deepcopy(created)

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return an object by its kind or plural, if there is one."""
        try:
            return self.get(kind, namespace, name)
        except Refused:
            return None

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """Return an object by its kind or plural. Raises Refused (404)."""
        return copy.deepcopy(self.store.get(self.store.resource(kind), namespace, name))

    def all(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Return the objects of a kind, in one namespace or in all."""
        return copy.deepcopy(self.store.all(self.store.resource(kind), selects(namespace, labels)))

    def edit(
        self,
        kind: str,
        namespace: str,
        name: str,
        change: Object | list[Object],
        manager: str = "kubectl",
        subresource: str = "",
    ) -> Object:
        """Change an object by a JSON merge patch (an object) or a JSON patch (a list). Raises Refused."""
        resource = self.store.resource(kind)
        return copy.deepcopy(
            self.store.patch(resource, namespace, name, copy.deepcopy(change), manager, subresource)
        )

    def apply(
        self, obj: Object, manager: str = "kubectl", force: bool = False, subresource: str = ""
    ) -> Object:
        """Apply what another manager wants of an object. Raises Refused."""
        resource, metadata = self.store.resource(obj["kind"]), obj["metadata"]
        return copy.deepcopy(
            self.store.apply(
                resource,
                metadata.get("namespace", ""),
                metadata["name"],
                copy.deepcopy(obj),
                manager,
                force,
                subresource,
            )
        )

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object, or mark it while there are finalizers. Raises Refused (404)."""
        self.store.delete(self.store.resource(kind), namespace, name)

    def collect_garbage(self) -> None:
        """Delete what is owned by objects that are gone."""
        self.store.collect_garbage()

    def roll_out(self, namespace: str, name: str, ready: int | None = None, **status: Any) -> Object:
        """Be the Deployment controller: all replicas of the latest generation are there.

        `ready` of them are ready; None: all of them. `status` says otherwise:
        `roll_out("lab", "scope", observedGeneration=1, conditions=[...])`.
        """
        deployment = self.get("deployments", namespace, name)
        wanted = deployment["spec"].get("replicas", 1)
        ready = wanted if ready is None else ready
        available = {
            "type": "Available",
            "status": "True" if ready >= wanted else "False",
            "reason": "MinimumReplicasAvailable" if ready >= wanted else "MinimumReplicasUnavailable",
            "lastTransitionTime": now(),
        }
        said = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": wanted - ready,
            "conditions": [available],
        }
        return self.edit(
            "deployments", namespace, name, {"status": said | status}, "kube-controller-manager", "status"
        )

    # What goes wrong

    def refuses(
        self,
        code: int,
        verb: str | None = None,
        resource: str | None = None,
        *,
        name: str | None = None,
        times: int | None = 1,
        message: str = "",
        reason: str | None = None,
        retry_after: int | None = None,
    ) -> Fault:
        """Answer the next `times` requests (None: until the fault's `end()`) with this code, and no more.

        Which: by verb (get, list, watch, create, update, patch, delete), resource (`directorystreams/status`
        is one of its own) and name; what is not given may be any.
        """
        refusal = Refused(code, message or f"a test wants {code} here", reason)
        return self._is_faulty(Fault("refused", verb, resource, name, times, refusal, retry_after))

    def cuts(
        self,
        verb: str | None = None,
        resource: str | None = None,
        *,
        name: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Reset the connections of the next so many requests, which do nothing."""
        return self._is_faulty(Fault("cut", verb, resource, name, times))

    def loses_answers(
        self,
        verb: str | None = None,
        resource: str | None = None,
        *,
        name: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Do what the next so many requests ask for, and reset their connections instead of answering."""
        return self._is_faulty(Fault("unanswered", verb, resource, name, times))

    def hangs(
        self,
        verb: str | None = None,
        resource: str | None = None,
        *,
        name: str | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Leave the next so many requests without an answer until the fault's `end()`; they do nothing."""
        return self._is_faulty(Fault("hanging", verb, resource, name, times))

    def _is_faulty(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def cut_watches(self, resource: str | None = None) -> int:
        """Reset the connections of the watches that are open, and return how many there were."""
        watches = [watch for watch in self._watches if resource in (None, watch.asked.resource)]
        for watch in watches:
            self._watches.discard(watch)
            _reset(watch.connection)
        return len(watches)

    def forget(self) -> int:
        """Cut all watches, and answer 410 Gone to those who want to go on where they were."""
        self.store.forget()
        return self.cut_watches()

    async def go_away(self) -> None:
        """Refuse all connections from now on, and cut those that there are."""
        if self._runner is None:
            return
        for fault in self._faults:
            if fault.how == "hanging":
                fault.end()
        runner, self._runner = self._runner, None
        self.cut_watches()
        await runner.cleanup()

    async def come_back(self) -> None:
        """Listen, at the address that it had before."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        self._runner = web.ServerRunner(web.Server(self.kmock, access_log=None), shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    @contextlib.asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Be away for a while."""
        await self.go_away()
        try:
            yield
        finally:
            await self.come_back()

    # What was seen

    @property
    def writes(self) -> Counter[str]:
        """How often each kind of change was asked for: `writes["patch directorystreams/status"]`."""
        return Counter(f"{asked.verb} {asked.resource}" for asked in self.requests if asked.is_write)

    def asked(
        self, verb: str | None = None, resource: str | None = None, name: str | None = None
    ) -> list[Asked]:
        """Return the requests with this verb, resource and name, in the order in which they came."""
        wanted = Fault("refused", verb, resource, name, None)
        return [asked for asked in self.requests if wanted.concerns(asked)]

    @property
    def watched(self) -> Counter[str]:
        """How many watches of each resource are open."""
        return Counter(watch.asked.resource for watch in self._watches)

    async def until(
        self, condition: Callable[[], T], timeout: float = 30.0, describe: str | Callable[[], object] = ""
    ) -> T:
        """Return the first true value of `condition`; AssertionErrors that it raises count as false.

        It is asked after each change and answer of this API, and now and then for what is not in it. When
        that takes longer than `timeout` seconds, fail with `describe` and the last thing that was seen.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            self._changed.clear()
            cause = None
            try:
                seen = condition()
                if seen:
                    return seen
            except AssertionError as error:
                seen, cause = error, error  # type: ignore[assignment]
            if loop.time() > deadline:
                what = describe() if callable(describe) else describe
                raise AssertionError(
                    f"not within {timeout:g} s: {what or condition} (last seen: {seen!r})"
                ) from cause
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.05)

    async def quiet(self, seconds: float, timeout: float = 30.0) -> None:
        """Return once no write was asked for during so many seconds: the wait is what is to be proved."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        since, before = loop.time(), self.writes
        while loop.time() - since < seconds:
            await asyncio.sleep(min(0.02, seconds))
            if self.writes != before:
                if loop.time() > deadline:
                    raise AssertionError(f"not quiet within {timeout:g} s: {self.writes - before} just now")
                since, before = loop.time(), self.writes

    def _tell(self) -> None:
        self._changed.set()
        for watch in self._watches:
            watch.news.set()

    # HTTP

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """Answer a request for objects; None if it is for something else."""
        if not (found := _PATH.fullmatch(request.path)):
            return None
        place = {name: value or "" for name, value in found.groupdict().items()}
        body = await request.read()
        asked = _asked(request, place, body)
        self.requests.append(asked)
        fault = next((fault for fault in self._faults if fault.concerns(asked)), None)
        try:
            response = await self._meet(fault, request) if fault else None
            if response is None:
                response = await self._serve(request, place, asked)
        except Refused as refusal:
            response = _json(refusal.status, refusal.code)
            if fault and fault.retry_after is not None:
                response.headers["Retry-After"] = str(fault.retry_after)
        if fault and fault.how == "unanswered":
            response = _reset(request)
        if _connected(request):
            asked.answered = response.status
        self._tell()
        return response

    async def _meet(self, fault: Fault, request: web.BaseRequest) -> web.StreamResponse | None:
        fault.met += 1
        self._tell()
        if fault.refusal:
            raise fault.refusal
        if fault.how == "hanging":
            await fault.over.wait()
        return None if fault.how == "unanswered" else _reset(request)

    async def _serve(
        self, request: web.BaseRequest, place: Mapping[str, str], asked: Asked
    ) -> web.StreamResponse:
        resource = self._resource(place)
        namespace, name, subresource = place["namespace"], place["name"], place["subresource"]
        if subresource and (subresource != "status" or not resource.has_status):
            raise Refused(404, f"{resource.plural}/{subresource} is not emulated")
        if "dryRun" in request.query:
            raise Refused(400, "dryRun is not emulated")
        if asked.verb == "watch":
            return await self._watch(request, resource, asked)
        if asked.verb == "list":
            return _json(self._list(request.query, resource, namespace))
        if bool(name) == (asked.verb == "create") or (resource.namespaced and not namespace):
            raise Refused(405, f"{request.method} {request.path} is not emulated")
        if asked.verb == "get":
            return _json(self.store.get(resource, namespace, name))
        if asked.verb == "delete":
            return _json(self._delete(resource, namespace, name, {**(asked.body or {}), **request.query}))
        if asked.verb == "create":
            return _json(self.store.create(resource, namespace, asked.body, asked.manager), 201)
        if asked.verb == "update":
            return _json(
                self.store.replace(resource, namespace, name, asked.body, asked.manager, subresource)
            )
        match request.content_type:
            case "application/apply-patch+yaml":
                is_new = not self._has(resource, namespace, name)
                force = request.query.get("force") == "true"
                manager = request.query.get("fieldManager", "")
                new = self.store.apply(resource, namespace, name, asked.body, manager, force, subresource)
                return _json(new, 201 if is_new else 200)
            case "application/merge-patch+json" | "application/json-patch+json":
                return _json(
                    self.store.patch(resource, namespace, name, asked.body, asked.manager, subresource)
                )
            case other:
                raise Refused(415, f"patches of type {other} are not emulated")

    def _resource(self, place: Mapping[str, str]) -> Resource:
        for resource in self.store.resources:
            if (resource.group, resource.version, resource.plural) == (
                place["group"],
                place["version"],
                place["plural"],
            ):
                return resource
        raise Refused(404, "the server could not find the requested resource")

    def _has(self, resource: Resource, namespace: str, name: str) -> bool:
        try:
            self.store.get(resource, namespace, name)
        except Refused:
            return False
        return True

    def _list(self, query: Mapping[str, str], resource: Resource, namespace: str) -> Object:
        select = selects(namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        items = self.store.all(resource, select)
        version, _, after = query.get("continue", "").partition(":")
        items = items[int(after or 0) :]
        metadata: Object = {"resourceVersion": version or str(self.store.version)}
        limit = int(query.get("limit", 0))
        if limit and len(items) > limit:
            metadata |= {
                "continue": f"{metadata['resourceVersion']}:{int(after or 0) + limit}",
                "remainingItemCount": len(items) - limit,
            }
            items = items[:limit]
        # In a list of built-in kinds, items do not say their kind.
        if resource.schema is None:
            items = [{k: v for k, v in item.items() if k not in ("apiVersion", "kind")} for item in items]
        return {
            "apiVersion": resource.api_version,
            "kind": f"{resource.kind}List",
            "metadata": metadata,
            "items": items,
        }

    def _delete(self, resource: Resource, namespace: str, name: str, options: Mapping[str, Any]) -> Object:
        if options.get("propagationPolicy", "Background") != "Background":
            raise Refused(400, f"propagationPolicy {options['propagationPolicy']} is not emulated")
        uid = self.store.get(resource, namespace, name)["metadata"]["uid"]
        left = self.store.delete(resource, namespace, name, options.get("preconditions"))
        if left is not None:
            return left
        details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": uid}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    async def _watch(self, request: web.BaseRequest, resource: Resource, asked: Asked) -> web.StreamResponse:
        query = request.query
        labels, of_fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        if asked.name:
            of_fields = f"metadata.name={asked.name}"
        select = selects(asked.namespace, labels, of_fields)
        since = int(query.get("resourceVersion") or 0)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        watch = _Watch(asked, request)
        self._watches.add(watch)
        try:
            await response.prepare(request)
            asked.answered = 200
            if not since:
                since = self.store.version
                for item in self.store.all(resource, select):
                    await _say(response, {"type": "ADDED", "object": item})
                if query.get("sendInitialEvents") == "true":
                    await _say(response, self._bookmark(resource, since))
            limit = float(query["timeoutSeconds"]) if "timeoutSeconds" in query else None
            async with asyncio.timeout(limit):
                while watch in self._watches:
                    watch.news.clear()
                    for change in self.store.changes_since(since):
                        since = change.version
                        if change.resource is resource and (said := event(change, select)):
                            await _say(response, said)
                    await watch.news.wait()
        except Refused as refusal:
            await _say(response, {"type": "ERROR", "object": refusal.status})
        except TimeoutError:
            pass
        except ConnectionError:
            return response  # the client is gone, or the watch was cut
        finally:
            self._watches.discard(watch)
        if _connected(request):
            await response.write_eof()
        return response

    def _bookmark(self, resource: Resource, version: int) -> Object:
        metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
        return {
            "type": "BOOKMARK",
            "object": {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata},
        }


@contextlib.asynccontextmanager
async def kopf_running(**of_operator: Any) -> AsyncIterator[None]:
    """Run `kopf.operator(...)` in a thread of its own, and end it. What it raises is raised here."""
    ready: concurrent.futures.Future[None] = concurrent.futures.Future()
    stop = threading.Event()
    operator = kopf.operator(**of_operator, ready_flag=ready, stop_flag=stop)
    running = asyncio.create_task(asyncio.to_thread(asyncio.run, operator))
    try:
        await asyncio.wait({running, asyncio.wrap_future(ready)}, return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        stop.set()
        await running


def _asked(request: web.BaseRequest, place: Mapping[str, str], body: bytes) -> Asked:
    verb = _VERBS.get(request.method)
    if verb is None:
        watching = request.query.get("watch") in ("1", "true")
        verb = "watch" if watching else "get" if place["name"] else "list"
    manager = request.query.get("fieldManager") or request.headers.get("User-Agent", "").split("/")[0]
    plural = "/".join(filter(None, (place["plural"], place["subresource"])))
    return Asked(verb, plural, place["namespace"], place["name"], manager, yaml_or_json(body))


def yaml_or_json(body: bytes) -> Any:
    """Read what clients send; None if it is nothing."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return yaml.safe_load(body)


def _json(value: object, status: int = 200) -> web.Response:
    # Exactly this type, without a charset: lightkube looks for it.
    return web.Response(
        body=json.dumps(value).encode(), status=status, headers={"Content-Type": "application/json"}
    )


async def _say(response: web.StreamResponse, said: Object) -> None:
    await response.write(json.dumps(said).encode() + b"\n")


def _connected(request: web.BaseRequest) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _reset(request: web.BaseRequest) -> web.Response:
    """Reset the connection; what is returned never reaches the client."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            # Linger for no time: the client sees a reset, and no orderly end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()
