"""The Kubernetes API, as far as the operator writes to it or asks for one thing. What changes is watched."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Literal, Self
from uuid import uuid4

import httpx2
from lightkube import AsyncClient, operators
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.types import CascadeType, PatchType

from penstock_operator import metrics
from penstock_operator.objects import FIELD_MANAGER, STREAM_LABEL
from penstock_operator.resource import GROUP, KIND, PLURAL, VERSION
from penstock_operator.resource.kubernetes import LabelSelector
from servicekit.exceptions import ConfigurationError, PenstockError
from servicekit.logs import mask_secrets

log = logging.getLogger(__name__)

Object = Mapping[str, Any]
Kind = Literal[
    "DirectoryStream", "Deployment", "Pod", "PersistentVolumeClaim", "Secret", "ConfigMap", "Event"
]

FINAL: Final = frozenset({400, 403, 404, 405, 413, 415, 422})
"""Answers that asking again does not change."""

_KINDS: Final[Mapping[Kind, type[GenericNamespacedResource]]] = {
    "DirectoryStream": create_namespaced_resource(GROUP, VERSION, KIND, PLURAL),
    "Deployment": create_namespaced_resource("apps", "v1", "Deployment", "deployments"),
    "Pod": create_namespaced_resource("", "v1", "Pod", "pods"),
    "PersistentVolumeClaim": create_namespaced_resource(
        "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"
    ),
    "Secret": create_namespaced_resource("", "v1", "Secret", "secrets"),
    "ConfigMap": create_namespaced_resource("", "v1", "ConfigMap", "configmaps"),
    "Event": create_namespaced_resource("", "v1", "Event", "events"),
}


AWAY_SECONDS: Final = 3.0
"""For how long an API server that did not answer is not asked again."""


class ApiFailed(PenstockError):
    """The API server did not do what it was asked for; `code` is its HTTP status, 0 if it did not answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def final(self) -> bool:
        """Whether asking again, with nothing changed, is in vain."""
        return self.code in FINAL

    @property
    def gone(self) -> bool:
        """Whether the object is not there (any more)."""
        return self.code == 404


