"""One Kafka broker, as an object."""

import contextlib
import dataclasses
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import weakref
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from penstock.broker.cache import cache_directory
from penstock.broker.classes import ClassArchive
from penstock.broker.errors import BrokerError, BrokerStartError, DataDirectoryError, PortInUseError
from penstock.broker.jars import Progress, ensure_jars
from penstock.broker.java import find_java
from penstock.broker.ports import AddressError, free_ports, is_free
from penstock.broker.ready import NotReadyError, wait_until_usable
from penstock.broker.settings import (
    LOOPBACK,
    Listener,
    Membership,
    Security,
    server_properties,
    to_java_properties,
)
from servicekit.exceptions import StateError, StateInUse
from servicekit.filesystem import FileLock

_GUARD = Path(__file__).with_name("guard.py")
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    # What every broker prints at every start: its hundreds of settings.
    *(
        f"-Dorg.slf4j.simpleLogger.log.{name}=warn"
        for name in ("kafka.server.KafkaConfig", "org.apache.kafka.common")
    ),
)
_BIND_FAILURE = re.compile(r"failed to bind to \S*:(\d+)", re.IGNORECASE)
_LOCK_FAILURE = "Failed to acquire lock on file"


class Broker:
    """A real Apache Kafka on the loopback interface (or where a `Listener` says), in a process of its own.

    As a context manager it starts on entering; on leaving it stops, and a temporary data directory is
    removed. In between it can be stopped, killed and started again on the same port and data. It never
    outlives this process, however that ends.

    Raises `BrokerError`s (see `penstock.broker.errors`), whose one line of text names the log when there is
    one.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        port: int = 0,
        *,
        properties: Mapping[str, str] | None = None,
        users: Mapping[str, str] | Security | None = None,
        membership: Membership | None = None,
        listener: Listener | None = None,
        progress: Progress | None = None,
        start_timeout_seconds: float = 90.0,
        stop_timeout_seconds: float = 30.0,
        record_classes: bool = True,
        remove_if_orphaned: Path | None = None,
    ) -> None:
        """Describe a broker; nothing is started or written yet.

        Args:
            data_dir: where topics, configuration and log are kept; made if missing. None: a temporary one.
            port: TCP port for clients. 0: a free one, the same from then on.
            properties: Kafka's server properties, over those of `penstock.broker.settings`.
            users: passwords by name: clients must log in (SASL/PLAIN) and may do only what ACLs allow, except
                the super user `admin`, who is added. See `client_config`.
            membership: which broker of a `Cluster` this one is.
            listener: where clients on other machines find it. Without `users`, whoever reaches it may do all.
            progress: told in one line of what takes long, such as a first download.
            start_timeout_seconds: how long a start may take, downloads aside.
            stop_timeout_seconds: how long an orderly stop may take until the process is killed.
            record_classes: let the first orderly stop on a machine take five seconds more, to start faster
                from then on (see `penstock.broker.classes`).
            remove_if_orphaned: a directory to remove when this process ends without having stopped the
                broker; a temporary `data_dir` is, anyway.
        """
        self._given_directory = Path(data_dir) if data_dir is not None else None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._port = port
        self._alone = membership is None
        self._port_is_chosen = port == 0
        self._properties = dict(properties or {})
        self._security = users if isinstance(users, Security) or users is None else Security(dict(users))
        self._membership = membership or Membership()
        self._listener = listener
        self._local_port = 0
        self._progress = progress
        self._start_timeout = start_timeout_seconds
        self._stop_timeout = stop_timeout_seconds
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._was_usable = False
        self._record_classes = record_classes
        self._remove_if_orphaned = remove_if_orphaned
        self._log_offset = 0
        self._classes: ClassArchive | None = None
        self._lock: FileLock | None = None

    # What one can ask

    @property
    def port(self) -> int:
        """The TCP port for clients; 0 until a free one was chosen by the first start."""
        return self._port

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`, for clients' `bootstrap.servers`."""
        if not self._port:
            raise BrokerError("the broker has no address yet: start it first")
        return self._listener.advertised(self._port) if self._listener else f"{LOOPBACK}:{self._port}"

    @property
    def data_dir(self) -> Path:
        """Where topics, configuration and log are kept."""
        if self._given_directory is not None:
            return self._given_directory
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(
                prefix="penstock-broker-", ignore_cleanup_errors=True
            )
        return Path(self._temporary.name)

    @property
    def log_path(self) -> Path:
        """The file that Kafka's log goes to; appended to by each start."""
        return self.data_dir / "broker.log"

    @property
    def pid(self) -> int | None:
        """The process id of Kafka's JVM; None when it does not run."""
        return self._pid if self.running else None

    @property
    def running(self) -> bool:
        """Whether Kafka's process is there."""
        return self._guard is not None and self._guard.poll() is None

    def client_config(self, user: str | None = None) -> dict[str, str]:
        """Return the librdkafka properties that connect a client, logged in as `user` (None: the super user).

        Without users this is only `bootstrap.servers`.
        """
        config = {"bootstrap.servers": self.bootstrap_servers}
        if self._security is None:
            if user is not None:
                raise BrokerError(
                    f"this broker knows no users, so not {user!r}: give it some with users={{...}}"
                )
            return config
        name = user if user is not None else self._security.super_user
        return config | {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": name,
            "sasl.password": self._security.password(name),
        }

    def check_running(self) -> None:
        """Raise `BrokerError` when Kafka has ended by itself."""
        if not self.running:
            raise self._failure("Kafka is not running")

    # What one can do

    def start(self) -> None:
        """Start Kafka, and return when clients can use it."""
        attempts = 3 if self._alone else 1
        while True:
            attempts -= 1
            self.launch()
            try:
                self.wait_until_usable()
                break
            except PortInUseError:
                # Between our look and Kafka's bind, someone took a port that we had chosen: choose again.
                if not attempts:
                    raise
                self._forget_chosen_ports()

    def stop(self) -> None:
        """Stop Kafka in good order (SIGTERM), or by force when that takes too long. Data and port remain."""
        self._end("stop", self._stop_timeout)
        if self._record_classes and self._classes is not None:
            self._classes.record(self._class_list, self._progress)

    def order_stop(self) -> None:
        """Let Kafka begin to stop, without waiting for it: `stop` does."""
        if self._guard is not None:
            self._order(self._guard, "stop")

    def kill(self) -> None:
        """Kill Kafka at once (SIGKILL), as a crash would. Data and port remain."""
        self._end("kill", self._stop_timeout)

    def restart(self) -> None:
        """Stop Kafka if it runs, and start it on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop, and remove a temporary data directory."""
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # How

    def launch(self) -> None:
        """Start the process without waiting for it: a `Cluster`'s brokers need each other to be usable."""
        if self.running:
            return
        jars = ensure_jars(self._progress)
        self._lock_directory()
        try:
            self._claim_ports()
            self._prepare_directory()
            self._classes = ClassArchive(find_java(), jars)
            self._log_offset = self.log_path.stat().st_size if self.log_path.exists() else 0
            if not (self._log_directory / "meta.properties").exists():
                self._format(jars)
            self._spawn(self._java_command(jars, "kafka.Kafka", str(self._properties_path)))
        except BaseException:
            self._unlock_directory()
            raise

    def wait_until_usable(self, nodes: int | None = None) -> None:
        """Wait until clients can use the broker; stops it and raises when that does not come about.

        `nodes` is how many brokers of the cluster must be there: a majority of them by default.
        """
        deadline = time.monotonic() + self._start_timeout
        try:
            self._wait_for_port(deadline)
            wait_until_usable(
                self.client_config() | {"bootstrap.servers": f"{LOOPBACK}:{self._own_port}"},
                cluster_id=_read_properties(self._log_directory / "meta.properties")["cluster.id"],
                node_id=self._membership.node_id,
                nodes=nodes or len(self._membership.controllers) // 2 + 1,
                deadline=deadline,
                check_alive=self.check_running,
            )
        except NotReadyError as error:
            failure = self._failure(f"Kafka was not usable within {self._start_timeout:g} s ({error})")
            self.kill()
            raise failure from error
        except BaseException:
            self.kill()
            raise
        self._was_usable = True

    def _forget_chosen_ports(self) -> None:
        """Choose ports anew at the next start, but for a client port that others may know by now."""
        self._local_port = 0
        self._membership = dataclasses.replace(self._membership, controllers={})
        if self._port_is_chosen and not self._was_usable:
            self._port = 0

    @property
    def _own_port(self) -> int:
        """The port at which we reach the broker: what is advertised to others need not lead here."""
        return self._local_port if self._listener else self._port

    @property
    def _log_directory(self) -> Path:
        return self.data_dir / "kafka"

    @property
    def _class_list(self) -> Path:
        return self.data_dir / "classes.lst"

    @property
    def _properties_path(self) -> Path:
        return self.data_dir / "server.properties"

    def _claim_ports(self) -> None:
        host = self._listener.host if self._listener else LOOPBACK
        try:
            if not self._port:
                [self._port] = free_ports(1, host)
            elif not is_free(self._port, host):
                raise _port_in_use(self._port, host)
        except AddressError as error:
            raise BrokerError(str(error)) from error
        if self._listener and not (self._local_port and is_free(self._local_port)):
            [self._local_port] = free_ports(1)
        if not self._membership.controllers:
            only = dict(zip([self._membership.node_id], free_ports(1), strict=True))
            self._membership = dataclasses.replace(self._membership, controllers=only)

    def _lock_directory(self) -> None:
        """Keep others out before anything is touched.

        Kafka has a lock of its own, and looks at it only after it has begun to write the metadata log.
        """
        if self._lock is not None:
            return
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._lock = FileLock(str(self.data_dir / "lock"), owner=f"process {os.getpid()}")
        except StateInUse as error:
            raise DataDirectoryError(
                f"{self.data_dir} is in use by another broker: stop that, or choose another"
            ) from error
        except StateError as error:
            raise DataDirectoryError(f"cannot keep Kafka's data in {self.data_dir}: {error}") from error

    def _unlock_directory(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _unwritable(self, error: OSError) -> DataDirectoryError:
        return DataDirectoryError(
            f"cannot keep Kafka's data in {self.data_dir} ({error.strerror or error}): make it writable, or "
            "choose another directory"
        )

    def _prepare_directory(self) -> None:
        """Write the configuration, and refuse what is not ours to use."""
        directory = self.data_dir
        try:
            if (directory / "meta.properties").exists():
                raise DataDirectoryError(
                    f"{directory} is the log directory of another Kafka: choose an empty directory"
                )
            meta = _read_properties(self._log_directory / "meta.properties")
            expected = {"node.id": str(self._membership.node_id), "cluster.id": self._membership.cluster_id}
            for name, value in expected.items():
                if meta and value and meta.get(name) != value:
                    raise DataDirectoryError(
                        f"{directory} holds the data of another broker ({name} {meta.get(name)}, not "
                        f"{value}): choose an empty directory"
                    )
            properties = server_properties(
                log_directory=self._log_directory,
                port=self._port,
                membership=self._membership,
                security=self._security,
                overrides=self._properties,
                listener=self._listener,
                local_port=self._local_port,
            )
            self._log_directory.mkdir(exist_ok=True)
            self._properties_path.touch(mode=0o600)  # it may hold passwords
            self._properties_path.write_text(to_java_properties(properties), encoding="ascii")
            with self.log_path.open("ab"):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    def _java_command(self, jars: tuple[Path, ...], *main: str) -> list[str]:
        java = find_java()
        assert self._classes is not None
        class_path = os.pathsep.join(str(jar) for jar in jars)
        classes = self._classes.options(self._class_list)
        return [str(java.executable), *java.options, *classes, *_LOGGING, "-cp", class_path, *main]

    def _format(self, jars: tuple[Path, ...]) -> None:
        cluster_id = self._membership.cluster_id or new_cluster_id()
        command = self._java_command(
            jars, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties_path)
        )
        try:
            with self.log_path.open("ab") as log:
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=True,
                    timeout=self._start_timeout,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise self._failure("Kafka could not format its data directory") from error

    def _spawn(self, command: list[str]) -> None:
        """Start the command under a guard (see `penstock.broker.guard`)."""
        guard = [sys.executable, "-I", str(_GUARD), "--parent", str(os.getpid())]
        if remove := self._temporary.name if self._temporary is not None else self._remove_if_orphaned:
            guard += ["--remove-if-orphaned", str(remove)]
        with self.log_path.open("ab") as log:
            self._guard = subprocess.Popen(
                [*guard, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # The lock goes with the guard: it may outlive us by a moment, and Kafka with it.
                pass_fds=() if sys.platform == "win32" or self._lock is None else (self._lock.fd,),
                start_new_session=True,  # Ctrl-C is for us; we stop the broker in good order
            )
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        # Python keeps a process that still runs, pipes and all, when its object is dropped: let go of it.
        weakref.finalize(self, self._guard.stdin.close)
        answer = self._guard.stdout.readline().split()
        if len(answer) != 2:
            self._end("kill", self._stop_timeout)
            raise self._failure("Kafka's process could not be started")
        self._pid = int(answer[1])

    def _end(self, order: str, timeout: float) -> None:
        """Give the guard an order, wait until all is over, and take note of how it ended."""
        guard, self._guard = self._guard, None
        if guard is None:
            self._unlock_directory()
            return
        assert guard.stdin is not None
        assert guard.stdout is not None
        for command in (order, "kill"):
            self._order(guard, command)
            try:
                guard.wait(timeout)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            guard.kill()
            guard.wait()
        guard.stdout.close()
        with contextlib.suppress(OSError):  # an order that nobody read
            guard.stdin.close()
        self._pid = None
        self._unlock_directory()

    @staticmethod
    def _order(guard: subprocess.Popen[bytes], order: str) -> None:
        assert guard.stdin is not None
        with contextlib.suppress(OSError):  # it has ended by itself
            guard.stdin.write(order.encode() + b"\n")
            guard.stdin.flush()

    def _wait_for_port(self, deadline: float) -> None:
        while True:
            self.check_running()
            try:
                socket.create_connection((LOOPBACK, self._own_port), timeout=1.0).close()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise NotReadyError(f"port {self._own_port} does not answer") from error
            time.sleep(0.02)

    def _failure(self, what: str) -> BrokerError:
        """Make the error for `what` out of what the log says."""
        lines: list[str] = []
        if self.log_path.exists():
            with self.log_path.open("rb") as log:
                log.seek(self._log_offset)
                lines = [line.decode(errors="replace").strip() for line in log if line.strip()]
        for line in reversed(lines):
            if match := _BIND_FAILURE.search(line):
                port = int(match[1])
                host = self._listener.host if self._listener and port == self._port else LOOPBACK
                return _port_in_use(port, host)
            if _LOCK_FAILURE in line:
                return DataDirectoryError(
                    f"{self.data_dir} is in use by another broker: stop that, or choose another"
                )
        return BrokerStartError(f"{what}: {_meaningful(lines)} (log: {self._kept_log()})")

    def _kept_log(self) -> Path:
        """Return where the log can be read, after a temporary directory is gone, too: in the cache."""
        if self._temporary is None and self._remove_if_orphaned is None:
            return self.log_path
        kept = cache_directory() / "broker-failed.log"
        try:
            shutil.copyfile(self.log_path, kept)
        except OSError:
            return self.log_path
        return kept


def _port_in_use(port: int, host: str = LOOPBACK) -> PortInUseError:
    return PortInUseError(
        f"port {port} of {host} is in use by another program: stop that, or choose another port"
    )


def known_cluster_id(data_dir: Path) -> str | None:
    """Return the cluster that a data directory belongs to, if it was used before."""
    return _read_properties(data_dir / "kafka" / "meta.properties").get("cluster.id")


def new_cluster_id() -> str:
    """Return a random cluster id in Kafka's form: 22 characters of URL-safe base64."""
    while (text := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # it would be an option on a command line
    return text


def _read_properties(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = path.read_text(encoding="latin-1").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _meaningful(lines: list[str]) -> str:
    """Return the last line of a log that says what went wrong."""
    for wanted in (r"^Caused by: ", r"^[\w.$]+(Exception|Error)\b", r"\b(FATAL|ERROR)\b", r"^(?!at )."):
        for line in reversed(lines):
            if re.search(wanted, line):
                return line[:500]
    return "it said nothing"
