"""A real Apache Kafka for one machine, without Docker and without an installed Java.

    with Broker() as broker:
        producer = Producer(broker.client_config())

`Broker` is one broker, `Cluster` several of them, `run` what `penstock broker` does. Errors derive from
`BrokerError`.
"""

from penstock.broker.broker import Broker
from penstock.broker.cluster import Cluster
from penstock.broker.errors import (
    BrokerError,
    BrokerStartError,
    DataDirectoryError,
    JarsError,
    JavaNotFoundError,
    PortInUseError,
)
from penstock.broker.foreground import run
from penstock.broker.settings import Listener

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerStartError",
    "Cluster",
    "DataDirectoryError",
    "JarsError",
    "JavaNotFoundError",
    "Listener",
    "PortInUseError",
    "run",
]
