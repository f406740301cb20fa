"""What the emulated Kubernetes API stores: objects, their versions and owners, and what happened to them.

Pure but for the clock. What is not emulated is refused, and never done in a way that the real API would not.
"""

import base64
import copy
import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jsonpatch
from tests.integration.operator import emulated_api_fields as ownership
from tests.integration.operator.emulated_api_fields import Conflicts, Manager, Object, Owners, Rules

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Refused(Exception):
    """What the API answers instead: a Status with this code, reason and message."""

    def __init__(self, code: int, message: str, reason: str | None = None, **details: Any):
        super().__init__(message)
        self.code = code
        self.reason = REASONS[code] if reason is None else reason
        self.details = details

    @property
    def status(self) -> Object:
        """The object that says it."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "code": self.code,
        }
        return (
            status
            | {"message": str(self), "details": self.details}
            | ({"reason": self.reason} if self.reason else {})
        )


@dataclass(frozen=True)
class Resource:
    """A kind of objects."""

    api_version: str
    kind: str
    plural: str
    rules: Rules = field(default_factory=lambda: ownership.ANY)
    namespaced: bool = True
    has_status: bool = False
    """The status is a resource of its own: written at `/status` only."""
    generation_of: tuple[str, ...] = ()
    """What counts as the wish: a change of it raises metadata.generation; nothing: there is no generation."""
    schema: Mapping[str, Any] | None = None
    """A structural schema: what it does not declare is refused or dropped, its defaults are filled in."""

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version in the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def qualified(self) -> str:
        """The name in messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def custom(definition: Object) -> Resource:
    """Return the resource of the one version that a CustomResourceDefinition has."""
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    names = definition["spec"]["names"]
    return Resource(
        f"{definition['spec']['group']}/{version['name']}",
        names["kind"],
        names["plural"],
        rules={**ownership.ANY, **ownership.declared(schema)},
        namespaced=definition["spec"]["scope"] == "Namespaced",
        has_status="status" in version.get("subresources", {}),
        generation_of=("spec",),
        schema=schema,
    )


BUILT_IN = (
    Resource("v1", "Namespace", "namespaces", namespaced=False),
    Resource("v1", "ConfigMap", "configmaps"),
    Resource("v1", "Secret", "secrets"),
    Resource("v1", "Event", "events", rules={("involvedObject",): "atomic"}),
    Resource("v1", "Pod", "pods", rules=ownership.POD, has_status=True),
    Resource("v1", "PodTemplate", "podtemplates", rules=ownership.POD_TEMPLATE),
    Resource("v1", "Service", "services"),
    Resource(
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        rules={**ownership.ANY, **ownership.CONDITIONS},
        has_status=True,
    ),
    Resource(
        "apps/v1",
        "Deployment",
        "deployments",
        rules=ownership.DEPLOYMENT,
        has_status=True,
        generation_of=("spec", "metadata.annotations"),
    ),
    Resource(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
    ),
)

Key = tuple[str, str, str]
"""Plural, namespace (empty if there is none), name."""


@dataclass(frozen=True)
class Stored:
    """A version of an object: what is said of it, and who owns what since when."""

    said: Object
    owners: Owners
    since: Mapping[Manager, str]
    seen: Object
    """The same as clients see it, with managedFields."""

    @property
    def version(self) -> int:
        """The resourceVersion."""
        return int(self.said["metadata"]["resourceVersion"])


@dataclass(frozen=True)
class Change:
    """What happened to an object: it was there, or not; it is there, or no more."""

    version: int
    resource: Resource
    before: Object | None
    after: Object | None


Selects = Callable[[Object], bool]

_REQUIREMENT = re.compile(
    r"""\s*(?:
        (?P<absent>!)\s*(?P<key1>[^\s!=,()]+)
      | (?P<key2>[^\s!=,()]+)\s*(?P<equality>==|=|!=)\s*(?P<value>[^\s!=,()]*)
      | (?P<key3>[^\s!=,()]+)\s+(?P<membership>in|notin)\s*\((?P<values>[^()]*)\)
      | (?P<key4>[^\s!=,()]+)
    )\s*(?:,|$)""",
    re.VERBOSE,
)


