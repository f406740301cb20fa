"""Fixtures of the operator's tests with a real Kafka, without Kubernetes or with an emulated one."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.operator.emulated_api import EmulatedApi
from tests.integration.operator.lab import Lab
from tests.kafka import Kafka

from penstock_operator.kafka import Cluster, Clusters, References, connect
from penstock_operator.resource.kafka import Kafka as KafkaOfStream


def login(config: dict[str, str], password: str | None = None) -> tuple[KafkaOfStream, References]:
    """Give `spec.kafka`, and what its Secret holds, for a broker's client configuration."""
    spec: dict[str, object] = {"bootstrapServers": config["bootstrap.servers"]}
    auth = None
    if "sasl.username" in config:
        spec["authSecretRef"] = {"name": "login", "mechanism": config["sasl.mechanism"]}
        password = password or config["sasl.password"]
        auth = {"username": config["sasl.username"].encode(), "password": password.encode()}
    return KafkaOfStream.model_validate(spec), References(auth=auth)


@pytest.fixture
def clusters() -> Iterator[Clusters]:
    with closing(Clusters()) as clusters:
        yield clusters


@pytest.fixture
def use(clusters: Clusters) -> Iterator[Callable[..., Cluster]]:
    """Use the cluster of a broker until the test ends: `use(config)`."""
    with ExitStack() as stack:

        def use(config: dict[str, str], password: str | None = None) -> Cluster:
            return stack.enter_context(clusters.use(connect(*login(config, password))))

        yield use


@pytest.fixture
def cluster(kafka: Kafka, use: Callable[..., Cluster]) -> Cluster:
    """The cluster that all tests share."""
    return use(kafka.client_config())


@pytest_asyncio.fixture
async def lab(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """A namespace with no streams yet, for operators in this process."""
    async with EmulatedApi() as api:
        lab = Lab(api, kafka, tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(lab.kubeconfig))
        yield lab
