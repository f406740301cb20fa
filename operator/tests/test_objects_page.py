"""docs/sidecar.md: what is there to be pasted is what injection would have made."""

import re
import textwrap
from pathlib import Path

import pytest
import yaml
from tests.pod_security import violations
from tests.pods import patched
from tests.streams import EXAMPLES, INSTALLATION

from penstock_operator.objects import SIDECAR, WatchedVolume, inject
from penstock_operator.objects.names import INJECT_LABEL, INJECTED_ANNOTATION
from penstock_operator.objects.sidecar import WAIT_DRAINED, to_paste
from penstock_operator.resource import DirectoryStream

PAGE = (Path(__file__).parents[2] / "docs/sidecar.md").read_text("utf-8")
STREAM = DirectoryStream.parse(yaml.safe_load((EXAMPLES / "sidecar.yaml").read_text("utf-8")))
LABELLED, MANIFEST = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
POD = yaml.safe_load(MANIFEST)["spec"]["template"]


@pytest.mark.parametrize("part", ["initContainers", "volumes", "terminationGracePeriodSeconds"])
def test_the_page_has_what_the_code_generates(part):
    volume = WatchedVolume("results", "/results", ends_with_pod=True)
    head, *lines = to_paste(STREAM, INSTALLATION, volume, part).splitlines(keepends=True)
    wanted = "".join(lines) if lines else head
    assert textwrap.indent(wanted, " " * 6) in MANIFEST


def test_by_a_label_and_by_hand_a_pod_is_the_same():
    asking = yaml.safe_load(LABELLED)["spec"]["template"]
    injected = patched(asking, inject(asking, STREAM, INSTALLATION).patch)
    assert injected["spec"] == POD["spec"]
    assert injected["metadata"].pop("annotations") == {INJECTED_ANNOTATION: "simulation"}
    assert injected["metadata"]["labels"].pop(INJECT_LABEL) == "simulation"
    assert injected["metadata"] == POD["metadata"]


def test_the_pod_is_restricted_and_selected_and_waits_for_its_files():
    assert violations(POD["spec"]) == []
    assert [one["name"] for one in POD["spec"]["initContainers"]] == [SIDECAR]
    assert WAIT_DRAINED in POD["spec"]["containers"][0]["command"][-1]
