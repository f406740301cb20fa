"""The public workflow runs tests/e2e on the oldest Kubernetes that the chart takes, and on kind's newest."""

import re
from typing import Any

import yaml
from tests.images.pods import ROOT

JOBS: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))["jobs"]
E2E = JOBS["e2e"]
OLDEST, NEWEST = E2E["strategy"]["matrix"]["include"]


def version(text: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", text)
    assert found, text
    return int(found[1]), int(found[2])


def test_a_job_is_called_as_the_kubernetes_of_its_nodes():
    for one in (OLDEST, NEWEST):
        # kind's tags are moved; a digest is an image that was made for this release of kind.
        assert re.fullmatch(rf"kindest/node:v{one['kubernetes']}\.\d+@sha256:[0-9a-f]{{64}}", one["image"])


def test_the_oldest_is_the_oldest_that_the_chart_takes():
    chart = yaml.safe_load((ROOT / "charts/penstock/Chart.yaml").read_text("utf-8"))
    assert version(OLDEST["kubernetes"]) == version(chart["kubeVersion"]) < version(NEWEST["kubernetes"])


def test_each_kind_enforces_network_policies():
    assert all(version(one["kind"]) >= (0, 24) for one in (OLDEST, NEWEST))


def test_the_newest_kind_is_the_one_that_people_are_told_to_get():
    text = (ROOT / "tests/e2e/kind/run").read_text("utf-8")
    assert f"go install sigs.k8s.io/kind@{NEWEST['kind']}" in text


def test_what_there_was_to_see_is_kept_where_the_tests_write_it():
    (upload,) = [step for step in E2E["steps"] if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "failure()"
    assert upload["with"]["path"] == E2E["env"]["E2E_EVIDENCE"]
    assert [step["run"] for step in E2E["steps"] if step.get("run", "").startswith("make")] == ["make e2e"]


def test_actions_are_pinned_by_their_major_version():
    used = [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", action)
