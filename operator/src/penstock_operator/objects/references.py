"""What of other objects the pods of a stream need: to say what is missing, and to notice what has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from penstock_operator.resource import DirectoryStream
from penstock_operator.resource.kafka import Kafka


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """An object in the stream's namespace, and the keys of it that have to be there."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    keys: tuple[str, ...]


def credentials(kafka: Kafka) -> tuple[Reference, ...]:
    """Give the Secrets and ConfigMaps by which the stream connects to Kafka, each once."""
    keys: dict[tuple[Literal["ConfigMap", "Secret"], str], set[str]] = {}
    auth = kafka.auth_secret_ref
    if auth is not None:
        named = {auth.password_key} if auth.username is not None else {auth.username_key, auth.password_key}
        keys.setdefault(("Secret", auth.name), set()).update(named)
    if kafka.tls is not None and kafka.tls.ca is not None:
        secret, config_map = kafka.tls.ca.secret, kafka.tls.ca.config_map
        if secret is not None:
            keys.setdefault(("Secret", secret.name), set()).add(secret.key)
        if config_map is not None:
            keys.setdefault(("ConfigMap", config_map.name), set()).add(config_map.key)
    if kafka.tls is not None and kafka.tls.client_secret_ref is not None:
        client = kafka.tls.client_secret_ref
        keys.setdefault(("Secret", client.name), set()).update(
            {client.certificate_key, client.private_key_key}
        )
    return tuple(sorted(Reference(*whose, tuple(sorted(named))) for whose, named in keys.items()))


def claims(stream: DirectoryStream) -> tuple[str, ...]:
    """Give the names of the PersistentVolumeClaims that the Deployments of the stream mount, each once."""
    source = stream.spec.source
    found = [source.uploader.claim_name] if source.uploader.claim_name is not None else []
    if source.state is not None:
        found.append(source.state.persistent_volume_claim.claim_name)
    destination = stream.spec.downloader.destination.persistent_volume_claim
    if destination is not None:
        found.append(destination.claim_name)
    return tuple(dict.fromkeys(found))


def revision(objects: Iterable[Mapping[str, Any]]) -> str:
    """Make a text that changes whenever one of these objects does, and tells nothing of what is in them.

    It is made of uids and resource versions: a digest of a password could be guessed at by all who may look
    at pods. Empty, if there are none.
    """
    versions = sorted(
        f"{found['metadata']['uid']}:{found['metadata']['resourceVersion']}" for found in objects
    )
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16] if versions else ""
