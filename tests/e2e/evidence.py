"""What there is to see of namespaces when a test has failed: resources, Events and logs.

A failed test has it in its report, logs shortened. With E2E_EVIDENCE, a directory gets all of it, in files, a
directory for each test: what a public workflow keeps.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import Kubectl

VARIABLE = "E2E_EVIDENCE"
TAIL = 60
"""Lines of each container's log in a report."""
MOST_LINES = 20_000
"""Lines of each container's log in a file."""


@dataclass(frozen=True)
class Exhibit:
    """Something that was seen, as text. Of a log the end matters most."""

    title: str
    text: str
    log: bool = False

    @property
    def short(self) -> str:
        lines = self.text.splitlines(keepends=True)
        return "".join(lines[-TAIL:]) if self.log else self.text


_PLACES = pytest.StashKey[dict[str, list[Kubectl]]]()
"""Namespaces by the fixture that made them, as long as they are there."""
_SEEN = pytest.StashKey[dict[str, list[Exhibit]]]()
"""What there was to see when a fixture failed, whose namespaces are gone now."""


@contextmanager
def observed(config: pytest.Config, fixture: str, *places: Kubectl) -> Iterator[None]:
    """Let the reports of tests that use the fixture show these namespaces, should they fail."""
    known = config.stash.setdefault(_PLACES, {})
    known[fixture] = list(places)
    try:
        yield
    except AssertionError:
        config.stash.setdefault(_SEEN, {})[fixture] = list(collect(places))
        raise
    finally:
        del known[fixture]


def about(config: pytest.Config, fixtures: Sequence[str]) -> list[Exhibit]:
    """Give what the namespaces of a test's fixtures show, or have shown when one of these failed."""
    places, gone = config.stash.get(_PLACES, {}), config.stash.get(_SEEN, {})
    before = [exhibit for name in fixtures for exhibit in gone.get(name, ())]
    return [*before, *collect([place for name in fixtures for place in places.get(name, ())])]


def collect(namespaces: Sequence[Kubectl]) -> Iterator[Exhibit]:
    """Look at them now; the more telling things come first. Nothing here reads a Secret."""
    for kubectl in namespaces:
        place = f"in {kubectl.namespace}"
        yield Exhibit(f"streams {place}", _said(kubectl, "get", "dstream", "-o", "yaml"))
        yield Exhibit(f"events {place}", _said(kubectl, "get", "events", "--sort-by=.lastTimestamp"))
        kinds = "deployments,replicasets,jobs,pods,persistentvolumeclaims,services"
        yield Exhibit(f"objects {place}", _said(kubectl, "get", kinds, "-o", "wide"))
        yield Exhibit(f"pods {place}", _said(kubectl, "describe", "pods"), log=True)
    containers = [one for kubectl in namespaces for one in _containers(kubectl)]
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(_log, containers)


def write(exhibits: Iterable[Exhibit], test: str) -> None:
    """Write files below the directory that E2E_EVIDENCE names, if it names one."""
    if not os.environ.get(VARIABLE):
        return
    directory = Path(os.environ[VARIABLE], _file_name(test))
    directory.mkdir(parents=True, exist_ok=True)
    for exhibit in exhibits:
        (directory / f"{_file_name(exhibit.title)}.txt").write_text(exhibit.text, "utf-8")


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-")[-150:]


def _containers(kubectl: Kubectl) -> Iterator[tuple[Kubectl, str, str, bool]]:
    for pod in kubectl("get", "pods", "-o", "json").object["items"]:
        status: dict[str, Any] = pod.get("status", {})
        for one in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
            yield kubectl, pod["metadata"]["name"], one["name"], False
            if one["restartCount"]:
                yield kubectl, pod["metadata"]["name"], one["name"], True


def _log(container: tuple[Kubectl, str, str, bool]) -> Exhibit:
    kubectl, pod, name, previous = container
    options = ["--previous"] if previous else []
    title = f"log of {pod}/{name}" + (" before it was restarted" if previous else "")
    said = _said(kubectl, "logs", pod, "-c", name, f"--tail={MOST_LINES}", *options)
    return Exhibit(title, said, log=True)


def _said(kubectl: Kubectl, *arguments: str) -> str:
    answer = kubectl(*arguments)
    return answer.out + answer.err
