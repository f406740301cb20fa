"""Prometheus' discovery of Kubernetes' pods, which Debian's build of it leaves out.

    python3 discover.py DIRECTORY NAMESPACE...

runs beside it in its pod, with the rights of the pod's ServiceAccount, and keeps DIRECTORY/NAMESPACE.json for
its `file_sd_configs`: the targets, and the labels that `kubernetes_sd_configs` with the role `pod` would give
them (https://prometheus.io/docs/prometheus/2.42/configuration/configuration/#pod). What is chosen among them,
and what becomes of the labels, is Prometheus' own work.
"""

import json
import os
import re
import ssl
import sys
import time
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
PAUSE_SECONDS = 1.0


def groups(pods):
    """Give target groups as `file_sd_configs` reads them, of a list of pods as Kubernetes has it."""
    return [group for pod in pods for group in _groups(pod)]


def _groups(pod):
    address = pod["status"].get("podIP")
    if not address:
        return  # it has none yet: nobody can be asked
    labels = {f"__meta_kubernetes_{name}": value for name, value in _about(pod).items()}
    containers = [(one, "false") for one in pod["spec"]["containers"]]
    containers += [(one, "true") for one in pod["spec"].get("initContainers", ())]
    for container, init in containers:
        said = {"name": container["name"], "image": container["image"], "init": init}
        of_container = {f"__meta_kubernetes_pod_container_{name}": value for name, value in said.items()}
        for port in container.get("ports", [None]):
            if port is None:
                yield {"targets": [address], "labels": {**labels, **of_container}}
                continue
            said = {
                "name": port.get("name", ""),
                "number": str(port["containerPort"]),
                "protocol": port.get("protocol", "TCP"),
            }
            of_port = {f"__meta_kubernetes_pod_container_port_{name}": value for name, value in said.items()}
            target = f"{address}:{port['containerPort']}"
            yield {"targets": [target], "labels": {**labels, **of_container, **of_port}}


def _about(pod):
    metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    about = {
        "namespace": metadata["namespace"],
        "pod_name": metadata["name"],
        "pod_uid": metadata["uid"],
        "pod_ip": status["podIP"],
        "pod_host_ip": status.get("hostIP", ""),
        "pod_node_name": spec.get("nodeName", ""),
        "pod_phase": status["phase"],
        "pod_ready": conditions.get("Ready", "Unknown").lower(),
    }
    for owner in metadata.get("ownerReferences", ()):
        if owner.get("controller"):
            about |= {"pod_controller_kind": owner["kind"], "pod_controller_name": owner["name"]}
    for kind in ("label", "annotation"):
        for key, value in metadata.get(f"{kind}s", {}).items():
            name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
            about |= {f"pod_{kind}_{name}": value, f"pod_{kind}present_{name}": "true"}
    return about


def _pods(namespace, context):
    with open(f"{ACCOUNT}/token", encoding="ascii") as file:
        headers = {"Authorization": f"Bearer {file.read()}"}
    url = f"https://kubernetes.default.svc/api/v1/namespaces/{namespace}/pods"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return json.load(answer)["items"]


def main(directory, *namespaces):
    context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    while True:
        for namespace in namespaces:
            try:
                found = groups(_pods(namespace, context))
            except OSError as error:
                # As Prometheus does: what was known stays, and it is asked again.
                print(f"pods of {namespace} cannot be read: {error}", file=sys.stderr, flush=True)
                continue
            with open(f"{directory}/{namespace}.new", "w", encoding="utf-8") as file:
                json.dump(found, file)
            os.replace(file.name, f"{directory}/{namespace}.json")
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
