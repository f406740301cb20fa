"""The emulated API of the operator's tests does what a real API server does.

Each scenario runs on both, and all that is seen must be the same: codes and reasons, what the scenario ever
wrote of an object and who owns it, whether there was a new version, the generation, events of watches. What a
server alone fills in (uids, times, defaults of built-in kinds) is left out.
"""

import asyncio
import contextlib
import difflib
import itertools
import json
import pprint
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import lightkube
import pytest
import pytest_asyncio
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from tests.cluster import Kubectl
from tests.integration.operator import emulated_api_fields as ownership
from tests.integration.operator.emulated_api import EmulatedApi
from tests.integration.operator.emulated_api_store import Resource, Store

ROOT = Path(__file__).parents[2]
CRD = ROOT / "charts/penstock/files/crds/directorystreams.yaml"
MINIMAL = yaml.safe_load((ROOT / "operator/examples/minimal.yaml").read_text())

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio, pytest.mark.xdist_group("crd")]

Object = dict[str, Any]


class Doing:
    """One server in a scenario: what was done to it, and what was seen."""

    def __init__(self, client: httpx2.AsyncClient, store: Store, namespace: str):
        self.seen: list[object] = []
        self._client = client
        self._store = store
        self.namespace = namespace
        self._mentioned: set[ownership.Path] = set()
        self._versions: dict[tuple[str, str], str] = {}

    def body(self, kind: str, name: str, **parts: Any) -> Object:
        """An object, as it is sent."""
        metadata = parts.pop("metadata", {})
        return {
            "apiVersion": self._store.resource(kind).api_version,
            "kind": kind,
            "metadata": metadata | {"name": name},
            **parts,
        }

    async def create(self, kind: str, name: str, **parts: Any) -> Object:
        return await self._do("POST", kind, "", self.body(kind, name, **parts), manager="creator")

    async def get(self, kind: str, name: str) -> Object:
        return await self._do("GET", kind, name)

    async def delete(self, kind: str, name: str, options: Object | None = None) -> Object:
        return await self._do("DELETE", kind, name, options)

    async def put(self, kind: str, name: str, body: Object, at: str = "", manager: str = "putter") -> Object:
        return await self._do("PUT", kind, name, body, at, manager=manager)

    async def patch(
        self, kind: str, name: str, patch: Object | list[Object], at: str = "", manager: str = "patcher"
    ) -> Object:
        form = "json-patch" if isinstance(patch, list) else "merge-patch"
        return await self._do("PATCH", kind, name, patch, at, f"application/{form}+json", manager=manager)

    async def apply(
        self, manager: str, kind: str, name: str, *, at: str = "", force: bool = False, **parts: Any
    ) -> Object:
        return await self._do(
            "PATCH",
            kind,
            name,
            self.body(kind, name, **parts),
            at,
            "application/apply-patch+yaml",
            manager=manager,
            force=str(force).lower(),
        )

    async def listed(self, kind: str, labels: str, **parameters: str) -> Object:
        resource = self._store.resource(kind)
        answer = await self._client.get(self._url(resource), params={"labelSelector": labels, **parameters})
        page = answer.json()
        if answer.status_code != 200:
            self.seen.append((answer.status_code, page["reason"]))
            return page
        kinds = {(item.get("apiVersion"), item.get("kind")) for item in page["items"]}
        items = [self._shown(resource, item) for item in page["items"]]
        self.seen.append((page["apiVersion"], page["kind"], kinds, items))
        return page

    async def watched(
        self,
        kind: str,
        labels: str,
        doing: Callable[[], Awaitable[object]],
        until: str,
        since: str | None = None,
    ) -> None:
        """Watch from `since` on while something is done, until an object called `until` is created."""
        resource = self._store.resource(kind)
        parameters = {"watch": "true", "labelSelector": labels, "timeoutSeconds": "20"}
        if since is not None:
            parameters["resourceVersion"] = since
        async with self._client.stream("GET", self._url(resource), params=parameters) as answer:
            work = asyncio.ensure_future(doing())
            async for line in answer.aiter_lines():
                said = json.loads(line)
                if said["type"] == "ERROR":
                    self.seen.append((said["type"], said["object"]["code"], said["object"]["reason"]))
                    break
                if said["object"]["metadata"]["name"] == until:
                    break
                self.seen.append((said["type"], self._shown(resource, said["object"])))
            await work

    def _url(self, resource: Resource, name: str = "", at: str = "") -> str:
        base = "api" if resource.api_version == "v1" else "apis"
        parts = (base, resource.api_version, "namespaces", self.namespace, resource.plural, name, at)
        return "/" + "/".join(filter(None, parts))

    async def _do(
        self,
        method: str,
        kind: str,
        name: str,
        body: Any = None,
        at: str = "",
        content_type: str = "application/json",
        manager: str = "",
        **parameters: str,
    ) -> Object:
        resource = self._store.resource(kind)
        if isinstance(body, dict) and method != "DELETE":
            with contextlib.suppress(ValueError):  # a scenario may leave out the key of an item
                said = ownership.fields(body, resource.rules)
                self._mentioned |= {
                    path for path, leaf in said.items() if leaf is not None or path[-1][0] == "k"
                }
        answer = await self._client.request(
            method,
            self._url(resource, name, at),
            content=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
            params=parameters | ({"fieldManager": manager} if manager else {}),
        )
        got = answer.json()
        if got["kind"] == "Status":
            causes = sorted(
                (cause["field"], cause["reason"]) for cause in got.get("details", {}).get("causes", ())
            )
            conflicts = causes if answer.status_code == 409 else None
            self.seen.append((answer.status_code, got.get("reason"), conflicts))
        else:
            key = (kind, got["metadata"]["name"])
            version = got["metadata"]["resourceVersion"]
            is_new = self._versions.get(key) != version
            self._versions[key] = version
            # A controller writes to a real Deployment, too.
            self.seen.append((answer.status_code, is_new or kind == "Deployment", self._shown(resource, got)))
        return got

    def _shown(self, resource: Resource, obj: Object) -> Object:
        metadata = obj["metadata"]
        found = ownership.fields(obj, resource.rules)
        mentioned = self._mentioned - ownership.NEVER_OWNED
        managers = [
            entry
            for entry in metadata.get("managedFields", ())
            if entry["manager"] != "kube-controller-manager"
        ]
        owners = {
            (entry["manager"], entry["operation"], entry.get("subresource", "")): sorted(
                ownership.from_fields_v1(entry["fieldsV1"]) & mentioned
            )
            for entry in managers
        }
        order: dict[ownership.Path, list[str]] = {}
        for path in found:
            if path and path[-1][0] in "kv" and path in mentioned:
                order.setdefault(path[:-1], []).append(path[-1])
        return {
            "name": metadata["name"],
            "generation": metadata.get("generation") if resource.generation_of else None,
            "is being deleted": "deletionTimestamp" in metadata,
            "says": {path: found[path] for path in sorted(found.keys() & mentioned)},
            "in this order": order,
            "owners": {manager: paths for manager, paths in owners.items() if paths},
        }