def selector(text: str) -> Callable[[Mapping[str, str]], bool]:
    """Read a label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

    Raises Refused.
    """
    requirements: list[Callable[[Mapping[str, str]], bool]] = []
    position = 0
    while position < len(text):
        if not (found := _REQUIREMENT.match(text, position)):
            raise Refused(400, f"unable to parse requirement: {text[position:]!r}")
        position = found.end()
        key = found["key1"] or found["key2"] or found["key3"] or found["key4"]
        values = (
            frozenset(value.strip() for value in (found["values"] or "").split(","))
            if found["membership"]
            else frozenset([found["value"] or ""])
        )
        if found["absent"]:
            requirements.append(lambda labels, key=key: key not in labels)
        elif found["key4"]:
            requirements.append(lambda labels, key=key: key in labels)
        elif found["equality"] == "!=" or found["membership"] == "notin":
            requirements.append(lambda labels, key=key, values=values: labels.get(key) not in values)
        else:
            requirements.append(lambda labels, key=key, values=values: labels.get(key) in values)
    return lambda labels: all(requirement(labels) for requirement in requirements)


def selects(namespace: str = "", labels: str = "", of_fields: str = "") -> Selects:
    """Return whether an object is in a namespace (empty: in any), and has these labels and fields.

    Raises Refused.
    """
    has_labels = selector(labels)
    wanted = {}
    for requirement in filter(None, of_fields.split(",")):
        name, equals, value = requirement.partition("=")
        if not equals or name.removeprefix("metadata.") not in ("name", "namespace"):
            raise Refused(400, f"field selector not emulated: {requirement!r}")
        wanted[name.removeprefix("metadata.")] = value.removeprefix("=")

    def select(obj: Object) -> bool:
        metadata = obj["metadata"]
        return (
            (not namespace or metadata.get("namespace") == namespace)
            and has_labels(metadata.get("labels", {}))
            and all(metadata.get(name) == value for name, value in wanted.items())
        )

    return select


def event(change: Change, select: Selects) -> Object | None:
    """Return what a watch of the selected objects says of a change, if it says anything."""
    before = change.before is not None and select(change.before)
    after = change.after is not None and select(change.after)
    if after:
        return {"type": "MODIFIED" if before else "ADDED", "object": change.after}
    if before:
        assert change.before is not None
        metadata = change.before["metadata"] | {"resourceVersion": str(change.version)}
        return {"type": "DELETED", "object": change.before | {"metadata": metadata}}
    return None


