"""Environment variables of a container: the services' settings, and where Kubernetes fills something in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Variable = dict[str, Any]
"""One entry of a container's `env`."""


def literal(text: str) -> str:
    """Escape what Kubernetes would take for a reference to another variable, such as $(HOME)."""
    return text.replace("$", "$$")


def setting(name: str, value: str | float) -> Variable:
    """Give the variable of a service's setting: `setting("drain_seconds", 20)`."""
    return {"name": f"PENSTOCK_{name.upper()}", "value": literal(str(value))}


def settings(**values: str | float | Iterable[str] | None) -> list[Variable]:
    """Give the variables of several settings, without those that are None or empty: they have defaults.

    Lists are written as JSON, which keeps commas and line breaks in a glob.
    """
    given = {
        name: value if isinstance(value, str | int | float) else json.dumps(list(value))
        for name, value in values.items()
        if value is not None and value != "" and value != ()
    }
    return [setting(name, value) for name, value in given.items()]


def setting_from_secret(name: str, secret: str, key: str) -> Variable:
    """Give the variable of a setting that is read from a Secret when the container starts."""
    reference = {"name": secret, "key": key}
    return {"name": f"PENSTOCK_{name.upper()}", "valueFrom": {"secretKeyRef": reference}}


def from_field(name: str, path: str) -> Variable:
    """Give a variable that Kubernetes fills in with a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