Scenario = Callable[[Doing], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__.replace("_", " ")] = function
    return function


def container(name: str, **more: Any) -> Object:
    return {"name": name, "image": "x:1"} | more


def pods(*containers: Object, **more: Any) -> Object:
    return {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": list(containers)} | more}


def deployment(*containers: Object, **more: Any) -> Object:
    """A spec that no controller acts on."""
    selector = {"matchLabels": {"app": "a"}}
    return {"replicas": 0, "paused": True, "selector": selector, "template": pods(*containers)} | more


def condition(of_type: str, status: str = "True") -> Object:
    return {
        "type": of_type,
        "status": status,
        "reason": "Because",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


@scenario
async def an_apply_creates_and_the_same_again_changes_nothing(do):
    await do.apply("a", "ConfigMap", "one", data={"x": "1", "y": "2"}, metadata={"labels": {"l": "1"}})
    await do.apply("a", "ConfigMap", "one", data={"x": "1", "y": "2"}, metadata={"labels": {"l": "1"}})
    await do.get("ConfigMap", "one")


@scenario
async def what_is_no_longer_applied_goes_and_what_others_wrote_stays(do):
    await do.apply("a", "ConfigMap", "one", data={"x": "1", "y": "2"})
    await do.patch("ConfigMap", "one", {"data": {"z": "3"}, "metadata": {"annotations": {"n": "1"}}})
    await do.apply("a", "ConfigMap", "one", data={"x": "1"})
    await do.apply("a", "ConfigMap", "one")
    await do.patch("ConfigMap", "one", {"data": {"z": None}})


@scenario
async def two_who_apply_the_same_own_it_together(do):
    await do.apply("a", "ConfigMap", "one", data={"x": "1"})
    await do.apply("b", "ConfigMap", "one", data={"x": "1", "y": "2"})
    await do.apply("b", "ConfigMap", "one", data={"x": "1", "y": "2"})
    await do.apply("a", "ConfigMap", "one")
    await do.apply("b", "ConfigMap", "one")


@scenario
async def a_conflict_is_refused_and_forced(do):
    await do.apply("a", "ConfigMap", "one", data={"x": "1", "y": "1", "z": "1"})
    await do.apply("b", "ConfigMap", "one", data={"x": "2", "y": "2"})
    await do.get("ConfigMap", "one")
    await do.apply("b", "ConfigMap", "one", data={"x": "2", "y": "2"}, force=True)
    await do.apply("a", "ConfigMap", "one", data={"x": "1", "z": "1"}, force=True)


@scenario
async def an_edit_takes_fields_and_an_apply_by_force_takes_them_back(do):
    await do.apply("a", "Deployment", "one", spec=deployment(container("main")))
    await do.patch("Deployment", "one", {"spec": {"template": {"metadata": {"labels": {"more": "1"}}}}})
    await do.patch(
        "Deployment",
        "one",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "x:2"}],
    )
    await do.apply("a", "Deployment", "one", spec=deployment(container("main")))
    await do.apply("a", "Deployment", "one", spec=deployment(container("main")), force=True)
    await do.apply("a", "Deployment", "one", spec=deployment(container("main")), force=True)


