"""Who wants to watch a downloader at work, such as a progress display."""

from __future__ import annotations

from typing import Protocol

from chunkproto import Description, UploadId


class Observer(Protocol):
    """Told, from the downloader's threads, what happens to each file. It must return at once."""

    def started(self, upload_id: UploadId, description: Description) -> None:
        """Say that the first record of a file of several records was written."""

    def progress(self, upload_id: UploadId, written: int) -> None:
        """Say how many bytes of it are written."""

    def delivered(
        self, upload_id: UploadId, description: Description, name: str, seconds: float | None
    ) -> None:
        """Say that a file is visible as `name`, `seconds` after its source saw it at rest (None: unknown)."""

    def rejected(
        self, upload_id: UploadId, description: Description | None, reason: str, detail: str
    ) -> None:
        """Say that a file will not be delivered here (or, for now, not by this upload)."""

    def waiting(self, why: str) -> None:
        """Say what everything waits for; empty when it is over."""
