"""What is in the images is what is tested: their locks have dev.lock's versions and hashes."""

import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = ["uploader", "downloader", "registry", "operator", "broker", "build", "jars"]
HOW = "run `make lock-images`"


def locked(name: str) -> dict[str, tuple[Requirement, frozenset[str]]]:
    """Requirements with their hashes, by name."""
    text = (REQUIREMENTS / f"{name}.lock").read_text("ascii").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        parsed = Requirement(requirement)
        found[canonicalize_name(parsed.name)] = (parsed, frozenset(hashes))
    return found


def wanted(name: str) -> Iterator[Requirement]:
    """What the list says, and what that requires in turn, on this platform."""
    waiting: list[Requirement] = []
    for line in (REQUIREMENTS / f"{name}.in").read_text("utf-8").splitlines():
        if line.startswith("-e "):
            project = REQUIREMENTS.parent / line.removeprefix("-e ") / "pyproject.toml"
            line = re.search(r'^name = "(.*)"$', project.read_text("utf-8"), re.MULTILINE)[1]
        if not line.startswith("#"):
            waiting.append(Requirement(line))
    seen = set()
    while waiting:
        requirement = waiting.pop()
        if (key := (canonicalize_name(requirement.name), frozenset(requirement.extras))) in seen:
            continue
        seen.add(key)
        yield requirement
        for text in distribution(requirement.name).requires or ():
            inner = Requirement(text)
            extras = requirement.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_agrees_with_that_of_the_workspace(name):
    ours, all_of_it = locked(name), locked("dev")
    for package, (requirement, hashes) in ours.items():
        assert package in all_of_it, HOW
        assert (str(requirement.specifier), hashes) == (
            str(all_of_it[package][0].specifier),
            all_of_it[package][1],
        ), HOW
        assert hashes, "a download has to be the one that was locked"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_what_is_needed_and_no_more(name):
    there = {
        package
        for package, (requirement, _) in locked(name).items()
        if requirement.marker is None or requirement.marker.evaluate()
    }
    needed = {canonicalize_name(requirement.name) for requirement in wanted(name)}
    assert there == {package for package in needed if not package.startswith("penstock")}, HOW


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address_and_nothing_of_ours(name):
    text = (REQUIREMENTS / f"{name}.lock").read_text("ascii")
    assert "//" not in text
    assert "penstock" not in text
