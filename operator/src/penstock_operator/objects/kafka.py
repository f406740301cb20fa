"""How a pod of a stream connects to Kafka: variables, and certificates as files. No secret is written out."""

from __future__ import annotations

import json
from typing import Any, Final

from penstock_operator.objects.environment import Variable, setting, setting_from_secret, settings
from penstock_operator.resource.kafka import Kafka, Tls
from penstock_operator.resource.kubernetes import KeyOfObject

VOLUME: Final = "penstock-kafka"
"""Volume with what TLS needs."""
DIRECTORY: Final = "/etc/penstock/kafka"

_CA: Final = "ca.crt"
_CERTIFICATE: Final = "tls.crt"
_PRIVATE_KEY: Final = "tls.key"

_FOR_DOWNLOADERS: Final = "group.protocol"
"""A setting of the downloader's own, and no business of uploaders."""


def variables(kafka: Kafka) -> list[Variable]:
    """Give the variables that tell a service which Kafka, and as whom."""
    found = [setting("bootstrap_servers", kafka.bootstrap_servers.replace(" ", ""))]
    found += settings(kafka=json.dumps(_properties(kafka), sort_keys=True))
    auth = kafka.auth_secret_ref
    if auth is not None:
        found.append(
            setting_from_secret("sasl_username", auth.name, auth.username_key)
            if auth.username is None
            else setting("sasl_username", auth.username)
        )
        found.append(setting_from_secret("sasl_password", auth.name, auth.password_key))
    return found


def group_protocol(kafka: Kafka) -> str | None:
    """Give the downloader's `group_protocol`, if the stream says it."""
    return kafka.properties.get(_FOR_DOWNLOADERS)


def _properties(kafka: Kafka) -> dict[str, str]:
    properties = {name: value for name, value in kafka.properties.items() if name != _FOR_DOWNLOADERS}
    properties["security.protocol"] = kafka.security_protocol
    if kafka.auth_secret_ref is not None:
        properties["sasl.mechanism"] = kafka.auth_secret_ref.mechanism
    if kafka.tls is not None and kafka.tls.ca is not None:
        properties["ssl.ca.location"] = f"{DIRECTORY}/{_CA}"
    if kafka.tls is not None and kafka.tls.client_secret_ref is not None:
        properties["ssl.certificate.location"] = f"{DIRECTORY}/{_CERTIFICATE}"
        properties["ssl.key.location"] = f"{DIRECTORY}/{_PRIVATE_KEY}"
    return properties


def volumes(kafka: Kafka) -> list[dict[str, Any]]:
    """Give the volume with the certificates, if there are any.

    Only the keys that are named get into the pod. Its mode lets any user of the container read them: the
    files are root's, and there may be no fsGroup.
    """
    sources = [] if kafka.tls is None else _sources(kafka.tls)
    return [{"name": VOLUME, "projected": {"sources": sources, "defaultMode": 0o444}}] if sources else []


def mounts(kafka: Kafka) -> list[dict[str, Any]]:
    """Give the mount that goes with `volumes`."""
    return [{"name": VOLUME, "mountPath": DIRECTORY, "readOnly": True} for _ in volumes(kafka)]


def _sources(tls: Tls) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if tls.ca is not None and tls.ca.secret is not None:
        found.append({"secret": _file(tls.ca.secret)})
    if tls.ca is not None and tls.ca.config_map is not None:
        found.append({"configMap": _file(tls.ca.config_map)})
    client = tls.client_secret_ref
    if client is not None:
        items = [
            {"key": client.certificate_key, "path": _CERTIFICATE},
            {"key": client.private_key_key, "path": _PRIVATE_KEY},
        ]
        found.append({"secret": {"name": client.name, "items": items}})
    return found


def _file(place: KeyOfObject) -> dict[str, Any]:
    return {"name": place.name, "items": [{"key": place.key, "path": _CA}]}
