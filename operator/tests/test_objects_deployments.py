"""The Deployments of a stream: what they say of it, and what they leave to others."""

import json
from dataclasses import replace

import pytest
from tests.streams import INSTALLATION, example

from penstock_operator.objects import (
    Reference,
    claims,
    credentials,
    deployment_name,
    downloader_deployment,
    is_co_located,
    revision,
    selector_text,
    uploader_deployment,
)
from penstock_operator.objects.names import host_name

HOST = "kubernetes.io/hostname"


def pod(deployment):
    return deployment["spec"]["template"]["spec"]


def variables(deployment):
    return {found["name"]: found for found in pod(deployment)["containers"][0]["env"]}


def value(deployment, name):
    return variables(deployment)[f"PENSTOCK_{name}"]["value"]


def downloader(stream, replicas=1):
    return downloader_deployment(stream, INSTALLATION, replicas=replicas)


def uploader(stream):
    return uploader_deployment(stream, INSTALLATION)


# Whose they are, how many


def test_a_deployment_goes_with_its_stream():
    (owner,) = downloader(example("minimal"))["metadata"]["ownerReferences"]
    assert owner["kind"] == "DirectoryStream"
    assert owner["name"] == "balance"
    assert owner["uid"]
    assert owner["controller"] is True


def test_the_longest_name_fits_wherever_it_stands():
    stream = example("instrument")
    longest = stream.model_copy(
        update={"metadata": stream.metadata.model_copy(update={"name": "a" * 25 + "." + "b" * 26})}
    )
    assert len(host_name(longest)) <= 63
    assert "." not in host_name(longest)
    assert len(deployment_name(longest, "downloader")) <= 63
    assert all(len(label) <= 63 for label in downloader(longest)["metadata"]["labels"].values())


def test_a_suspended_stream_keeps_its_deployments_without_pods():
    stream = example("instrument", suspend=True)
    assert downloader(stream, replicas=4)["spec"]["replicas"] == 0
    assert uploader(stream)["spec"]["replicas"] == 0