@scenario
async def containers_are_merged_by_name(do):
    await do.apply("a", "PodTemplate", "one", template=pods(container("main"), container("second")))
    await do.apply("b", "PodTemplate", "one", template={"spec": {"containers": [container("side")]}})
    await do.apply("a", "PodTemplate", "one", template=pods(container("second"), container("main")))
    await do.apply("a", "PodTemplate", "one", template=pods(container("first"), container("main")))
    await do.apply("b", "PodTemplate", "one")


@scenario
async def an_item_goes_with_what_others_changed_in_it(do):
    await do.apply("a", "PodTemplate", "one", template=pods(container("main"), container("second")))
    patch = [{"op": "add", "path": "/template/spec/containers/1/workingDir", "value": "/w"}]
    await do.patch("PodTemplate", "one", patch)
    await do.apply("a", "PodTemplate", "one", template=pods(container("main")))
    await do.apply(
        "b", "PodTemplate", "one", template={"spec": {"containers": [container("main", workingDir="/w")]}}
    )
    await do.apply("a", "PodTemplate", "one", template=pods(container("third")))


@scenario
async def lists_in_a_container_are_merged_by_their_keys(do):
    mounts = [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]
    volumes = [{"name": "v", "emptyDir": {}}]
    ports = [{"containerPort": 80, "name": "http"}, {"containerPort": 53, "protocol": "UDP", "name": "dns"}]
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    full = container("main", env=env, ports=ports, volumeMounts=mounts, args=["a", "b"])
    await do.apply("a", "PodTemplate", "one", template=pods(full, volumes=volumes))
    other = {
        "name": "main",
        "env": [{"name": "C", "value": "3"}],
        "ports": [{"containerPort": 53, "name": "tcp"}],
    }
    await do.apply("b", "PodTemplate", "one", template={"spec": {"containers": [other]}})
    fewer = container("main", env=env[1:], ports=ports[:1], volumeMounts=mounts[1:], args=["b"])
    await do.apply("a", "PodTemplate", "one", template=pods(fewer, volumes=volumes))
    await do.apply(
        "b", "PodTemplate", "one", template={"spec": {"containers": [{"name": "main", "args": ["c"]}]}}
    )
    await do.apply("a", "PodTemplate", "one", template=pods(container("main")))