class Api:
    """Calls the API server as whom the pod's service account, or KUBECONFIG, says. All raise ApiFailed."""

    def __init__(self, client: AsyncClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client: Any = client  # its overloads know no generic resources
        self._clock = clock
        self._away: tuple[ApiFailed, float] | None = None
        self.problem: str | None = None
        """What is wrong with the API server, for health."""

    @classmethod
    def connect(cls, *, clock: Callable[[], float] = time.monotonic) -> Self:
        """Raise ConfigurationError if nothing says where the API server is."""
        try:
            return cls(AsyncClient(field_manager=FIELD_MANAGER), clock=clock)
        except Exception as error:  # a file that is anything but a kubeconfig fails in many ways
            said = (
                str(error) if isinstance(error, ConfigError | OSError) else "KUBECONFIG names no kubeconfig"
            )
            log.debug("no Kubernetes to connect to", exc_info=error)
            raise ConfigurationError(
                f"no Kubernetes to connect to: {said}; run the operator in a cluster, or set KUBECONFIG"
            ) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turn errors into ApiFailed. While the API server is away, fail at once: hundreds would wait."""
        if self._away is not None and self._clock() < self._away[1]:
            raise ApiFailed(self._away[0].code, str(self._away[0]))  # without the first one's traceback
        try:
            yield
        except httpx2.HTTPError as error:
            failed = _failed(error, what)
            if failed.code:
                self._answers()
            else:
                if self.problem is None:
                    log.warning("%s", failed)
                self.problem = str(failed)
                self._away = (failed, self._clock() + AWAY_SECONDS)
            raise failed from None
        self._answers()

    def _answers(self) -> None:
        if self.problem is not None:
            log.info("the API server answers again")
        self._away = self.problem = None

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object; None if there is none."""
        try:
            with self._asking(f"get {kind} {namespace}/{name}"):
                found: Object = await self._client.get(_KINDS[kind], name, namespace=namespace)
                return found
        except ApiFailed as error:
            if error.code == 404:
                return None
            raise

    async def streams(self, namespace: str) -> list[Object]:
        """List the DirectoryStreams of one namespace, or of all (`*`)."""
        return await self._list("DirectoryStream", namespace, None)

    async def deployments(self, namespace: str) -> list[Object]:
        """List the Deployments of one namespace, or of all (`*`), that are some stream's."""
        return await self._list("Deployment", namespace, [(STREAM_LABEL, operators.exists())])

    async def pods(self, namespace: str, selector: LabelSelector) -> list[Object]:
        """List the pods of a namespace that a selector selects."""
        return await self._list("Pod", namespace, _pairs(selector))

    async def _list(self, kind: Kind, namespace: str, labels: list[tuple[str, Any]] | None) -> list[Object]:
        with self._asking(f"list {kind} in {'all namespaces' if namespace == '*' else namespace}"):
            found = self._client.list(_KINDS[kind], namespace=namespace, labels=labels, chunk_size=500)
            return [one async for one in found]

    async def apply(self, body: Object) -> Object:
        """Server-side apply: make the object, or set what is ours of it. Returns it as it is then."""
        return await self._patch(_KINDS[body["kind"]], body, f"apply {body['kind']}")

    async def apply_status(self, body: Object) -> Object:
        """Do the same with the status of a DirectoryStream, if it is still the version that is named."""
        return await self._patch(_KINDS["DirectoryStream"].Status, body, "set the status of DirectoryStream")

    async def _patch(self, kind: type[Any], body: Object, what: str) -> Object:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        with self._asking(f"{what} {namespace}/{name}"):
            metrics.WRITES.labels(body["kind"]).inc()
            answered: Object = await self._client.patch(
                kind, name, dict(body), namespace=namespace, patch_type=PatchType.APPLY, force=True
            )
            return answered

    async def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object, and then what it owns; that it is gone already is no hindrance."""
        try:
            with self._asking(f"delete {kind} {namespace}/{name}"):
                metrics.WRITES.labels(kind).inc()
                await self._client.delete(
                    _KINDS[kind], name, namespace=namespace, cascade=CascadeType.BACKGROUND
                )
        except ApiFailed as error:
            if not error.gone:
                raise

    async def post_event(self, event: Object) -> None:
        """Let people read something in `kubectl describe`."""
        metadata = event["metadata"]
        named = {**metadata, "name": f"{event['involvedObject']['name']}.{uuid4().hex[:16]}"}
        body = {"apiVersion": "v1", "kind": "Event", **event, "metadata": named}
        with self._asking(f"make an Event in {metadata['namespace']}"):
            metrics.WRITES.labels("Event").inc()
            await self._client.create(_KINDS["Event"].from_dict(body), namespace=metadata["namespace"])


def _pairs(selector: LabelSelector) -> list[tuple[str, Any]]:
    """Give a selector in lightkube's words."""
    pairs: list[tuple[str, Any]] = list(selector.match_labels.items())
    said: Any
    for wanted in selector.match_expressions:
        match wanted.operator:
            case "In":
                said = operators.in_(wanted.values)
            case "NotIn":
                said = operators.not_in(wanted.values)
            case "Exists":
                said = operators.exists()
            case "DoesNotExist":
                said = operators.not_exists()
        pairs.append((wanted.key, said))
    return pairs


def _failed(error: httpx2.HTTPError, what: str) -> ApiFailed:
    if isinstance(error, ApiError):
        code = error.status.code or 0
        return ApiFailed(code, mask_secrets(f"cannot {what}: {error.status.message} ({code})"))
    if isinstance(error, httpx2.HTTPStatusError):
        code = error.response.status_code
        return ApiFailed(code, f"cannot {what}: the API server answers {code}")
    said = str(error) or type(error).__name__
    return ApiFailed(0, f"cannot {what}: the API server does not answer ({said})")
