"""AdmissionReview (admission.k8s.io/v1): what the API server asks of a pod, and how it is answered. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from penstock_operator.resource.rules import explain
from servicekit.exceptions import PenstockError

API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"


class NotAReview(PenstockError):
    """What was sent is no AdmissionReview of a version that is spoken here."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _Kind(_Part):
    kind: str


class _Metadata(_Part):
    name: str = ""
    generate_name: str = ""
    labels: dict[str, str] | None = None


def _with_metadata(pod: dict[str, Any]) -> dict[str, Any]:
    _Metadata.model_validate(pod.get("metadata", {}))
    return pod


class Request(_Part):
    """One question: whether a pod may be made, and with what changes.

    Its name is often not known yet, and its namespace only to the request, not to the pod.
    """

    uid: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    kind: _Kind
    operation: str
    namespace: Annotated[str, StringConstraints(max_length=63)] = ""
    pod: Annotated[dict[str, Any], AfterValidator(_with_metadata)] | None = Field(None, alias="object")

    @property
    def makes_a_pod(self) -> bool:
        """Whether this is about a new pod: nothing can be added to one that is there."""
        return self.operation == "CREATE" and self.kind.kind == "Pod" and self.pod is not None

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the pod."""
        return self._metadata.labels or {}

    @property
    def pod_name(self) -> str:
        """The pod's name, or what it will begin with."""
        return self._metadata.name or self._metadata.generate_name

    @property
    def _metadata(self) -> _Metadata:
        return _Metadata.model_validate((self.pod or {}).get("metadata", {}))


class _Review(_Part):
    api_version: Literal["admission.k8s.io/v1"]
    kind: Literal["AdmissionReview"]
    request: Request


def parse(body: bytes) -> Request:
    """Read what the API server sent. Raises NotAReview, in one line."""
    try:
        return _Review.model_validate_json(body).request
    except ValidationError as error:
        problem = explain(error)[0]
        raise NotAReview(f"not an {KIND} of {API_VERSION} about a pod: {problem}") from None


def allowed(request: Request, patch: Iterable[Mapping[str, Any]], warnings: Iterable[str]) -> dict[str, Any]:
    """Answer that the pod may be made, with these changes (JSON Patch), and what its author should hear."""
    answer: dict[str, Any] = {"uid": request.uid, "allowed": True}
    operations = list(patch)
    if operations:
        encoded = base64.b64encode(json.dumps(operations).encode()).decode()
        answer |= {"patchType": "JSONPatch", "patch": encoded}
    said = list(warnings)
    return _review(answer | ({"warnings": said} if said else {}))


def refused(request: Request, code: Literal[403, 422], message: str) -> dict[str, Any]:
    """Answer that the pod may not be made: `message` is what its author, or a Job's events, will say."""
    return _review({"uid": request.uid, "allowed": False, "status": {"code": code, "message": message}})


def _review(response: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "response": response}