@scenario
async def an_item_without_its_key_is_refused(do):
    await do.apply("a", "PodTemplate", "one", template=pods({"image": "x:1"}))


@scenario
async def pods_have_what_is_atomic_and_what_is_not(do):
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    more = {
        "nodeSelector": {"a": "1"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "a"}],
        "topologySpreadConstraints": [spread | {"labelSelector": {"matchLabels": {"a": "1"}}}],
        "initContainers": [container("init", restartPolicy="Always")],
        "securityContext": {"fsGroup": 1, "supplementalGroups": [1]},
    }
    await do.apply("a", "PodTemplate", "one", template=pods(container("main"), **more))
    others = {
        "imagePullSecrets": [{"name": "b"}],
        "topologySpreadConstraints": [spread | {"topologyKey": "host"}],
        "securityContext": {"runAsUser": 1},
        "initContainers": [container("before")],
    }
    await do.apply("b", "PodTemplate", "one", template={"spec": others})
    await do.apply("b", "PodTemplate", "one", template={"spec": others | {"nodeSelector": {"b": "2"}}})
    await do.apply(
        "b", "PodTemplate", "one", template={"spec": others | {"tolerations": [{"operator": "Exists"}]}}
    )
    await do.apply("a", "PodTemplate", "one", template=pods(container("main")))
    await do.apply(
        "a", "PodTemplate", "one", template=pods(container("main", resources={"limits": {"cpu": "1"}}))
    )
    await do.patch("PodTemplate", "one", {"template": {"spec": {"initContainers": None}}})


@scenario
async def owners_and_finalizers(do):
    # Of a kind that no server has: a garbage collector leaves alone what it cannot look up.
    uid = "11111111-2222-3333-4444-555555555555"
    owner = {"apiVersion": "none.example/v1", "kind": "None", "name": "no-one", "uid": uid}
    other = owner | {"uid": "21111111-2222-3333-4444-555555555555", "name": "other"}
    metadata = {"ownerReferences": [owner | {"controller": True}], "finalizers": ["penstock.dev/a"]}
    await do.apply("a", "ConfigMap", "one", metadata={"finalizers": ["penstock.dev/a"]})
    await do.apply("b", "ConfigMap", "one", metadata={"finalizers": ["penstock.dev/b", "penstock.dev/a"]})
    await do.apply("a", "ConfigMap", "one")
    await do.apply("b", "ConfigMap", "one", metadata={"finalizers": []})
    await do.apply("a", "Deployment", "two", metadata=metadata, spec=deployment(container("main")))
    await do.apply("b", "Deployment", "two", metadata={"ownerReferences": [other]})
    await do.apply(
        "a",
        "Deployment",
        "two",
        metadata={"finalizers": ["penstock.dev/a"]},
        spec=deployment(container("main")),
    )
    await do.patch("Deployment", "two", {"metadata": {"finalizers": None, "ownerReferences": None}})


@scenario
async def a_finalizer_holds_what_is_deleted(do):
    await do.apply("a", "ConfigMap", "one", metadata={"finalizers": ["penstock.dev/a"]}, data={"x": "1"})
    await do.delete("ConfigMap", "one")
    await do.delete("ConfigMap", "one")
    await do.get("ConfigMap", "one")
    await do.apply("b", "ConfigMap", "one", metadata={"finalizers": ["penstock.dev/b"]})
    await do.patch("ConfigMap", "one", {"data": {"y": "1"}})
    await do.create("ConfigMap", "one")
    await do.apply("a", "ConfigMap", "one", data={"x": "1"})
    await do.get("ConfigMap", "one")
    await do.delete("ConfigMap", "one")


