"""Kafka's libraries: which ones (`kafka.lock`), where they are kept, and that they are what they should be.

The lock holds Maven coordinates and SHA-256 and no addresses; jgo knows where Maven's repositories are (its
own configuration may name a mirror). `python -m penstock.broker.jars` resolves KAFKA_VERSION anew and writes
the lock.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from penstock.broker.cache import cache_directory, exclusive
from penstock.broker.errors import JarsError

KAFKA_VERSION = "4.3.1"
LOCK = Path(__file__).with_name("kafka.lock")
# Kafka logs through slf4j and log4j's interface; these two bring both to the standard error. Their versions
# are those of Kafka's slf4j-api and log4j-api.
LOGGING = (
    ("org.apache.logging.log4j", "log4j-to-slf4j", "2.25.4"),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)
# Declared by Kafka, but not loaded by a broker that does no OAuth: 10 MB of 45.
UNUSED = frozenset(
    {
        "caffeine",
        "commons-beanutils",
        "commons-collections",
        "commons-digester",
        "commons-logging",
        "jackson-dataformat-csv",
        "jackson-datatype-jdk8",
        "jose4j",
        "jspecify",
        "kafka-tools-api",
        "log4j-core",
        "scala-reflect",
        "snakeyaml",
    }
)

Progress = Callable[[str], None]
"""Told in one line of what takes long (a first download)."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One library, named by its Maven coordinates, with the SHA-256 that its bytes must have."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def coordinates(self) -> str:
        """`group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"

    @property
    def filename(self) -> str:
        """The name of the file in the cache."""
        return f"{self.artifact}-{self.version}.jar"


def locked_jars(lock: Path = LOCK) -> tuple[Jar, ...]:
    """Read the lock: lines of `group:artifact:version sha256`, in class path order, and `#` comments."""
    jars = []
    for line in lock.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256 = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return tuple(jars)


def jars_directory() -> Path:
    """Return where the libraries of this version of Kafka are kept."""
    return cache_directory() / f"kafka-{KAFKA_VERSION}"


def ensure_jars(progress: Progress | None = None) -> tuple[Path, ...]:
    """Return the verified files of the class path, after downloading what is missing.

    Raises `JarsError` when a download fails or any file does not have the locked hash.
    """
    jars, directory = locked_jars(), jars_directory()
    try:
        if any(not (directory / jar.filename).exists() for jar in jars):
            with exclusive(directory / ".lock"):
                missing = [jar for jar in jars if not (directory / jar.filename).exists()]
                if missing:
                    if progress:
                        progress(f"Downloading Apache Kafka {KAFKA_VERSION} (35 MB, once) to {directory}")
                    download(missing, directory)
    except OSError as error:
        raise JarsError(
            f"cannot keep Kafka's libraries in {directory} ({error.strerror or error}): make it writable, or "
            "set PENSTOCK_CACHE_DIR to a directory that is"
        ) from error
    for jar in jars:
        path = directory / jar.filename
        if sha256_of(path) != jar.sha256:
            raise JarsError(
                f"{path} is damaged (its SHA-256 is not that of {jar.coordinates}): delete it and start again"
            )
    return tuple(directory / jar.filename for jar in jars)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(jars: Iterable[Jar], directory: Path) -> None:
    """Put verified jars into `directory`, each one appearing whole. Raises `JarsError`."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext
    from jgo.maven._core import DEFAULT_REMOTE_REPOS

    repositories = {**GlobalSettings.load().repositories, **DEFAULT_REMOTE_REPOS}
    with tempfile.TemporaryDirectory(dir=directory, prefix=".download-") as scratch:
        context = MavenContext(repo_cache=Path(scratch), remote_repos=repositories)

        def fetch(jar: Jar) -> None:
            try:
                path = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
            except (OSError, RuntimeError, AssertionError) as error:  # requests' errors are OSErrors
                reason = " ".join(str(error).split()) or type(error).__name__
                raise JarsError(
                    f"cannot download {jar.coordinates} from a Maven repository: is this machine online, and "
                    f"does it need HTTPS_PROXY? ({reason[:300]})"
                ) from error
            if sha256_of(path) != jar.sha256:
                raise JarsError(
                    f"refused {jar.coordinates}: what the Maven repository sent does not have the locked "
                    "SHA-256: find out what changes downloads on the way, or try another network"
                )
            os.replace(path, directory / jar.filename)

        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(fetch, jars))


def write_lock() -> None:
    """Resolve Kafka's dependencies and write `kafka.lock`: for maintainers, when `KAFKA_VERSION` changes."""
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch))
        kafka = context.create_dependency(f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}")
        kafka.scope = "compile"
        roots, transitive = context.resolver.resolve([kafka])
        artifacts = [d.artifact for d in [*roots, *transitive] if d.scope in {"compile", "runtime"}]
        artifacts += [context.project(g, a).at_version(v).artifact() for g, a, v in LOGGING]
        lines = [
            f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {sha256_of(artifact.resolve())}\n"
            for artifact in artifacts
            if artifact.artifactId not in UNUSED
        ]
    LOCK.write_text(
        "# Written by `python -m penstock.broker.jars`\n" + "".join(sorted(lines)), encoding="ascii"
    )


if __name__ == "__main__":
    write_lock()
