"""What Prometheus is to see: a stream with its uploader, downloader, registry and operator, all of them real.

Each part is a process of its own, so that none shows the numbers of another one. Kubernetes is emulated.
"""

import asyncio
import json
import os
import ssl
import threading
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml
from tests.certificates import Authority
from tests.integration.operator.emulated_api import EmulatedApi
from tests.integration.operator.lab import READ_SECONDS, Lab
from tests.integration.registry.running import Registry
from tests.kafka import Kafka, unique
from tests.monitoring.prometheus import Prometheus, running
from tests.monitoring.queries import RULES
from tests.stream import Service, Stream
from tests.waiting import eventually

from penstock.broker.ports import free_ports
from servicekit.events import receipts_topic

METRICS_PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NAMESPACE, STREAM, DESTINATION = "lab", "scope", "lab.scope"
FILES = 12
TOO_LARGE = 200_000
PODS = {"scope-pc:9465": "uploader", "archive-host:9465": "downloader"}
"""Whom the page means by the targets of its example."""

PATIENCE = 90.0
"""Seconds for anything to come about, on a machine that has other things to do."""

T = TypeVar("T")


def example() -> dict[str, Any]:
    """The prometheus.yml of docs/metrics.md."""
    text = METRICS_PAGE.read_text(encoding="utf-8")
    begin = text.index("# prometheus.yml\n")
    found: dict[str, Any] = yaml.safe_load(text[begin : text.index("```", begin)])
    return found