@scenario
async def a_stream_that_is_deleted_has_a_new_generation(do):
    await do.create(
        "DirectoryStream", "one", spec=MINIMAL["spec"], metadata={"finalizers": ["penstock.dev/a"]}
    )
    await do.delete("DirectoryStream", "one")
    await do.patch("DirectoryStream", "one", {"status": {"partitions": 3}}, at="status")
    await do.apply("op", "DirectoryStream", "one", at="status", status={"lag": 3})
    await do.patch("DirectoryStream", "one", {"metadata": {"finalizers": []}})
    await do.get("DirectoryStream", "one")
    await do.patch("DirectoryStream", "one", {"metadata": {"finalizers": []}})


@scenario
async def a_status_is_written_at_its_own_place(do):
    await do.create("DirectoryStream", "one", spec=MINIMAL["spec"], status={"partitions": 9})
    first = {"partitions": 3, "conditions": [condition("Ready"), condition("TopicReady")]}
    await do.apply("op", "DirectoryStream", "one", at="status", status=first)
    await do.apply("op", "DirectoryStream", "one", at="status", status=first)
    ready = condition("Ready", "False")
    await do.apply(
        "other", "DirectoryStream", "one", at="status", status={"conditions": [condition("Custom")]}
    )
    await do.apply("other", "DirectoryStream", "one", at="status", status={"conditions": [ready]})
    await do.apply("op", "DirectoryStream", "one", at="status", status={"lag": 1, "conditions": [ready]})
    await do.apply("op", "DirectoryStream", "one", status={"partitions": 100})
    await do.patch("DirectoryStream", "one", {"status": {"lag": 5}})
    await do.patch("DirectoryStream", "one", {"status": {"lag": 6}}, at="status")
    await do.patch("DirectoryStream", "one", {"spec": {"suspend": True}, "status": {"lag": 7}}, at="status")
    await do.apply("op", "DirectoryStream", "one", at="status", status={})
    await do.apply("op", "DirectoryStream", "none", at="status", status={"lag": 1})


@scenario
async def objects_of_that_name_with_another_uid(do):
    made = await do.create("DirectoryStream", "one", spec=MINIMAL["spec"])
    uid = made["metadata"]["uid"]
    await do.apply("op", "DirectoryStream", "one", at="status", status={"lag": 1}, metadata={"uid": uid})
    other = {"uid": "11111111-2222-3333-4444-555555555555"}
    await do.apply("op", "DirectoryStream", "one", at="status", status={"lag": 2}, metadata=other)
    await do.apply("op", "DirectoryStream", "one", metadata=other | {"finalizers": ["penstock.dev/a"]})
    await do.apply("op", "DirectoryStream", "none", at="status", status={"lag": 2}, metadata=other)
    await do.apply("op", "DirectoryStream", "none", metadata=other | {"finalizers": ["penstock.dev/a"]})
    await do.patch("DirectoryStream", "one", {"metadata": other})
    await do.patch("DirectoryStream", "one", {"metadata": other, "status": {"lag": 2}}, at="status")
    stale = {"resourceVersion": made["metadata"]["resourceVersion"]}
    await do.patch("DirectoryStream", "one", {"metadata": stale, "status": {"lag": 3}}, at="status")
    made = await do.apply("op", "DirectoryStream", "one", at="status", status={"lag": 3}, metadata=stale)
    made = await do.get("DirectoryStream", "one")
    named = made["metadata"] | other
    await do.put("DirectoryStream", "one", made | {"metadata": named})
    await do.put("DirectoryStream", "one", made | {"metadata": named, "status": {"lag": 4}}, at="status")
    made = await do.create("ConfigMap", "one")
    await do.put("ConfigMap", "one", made | {"metadata": made["metadata"] | other})
    await do.patch("ConfigMap", "one", {"metadata": other})


