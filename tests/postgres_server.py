"""A PostgreSQL server of the tests: fetched, set up, started and stopped by them.

Its programs are zonky's builds, from Maven, by a lock of coordinates and SHA-256: those of the oldest version
that we support.
"""

import contextlib
import os
import platform
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import psycopg

from penstock.broker.cache import cache_directory, exclusive
from penstock.broker.guard import die_with_parent
from penstock.broker.jars import download, locked_jars, sha256_of
from penstock.broker.ports import free_ports
from penstock.broker.settings import LOOPBACK

LOCK = Path(__file__).with_name("postgres.lock")
_START_SECONDS = 60
_STOP_SECONDS = 30


def _archive() -> Path:
    """Return the verified archive with PostgreSQL's programs for this machine; fetch it, if need be."""
    names = {"x86_64": "amd64", "aarch64": "arm64v8", "arm64": "arm64v8"}
    machine = names.get(platform.machine(), platform.machine())
    wanted = f"embedded-postgres-binaries-{sys.platform}-{machine}"
    [jar] = [jar for jar in locked_jars(LOCK) if jar.artifact == wanted] or [None]
    if jar is None:
        raise RuntimeError(f"{LOCK.name} names no {wanted}: tests of PostgreSQL cannot run on this machine")
    directory = cache_directory() / f"postgresql-{jar.version}"
    path = directory / jar.filename
    with exclusive(directory / ".lock"):
        if not path.exists():
            download([jar], directory)
    if sha256_of(path) != jar.sha256:
        raise RuntimeError(f"{path} is damaged (its SHA-256 is not {jar.sha256}): delete it")
    return path


def unpack(directory: Path) -> None:
    """Put PostgreSQL's programs below `directory`."""
    with zipfile.ZipFile(_archive()) as jar:
        [name] = [name for name in jar.namelist() if name.endswith(".txz")]
        with jar.open(name) as packed, tarfile.open(fileobj=packed, mode="r|xz") as programs:
            programs.extractall(directory, filter="tar")


class PostgresServer:
    """A server with the programs below `programs` and data of its own, stopped at first.

    PostgreSQL refuses to run as root; for root it runs as nobody. It trusts its memory: data survive a crash
    of the server, not of the machine.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._directory = Path(tempfile.mkdtemp(prefix="penstock-postgres-data-"))
        self._password = secrets.token_hex(8)
        [self.port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._identity = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self._directory, nobody.pw_uid, nobody.pw_gid)
        self._set_up()

    def __enter__(self) -> "PostgresServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql+psycopg://penstock:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection in which every statement is a transaction."""
        return psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user="penstock",
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Delete a database, whoever uses it."""
        with self.connect() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def start(self) -> None:
        """Start the server, and return when it answers."""
        log = (self._directory / "log").open("ab")
        options = {
            "port": self.port,
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
        }
        with log:
            self._process = subprocess.Popen(
                [
                    self._programs / "bin" / "postgres",
                    *("-D", str(self._directory / "data")),
                    *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                preexec_fn=die_with_parent(),
                **self._identity,
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self._directory / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"PostgreSQL does not start ({error}): {said}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server in good order; connections are broken off."""
        if self._process is not None:
            self._process.send_signal(2)  # "fast"
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """Let the server crash."""
        if self._process is not None:
            self._process.send_signal(3)  # "immediate": it recovers at the next start
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def pause(self) -> None:
        """Let the server's main process stand still: the kernel takes connections, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and delete its data."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _set_up(self) -> None:
        password = self._directory / "password"
        password.write_text(self._password)
        password.chmod(0o644)
        done = subprocess.run(
            [
                self._programs / "bin" / "initdb",
                *("-D", str(self._directory / "data"), "-U", "penstock", "--auth=scram-sha-256"),
                *("--pwfile", str(password), "--encoding=UTF8", "--locale=C", "--no-sync"),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._directory,
            **self._identity,
        )
        password.unlink()
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
