"""Which manager owns which field of an object: server-side apply, as functions of values.

A path is a tuple of steps, written as Kubernetes writes them in `managedFields`: `f:spec` is a field,
`k:{"name":"main"}` an item of a list that is known by its keys, `v:"penstock.dev/hold"` a member of a set.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Object = dict[str, Any]
Path = tuple[str, ...]
Owned = frozenset[Path]


class Items(NamedTuple):
    """A list whose items have names: the keys that make one, with defaults where they may be left out."""

    keys: Mapping[str, object]
    atomic: bool = False


Rule = Items | Literal["set", "atomic"]
Rules = Mapping[tuple[str, ...], Rule]
"""How to merge what is not merged as JSON is (objects by field, lists as a whole).

Keys are the names that lead to it; items of lists do not count."""


class Manager(NamedTuple):
    """Who owns fields: the same name owns what it applied, and what it wrote to the status, separately."""

    name: str
    operation: Literal["Apply", "Update"]
    subresource: str = ""


Owners = Mapping[Manager, Owned]


@dataclass
class Conflicts(Exception):
    """Others own fields that were to be changed without force."""

    owners: Owners


class Changes(NamedTuple):
    """The fields in which one object differs from another."""

    written: Owned
    removed: Owned


_METADATA = (
    "name",
    "namespace",
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
NEVER_OWNED = frozenset(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", f"f:{name}") for name in _METADATA)]
)


def step(item: Any, rule: Rule) -> str:
    """Return the step to an item of a list.

    Raises ValueError when it lacks a key.
    """
    if rule == "set":
        return "v:" + _compact(item)
    assert isinstance(rule, Items)
    keys = {}
    for key, default in rule.keys.items():
        keys[key] = item.get(key, default)
        if keys[key] is None:
            raise ValueError(f"an item without its key {key!r}: {item}")
    return "k:" + _compact(keys)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def fields(value: Any, rules: Rules, names: tuple[str, ...] = ()) -> dict[Path, Any]:
    """Return what `value` says: the path of each leaf with its value, and of each item that has a name."""
    rule = rules.get(names)
    found: dict[Path, Any] = {}
    if isinstance(value, dict) and (value or not names) and rule != "atomic":
        for name, inner in value.items():
            for path, leaf in fields(inner, rules, (*names, name)).items():
                found[f"f:{name}", *path] = leaf
        return found
    if isinstance(value, list) and rule is not None and rule != "atomic":
        for item in value:
            to_item = step(item, rule)
            if isinstance(rule, Items) and not rule.atomic:
                found |= {(to_item, *path): leaf for path, leaf in fields(item, rules, names).items()}
                found[to_item,] = None  # the item itself; its leaves are what it says
            else:
                found[to_item,] = item
        return found
    return {(): value}


def owned(value: Object, rules: Rules) -> Owned:
    """Return the fields that whoever says `value` owns."""
    return frozenset(fields(value, rules)) - NEVER_OWNED


def changes(before: Object, after: Object, rules: Rules) -> Changes:
    """Return what was written and what was removed between two versions of an object."""
    old, new = fields(before, rules), fields(after, rules)
    were, are = old.keys() | _above(old), new.keys() | _above(new)
    return Changes(
        frozenset(path for path, leaf in new.items() if path not in were or old.get(path, leaf) != leaf)
        - NEVER_OWNED,
        frozenset(old.keys() - are),
    )


def _above(paths: Iterable[Path]) -> set[Path]:
    """Return the fields around these fields."""
    return {
        path[:length] for path in paths for length in range(1, len(path)) if path[length - 1].startswith("f:")
    }


def merged(live: Any, said: Any, rules: Rules, names: tuple[str, ...] = ()) -> Any:
    """Lay what was said over what is there."""
    rule = rules.get(names)
    if rule == "atomic":
        return said
    if isinstance(live, dict) and isinstance(said, dict):
        return live | {
            name: merged(live[name], inner, rules, (*names, name)) if name in live else inner
            for name, inner in said.items()
        }
    if isinstance(live, list) and isinstance(said, list) and rule is not None:
        return _merged_items(live, said, rule, rules, names)
    return said


def _merged_items(
    live: list[Any], said: list[Any], rule: Rule, rules: Rules, names: tuple[str, ...]
) -> list[Any]:
    """Merge two lists of named items: those of `said` in its order, the others after what they followed."""
    old = {step(item, rule): item for item in live}
    new = {step(item, rule): item for item in said}
    if isinstance(rule, Items) and not rule.atomic:
        new = {at: merged(old[at], item, rules, names) if at in old else item for at, item in new.items()}
    left, right = list(old), list(new)
    result = []
    while left or right:
        shared = next((at for at in right if at in old), None)
        if left and left[0] not in new:
            result.append(old[left.pop(0)])
        elif left and left[0] != shared:
            left.pop(0)  # another place is said for it
        else:
            if left and left[0] == right[0]:
                left.pop(0)
            result.append(new[right.pop(0)])
    return result


def without(value: Any, gone: Callable[[Path], bool], rules: Rules) -> Any:
    """Leave out the fields and the items whose path is gone, with all that is in them."""
    return _without(value, gone, rules, (), ())


def _without(
    value: Any, gone: Callable[[Path], bool], rules: Rules, path: Path, names: tuple[str, ...]
) -> Any:
    rule = rules.get(names)
    if isinstance(value, dict) and rule != "atomic":
        return {
            name: _without(inner, gone, rules, at, (*names, name))
            for name, inner in value.items()
            if not gone(at := (*path, f"f:{name}"))
        }
    if isinstance(value, list) and rule is not None and rule != "atomic":
        kept = [(at, item) for item in value if not gone(at := (*path, step(item, rule)))]
        if isinstance(rule, Items) and not rule.atomic:
            return [_without(item, gone, rules, at, names) for at, item in kept]
        return [item for _, item in kept]
    return value


def applied(
    live: Object, owners: Owners, manager: Manager, said: Object, rules: Rules, force: bool
) -> tuple[Object, Owners]:
    """Return the object once `manager` said all that it wants of it, and who owns what then.

    What it said before and says no more goes, unless someone else owns it too. Raises Conflicts when that
    changes what others own, unless forced to take it from them.
    """
    before = owners.get(manager, frozenset())
    claims = {**owners, manager: owned(said, rules)}
    kept = frozenset().union(*claims.values())
    # Who owns all that is in a field owns the field too, as long as nobody else owns anything in it.
    dropped = (before | _above(before)) - kept - _above(kept) - NEVER_OWNED
    new = without(merged(live, said, rules), dropped.__contains__, rules)
    changed = changes(live, new, rules)
    others = {other: paths for other, paths in claims.items() if other != manager}
    conflicts = {other: lost for other, paths in others.items() if (lost := paths & changed.written)}
    if conflicts and not force:
        raise Conflicts(conflicts)
    left = {other: paths - changed.written - changed.removed for other, paths in others.items()}
    return new, _some(left | {manager: claims[manager]})


def updated(live: Object, owners: Owners, manager: Manager, new: Object, rules: Rules) -> Owners:
    """Return who owns what after `manager` wrote `new` in any other way: it takes what it changed."""
    changed = changes(live, new, rules)
    left = {other: paths - changed.written - changed.removed for other, paths in owners.items()}
    return _some(left | {manager: left.get(manager, frozenset()) | changed.written})


def _some(owners: Owners) -> Owners:
    return {manager: paths for manager, paths in owners.items() if paths}


def as_fields_v1(paths: Owned) -> Object:
    """Write paths as `fieldsV1` of `managedFields`."""
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for length, at in enumerate(path):
            if length and path[:length] in paths:
                node["."] = {}
            node = node.setdefault(at, {})
    return tree


def from_fields_v1(tree: Object, path: Path = ()) -> Owned:
    """Read `fieldsV1` of `managedFields`."""
    found: set[Path] = set()
    for at, below in tree.items():
        if at == ".":
            found.add(path)
        elif not below:
            found.add((*path, at))
        else:
            found |= from_fields_v1(below, (*path, at))
    return frozenset(found)


def as_text(path: Path) -> str:
    """Write a path as messages do: `.spec.containers[name="main"].image`."""
    text = ""
    for at in path:
        match at[0]:
            case "f":
                text += "." + at[2:]
            case "k":
                text += (
                    "["
                    + ",".join(f"{key}={_compact(value)}" for key, value in json.loads(at[2:]).items())
                    + "]"
                )
            case _:
                text += f"[={at[2:]}]"
    return text


def declared(schema: Mapping[str, Any], names: tuple[str, ...] = ()) -> dict[tuple[str, ...], Rule]:
    """Return the rules that the structural schema of a CustomResourceDefinition declares."""
    rules: dict[tuple[str, ...], Rule] = {}
    if schema.get("x-kubernetes-map-type") == "atomic":
        rules[names] = "atomic"
    match schema.get("x-kubernetes-list-type"):
        case "set":
            rules[names] = "set"
        case "map":
            items = schema["items"].get("properties", {})
            rules[names] = Items(
                {key: items.get(key, {}).get("default") for key in schema["x-kubernetes-list-map-keys"]}
            )
    for name, inner in schema.get("properties", {}).items():
        rules |= declared(inner, (*names, name))
    if "items" in schema and isinstance(rules.get(names), Items):
        rules |= declared(schema["items"], names)
    return rules


_METADATA_RULES: dict[tuple[str, ...], Rule] = {
    ("metadata", "finalizers"): "set",
    ("metadata", "ownerReferences"): Items({"uid": None}, atomic=True),
}


def _of_pods(at: tuple[str, ...]) -> dict[tuple[str, ...], Rule]:
    name = Items({"name": None})
    rules: dict[str, Rule] = {
        "nodeSelector": "atomic",
        "imagePullSecrets": Items({"name": None}, atomic=True),
        "hostAliases": Items({"ip": None}),
        "topologySpreadConstraints": Items({"topologyKey": None, "whenUnsatisfiable": None}),
        "topologySpreadConstraints.labelSelector": "atomic",
        "volumes": name,
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution": "atomic",
    }
    for containers in ("containers", "initContainers"):
        of_one: dict[str, Rule] = {
            "": name,
            ".env": name,
            ".env.valueFrom.configMapKeyRef": "atomic",
            ".env.valueFrom.fieldRef": "atomic",
            ".env.valueFrom.resourceFieldRef": "atomic",
            ".env.valueFrom.secretKeyRef": "atomic",
            ".ports": Items({"containerPort": None, "protocol": "TCP"}),
            ".resources.claims": name,
            ".volumeDevices": Items({"devicePath": None}),
            ".volumeMounts": Items({"mountPath": None}),
        }
        rules |= {containers + inner: rule for inner, rule in of_one.items()}
    return {(*at, *path.split(".")): rule for path, rule in rules.items()}


CONDITIONS: dict[tuple[str, ...], Rule] = {("status", "conditions"): Items({"type": None})}
"""Most kinds have these."""

ANY = _METADATA_RULES
POD = _METADATA_RULES | CONDITIONS | _of_pods(("spec",))
POD_TEMPLATE = _METADATA_RULES | _of_pods(("template", "spec"))
DEPLOYMENT = (
    _METADATA_RULES | CONDITIONS | {("spec", "selector"): "atomic"} | _of_pods(("spec", "template", "spec"))
)
