"""The chart, Helm, and what Helm renders."""

import functools
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.pods import environment

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/penstock"
PREVIOUS = ROOT / "tests/e2e/charts/penstock-0.1.0.tgz"
PAGE = (ROOT / "docs/operator.md").read_text("utf-8")

Object = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """Helm on the cluster of the tests, in one namespace, with directories of its own."""

    kubeconfig: str
    home: Path
    namespace: str
    program: str = "helm"

    def __call__(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run it and give what it printed; the error that it gives is an AssertionError."""
        done = self.run(*arguments, values=values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Run what has to fail, and give what it said."""
        done = self.run(*arguments, values=values)
        assert done.returncode != 0, done.stdout
        return done.stdout + done.stderr

    def run(
        self, *arguments: str, values: Mapping[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        homes = {f"HELM_{kind}_HOME": str(self.home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        given = [] if values is None else ["--values", "-"]
        return subprocess.run(
            [self.program, *arguments, *given, "--namespace", self.namespace],
            input=json.dumps(values),
            env={**kept, **homes, "KUBECONFIG": self.kubeconfig},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def rendered(self, values: Mapping[str, Any], *options: str, chart: Path = CHART) -> list[Object]:
        """The objects of a release called penstock, without asking any cluster."""
        return parsed(_template(self, chart, options, json.dumps(values)))


@functools.cache
def _template(helm: Helm, chart: Path, options: tuple[str, ...], values: str) -> str:
    """Ask Helm once in a run: it takes half a second."""
    return helm("template", "penstock", str(chart), *options, values=json.loads(values))


def parsed(text: str) -> list[Object]:
    """The objects in what Helm printed."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def all_of(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def only(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of this kind, or of this kind and name."""
    (found,) = [one for one in all_of(objects, kind) if name in (None, one["metadata"]["name"])]
    return found


def there(objects: list[Object], kind: str) -> list[str]:
    """Names of the objects of this kind."""
    return [one["metadata"]["name"] for one in all_of(objects, kind)]


def deployment(objects: list[Object], part: str = "operator") -> Object:
    """The Deployment of a part: operator, registry or kafka."""
    (found,) = [
        one
        for one in all_of(objects, "Deployment")
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == part
    ]
    return found


def pod_of(objects: list[Object], part: str = "operator") -> Object:
    return deployment(objects, part)["spec"]["template"]["spec"]


def container_of(objects: list[Object], part: str = "operator") -> Object:
    (container,) = pod_of(objects, part)["containers"]
    return container


def variables(
    objects: list[Object], part: str = "operator", secrets: Mapping[tuple[str, str], str] | None = None
) -> dict[str, str]:
    """What the container of a part is told."""
    return environment(container_of(objects, part), fields={}, secrets=secrets or {})