def test_an_autoscaler_gets_the_labels_that_the_deployment_selects():
    stream = example("minimal")
    labels = dict(part.split("=") for part in selector_text(stream, "downloader").split(","))
    assert labels == downloader(stream)["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("replicas", [0, 1])
def test_one_pod_goes_before_the_next_one_comes(replicas):
    """It alone may have a ReadWriteOnce volume."""
    assert downloader(example("minimal"), replicas)["spec"]["strategy"] == {"type": "Recreate"}


def test_of_several_a_part_is_replaced_at_a_time_and_never_more_run():
    rolling = downloader(example("minimal"), replicas=8)["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": "25%"}


# Kafka


def test_secrets_are_named_and_never_written_out():
    made = uploader(example("instrument"))
    assert value(made, "SASL_USERNAME") == "microscope"
    assert variables(made)["PENSTOCK_SASL_PASSWORD"]["valueFrom"] == {
        "secretKeyRef": {"name": "microscope-kafka", "key": "password"}
    }
    by_name = example("instrument", kafka={"authSecretRef": {"username": None}})
    assert variables(uploader(by_name))["PENSTOCK_SASL_USERNAME"]["valueFrom"] == {
        "secretKeyRef": {"name": "microscope-kafka", "key": "username"}
    }


def test_certificates_are_files_of_which_only_the_named_keys_are_there():
    client = {"name": "kafka-user", "certificateKey": "user.crt", "privateKeyKey": "user.key"}
    made = downloader(example("instrument", kafka={"tls": {"clientSecretRef": client}}))
    (volume,) = [found for found in pod(made)["volumes"] if "projected" in found]
    items = {
        item["path"]: next(iter(source.values()))["name"] + "/" + item["key"]
        for source in volume["projected"]["sources"]
        for item in next(iter(source.values()))["items"]
    }
    assert items == {
        "ca.crt": "lab-kafka-ca/ca.crt",
        "tls.crt": "kafka-user/user.crt",
        "tls.key": "kafka-user/user.key",
    }
    (mount,) = [one for one in pod(made)["containers"][0]["volumeMounts"] if one["name"] == volume["name"]]
    told = json.loads(value(made, "KAFKA"))
    for name, file in (("ca", "ca.crt"), ("certificate", "tls.crt"), ("key", "tls.key")):
        assert told[f"ssl.{name}.location"] == f"{mount['mountPath']}/{file}"
    assert told["security.protocol"] == "SASL_SSL"


def test_without_certificates_there_is_no_volume_for_them():
    assert not [found for found in pod(downloader(example("minimal")))["volumes"] if "projected" in found]


def test_what_is_referred_to_can_be_asked_for():
    stream = example("instrument")
    assert credentials(stream.spec.kafka) == (
        Reference("ConfigMap", "lab-kafka-ca", ("ca.crt",)),
        Reference("Secret", "microscope-kafka", ("password",)),
    )
    assert claims(stream) == ("microscope-share", "lab-data")


def test_pods_are_replaced_when_credentials_change_and_tell_nothing_of_them():
    def secret(version):
        return {"metadata": {"uid": "u", "resourceVersion": version}, "data": {"password": "aHVudGVyMg=="}}

    before, after = revision([secret("1")]), revision([secret("2")])
    assert before == revision([secret("1")]) != after
    assert before == revision([secret("1") | {"data": {}}])
    made = downloader_deployment(example("minimal"), INSTALLATION, replicas=1, revision=before)
    annotations = made["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"penstock.dev/credentials-revision": before}


def test_what_looks_like_a_variable_stays_as_it_was_written():
    made = uploader(example("instrument", source={"prefix": "$(HOME)/$x"}))
    assert value(made, "PREFIX") == "$$(HOME)/$$x"


# The uploader


def test_an_uploader_watches_its_directory_on_the_claim():
    made = uploader(example("instrument"))
    assert value(made, "DIRECTORY") == "/source/export"
    assert value(made, "SOURCE_ID") == "lab.microscope"
    assert value(made, "AFTER_RECEIPT_FROM") == '["lab.microscope"]'
    assert pod(made)["volumes"][0]["persistentVolumeClaim"] == {"claimName": "microscope-share"}
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["strategy"] == {"type": "Recreate"}


def test_without_a_path_it_watches_the_whole_claim():
    assert value(uploader(example("instrument", source={"path": None})), "DIRECTORY") == "/source"


def test_files_are_moved_on_their_own_volume():
    after = {"action": "Move", "moveTo": "/sent", "when": "Acknowledged"}
    assert value(uploader(example("instrument", source={"after": after})), "AFTER_MOVE_TO") == "/source/sent"


def test_a_directory_that_is_only_read_is_mounted_read_only():
    state = {"persistentVolumeClaim": {"claimName": "ledgers", "subPath": "microscope"}}
    reading = uploader(example("instrument", source={"state": state, "after": {"action": "Keep"}}))
    source, ledger, *_ = pod(reading)["containers"][0]["volumeMounts"]
    assert source["readOnly"] is True
    assert ledger == {"name": "state", "mountPath": value(reading, "STATE_DIR"), "subPath": "microscope"}

    deleting = uploader(example("instrument", source={"state": state}))
    assert "readOnly" not in pod(deleting)["containers"][0]["volumeMounts"][0]


def test_a_restart_of_the_pod_changes_no_name_in_a_prefix():
    assert pod(uploader(example("instrument")))["hostname"] == "microscope-uploader"
    assert "POD_NAME" not in variables(uploader(example("instrument")))


def test_a_pod_has_as_long_to_end_as_its_service_takes():
    source = {"uploader": {"drainSeconds": 600}}
    made = uploader(example("instrument", source=source))
    assert value(made, "DRAIN_SECONDS") == "600"
    assert pod(made)["terminationGracePeriodSeconds"] > 600


@pytest.mark.parametrize("name", ["minimal", "sidecar"])
def test_who_uploads_elsewhere_has_no_deployment(name):
    assert uploader(example(name)) is None


# What a stream changes


def test_a_stream_places_its_pods_and_names_their_user():
    overrides = {
        "labels": {"team": "imaging"},
        "annotations": {"a": "b"},
        "nodeSelector": {"zone": "lab"},
        "tolerations": [{"key": "lab", "operator": "Exists"}],
        "priorityClassName": "high",
        "securityContext": {"runAsUser": 2001, "supplementalGroups": [7]},
    }
    made = downloader(example("minimal", downloader={"pod": overrides}))
    spec = pod(made)
    assert made["spec"]["template"]["metadata"]["labels"].items() >= {"team": "imaging"}.items()
    assert made["spec"]["template"]["metadata"]["annotations"] == {"a": "b"}
    assert spec["nodeSelector"] == {"zone": "lab"}
    assert spec["tolerations"] == [{"key": "lab", "operator": "Exists"}]
    assert spec["priorityClassName"] == "high"
    # Its own group, not root's; and no other group gets its files.
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 2001,
        "runAsGroup": 2001,
        "supplementalGroups": [7],
    }


def test_by_default_pods_can_write_to_their_volumes_without_hours_of_chown():
    security = pod(downloader(example("minimal")))["securityContext"]
    assert security["runAsUser"] == security["fsGroup"] == 65532
    assert security["fsGroupChangePolicy"] == "OnRootMismatch"


def test_a_cluster_may_choose_users_itself():
    made = downloader_deployment(example("minimal"), replace(INSTALLATION, user=None), replicas=1)
    assert pod(made)["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}


def test_resources_are_the_streams_or_the_installations_never_a_mixture():
    (default,) = pod(downloader(example("minimal")))["containers"]
    assert default["resources"]["limits"] == {"memory": "512Mi"}
    (own,) = pod(downloader(example("minimal", downloader={"resources": {"limits": {"cpu": 1}}})))[
        "containers"
    ]
    assert own["resources"] == {"limits": {"cpu": "1"}}


def test_downloaders_spread_over_nodes_unless_the_stream_says_where():
    (even,) = pod(downloader(example("minimal")))["topologySpreadConstraints"]
    assert even["topologyKey"] == HOST
    assert even["whenUnsatisfiable"] == "ScheduleAnyway"
    own = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    made = downloader(example("minimal", downloader={"pod": {"topologySpreadConstraints": [own]}}))
    assert pod(made)["topologySpreadConstraints"] == [own | {"labelSelector": made["spec"]["selector"]}]


def co_located(**term):
    labels = {"penstock.dev/stream": "balance", "app.kubernetes.io/component": "downloader"}
    whole = {"topologyKey": HOST, "labelSelector": {"matchLabels": labels}} | term
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [whole]}}
    return example("minimal", downloader={"pod": {"affinity": affinity}})


def test_downloaders_that_must_be_together_are_not_spread():
    stream = co_located()
    assert is_co_located(stream)
    assert "topologySpreadConstraints" not in pod(downloader(stream, replicas=3))
    assert pod(downloader(stream, replicas=3))["affinity"]


@pytest.mark.parametrize(
    "term",
    [
        {"topologyKey": "topology.kubernetes.io/zone"},
        {"labelSelector": {"matchLabels": {"app": "another"}}},
        {"labelSelector": None},
        {"namespaces": ["other"]},
        {"namespaceSelector": {}},
    ],
    ids=str,
)
def test_being_near_to_something_else_is_not_being_together(term):
    assert not is_co_located(co_located(**term))


def test_an_empty_selector_that_means_everything_is_kept():
    term = co_located(namespaceSelector={})
    affinity = pod(downloader(term))["affinity"]["podAffinity"]
    (kept,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert kept["namespaceSelector"] == {}
