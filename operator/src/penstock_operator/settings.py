"""What the operator can be told: by the environment (`PENSTOCK_NAMESPACES`), as the chart does, or a file."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from penstock_operator.objects import Installation
from penstock_operator.objects.installation import USER
from penstock_operator.resource.kubernetes import Resources
from servicekit.logs import LogLevel
from servicekit.settings import Seconds, Settings, StringList

WEBHOOK_PORT = 8653


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at character {error.pos}") from None


JsonResources = Annotated[Resources, BeforeValidator(_decoded)]
"""CPU and memory, in the environment as JSON: `{"limits": {"memory": "1Gi"}}`."""


class OperatorSettings(Settings):
    """Settings of one operator."""

    namespaces: StringList = Field(
        default_factory=list,
        description="Namespaces whose DirectoryStreams are looked after. By default those of all.",
    )
    uploader_image: str = Field("penstock/uploader:0.1.0", min_length=1, description="Image of uploaders.")
    downloader_image: str = Field(
        "penstock/downloader:0.1.0", min_length=1, description="Image of downloaders."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When nodes fetch images: Always, IfNotPresent or Never."
    )
    image_pull_secrets: StringList = Field(
        default_factory=list,
        description="Secrets to fetch images with; they have to be in each stream's namespace.",
    )
    uploader_resources: JsonResources | None = Field(
        None, description="CPU and memory of uploaders whose stream says nothing of it, as JSON."
    )
    downloader_resources: JsonResources | None = Field(
        None, description="CPU and memory of downloaders whose stream says nothing of it, as JSON."
    )
    pod_user: int | None = Field(
        USER,
        ge=0,
        description="User, group and fsGroup of pods whose stream names none. 0: the cluster chooses, as "
        "OpenShift does.",
    )
    pod_log_level: LogLevel = Field("info", description="What uploaders and downloaders write to their logs.")
    read_seconds: Seconds = Field(
        15.0, ge=0.1, description="Time between two readings of topics, offsets and groups."
    )
    webhook_certificates: str | None = Field(
        None,
        description="Directory with tls.crt and tls.key: with them, pods that are labelled "
        "`penstock.dev/inject` are given their sidecar.",
    )
    webhook_host: str = Field("0.0.0.0", description="Address to listen at for the API server.")  # noqa: S104
    webhook_port: int = Field(
        WEBHOOK_PORT, ge=0, le=65535, description="Port to listen at for the API server."
    )

    @property
    def installation(self) -> Installation:
        """What it means for pods."""
        resources = {
            "uploader_resources": self.uploader_resources,
            "downloader_resources": self.downloader_resources,
        }
        return Installation(
            uploader_image=self.uploader_image,
            downloader_image=self.downloader_image,
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=tuple(self.image_pull_secrets),
            user=self.pod_user or None,
            log_level=self.pod_log_level,
            **{name: given for name, given in resources.items() if given is not None},
        )
