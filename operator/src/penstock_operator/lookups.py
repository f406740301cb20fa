"""Secrets, ConfigMaps and claims that streams name, and what they say about how to connect to Kafka.

They are asked for, not watched: the operator may read those that a stream names, and list none.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from penstock_operator.api import Api
from penstock_operator.kafka import Connection, References, connect
from penstock_operator.resource import DirectoryStream

Object = Mapping[str, Any]
Kind = Literal["Secret", "ConfigMap", "PersistentVolumeClaim"]

KEPT_SECONDS: Final = 60.0
"""How long what was found is taken for true. What is missing is asked for each time."""


class Lookups:
    """Asks for objects, each now and then. All raise ApiFailed if Kubernetes does not answer."""

    def __init__(self, api: Api, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[tuple[Kind, str, str], tuple[float, Object]] = {}

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object as it was within the last `KEPT_SECONDS`; None if there is none."""
        key, now = (kind, namespace, name), self._clock()
        if key in self._known and now - self._known[key][0] < KEPT_SECONDS:
            return self._known[key][1]
        found = await self._api.get(kind, namespace, name)
        if found is None:
            self._known.pop(key, None)
        else:
            self._known[key] = (now, found)
        return found

    def forget(self, namespace: str) -> None:
        """Ask again for all of a namespace: a stream in it has changed, perhaps with what it names."""
        for key in [key for key in self._known if key[1] == namespace]:
            del self._known[key]

    async def connection(self, stream: DirectoryStream) -> Connection:
        """Say how to connect to a stream's Kafka. Raises ConnectionInvalid if what it names does not tell."""
        kafka, namespace = stream.spec.kafka, stream.metadata.namespace
        auth = ca = client = None
        if kafka.auth_secret_ref is not None:
            auth = await self._content("Secret", namespace, kafka.auth_secret_ref.name)
        if kafka.tls is not None and kafka.tls.ca is not None:
            if kafka.tls.ca.secret is not None:
                ca = await self._content("Secret", namespace, kafka.tls.ca.secret.name)
            elif kafka.tls.ca.config_map is not None:
                ca = await self._content("ConfigMap", namespace, kafka.tls.ca.config_map.name)
        if kafka.tls is not None and kafka.tls.client_secret_ref is not None:
            client = await self._content("Secret", namespace, kafka.tls.client_secret_ref.name)
        return connect(kafka, References(auth=auth, ca=ca, client=client))

    async def _content(self, kind: Kind, namespace: str, name: str) -> Mapping[str, bytes] | None:
        found = await self.get(kind, namespace, name)
        if found is None:
            return None
        data = found.get("data") or {}
        if kind == "ConfigMap":
            return {key: text.encode() for key, text in data.items()}
        return {key: b64decode(text) for key, text in data.items()}
