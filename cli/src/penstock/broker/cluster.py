"""Several brokers as one cluster."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from penstock.broker.broker import Broker, known_cluster_id, new_cluster_id
from penstock.broker.errors import BrokerError
from penstock.broker.jars import Progress
from penstock.broker.ports import free_ports
from penstock.broker.settings import Membership, Security


class Cluster:
    """Brokers that replicate each other's partitions; each can be stopped, killed and restarted on its own.

    With three, topics have three replicas and need two in sync: any one broker may die. All are controllers,
    so a majority must run for anything to work. `brokers[0]` has node id 1.
    """

    def __init__(
        self,
        nodes: int = 3,
        data_dir: Path | str | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Describe a cluster; nothing is started yet. The arguments are those of `Broker`."""
        if nodes < 1:
            raise BrokerError(f"a cluster of {nodes} brokers cannot be: ask for one at least")
        self._temporary = (
            TemporaryDirectory(prefix="penstock-cluster-", ignore_cleanup_errors=True)
            if data_dir is None
            else None
        )
        directory = Path(self._temporary.name if self._temporary else data_dir or "")
        controllers = dict(enumerate(free_ports(nodes), start=1))
        cluster_id = known_cluster_id(directory / "node-1") or new_cluster_id()
        security = Security(dict(users)) if users is not None else None
        self.brokers = tuple(
            Broker(
                directory / f"node-{node}",
                properties=properties,
                users=security,
                membership=Membership(cluster_id, node, controllers),
                progress=progress,
                remove_if_orphaned=directory if self._temporary else None,
            )
            for node in controllers
        )

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of all brokers, for clients' `bootstrap.servers`."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def client_config(self, user: str | None = None) -> dict[str, str]:
        """Return the librdkafka properties that connect a client (see `Broker.client_config`)."""
        return self.brokers[0].client_config(user) | {"bootstrap.servers": self.bootstrap_servers}

    def start(self) -> None:
        """Start all brokers that don't run, and return when clients can use them."""
        try:
            for broker in self.brokers:
                broker.launch()
            for broker in self.brokers:
                broker.wait_until_usable(len(self.brokers))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all brokers in good order, at once: the last ones would have no majority to ask any more."""
        for broker in self.brokers:
            broker.order_stop()
        for broker in self.brokers:
            broker.stop()

    def close(self) -> None:
        """Stop, and remove a temporary data directory."""
        self.stop()
        if self._temporary is not None:
            self._temporary.cleanup()

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
