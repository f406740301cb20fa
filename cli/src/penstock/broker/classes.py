"""An archive of the classes that Kafka loads, which lets Java start it in half the time.

Java records it when a broker stops in good order, and checks by itself that an archive fits its own version and the
class path; one that does not fit is ignored. It is kept beside the libraries, and appears there whole.
"""

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from penstock.broker.jars import jars_directory
from penstock.broker.java import Java


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The archive for one Java and one class path, and where this broker may record it."""

    path: Path
    recording: Path

    @classmethod
    def for_(cls, java: Java, jars: tuple[Path, ...]) -> Self:
        """Name the archive that fits. (Java compares the jars' times and sizes: so they are in the name.)"""
        key = "\n".join(
            [str(java.executable), java.version, *(f"{jar} {jar.stat().st_mtime_ns}" for jar in jars)]
        )
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        directory = jars_directory()
        return cls(directory / f"classes-{name}.jsa", directory / f".recording-{uuid.uuid4().hex}.jsa")

    def options(self, *, record: bool) -> tuple[str, ...]:
        """Return Java's options to use the archive; or to record it, if it is missing and that is asked for."""
        quiet = ("-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
        if self.path.exists():
            return (*quiet, f"-XX:SharedArchiveFile={self.path}")
        return (*quiet, f"-XX:ArchiveClassesAtExit={self.recording}") if record else ()

    def keep_recorded(self) -> None:
        """Put in place what a broker recorded while it stopped, if anything."""
        if self.recording.exists():
            os.replace(self.recording, self.path)