def now() -> str:
    """Return the time, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge_patched(value: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, inner in patch.items():
        if inner is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), inner)
    return result


def _completed(value: Any, schema: Mapping[str, Any]) -> Any:
    """Drop what a structural schema does not declare, and fill in its defaults."""
    if isinstance(value, dict) and "properties" in schema:
        properties = schema["properties"]
        present = {
            name: inner
            for name, inner in value.items()
            if (name in properties and (inner is not None or properties[name].get("nullable")))
            or (name not in properties and schema.get("x-kubernetes-preserve-unknown-fields"))
        }
        for name, declared in properties.items():
            if name not in present and "default" in declared:
                present[name] = copy.deepcopy(declared["default"])
        return {name: _completed(inner, properties.get(name, {})) for name, inner in present.items()}
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        return {name: _completed(inner, schema["additionalProperties"]) for name, inner in value.items()}
    if isinstance(value, list):
        return [_completed(item, schema.get("items", {})) for item in value]
    return value


def _undeclared(value: Any, schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    if isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            if name in schema["properties"]:
                yield from _undeclared(inner, schema["properties"][name], f"{at}.{name}")
            elif not schema.get("x-kubernetes-preserve-unknown-fields"):
                yield f"{at}.{name}"
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for name, inner in value.items():
            yield from _undeclared(inner, schema["additionalProperties"], f"{at}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _undeclared(item, schema.get("items", {}), at)


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    if isinstance(value, list):
        return any(map(_has_null, value))
    return value is None


class Store:
    """The objects of an API server. Each change is a version of its own, and is told to the `listeners`."""

    def __init__(self, resources: Sequence[Resource] = BUILT_IN):
        self.resources = tuple(resources)
        self.version = 1
        self.forgotten = 0
        """Changes up to this version are known no more: who watches from before it has to list again."""
        self.history: list[Change] = []
        self.listeners: list[Callable[[], None]] = []
        self._stored: dict[Key, Stored] = {}

    def resource(self, name: str) -> Resource:
        """Return the resource with this plural or kind.

        Raises LookupError.
        """
        for resource in self.resources:
            if name in (resource.plural, resource.kind):
                return resource
        raise LookupError(f"the emulated API has no {name!r}; it has {[r.plural for r in self.resources]}")

    # What is read

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object, not to be changed. Raises Refused (404)."""
        return self._get(resource, namespace, name).seen

    def all(self, resource: Resource, select: Selects) -> list[Object]:
        """Return the objects that are selected, by namespace and name; not to be changed."""
        of_kind = sorted(key for key in self._stored if key[0] == resource.plural)
        return [seen for key in of_kind if select(seen := self._stored[key].seen)]

    # What is written

    def create(self, resource: Resource, namespace: str, body: Object, manager: str) -> Object:
        """Store a new object. Raises Refused."""
        body = self._named(resource, namespace, body)
        if body["metadata"].get("resourceVersion"):
            raise Refused(500, "resourceVersion should not be set on objects to be created")
        key = self._key(resource, namespace, body["metadata"]["name"])
        if key in self._stored:
            raise self._refused(409, resource, key[2], "already exists", "AlreadyExists")
        new = self._completed(resource, self._born(resource, body))
        owners = ownership.updated({}, {}, Manager(manager, "Update"), new, resource.rules)
        return self._store(resource, key, None, new, owners, Manager(manager, "Update"))

    def replace(
        self, resource: Resource, namespace: str, name: str, body: Object, manager: str, subresource: str = ""
    ) -> Object:
        """Store a new version of an object, or of its status. Raises Refused."""
        body = self._named(resource, namespace, body)
        if body["metadata"]["name"] != name:
            raise Refused(400, f"the name of the object ({body['metadata']['name']}) does not match {name}")
        stored = self._get(resource, namespace, name)
        if resource.schema is not None and not body["metadata"].get("resourceVersion"):
            raise self._refused(
                422,
                resource,
                name,
                "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
            )
        return self._write(resource, stored, body, Manager(manager, "Update", subresource), 409)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,
        manager: str,
        subresource: str = "",
    ) -> Object:
        """Change an object by a JSON merge patch (an object) or a JSON patch (a list). Raises Refused."""
        stored = self._get(resource, namespace, name)
        if isinstance(patch, list):
            try:
                new = jsonpatch.apply_patch(stored.seen, patch)
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                raise Refused(
                    422, f"the server rejected our request due to an error in our request: {error}"
                ) from error
        else:
            new = merge_patched(stored.seen, patch)
        other = None if subresource else 422
        return self._write(resource, stored, new, Manager(manager, "Update", subresource), other)

    def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object,
        manager: str,
        force: bool = False,
        subresource: str = "",
    ) -> Object:
        """Apply what a manager wants of an object, or of its status. Raises Refused."""
        metadata = body.get("metadata", {})
        if not manager:
            raise Refused(
                422,
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply',
            )
        if (body.get("apiVersion"), body.get("kind")) != (resource.api_version, resource.kind):
            raise Refused(400, f"apiVersion and kind must be {resource.api_version} {resource.kind}")
        if metadata.get("name", name) != name or metadata.get("namespace", namespace) != namespace:
            raise Refused(400, f"the object is not {namespace}/{name}: {metadata}")
        if metadata.get("managedFields"):
            raise Refused(400, "metadata.managedFields must be nil")
        if _has_null(body):
            raise Refused(400, "null in an apply is not emulated")
        if resource.schema is not None:
            for at in _undeclared({k: v for k, v in body.items() if k != "metadata"}, resource.schema):
                raise Refused(
                    500, f"failed to create typed patch object: {at}: field not declared in schema", ""
                )
        key = self._key(resource, namespace, name)
        stored = self._stored.get(key)
        if stored is None and (subresource or metadata.get("uid")):
            raise self._refused(404 if subresource else 409, resource, name, "not found")
        said = {"status"} if subresource else body.keys() - ({"status"} if resource.has_status else set())
        wanted = {
            part: inner for part, inner in body.items() if part in said or part in ("apiVersion", "kind")
        }
        live = (
            self._named(resource, namespace, body | {"metadata": {"name": name}})
            if stored is None
            else stored.said
        )
        if stored is None:
            live = {part: live[part] for part in ("apiVersion", "kind", "metadata")}
        else:
            self._check_identity(resource, stored, metadata, other=None if subresource else 422)
            wanted = _without_versions(wanted)
        applying = Manager(manager, "Apply", subresource)
        try:
            new, owners = ownership.applied(
                live, stored.owners if stored else {}, applying, wanted, resource.rules, force
            )
        except Conflicts as conflicts:
            raise _conflict(conflicts) from conflicts
        except ValueError as error:
            raise self._refused(422, resource, name, str(error)) from error
        if stored is None:
            new = self._born(resource, new)
        return self._store(resource, key, stored, self._completed(resource, new), owners, applying)

    def delete(
        self, resource: Resource, namespace: str, name: str, preconditions: Mapping[str, str] | None = None
    ) -> Object | None:
        """Delete an object: what is left of it while there are finalizers, else None. Raises Refused."""
        stored = self._get(resource, namespace, name)
        self._check_identity(resource, stored, preconditions or {}, other=409)
        metadata = stored.said["metadata"]
        if not metadata.get("finalizers"):
            self._remove(resource, self._key(resource, namespace, name), stored)
            return None
        if "deletionTimestamp" in metadata:
            return stored.seen
        marked = metadata | {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
        if "generation" in metadata:
            marked["generation"] += 1
        return self._put(
            resource,
            self._key(resource, namespace, name),
            stored,
            stored.said | {"metadata": marked},
            stored.owners,
            {},
        )

    def collect_garbage(self) -> None:
        """Delete each object whose owners are all gone, as the garbage collector would sooner or later."""
        while True:
            alive = {stored.said["metadata"]["uid"] for stored in self._stored.values()}
            for plural, namespace, name in sorted(self._stored):
                metadata = self._stored[plural, namespace, name].said["metadata"]
                owners = metadata.get("ownerReferences")
                if (
                    owners
                    and "deletionTimestamp" not in metadata
                    and not any(owner["uid"] in alive for owner in owners)
                ):
                    self.delete(self.resource(plural), namespace, name)
                    break
            else:
                return

    def forget(self) -> None:
        """Forget all changes so far: a watch from before has to list again."""
        self.version += 1
        self.forgotten = self.version
        self.history.clear()

    def changes_since(self, version: int) -> list[Change]:
        """Return what happened after a version. Raises Refused (410)."""
        if version < self.forgotten:
            raise Refused(410, f"too old resource version: {version} ({self.forgotten})")
        position = len(self.history)
        while position and self.history[position - 1].version > version:
            position -= 1
        return self.history[position:]

    # What both are made of

    def _key(self, resource: Resource, namespace: str, name: str) -> Key:
        return resource.plural, namespace if resource.namespaced else "", name

    def _get(self, resource: Resource, namespace: str, name: str) -> Stored:
        try:
            return self._stored[self._key(resource, namespace, name)]
        except KeyError:
            raise self._refused(404, resource, name, "not found") from None

    def _refused(
        self, code: int, resource: Resource, name: str, why: str, reason: str | None = None
    ) -> Refused:
        said = f"is invalid: {why}" if code == 422 else why
        return Refused(
            code,
            f'{resource.qualified} "{name}" {said}',
            reason,
            name=name,
            kind=resource.plural,
            group=resource.group,
        )

    def _named(self, resource: Resource, namespace: str, body: Object) -> Object:
        metadata = dict(body.get("metadata", {}))
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise self._refused(
                    422, resource, "", "metadata.name: Required value: name or generateName is required"
                )
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        if resource.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise Refused(
                    400,
                    f"the namespace of the object ({metadata['namespace']}) is not {namespace}",
                )
        elif "namespace" in metadata:
            raise Refused(400, f"{resource.plural} are in no namespace")
        for name, right in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            if body.get(name, right) != right:
                raise Refused(400, f"{name} {body[name]!r} is not {right!r}")
        return body | {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}

    def _born(self, resource: Resource, body: Object) -> Object:
        given = {
            name: value
            for name, value in body["metadata"].items()
            if name not in ("managedFields", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
        }
        made: Object = {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        if resource.generation_of:
            made["generation"] = 1
        body = body | {"metadata": given | made}
        if resource.has_status:
            body.pop("status", None)
        return body

    def _completed(self, resource: Resource, body: Object) -> Object:
        metadata = {
            name: value
            for name, value in body["metadata"].items()
            if value not in (None, {}, []) and name != "managedFields"
        }
        body = body | {"metadata": metadata}
        if resource.kind == "Secret" and "stringData" in body:
            encoded = {
                name: base64.b64encode(text.encode()).decode() for name, text in body["stringData"].items()
            }
            body["data"] = body.get("data", {}) | encoded
            del body["stringData"]
        if resource.schema is not None:
            body = _completed(body, resource.schema) | {
                part: body[part] for part in ("apiVersion", "kind", "metadata")
            }
        return body

    def _check_identity(
        self, resource: Resource, stored: Stored, wanted: Mapping[str, Any], other: int | None
    ) -> None:
        """Refuse an old resourceVersion; and another object's uid, with the code `other` if that matters."""
        metadata = stored.said["metadata"]
        if wanted.get("resourceVersion") not in (None, "", metadata["resourceVersion"]):
            why = "cannot be changed: the object has been modified since"
            raise self._refused(409, resource, metadata["name"], why)
        if other and wanted.get("uid") not in (None, "", metadata["uid"]):
            why = f"metadata.uid: the object's is {metadata['uid']}"
            raise self._refused(other, resource, metadata["name"], why)

    def _write(
        self, resource: Resource, stored: Stored, new: Object, manager: Manager, other: int | None
    ) -> Object:
        """Store what was written at an object or its status, whatever else the writer said."""
        old = stored.said
        self._check_identity(resource, stored, new["metadata"], other)
        if manager.subresource == "status":
            new = {part: value for part, value in old.items() if part != "status"} | {
                part: new[part] for part in ("status",) if part in new
            }
        elif resource.has_status:
            new = {part: value for part, value in new.items() if part != "status"} | {
                part: old[part] for part in ("status",) if part in old
            }
        kept = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
        metadata = {name: value for name, value in new["metadata"].items() if name not in kept}
        metadata |= {
            name: old["metadata"][name] for name in (*kept, "resourceVersion") if name in old["metadata"]
        }
        if metadata["name"] != old["metadata"]["name"] or metadata.get("namespace") != old["metadata"].get(
            "namespace"
        ):
            raise Refused(400, "the name of the object does not match the name on the URL")
        new = self._completed(resource, new | {"metadata": metadata})
        try:
            owners = ownership.updated(old, stored.owners, manager, new, resource.rules)
        except ValueError as error:
            raise self._refused(422, resource, metadata["name"], str(error)) from error
        key = self._key(resource, metadata.get("namespace", ""), metadata["name"])
        return self._store(resource, key, stored, new, owners, manager)

    def _store(
        self,
        resource: Resource,
        key: Key,
        stored: Stored | None,
        new: Object,
        owners: Owners,
        manager: Manager,
    ) -> Object:
        """Store a new version if anything is new; what is being deleted goes once nobody holds it."""
        if stored is None:
            return self._put(resource, key, None, new, owners, dict.fromkeys(owners, now()))
        old, metadata = stored.said, new["metadata"]
        if "deletionTimestamp" in metadata:
            held = set(old["metadata"].get("finalizers", ()))
            if more := sorted(set(metadata.get("finalizers", ())) - held):
                raise self._refused(
                    422,
                    resource,
                    key[2],
                    "metadata.finalizers: Forbidden: none can be added while the object is being deleted:"
                    f" {json.dumps(more)}",
                )
            if not metadata.get("finalizers"):
                self._remove(resource, key, stored)
                return _seen(resource, new, owners, stored.since | {manager: now()})
        if new == old and owners == stored.owners:
            return stored.seen
        if any(_part(old, part) != _part(new, part) for part in resource.generation_of):
            new = new | {"metadata": metadata | {"generation": metadata["generation"] + 1}}
        return self._put(resource, key, stored, new, owners, {manager: now()})

    def _put(
        self,
        resource: Resource,
        key: Key,
        stored: Stored | None,
        said: Object,
        owners: Owners,
        since: Mapping[Manager, str],
    ) -> Object:
        self.version += 1
        metadata = said["metadata"] | {"resourceVersion": str(self.version)}
        said = said | {"metadata": metadata}
        known = (stored.since if stored else {}) | since
        since = {manager: known[manager] for manager in owners}
        seen = _seen(resource, said, owners, since)
        self._stored[key] = Stored(said, owners, since, seen)
        self._tell(Change(self.version, resource, stored.seen if stored else None, seen))
        return seen

    def _remove(self, resource: Resource, key: Key, stored: Stored) -> None:
        self.version += 1
        del self._stored[key]
        self._tell(Change(self.version, resource, stored.seen, None))

    def _tell(self, change: Change) -> None:
        self.history.append(change)
        for listener in list(self.listeners):
            listener()


def _seen(resource: Resource, said: Object, owners: Owners, since: Mapping[Manager, str]) -> Object:
    """Add metadata.managedFields, if anyone manages anything."""
    managed = [
        {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": resource.api_version,
            "time": since[manager],
            "fieldsType": "FieldsV1",
            "fieldsV1": ownership.as_fields_v1(paths),
        }
        | ({"subresource": manager.subresource} if manager.subresource else {})
        for manager, paths in owners.items()
    ]
    return said | {"metadata": said["metadata"] | {"managedFields": managed}} if managed else said


def _part(obj: Object, path: str) -> Any:
    value: Any = obj
    for name in path.split("."):
        value = value.get(name, {})
    return value


def _without_versions(body: Object) -> Object:
    if "metadata" not in body:
        return body
    metadata = {k: v for k, v in body["metadata"].items() if k not in ("resourceVersion", "uid")}
    return body | {"metadata": metadata}


def _conflict(conflicts: Conflicts) -> Refused:
    found = [(manager, path) for manager, paths in conflicts.owners.items() for path in sorted(paths)]
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager.name}"',
            "field": ownership.as_text(path),
        }
        for manager, path in found
    ]
    with_whom = ", ".join(f'"{manager.name}"' for manager in conflicts.owners)
    return Refused(
        409,
        f"Apply failed with {len(found)} conflict{'s' * (len(found) > 1)}: conflicts with {with_whom}: "
        + ", ".join(cause["field"] for cause in causes),
        causes=causes,
    )
