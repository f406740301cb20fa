"""What a container of a pod sees: its environment as the kubelet makes it, and a JSON Patch applied."""

import copy
import re
from collections.abc import Mapping
from typing import Any


def environment(
    container: Mapping[str, Any], *, fields: Mapping[str, str], secrets: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    """The variables of a container, references filled in: $(NAME) of an earlier variable, $$ is a $."""
    seen: dict[str, str] = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if "fieldRef" in source:
            seen[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
        elif "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            seen[variable["name"]] = secrets[reference["name"], reference["key"]]
        else:
            assert not source
            seen[variable["name"]] = expanded(variable["value"], seen)
    return seen


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """As https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/."""

    def replace(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text, flags=re.DOTALL)


def patched(body: Mapping[str, Any], operations: Any) -> dict[str, Any]:
    """The object after a JSON Patch of `add` operations (RFC 6902), each of which has to be possible."""
    result = copy.deepcopy(dict(body))
    for operation in operations:
        assert operation["op"] == "add"
        *parents, last = [
            step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]
        ]
        target: Any = result
        for step in parents:
            target = target[int(step)] if isinstance(target, list) else target[step]
        if isinstance(target, list):
            assert last == "-"
            target.append(copy.deepcopy(operation["value"]))
        else:
            target[last] = copy.deepcopy(operation["value"])
    return result
