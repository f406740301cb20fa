"""DirectoryStream, the resource that declares a stream: models, rules, and the CRD made from them.

    stream = DirectoryStream.parse(body)    # as Kubernetes gives it; InvalidResource says what is wrong
    stream.spec.topic.partitions

- `stream`: the resource and its status; `kafka`, `topic`, `source`, `downloader`, `pod`: sections of its
  spec; `kubernetes`: shapes that are Kubernetes' own
- `rules`: what has to hold between fields, once for the API server and once for us
- `crd`, `reference`: the CRD and docs/directorystream.md; `python -m penstock_operator.resource` writes both
"""

from penstock_operator.resource.kafka import properties_problems
from penstock_operator.resource.kubernetes import Condition
from penstock_operator.resource.stream import (
    GROUP,
    KIND,
    PLURAL,
    SHORT_NAME,
    VERSION,
    ConditionType,
    DirectoryStream,
    InvalidResource,
    Spec,
    Status,
)

__all__ = [
    "GROUP",
    "KIND",
    "PLURAL",
    "SHORT_NAME",
    "VERSION",
    "Condition",
    "ConditionType",
    "DirectoryStream",
    "InvalidResource",
    "Spec",
    "Status",
    "properties_problems",
]
