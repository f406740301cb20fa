"""What the chart can be told: its README and docs/reference/chart.md, from the comments in values.yaml.

    python -m reference.chart

writes both. A value's comment is what stands above it; its type is the schema's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

ROOT: Final = Path(__file__).parents[1]
CHART: Final = Path("charts/penstock")
README: Final = CHART / "README.md"
PAGE: Final = Path("docs/reference/chart.md")

Schema: TypeAlias = Mapping[str, Any]

_WRITTEN: Final = "<!-- Written by `make docs` from values.yaml and its schema: change it there. -->"

_INTRODUCTION: Final = """\
# The chart `penstock`

{written}
<!-- commands: cluster -->

{description}

It installs the operator with the definition of `DirectoryStream` (CRD), the webhook that gives pods their
sidecars, the registry with its page, Grafana's dashboards, and, where they are asked for, PodMonitors, alerts
and network policies. Version {version}, of Penstock {app}; it takes Kubernetes `{kubernetes}`, and Helm 3.14
or newer, or 4.

With a Kafka of its own, which is for tests and demonstrations only, it is complete on an empty cluster:

```console
$ helm install penstock charts/penstock --namespace penstock --create-namespace --set demoKafka.enabled=true
```

It says what to do next. An upgrade keeps the values that were set, and takes the new chart's for all others:

```console
$ helm upgrade penstock charts/penstock --namespace penstock --reset-then-reuse-values
```

`--reuse-values` would take all values of the old chart, and is refused where new ones are missing.
[docs/operator.md](../../docs/operator.md) says more of installing, upgrading and removing,
[docs/registry.md](../../docs/registry.md) of the registry, [docs/metrics.md](../../docs/metrics.md) of what
can be watched.

## Values

A value that is misspelt, or contradicts another one, is refused, with what to do.

"""

_PAGE: Final = """\
# The chart's values

{written}

`helm install --set NAME=VALUE`, or a file for `--values`. A value that is misspelt, or contradicts another
one, is refused, with what to do. [The operator's page](../operator.md#installing) says how to install it.

"""


@dataclass(frozen=True)
class Value:
    """One line of the table. A group of values has no default."""

    path: str
    comment: str
    kind: str = ""
    default: str = ""


@dataclass(frozen=True)
class Part:
    """What stands under one heading: a top-level value, or a group of them."""

    name: str
    comment: str
    values: tuple[Value, ...]


def pages(root: Path = ROOT) -> dict[Path, str]:
    """Return the text of the chart's README and of its page, by their paths below `root`."""
    chart = yaml.safe_load((root / CHART / "Chart.yaml").read_text("utf-8"))
    table = values_table(root)
    readme = _INTRODUCTION.format(
        written=_WRITTEN,
        description=chart["description"],
        version=chart["version"],
        app=chart["appVersion"],
        kubernetes=chart["kubeVersion"].removesuffix("-0"),
    )
    return {README: readme + table, PAGE: _PAGE.format(written=_WRITTEN) + table}


def values_table(root: Path = ROOT) -> str:
    """Return all values as Markdown: a heading and a table for each part."""
    blocks = []
    for part in parts(
        (root / CHART / "values.yaml").read_text("utf-8"),
        json.loads((root / CHART / "values.schema.json").read_text("utf-8")),
    ):
        lines = [f"### `{part.name}`" if part.name else "### All parts", ""]
        lines += [part.comment, ""] if part.comment else []
        lines += ["| value | type | default | |", "|---|---|---|---|"]
        lines += [
            f"| `{value.path}` | {value.kind} | {f'`{value.default}`' if value.default else ''} "
            f"| {_cell(value.comment)} |"
            for value in part.values
        ]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def parts(text: str, schema: Schema) -> list[Part]:
    """Return the parts of a values.yaml. Raises ValueError for a value without a comment or a type."""
    document = yaml.compose(text)
    assert isinstance(document, yaml.MappingNode)
    lines = text.splitlines()
    single: list[Value] = []
    found: list[Part] = []
    for key, node in document.value:
        comment, inner = _comment(lines, key), _property(schema, key.value, schema)
        if _is_group(node, lines):
            values = tuple(_values(key.value, node, inner, schema, lines))
            found.append(Part(key.value, comment, values))
        else:
            single.append(_value(key.value, comment, node, inner, schema))
    return [*([Part("", "", tuple(single))] if single else []), *found]


def _values(
    path: str, node: yaml.MappingNode, schema: Schema, root: Schema, lines: list[str]
) -> Iterator[Value]:
    for key, inner in node.value:
        here = f"{path}.{key.value}"
        comment, its = _comment(lines, key), _property(schema, key.value, root)
        if not _is_group(inner, lines):
            yield _value(here, comment, inner, its, root)
            continue
        if comment:
            yield Value(here, comment)
        yield from _values(here, inner, its, root, lines)


def _value(path: str, comment: str, node: yaml.Node, schema: Schema, root: Schema) -> Value:
    if not comment:
        raise ValueError(f"{path} has no comment above it in values.yaml")
    default = yaml.safe_load(yaml.serialize(node))
    shown = "" if default in ("", None) else json.dumps(default, ensure_ascii=False)
    return Value(path, comment, _kind(schema, root), shown.strip('"') if isinstance(default, str) else shown)


def _is_group(node: yaml.Node, lines: list[str]) -> bool:
    """Tell whether values are documented inside of it, and not as one."""
    return isinstance(node, yaml.MappingNode) and any(
        _comment(lines, key) or _is_group(inner, lines) for key, inner in node.value
    )


def _comment(lines: list[str], key: yaml.Node) -> str:
    """Return the comment right above a key."""
    number, found = key.start_mark.line, list[str]()
    while number > 0 and lines[number - 1].lstrip().startswith("#"):
        number -= 1
        found.insert(0, lines[number].lstrip().removeprefix("#").strip())
    return " ".join(found)


def _property(schema: Schema, name: str, root: Schema) -> Schema:
    try:
        return _resolved(schema["properties"][name], root)
    except KeyError:
        raise ValueError(f"values.schema.json has no {name}, which values.yaml has") from None


def _resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    resolved: Schema = root["definitions"][reference.removeprefix("#/definitions/")]
    return resolved


def _kind(schema: Schema, root: Schema) -> str:
    """Say what a value may be, as its schema has it."""
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(_kind_of(kind, schema, root) for kind in types)


def _kind_of(kind: str, schema: Schema, root: Schema) -> str:
    if kind == "array":
        return f"list of {_resolved(schema['items'], root)['type']}s"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return "map of strings" if isinstance(inner, Mapping) else "object"
    if "minimum" in schema and kind in ("integer", "number"):
        highest = f" to {schema['maximum']}" if "maximum" in schema else ""
        return f"{kind}, {schema['minimum']}{highest or ' or more'}"
    return kind


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(say: Callable[[str], object] = print) -> None:
    """Write what differs from what is there."""
    for path, text in pages().items():
        target = ROOT / path
        if not target.is_file() or target.read_text("utf-8") != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8", newline="\n")
            say(f"wrote {path}")


if __name__ == "__main__":
    main()
