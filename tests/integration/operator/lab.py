"""All of the operator in this process, between an emulated Kubernetes API and a real Kafka.

    lab.declare("scope", topic="frames")
    await lab.until(lambda: lab.condition("scope", "Ready")["status"] == "True")

Nobody plays pods: Deployments are ready as soon as somebody looks, unless `lab.rolls_out` is false. Minutes
pass by `lab.clock.leap(60)`; readings of Kafka are 0.2 s apart.
"""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from tests.integration.operator.emulated_api import EmulatedApi
from tests.integration.operator.emulated_api_store import now
from tests.kafka import Kafka
from tests.streams import laid_over

from penstock.broker.ports import free_ports
from penstock_operator.kafka import Cluster, Clusters
from penstock_operator.service import run
from penstock_operator.settings import OperatorSettings
from servicekit.lifecycle import StopSignal

T = TypeVar("T")
Object = dict[str, Any]
READ_SECONDS = 0.2


@dataclass
class Clock:
    """Seconds as they pass, and as a test lets them pass."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead

    def leap(self, seconds: float) -> None:
        self.ahead += seconds


class Lab:
    """A namespace of that name with DirectoryStreams, and operators that look after it."""

    def __init__(self, api: EmulatedApi, kafka: Kafka, kubeconfig: Path) -> None:
        self.api = api
        self.kafka = kafka
        self.kubeconfig = kubeconfig
        self.clock = Clock()
        self.rolls_out = True
        """Whether Deployments do what they are told."""
        kubeconfig.write_text(json.dumps(api.kubeconfig_object))
        self.claim("lab-data", "ReadWriteMany")

    # The operator

    @asynccontextmanager
    async def operator(self, **settings: Any) -> AsyncIterator["Operator"]:
        """Run an operator, and stop it at the end if it still runs; it has to end without an error."""
        operator = Operator(self, settings)
        await operator.start()
        try:
            yield operator
        finally:
            await operator.end()

    def settings(self, **given: Any) -> OperatorSettings:
        defaults: Object = {"namespaces": ["lab"], "read_seconds": READ_SECONDS, "metrics_port": 0}
        return OperatorSettings(**(defaults | given))

    # What people declare

    def declare(self, name: str, topic: str, /, **spec: Any) -> Object:
        """Create a DirectoryStream with a claim that any number of pods may use; `spec` is laid over that."""
        return self.api.create(self.stream(name, topic, **spec))

    def stream(self, name: str, topic: str, /, **spec: Any) -> Object:
        base = {
            "kafka": {"bootstrapServers": self.kafka.bootstrap_servers},
            "topic": {"name": topic},
            "source": {"uploader": {"mode": "External"}},
            "downloader": {"destination": {"persistentVolumeClaim": {"claimName": "lab-data"}}},
        }
        return {
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "DirectoryStream",
            "metadata": {"name": name, "namespace": "lab"},
            "spec": laid_over(base, spec),
        }

    def change(self, name: str, /, **spec: Any) -> Object:
        """Change a DirectoryStream's spec."""
        return self.api.edit("DirectoryStream", "lab", name, {"spec": spec})

    def claim(self, name: str, *modes: str) -> None:
        metadata = {"name": name, "namespace": "lab"}
        kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        self.api.create({**kind, "metadata": metadata, "spec": {"accessModes": list(modes)}})

    def secret(self, name: str, **data: str) -> None:
        """Make a Secret, or change the one that there is."""
        encoded = {key: b64encode(text.encode()).decode() for key, text in data.items()}
        if self.api.find("Secret", "lab", name) is not None:
            self.api.edit("Secret", "lab", name, {"data": encoded})
        else:
            metadata = {"name": name, "namespace": "lab"}
            self.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})

    # What there is to see

    async def until(self, condition: Callable[[], T], timeout: float = 20.0, describe: str = "") -> T:
        """Wait for a condition, while Deployments do what they are told; failing shows all statuses."""

        def seen() -> T:
            self.roll_out()
            return condition()

        said = ("type", "status", "reason", "message")

        def shown() -> str:
            lines = [
                " ".join([one["metadata"]["name"], *(told[name] for name in said)])
                for one in self.api.all("DirectoryStream")
                for told in one.get("status", {}).get("conditions", ())
            ]
            return "\n".join([describe, *lines])

        return await self.api.until(seen, timeout, shown)

    async def a_second_later(self, name: str) -> None:
        """Wait until what is made is younger than this stream by its creationTimestamp, to the second."""
        made = self.api.get("DirectoryStream", "lab", name)["metadata"]["creationTimestamp"]
        await self.api.until(lambda: now() > made)

    async def readings(
        self, operator: "Operator", number: int, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        """Wait until Kafka was read so many times: what would happen without a cause, has happened."""
        name = "penstock_operator_kafka_read_seconds_count"
        wanted = (await operator.metric(name) or 0) + number
        while (await operator.metric(name) or 0) < wanted:
            self.roll_out()
            meanwhile()
            await asyncio.sleep(0.05)

    def roll_out(self) -> None:
        """Let all Deployments have the pods that they want."""
        for live in self.api.all("Deployment") if self.rolls_out else ():
            if live.get("status", {}).get("observedGeneration") != live["metadata"]["generation"]:
                self.api.roll_out("lab", live["metadata"]["name"])

    def status(self, name: str) -> Object:
        found: Object = self.api.get("DirectoryStream", "lab", name).get("status", {})
        return found

    def condition(self, name: str, kind: str = "Ready") -> Object:
        """Return a condition; {} if it is not told (yet)."""
        told = self.status(name).get("conditions", ())
        return next((one for one in told if one["type"] == kind), {})

    def is_ready(self, *names: str) -> bool:
        return all(self.condition(name).get("status") == "True" for name in names)

    def deployment(self, name: str, side: str = "downloader") -> Object | None:
        return self.api.find("Deployment", "lab", f"{name}-{side}")

    def replicas(self, name: str) -> int | None:
        live = self.deployment(name)
        return None if live is None else live["spec"]["replicas"]

    def events(self, name: str, reason: str | None = None) -> list[Object]:
        """Return the Events of a stream, whatever has become of it."""
        return [
            one
            for one in self.api.all("Event")
            if one["involvedObject"]["name"] == name and reason in (None, one["reason"])
        ]

    def replicas_written(self, name: str) -> list[int]:
        """Return the replicas of each apply of a stream's downloader, in their order."""
        asked = self.api.asked("patch", "deployments", f"{name}-downloader")
        return [one.body["spec"]["replicas"] for one in asked if one.manager == "penstock-operator"]


@dataclass
class Operator:
    """One run of the operator in a thread."""

    lab: Lab
    given: Object
    stop: StopSignal = field(default_factory=StopSignal)
    known: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _task: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        settings = self.lab.settings(**{"metrics_port": port} | self.given)
        clusters = Clusters(make=lambda at: Cluster(at, request_seconds=2.0, away_seconds=0.5))
        self._task = asyncio.create_task(
            asyncio.to_thread(
                run,
                settings,
                self.stop,
                ready=lambda: loop.call_soon_threadsafe(self.known.set),
                clusters=clusters,
                clock=self.lab.clock,
            )
        )

        while not self._task.done():
            try:
                await self.get("/healthz")
            except httpx2.ConnectError:
                await asyncio.sleep(0.01)
            else:
                return

    async def end(self) -> None:
        """Stop it, and raise what it ended with."""
        self.stop.set("the test ends")
        assert self._task is not None
        await asyncio.wait_for(self._task, 30)

    async def ended(self) -> BaseException | None:
        """Wait until it has ended by itself, and return with what."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=30)
        error, self._task = self._task.exception(), asyncio.create_task(asyncio.sleep(0))
        return error

    async def get(self, path: str) -> httpx2.Response:
        """Ask its HTTP server."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.get(f"{self.url}{path}", timeout=10)

    async def metric(self, name: str, **labels: str) -> float | None:
        """Return a metric's value; None if there is no such series."""
        for line in (await self.get("/metrics")).text.splitlines():
            said, _, value = line.rpartition(" ")
            if said.split("{")[0] == name and all(f'{k}="{v}"' in said for k, v in labels.items()):
                return float(value)
        return None

    async def shows(self, name: str, value: float | None, **labels: str) -> None:
        """Wait until a metric has this value; None: until there is no such series."""
        deadline = time.monotonic() + 30
        while (seen := await self.metric(name, **labels)) != value:
            assert time.monotonic() < deadline, f"{name} is {seen}, not {value}"
            await asyncio.sleep(0.05)
