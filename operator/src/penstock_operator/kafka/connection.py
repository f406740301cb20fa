"""Where the operator connects, and as whom: from a stream's `spec.kafka` and the objects that it refers to.

Only what is needed to connect is taken: the author's tuning is for uploaders and downloaders, and must not
make the operator slow or large. Certificates and keys go to the client as text, so no file is ever written.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from penstock_operator.resource.kafka import AuthSecret, Kafka, Tls
from penstock_operator.resource.kubernetes import KeyOfObject
from servicekit.exceptions import ConfigurationError
from servicekit.settings import KafkaProperties, ServiceSettings

TAKEN: Final[tuple[str, ...]] = ("broker.address.family", "client.dns.lookup")
"""The author's properties that decide whether a connection comes about at all."""

_DIGEST_KEY: Final = secrets.token_bytes(32)
"""Of this process: a digest that gets into a log tells nothing about the password."""


class ConnectionInvalid(ConfigurationError):
    """An object that `spec.kafka` refers to is missing, or does not hold what it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What the objects hold that `spec.kafka` refers to, decoded; None for one that does not exist.

    They are looked at only where `spec.kafka` refers to them.
    """

    auth: Mapping[str, bytes] | None = field(default=None, repr=False)
    """Of the Secret `authSecretRef`."""
    ca: Mapping[str, bytes] | None = field(default=None, repr=False)
    """Of the Secret or ConfigMap of `tls.ca`."""
    client: Mapping[str, bytes] | None = field(default=None, repr=False)
    """Of the Secret `tls.clientSecretRef`."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to connect and as whom. Two that are equal can share clients."""

    bootstrap_servers: str
    digest: str
    """Of everything else that decides how one connects: another one after a password has changed."""
    settings: ServiceSettings = field(repr=False, compare=False)


def connect(kafka: Kafka, references: References) -> Connection:
    """Say how to connect to a stream's Kafka. Raises ConnectionInvalid, naming the object and its key."""
    properties: dict[str, str] = {name: kafka.properties[name] for name in TAKEN if name in kafka.properties}
    properties["client.id"] = "penstock-operator"
    properties["security.protocol"] = kafka.security_protocol.lower()
    if kafka.auth_secret_ref is not None:
        properties |= _login(kafka.auth_secret_ref, references.auth)
    if kafka.tls is not None:
        properties |= _certificates(kafka.tls, references)
    bootstrap = ",".join(address.strip() for address in kafka.bootstrap_servers.split(","))
    said = "\0".join(f"{name}={value}" for name, value in sorted(properties.items()))
    return Connection(
        bootstrap,
        blake2b(said.encode(), digest_size=16, key=_DIGEST_KEY).hexdigest(),
        ServiceSettings(bootstrap_servers=bootstrap, kafka=KafkaProperties(properties)),
    )


def _login(auth: AuthSecret, content: Mapping[str, bytes] | None) -> dict[str, str]:
    what = f"Secret {auth.name!r} (kafka.authSecretRef)"
    username = auth.username or _line(what, auth.username_key, content)
    return {
        "sasl.mechanism": auth.mechanism,
        "sasl.username": username,
        "sasl.password": _line(what, auth.password_key, content),
    }


def _certificates(tls: Tls, references: References) -> dict[str, str]:
    found = {}
    if tls.ca is not None:
        if tls.ca.secret is not None:
            kind, place = "Secret", tls.ca.secret
        else:
            kind, place = "ConfigMap", tls.ca.config_map or KeyOfObject(name="")
        found["ssl.ca.pem"] = _pem(f"{kind} {place.name!r} (kafka.tls.ca)", place.key, references.ca)
    if tls.client_secret_ref is not None:
        client = tls.client_secret_ref
        what = f"Secret {client.name!r} (kafka.tls.clientSecretRef)"
        found["ssl.certificate.pem"] = _pem(what, client.certificate_key, references.client)
        found["ssl.key.pem"] = _pem(what, client.private_key_key, references.client)
    return found


def _text(what: str, key: str, content: Mapping[str, bytes] | None) -> str:
    if content is None:
        raise ConnectionInvalid(f"{what} does not exist in the stream's namespace: make it")
    if not content.get(key):
        raise ConnectionInvalid(f"{what} has nothing under {key!r}: add it, or name the right key")
    try:
        return content[key].decode()
    except UnicodeDecodeError:
        raise ConnectionInvalid(f"{what}: what is under {key!r} is not UTF-8 text") from None


def _line(what: str, key: str, content: Mapping[str, bytes] | None) -> str:
    text = _text(what, key, content)
    if any(character < " " for character in text):
        raise ConnectionInvalid(
            f"{what}: what is under {key!r} has a line break or another control character in it, perhaps "
            f"at its end: write it without (printf instead of echo)"
        )
    return text


def _pem(what: str, key: str, content: Mapping[str, bytes] | None) -> str:
    text = _text(what, key, content)
    if "-----BEGIN " not in text or "\0" in text:
        raise ConnectionInvalid(f"{what}: what is under {key!r} is not PEM (-----BEGIN ...)")
    return text