class Scene:
    """All parts of a Penstock, and a Prometheus that is configured as docs/metrics.md shows."""

    def __init__(self, kafka: Kafka, directory: Path) -> None:
        self.kafka = kafka
        self.directory = directory
        self.topic = kafka.create_topic(unique("scope"), partitions=2)
        self.prometheus: Prometheus
        self._events = kafka.create_topic(unique("events"))
        kafka.create_topic(receipts_topic(self.topic))
        self._stack = ExitStack()
        self._loop = asyncio.new_event_loop()
        self._lab: Lab
        self._stream: Stream
        self._authority = Authority(directory / "authority")
        self._ports = dict(zip(("uploader", "downloader", "operator", "webhook"), free_ports(4), strict=True))

    # Its parts

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all parts, and end them."""
        with self._stack:
            registry = Registry(
                self.kafka,
                self.directory / "registry",
                streams=[self.topic],
                events=self._events,
                heartbeat_seconds=1,
            )
            self._stack.callback(registry.close)
            registry.start_only()
            self._start_kubernetes()
            self._start_operator()
            self._start_stream()
            eventually(
                lambda: registry.metrics_url and registry.is_ready(), PATIENCE, lambda: registry.service.said
            )
            self._targets = {
                "penstock-registry": registry.metrics_url.removeprefix("http://"),
                "penstock-operator": f"127.0.0.1:{self._ports['operator']}",
            }
            self.prometheus = self._stack.enter_context(running(self.directory, self._config()))
            eventually(self._all_are_scraped, PATIENCE, self._said, interval=0.2)
            yield

    def _start_kubernetes(self) -> None:
        thread = threading.Thread(target=self._loop.run_forever, name="emulated-api")
        thread.start()

        async def cancel() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        def stop() -> None:
            self._await(cancel())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

        self._stack.callback(stop)
        api = EmulatedApi()
        self._await(api.__aenter__())
        self._stack.callback(lambda: self._await(api.__aexit__(None, None, None)))

        async def lab() -> Lab:
            return Lab(api, self.kafka, self.directory / "kubeconfig")

        self._lab = self._await(lab())
        sidecars = {"mode": "Sidecar", "podSelector": {"matchLabels": {"app": "simulation"}}}
        source = {"path": "/results", "uploader": sidecars}
        self._in_lab(lambda: self._lab.declare(STREAM, self.topic))
        other = self.kafka.create_topic(unique("results"))
        self._in_lab(lambda: self._lab.declare("results", other, source=source))

    def _start_operator(self) -> None:
        certificates = self.directory / "certificates"
        certificates.mkdir()
        signed = self._authority.sign(days=30)
        (certificates / "tls.crt").write_bytes(signed.certificate)
        (certificates / "tls.key").write_bytes(signed.key)
        settings = {
            "namespaces": NAMESPACE,
            "read_seconds": READ_SECONDS,
            "metrics_port": self._ports["operator"],
            "webhook_certificates": certificates,
            "webhook_host": "127.0.0.1",
            "webhook_port": self._ports["webhook"],
        }
        environment = {f"PENSTOCK_{name.upper()}": str(value) for name, value in settings.items()}
        environment["KUBECONFIG"] = str(self._lab.kubeconfig)
        service = Service("penstock-operator", environment, self.directory / "operator.log")
        self._stack.callback(lambda: service.stop())

    def _start_stream(self) -> None:
        directory = self.directory / "stream"
        directory.mkdir()
        self._stream = Stream(self.kafka, directory, topic=self.topic)
        self._stack.callback(self._stream.close)
        told = {"events_topic": self._events, "heartbeat_seconds": 1}
        self._stream.uploader(metrics_port=self._ports["uploader"], **told)
        self._stream.downloader(
            group=DESTINATION,
            metrics_port=self._ports["downloader"],
            max_file_size=TOO_LARGE,
            exclude="*.skipped",
            **told,
        )

    def _config(self) -> dict[str, Any]:
        """The example of the page, with the targets that there are here."""
        config = example()
        for job in config["scrape_configs"]:
            for group in job["static_configs"]:
                [named] = group["targets"]
                part = PODS.get(named)
                group["targets"] = [
                    f"127.0.0.1:{self._ports[part]}" if part else self._targets[job["job_name"]]
                ]
        config["rule_files"] = [str(RULES)]
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        return config

    def _said(self) -> str:
        """What is to be known when something does not come about."""
        errors = {target["scrapeUrl"]: target["lastError"] for target in self.prometheus.targets()}
        logs = [f"--- {log.name}\n{log.read_text()[-2000:]}" for log in self.directory.rglob("*.log")]
        return "\n".join([str(errors), *logs])

    def _all_are_scraped(self) -> bool:
        targets = self.prometheus.targets()
        return len(targets) == 4 and {target["health"] for target in targets} == {"up"}

    # What happens

    def act(self) -> None:
        """Let all happen that the dashboards show, and wait until Prometheus knows."""
        self._lab_until(lambda: self._lab.is_ready(STREAM), "the stream is ready")
        self._ask_for_a_sidecar()
        source = self._stream.source
        for number in range(FILES):
            (source / f"frame-{number}.raw").write_bytes(os.urandom(1000 * (number + 1)))
        (source / "huge.raw").write_bytes(bytes(TOO_LARGE + 1))
        (source / "notes.skipped").write_bytes(b"nobody wants this")
        self.kafka.send(self.topic, b"not a record of Penstock's")
        self.kafka.create_partitions(self.topic, 4)
        self._lab_until(lambda: self._lab.status(STREAM).get("readyReplicas") == 4, "four downloaders")
        for expression, wanted in (
            (f'penstock_delivered_files_total{{stream="{self.topic}"}}', FILES),
            (f'penstock_rejected_files_total{{stream="{self.topic}"}}', 1),
            (f'penstock_skipped_files_total{{stream="{self.topic}"}}', 1),
            (f'penstock_operator_stream_partitions{{stream="{STREAM}"}}', 4),
            ("penstock_operator_new_partition_to_ready_seconds_count", 1),
            ("sum(penstock_downloader_refused_total)", 2),
        ):
            eventually(
                lambda expression=expression, wanted=wanted: self.prometheus.value(expression) == wanted,
                PATIENCE,
                lambda expression=expression: f"{expression}: {self.prometheus.query(expression)}",
                interval=0.2,
            )

    def _ask_for_a_sidecar(self) -> None:
        """Ask what the API server asks when somebody makes a pod that wants an uploader."""
        metadata = {"name": "one", "labels": {"penstock.dev/inject": "results", "app": "simulation"}}
        mounts = [{"name": "results", "mountPath": "/results"}]
        container = {"name": "simulation", "image": "simulation:1", "volumeMounts": mounts}
        volumes = [{"name": "results", "persistentVolumeClaim": {"claimName": "lab-data"}}]
        spec = {"containers": [container], "volumes": volumes}
        request = {
            "uid": "1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": NAMESPACE,
            "name": "one",
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        asked = urllib.request.Request(
            f"https://127.0.0.1:{self._ports['webhook']}/inject",
            json.dumps(review).encode(),
            {"Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cadata=self._authority.certificate.decode())
        with urllib.request.urlopen(asked, timeout=10, context=context) as answer:
            found = json.load(answer)["response"]
        assert found["allowed"], found

    # The emulated Kubernetes, which lives in an event loop of its own

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(2 * PATIENCE)

    def _in_lab(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return self._await(act())

    def _lab_until(self, condition: Callable[[], object], describe: str) -> None:
        self._await(self._lab.until(condition, PATIENCE, describe))
