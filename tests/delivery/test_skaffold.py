"""skaffold.yaml: all images, each from its own Dockerfile, and a chart that gets just these.

What only Skaffold itself can say is marked `skaffold`: it has to be in PATH, and Helm with it.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.images.pods import NAMES, ROOT, dockerfile
from tests.streams import laid_over

CONFIG = yaml.safe_load((ROOT / "skaffold.yaml").read_text("utf-8"))
ARTIFACTS = {artifact["image"]: artifact for artifact in CONFIG["build"]["artifacts"]}
(RELEASE,) = CONFIG["deploy"]["helm"]["releases"]
PARTS = {
    "operator": "operator",
    "streams.uploader": "uploader",
    "streams.downloader": "downloader",
    "registry": "registry",
    "demoKafka": "broker",
}
"""Which image which part of the chart runs, by the path of its values."""
CHART = ROOT / RELEASE["chartPath"]
VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
DIGEST = f"sha256:{'4f' * 32}"


def nested(path: str, value: object) -> dict[str, Any]:
    """What Helm makes of `--set PATH=VALUE`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def test_each_image_is_built_from_its_dockerfile_and_the_root():
    assert set(ARTIFACTS) == {f"penstock/{name}" for name in NAMES}
    for name in NAMES:
        artifact = ARTIFACTS[f"penstock/{name}"]
        assert artifact["context"] == "."
        assert ROOT / artifact["docker"]["dockerfile"] == dockerfile(name)


def test_the_names_are_those_that_the_chart_has_by_default():
    """So that who builds with `make images` and who builds with Skaffold speak of the same."""
    for path, name in PARTS.items():
        part = VALUES
        for step in path.split("."):
            part = part[step]
        assert part["image"]["repository"] == f"penstock/{name}"


def test_every_part_gets_the_image_that_was_built():
    expected = {
        f"{path}.image.{field}": f"{{{{.IMAGE_{variable}_penstock_{name}}}}}"
        for path, name in PARTS.items()
        for field, variable in (("repository", "REPO"), ("tag", "TAG"), ("digest", "DIGEST"))
    }
    assert RELEASE["setValueTemplates"] == expected


@pytest.mark.parametrize("digest", ["", DIGEST])
def test_the_chart_takes_the_values_of_images_that_were_pushed_and_of_those_that_were_not(digest):
    built = {"REPO": "registry.example.org/me/penstock_x", "TAG": "8d1f00", "DIGEST": digest}
    values = VALUES
    for path, value in RELEASE["setValues"].items():
        values = laid_over(values, nested(path, value))
    for path, template in RELEASE["setValueTemplates"].items():
        variable = re.fullmatch(r"\{\{\.IMAGE_([A-Z]+)_penstock_[a-z]+\}\}", template)
        assert variable, template
        values = laid_over(values, nested(path, built[variable[1]]))
    jsonschema.Draft7Validator(SCHEMA).validate(values)
    assert values["demoKafka"]["enabled"] is True, "it has to work on an empty cluster"


def test_a_path_that_the_chart_does_not_have_is_refused_by_its_schema():
    """So that the one above says something."""
    misspelt = laid_over(VALUES, nested("operator.image.tga", "8d1f00"))
    with pytest.raises(jsonschema.ValidationError, match="tga"):
        jsonschema.Draft7Validator(SCHEMA).validate(misspelt)


def test_a_kind_cluster_gets_its_images_without_a_registry():
    (kind,) = [profile for profile in CONFIG["profiles"] if profile["name"] == "kind"]
    (activation,) = kind["activation"]
    assert re.fullmatch(activation["kubeContext"], "kind-penstock-e2e")
    assert kind["build"]["local"] == CONFIG["build"]["local"] | {"push": False}


def test_the_page_is_forwarded_from_where_the_release_is():
    (forwarded,) = CONFIG["portForward"]
    assert forwarded["namespace"] == RELEASE["namespace"]
    assert forwarded["resourceName"] == f"{RELEASE['name']}-registry"
    assert (forwarded["port"], forwarded["localPort"]) == (8650, 8650)


# The profile `test`

SAYS = """import json, os, pathlib, sys
kubeconfig = os.environ.get("E2E_KUBECONFIG")
said = {
    "arguments": sys.argv[1:],
    "KEEP": os.environ.get("KEEP"),
    "kubeconfig": kubeconfig,
    "text": pathlib.Path(kubeconfig).read_text() if kubeconfig else None,
    "mode": os.stat(kubeconfig).st_mode if kubeconfig else None,
}
json.dump(said, open(os.environ["SAID"], "w"))
"""
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "other",
    "clusters": [{"name": name, "cluster": {"server": f"https://{name}"}} for name in ("lab", "other")],
    "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in ("lab", "other")],
    "users": [{"name": name, "user": {"token": f"secret-of-{name}"}} for name in ("lab", "other")],
}