@scenario
async def events_are_posted(do):
    involved = {"apiVersion": "penstock.dev/v1alpha1", "kind": "DirectoryStream", "name": "one"}
    about = {"involvedObject": involved | {"namespace": do.namespace}, "source": {"component": "us"}}
    said = {"reason": "Because", "message": "so", "type": "Normal", "count": 1}
    await do.create("Event", "one", **about, **said)
    await do.create("Event", "one", **about, **said)


@scenario
async def a_stream_has_generations(do):
    await do.create("DirectoryStream", "one", spec=MINIMAL["spec"])
    await do.patch("DirectoryStream", "one", {"metadata": {"annotations": {"a": "1"}}})
    await do.patch("DirectoryStream", "one", {"spec": {"suspend": True}})
    await do.patch("DirectoryStream", "one", {"spec": {"suspend": True}})
    await do.patch("DirectoryStream", "one", {"status": {"lag": 1}}, at="status")
    await do.apply("op", "DirectoryStream", "one", metadata={"finalizers": ["penstock.dev/a"]})
    await do.apply("op", "DirectoryStream", "one", metadata={"finalizers": ["penstock.dev/a"]})
    await do.apply("op", "DirectoryStream", "one")


@scenario
async def a_deployment_has_generations(do):
    await do.apply(
        "a", "Deployment", "one", spec=deployment(container("main")), metadata={"labels": {"l": "1"}}
    )
    await do.apply(
        "a", "Deployment", "one", spec=deployment(container("main")), metadata={"labels": {"l": "2"}}
    )
    await do.apply(
        "a", "Deployment", "one", spec=deployment(container("main")), metadata={"annotations": {"l": "2"}}
    )
    await do.apply("a", "Deployment", "one", spec=deployment(container("main", image="x:2")))
    await do.apply(
        "a", "Deployment", "one", spec=deployment(container("main", image="x:2"), minReadySeconds=2)
    )
    await do.apply("a", "Deployment", "one", spec=deployment(container("main", image="x:2")))


@scenario
async def a_stream_has_its_defaults_and_no_unknown_fields(do):
    await do.apply("a", "DirectoryStream", "one", spec=MINIMAL["spec"])
    await do.apply("a", "DirectoryStream", "one", spec=MINIMAL["spec"] | {"suspend": True})
    await do.apply("a", "DirectoryStream", "one", spec=MINIMAL["spec"])
    await do.apply("a", "DirectoryStream", "one", spec=MINIMAL["spec"] | {"surprise": True})
    await do.apply("a", "DirectoryStream", "one", at="status", status={"surprise": True})
    await do.patch("DirectoryStream", "one", {"spec": {"surprise": True}})
    await do.patch("DirectoryStream", "one", {"status": {"surprise": True}}, at="status")


@scenario
async def what_an_apply_has_to_say(do):
    await do.apply("", "ConfigMap", "one", data={"x": "1"})
    await do.apply("a", "ConfigMap", "one", data={"x": "1"}, metadata={"resourceVersion": "1"})
    await do.apply(
        "a", "ConfigMap", "one", data={"x": "1"}, metadata={"uid": "11111111-2222-3333-4444-555555555555"}
    )
    await do.apply("a", "ConfigMap", "two", metadata={"uid": "11111111-2222-3333-4444-555555555555"})
    made = await do.apply("a", "ConfigMap", "one", data={"x": "1"})
    await do.apply("a", "ConfigMap", "one", metadata={"managedFields": made["metadata"]["managedFields"]})
    await do.apply("a", "ConfigMap", "one", data={"x": "2"}, metadata={"resourceVersion": "1"})
    version = made["metadata"]["resourceVersion"]
    await do.apply("a", "ConfigMap", "one", data={"x": "2"}, metadata={"resourceVersion": version})
    await do.apply(
        "a", "ConfigMap", "one", data={"x": "2"}, metadata={"uid": "11111111-2222-3333-4444-555555555555"}
    )


