"""The Kubernetes objects of a DirectoryStream, as dicts for server-side apply. Pure.

    installation = Installation(uploader_image=..., downloader_image=...)
    downloader_deployment(stream, installation, replicas=4, revision=revision(secrets_and_config_maps))
    uploader_deployment(stream, installation)        # None unless uploader.mode is Deployment
    inject(pod, stream, installation)                # JSON Patch that gives a pod its sidecar

- `downloader`, `uploader`: their Deployments; `sidecar`, `injection`: the uploader in somebody else's pod
- `pods`: what all pods have in common; `kafka`: how they connect; `environment`: variables
- `names`: names, labels, selectors, owners; `selection`: which pods a selector selects
- `references`: which Secrets, ConfigMaps and claims pods need; `installation`: what the chart decides

What is said once is said always: a field that is left out of the next apply is taken back. What the API
server fills in by itself is not said, so applying the same again changes nothing.
"""

from penstock_operator.objects.downloader import downloader_deployment, is_co_located
from penstock_operator.objects.injection import CannotInject, Injection, inject
from penstock_operator.objects.installation import Installation
from penstock_operator.objects.names import (
    FIELD_MANAGER,
    INJECT_LABEL,
    INJECTED_ANNOTATION,
    SIDECAR,
    STREAM_LABEL,
    deployment_name,
    selector,
    selector_text,
)
from penstock_operator.objects.references import Reference, claims, credentials, revision
from penstock_operator.objects.selection import selects
from penstock_operator.objects.sidecar import Sidecar, WatchedVolume, sidecar
from penstock_operator.objects.uploader import uploader_deployment

__all__ = [
    "FIELD_MANAGER",
    "INJECTED_ANNOTATION",
    "INJECT_LABEL",
    "SIDECAR",
    "STREAM_LABEL",
    "CannotInject",
    "Injection",
    "Installation",
    "Reference",
    "Sidecar",
    "WatchedVolume",
    "claims",
    "credentials",
    "deployment_name",
    "downloader_deployment",
    "inject",
    "is_co_located",
    "revision",
    "selector",
    "selector_text",
    "selects",
    "sidecar",
    "uploader_deployment",
]