def hook(place: Path, context: str) -> dict[str, Any]:
    """What `make` was asked for by the hook, when Skaffold had deployed to this context."""
    (profile,) = [profile for profile in CONFIG["profiles"] if profile["name"] == "test"]
    (patch,) = profile["patches"]
    (after,) = patch["value"]["after"]
    (program,) = after["host"]["command"]
    make = place / "make"
    make.write_text(f"#!{sys.executable} -IS\n{SAYS}")
    make.chmod(0o755)
    # As kubectl would, of a kubeconfig with several contexts.
    kubectl = place / "kubectl"
    kubectl.write_text(
        f"#!{sys.executable} -IS\nimport sys\n"
        "assert sys.argv[1:] == ['config', 'view', '--minify', '--flatten', '--context', 'lab'], sys.argv\n"
        "print('the kubeconfig of lab')\n"
    )
    kubectl.chmod(0o755)
    said = place / "said"
    environment = {
        **os.environ,
        "PATH": f"{place}:{os.environ['PATH']}",
        "SKAFFOLD_KUBE_CONTEXT": context,
        "E2E_KUBECONFIG": "/of/somebody/else",
        "SAID": str(said),
    }
    done = subprocess.run([ROOT / program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(said.read_text())


def test_the_tests_run_on_the_cluster_of_make_kind_and_leave_it(tmp_path):
    asked = hook(tmp_path, "kind-penstock-e2e")
    assert asked["arguments"][-1] == "e2e"
    assert (asked["KEEP"], asked["kubeconfig"]) == ("1", None)


def test_the_tests_run_on_another_cluster_with_its_context_alone(tmp_path):
    asked = hook(tmp_path, "lab")
    assert asked["arguments"][-1] == "e2e"
    assert asked["text"] == "the kubeconfig of lab\n"
    assert stat.S_IMODE(asked["mode"]) == 0o600, "it has what one logs in with"
    assert not Path(asked["kubeconfig"]).exists()


# Skaffold itself


@pytest.fixture
def skaffold(tmp_path: Path) -> Any:
    """Skaffold, with a home and a kubeconfig of its own; what it prints."""
    for program in ("skaffold", "helm"):
        assert shutil.which(program), f"there is no {program} in PATH"
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    settings = {"global": {"collect-metrics": False, "update-check": False}}
    (tmp_path / ".skaffold").mkdir()
    (tmp_path / ".skaffold/config").write_text(json.dumps(settings))
    environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "kubeconfig")}

    def run(*arguments: str, config: str = "skaffold.yaml") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["skaffold", *arguments, "--filename", config],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def built(directory: Path) -> str:
    """Artifacts as `skaffold build --file-output` tells of them; one was pushed."""
    tags = {name: f"penstock/{name}:8d1f{number}a" for number, name in enumerate(NAMES)}
    tags["operator"] = f"registry.example.org/me/penstock_operator:8d1fa@{DIGEST}"
    artifacts = [{"imageName": f"penstock/{name}", "tag": tag} for name, tag in tags.items()]
    file = directory / "built.json"
    file.write_text(json.dumps({"builds": artifacts}))
    return str(file)


RENDER = ("render", "--offline", "--digest-source=none", "--build-artifacts")


@pytest.mark.skaffold
def test_skaffold_renders_the_chart_with_the_images_that_it_built(skaffold, tmp_path):
    manifests = tmp_path / "manifests.yaml"
    rendered = skaffold(*RENDER, built(tmp_path), "--output", str(manifests))
    assert rendered.returncode == 0, rendered.stderr
    objects = [one for one in yaml.safe_load_all(manifests.read_text("utf-8")) if one]
    containers = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]
        for one in objects
        if one["kind"] == "Deployment"
    }
    assert {name: container["image"] for name, container in containers.items()} == {
        "penstock-operator": f"registry.example.org/me/penstock_operator@{DIGEST}",
        "penstock-registry": "penstock/registry:8d1f2a",
        "penstock-kafka": "penstock/broker:8d1f4a",
    }
    told = {one["name"]: one.get("value") for one in containers["penstock-operator"]["env"]}
    assert told["PENSTOCK_UPLOADER_IMAGE"] == "penstock/uploader:8d1f0a"
    assert told["PENSTOCK_DOWNLOADER_IMAGE"] == "penstock/downloader:8d1f1a"


@pytest.mark.skaffold
def test_skaffold_refuses_a_value_that_the_chart_does_not_have(skaffold, tmp_path):
    text = (ROOT / "skaffold.yaml").read_text("utf-8")
    # Its paths are relative to where it is.
    text = text.replace("context: .", f"context: {ROOT}").replace("charts/", f"{ROOT}/charts/")
    misspelt = tmp_path / "skaffold.yaml"
    misspelt.write_text(text.replace("operator.image.tag:", "operator.image.tga:"))
    refused = skaffold(*RENDER, built(tmp_path), config=str(misspelt))
    assert refused.returncode != 0
    assert "'tga' not allowed" in refused.stderr


@pytest.mark.skaffold
@pytest.mark.parametrize("profiles", ["", "kind", "test", "kind,test"])
def test_skaffold_knows_every_field_of_every_profile(skaffold, profiles):
    diagnosed = skaffold("diagnose", "--yaml-only", *(["--profile", profiles] if profiles else []))
    assert diagnosed.returncode == 0, diagnosed.stderr
    seen = yaml.safe_load(diagnosed.stdout)
    assert {artifact["image"] for artifact in seen["build"]["artifacts"]} == set(ARTIFACTS)
    assert ("hooks" in seen["deploy"]["helm"]) == ("test" in profiles)
    assert seen["build"]["local"].get("push", True) == ("kind" not in profiles)