@scenario
async def objects_are_put(do):
    made = await do.create("ConfigMap", "one", data={"x": "1"})
    await do.put("ConfigMap", "one", made | {"data": {"x": "2"}})
    await do.put("ConfigMap", "one", made | {"data": {"x": "3"}})
    await do.put("ConfigMap", "one", do.body("ConfigMap", "one", data={"y": "3"}))
    await do.put("ConfigMap", "one", do.body("ConfigMap", "one", data={"y": "3"}))
    await do.put("ConfigMap", "none", do.body("ConfigMap", "other", data={"y": "3"}))
    await do.put("ConfigMap", "one", do.body("ConfigMap", "other", data={"y": "3"}))
    made = await do.create("DirectoryStream", "two", spec=MINIMAL["spec"])
    await do.put("DirectoryStream", "two", do.body("DirectoryStream", "two", spec=MINIMAL["spec"]))
    made = await do.put("DirectoryStream", "two", made | {"status": {"lag": 1}}, at="status")
    await do.put("DirectoryStream", "two", made | {"status": {"lag": 2}})


@scenario
async def what_is_not_there_and_what_is_there_already(do):
    await do.get("ConfigMap", "none")
    await do.delete("ConfigMap", "none")
    await do.patch("ConfigMap", "none", {"data": {}})
    await do.patch("ConfigMap", "none", [{"op": "test", "path": "/metadata/name", "value": "x"}])
    await do.create("ConfigMap", "one")
    await do.create("ConfigMap", "one")
    await do.delete("ConfigMap", "one", {"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}})
    await do.delete("ConfigMap", "one")
    await do.get("ConfigMap", "one")


@scenario
async def json_patches_test_versions(do):
    made = await do.create("ConfigMap", "one", data={"x": "1"}, metadata={"finalizers": ["penstock.dev/a"]})
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]}
    add = {"op": "add", "path": "/metadata/finalizers/-", "value": "penstock.dev/b"}
    await do.patch("ConfigMap", "one", [test, add])
    await do.patch("ConfigMap", "one", [test, add])
    await do.patch("ConfigMap", "one", [{"op": "remove", "path": "/data/y"}])
    await do.patch("ConfigMap", "one", {"metadata": {"resourceVersion": test["value"]}, "data": {"x": "2"}})
    await do.patch("ConfigMap", "one", [{"op": "remove", "path": "/metadata/finalizers"}])


@scenario
async def secrets_are_written_as_text(do):
    made = await do.create("Secret", "one", stringData={"password": "x"}, data={"user": "eA=="})
    do.seen.append(made["data"])
    made = await do.patch("Secret", "one", {"stringData": {"password": "y"}})
    do.seen.append((made["data"], "stringData" in made))


@scenario
async def lists_by_labels(do):
    for number, labels in enumerate([{"a": "1"}, {"a": "2", "b": "1"}, {"b": "2"}, {"c.d/e-f": ""}]):
        await do.create("ConfigMap", f"n{number}", metadata={"labels": labels | {"of": "us"}})
    await do.create("DirectoryStream", "n5", spec=MINIMAL["spec"], metadata={"labels": {"of": "us"}})
    await do.listed("DirectoryStream", "of=us")
    for labels in (
        "a=1", "a==1", "a!=1", "a", "!a", "a in (1,2)", "a in (1, 3),b", "a notin (1)", "b=1,a=2", "!a,!b",
        "c.d/e-f", "c.d/e-f=", "a in (", "a=1=2",
    ):  # fmt: skip
        await do.listed("ConfigMap", f"of=us,{labels}")


@scenario
async def lists_in_pages(do):
    for number in range(5):
        await do.create("ConfigMap", f"n{number}", metadata={"labels": {"of": "us"}})
    page = await do.listed("ConfigMap", "of=us", limit="2")
    while more := page["metadata"].get("continue"):
        page = await do.listed("ConfigMap", "of=us", limit="2", **{"continue": more})


