"""What the installation decides for all streams: images, defaults, and as whom pods run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from penstock_operator.resource.kubernetes import ResourceAmounts, Resources
from servicekit.logs import LogLevel

USER: Final = 65532
"""User and group of the images' processes, and of pods by default: nobody's, as in other images."""


def _resources() -> Resources:
    """Enough for the buffers (32 MiB to send, 16 MiB + 4 MiB a broker to receive) over what Python takes."""
    return Resources(
        requests=ResourceAmounts(cpu="100m", memory="128Mi"), limits=ResourceAmounts(memory="512Mi")
    )


@dataclass(frozen=True, slots=True)
class Installation:
    """What the chart's values say about pods."""

    uploader_image: str
    downloader_image: str
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets, which have to be in each stream's namespace."""
    uploader_resources: Resources = field(default_factory=_resources)
    downloader_resources: Resources = field(default_factory=_resources)
    user: int | None = USER
    """User, group and fsGroup of pods whose stream names none. None: the cluster chooses, as OpenShift's
    security context constraints do."""
    log_level: LogLevel = "info"