@scenario
async def a_watch_tells_each_change(do):
    ours = {"labels": {"of": "us"}}
    await do.create("DirectoryStream", "old", spec=MINIMAL["spec"], metadata=ours)
    page = await do.listed("DirectoryStream", "of=us")
    await do.create("DirectoryStream", "one", spec=MINIMAL["spec"], metadata=ours)
    since = page["metadata"]["resourceVersion"]

    async def changes():
        await do.patch("DirectoryStream", "one", {"metadata": {"finalizers": ["penstock.dev/a"]}})
        await do.patch("DirectoryStream", "one", {"metadata": {"finalizers": ["penstock.dev/a"]}})
        await do.patch("DirectoryStream", "one", {"status": {"lag": 1}}, at="status")
        await do.delete("DirectoryStream", "one")
        await do.delete("DirectoryStream", "one")
        await do.patch("DirectoryStream", "one", {"metadata": {"finalizers": None}})
        await do.patch("DirectoryStream", "old", {"metadata": {"labels": {"of": "them"}}})
        await do.patch("DirectoryStream", "old", {"spec": {"suspend": True}})
        await do.patch("DirectoryStream", "old", {"metadata": {"labels": {"of": "us"}}})
        await do.delete("DirectoryStream", "old")
        await do.create("DirectoryStream", "end", spec=MINIMAL["spec"], metadata=ours)

    before = len(do.seen)
    await changes()
    done, do.seen[before:] = do.seen[before:], []
    do.seen.append(done)

    async def nothing():
        pass

    await do.watched("DirectoryStream", "of in (us),of", nothing, "end", since)


@scenario
async def a_watch_without_a_version_begins_with_what_there_is(do):
    ours = {"labels": {"of": "us"}}
    await do.create("ConfigMap", "n1", metadata=ours)
    await do.create("ConfigMap", "n2", metadata=ours)
    await do.create("ConfigMap", "n3")

    async def more():
        await do.create("ConfigMap", "zz", metadata=ours)

    before = len(do.seen)
    await do.watched("ConfigMap", "of=us", more, "zz")
    do.seen[before:] = sorted(do.seen[before:], key=str)


@scenario
async def a_watch_of_a_version_long_past_is_refused(do):
    async def nothing():
        pass

    await do.watched("ConfigMap", "of=us", nothing, "never", since="1")


@pytest_asyncio.fixture
async def emulated() -> AsyncIterator[EmulatedApi]:
    async with EmulatedApi() as api:
        api.store.forget()
        yield api


@pytest.fixture
def real(crd: Kubectl, kubectl: Kubectl) -> Kubectl:
    return kubectl


@pytest.fixture
def namespace(real: Kubectl) -> str:
    """A namespace of one scenario; what is left in it goes with it."""
    name = f"emulation-{uuid.uuid4().hex[:8]}"
    made = real("create", "namespace", name)
    assert made.ok, made.err
    yield name
    for kind in ("configmaps", "deployments", "directorystreams"):
        held = real("get", kind, "-n", name, "-o", "name").out.split()
        for one in held:
            real("patch", one, "-n", name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    assert real("delete", "namespace", name, "--wait=false").ok


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_emulated_api_does_what_a_real_one_does(name, emulated, real, namespace):
    seen = {}
    of_real = lightkube.KubeConfig.from_file(real.kubeconfig)
    for server, config in (("real", of_real), ("emulated", emulated.kubeconfig)):
        parameters = ConnectionParams(timeout=httpx2.Timeout(30), trust_env=False)
        async with AsyncClient(config.get(), parameters) as client:
            do = Doing(client, emulated.store, namespace)
            await SCENARIOS[name](do)
            seen[server] = do.seen
    assert seen["emulated"] == seen["real"], differences(seen["emulated"], seen["real"])


def differences(emulated: list[object], real: list[object]) -> str:
    """Say where two servers did different things: `-` the emulated one, `+` the real one."""
    said = ["the emulated API (-) is not as the real one (+)"]
    for number, both in enumerate(itertools.zip_longest(emulated, real)):
        ours, theirs = (pprint.pformat(one, width=200).splitlines() for one in both)
        said += [f"step {number}: {line}" for line in difflib.ndiff(ours, theirs) if line[0] in "+-"]
    return "\n".join(said)
