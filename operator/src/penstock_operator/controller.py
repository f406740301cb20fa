"""The loop: what is seen in Kubernetes and Kafka goes into `reconcile`, and what comes out is carried out.

One asyncio loop. Each stream is worked on by one task at a time, as soon as something has happened to it;
Kafka is read for all streams of a cluster together, every `read_seconds` or when a stream asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from penstock_operator import metrics
from penstock_operator.api import Api, ApiFailed
from penstock_operator.apply import CONTESTED, Applied, digest, is_changed, needed
from penstock_operator.conditions import settled
from penstock_operator.kafka import (
    RENEWAL_SECONDS,
    Clusters,
    Connection,
    Observation,
    Prepared,
    References,
    TopicWanted,
    Watched,
    connect,
    delete,
    failed_read,
    observe,
    prepare,
    renew_each,
)
from penstock_operator.objects import claims, credentials, revision, selector
from penstock_operator.objects.names import Side, deployment_name
from penstock_operator.observed import Observed, ReadingTaken, Sidecars, failing_pods, is_ours, sidecars_of
from penstock_operator.reading import FailedRead
from penstock_operator.reconcile import (
    Memory,
    Moment,
    Note,
    Plan,
    after_deletion,
    invalid_status,
    reconcile,
)
from penstock_operator.resource import GROUP, KIND, VERSION, DirectoryStream, InvalidResource
from penstock_operator.resource.kubernetes import LabelSelector
from penstock_operator.rivals import earlier_rivals
from penstock_operator.settings import OperatorSettings
from servicekit.exceptions import PenstockError
from servicekit.lifecycle import describe_bug
from servicekit.topics import TopicInfo

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name of a stream."""
Object = Mapping[str, Any]

WORKERS: Final = 8
"""How many streams are worked on at once."""
REFERENCE_SECONDS: Final = 60.0
"""How long what Secrets, ConfigMaps and claims hold is taken for true. They are asked for, not watched: the
operator may read those that a stream names, and list none."""
PODS_SECONDS: Final = 30.0
"""How often it is looked for pods without their sidecar."""
RELIST_SECONDS: Final = 600.0
"""How often all DirectoryStreams are listed, for those whose end was missed."""
RENEW_CHECK_SECONDS: Final = 300.0
DELETION_CHECK_SECONDS: Final = 2.0
RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""After how long what failed is tried again; at the last pace for ever."""
SIDES: Final[tuple[Side, ...]] = ("uploader", "downloader")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A Deployment that the API server does not take: it is not asked again too soon, unless it changes."""

    digest: str
    message: str
    tries: int
    until: float


@dataclass(slots=True)
class Tracked:
    """One stream: what is known of it, and what was done last."""

    body: Object
    stream: DirectoryStream | None
    invalid: str = ""
    deployments: dict[Side, Object] = field(default_factory=dict)
    deployments_known: bool = False
    reading: ReadingTaken | None = None
    read_wanted: bool = True
    memory: Memory = field(default_factory=Memory)
    applied: dict[Side, Applied] = field(default_factory=dict)
    refused: dict[Side, Refusal] = field(default_factory=dict)
    prepared: Prepared | None = None
    topic_error: FailedRead | None = None
    sidecars: Sidecars | None = None
    sidecars_at: float = float("-inf")
    failing: dict[Side, tuple[str, ...]] = field(default_factory=dict)
    failures: int = 0
    renewed_at: float | None = None
    grew_at: float | None = None
    partitions: int | None = None

    @property
    def generation(self) -> int:
        """Which spec it is: the number grows with each change."""
        return int(self.body["metadata"].get("generation", 0))


class Controller:
    """Looks after DirectoryStreams until told to stop. All methods are to be called in its event loop."""

    def __init__(
        self,
        settings: OperatorSettings,
        api: Api,
        clusters: Clusters,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._installation = settings.installation
        self._api = api
        self._clusters = clusters
        self._clock = clock
        self._streams: dict[Key, Tracked] = {}
        self._rivals: dict[str, str] = {}
        self._rivals_stale = True
        self._references = _References(api, clock)
        self._queue = _Queue()
        self._read_wanted = asyncio.Event()
        self._reading: set[Connection] = set()
        self._readings = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._alive_at = clock()

    # What happens

    def stream_seen(self, body: Object) -> None:
        """Take notice of a DirectoryStream as it is now."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        tracked = self._streams.get(key)
        if tracked is None or tracked.body["metadata"]["uid"] != body["metadata"]["uid"]:
            tracked = self._streams[key] = Tracked(body, None)
            changed = True
        else:
            if _version(body) <= _version(tracked.body):
                return
            changed = tracked.generation != int(body["metadata"].get("generation", 0)) or bool(
                body["metadata"].get("deletionTimestamp")
            )
        before = tracked.stream
        tracked.body = body
        try:
            tracked.stream, tracked.invalid = DirectoryStream.parse(body), ""
        except InvalidResource as error:
            tracked.stream, tracked.invalid = None, str(error)
        if (
            before is None
            or tracked.stream is None
            or before.status.topic_id != tracked.stream.status.topic_id
        ):
            self._rivals_stale = True
        if changed:
            tracked.failures = 0
            tracked.refused.clear()
            tracked.sidecars_at = float("-inf")
            self._rivals_stale = True
            self._references.forget(key[0])
            self._want_reading(tracked)
            self._queue.put(key)
        metrics.STREAMS.set(len(self._streams))

    def stream_gone(self, body: Object) -> None:
        """Forget a DirectoryStream that is there no more."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        tracked = self._streams.get((namespace, name))
        if tracked is None or tracked.body["metadata"]["uid"] != body["metadata"]["uid"]:
            return
        del self._streams[namespace, name]
        self._queue.forget((namespace, name))
        for gauge in metrics.OF_STREAMS:
            with suppress(KeyError):
                gauge.remove(namespace, name)
        metrics.STREAMS.set(len(self._streams))
        self._rivals_stale = True
        self._judge_rivals()

    def deployment_seen(self, body: Object) -> None:
        """Take notice of a Deployment that has a stream's label."""
        found = self._whose(body)
        if found is None:
            return
        key, tracked, side = found
        if _version(body) <= _version(tracked.deployments.get(side)):
            return
        tracked.deployments[side] = body
        self._queue.put(key)

    def deployment_gone(self, body: Object) -> None:
        """Take notice that a Deployment is there no more."""
        found = self._whose(body)
        if found is None:
            return
        key, tracked, side = found
        live = tracked.deployments.get(side)
        if live is not None and live["metadata"]["uid"] == body["metadata"]["uid"]:
            del tracked.deployments[side]
            tracked.applied.pop(side, None)
            self._queue.put(key)

    def _whose(self, body: Object) -> tuple[Key, Tracked, Side] | None:
        """Find the stream whose Deployment has this name: labels may have been changed."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        for side in SIDES:
            key = (namespace, name.removesuffix(f"-{side}"))
            tracked = self._streams.get(key)
            if tracked is not None and name == f"{key[1]}-{side}":
                return key, tracked, side
        return None

    async def find(self, namespace: str, name: str) -> DirectoryStream | None:
        """Return a stream for whoever wants its sidecar; None if there is none. Raises PenstockError."""
        if self._settings.namespaces and namespace not in self._settings.namespaces:
            raise PenstockError(f"this operator does not look after namespace {namespace}")
        tracked = self._streams.get((namespace, name))
        body = tracked.body if tracked is not None else await self._api.get(KIND, namespace, name)
        return None if body is None else DirectoryStream.parse(body)

    # The loop

    @property
    def silent_seconds(self) -> float:
        """For how long the event loop has not turned. May be asked from any thread."""
        return self._clock() - self._alive_at

    async def run(self, known: Callable[[], None]) -> None:
        """Look after streams until cancelled; `known` is called once all of them have been listed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(1.0, self._beat))
            await self._relist()
            known()
            for _ in range(WORKERS):
                tasks.create_task(self._work())
            tasks.create_task(self._read_now_and_then())
            tasks.create_task(self._every(RELIST_SECONDS, self._relist))
            tasks.create_task(self._every(RENEW_CHECK_SECONDS, self._renew))

    async def _beat(self) -> None:
        self._alive_at = self._clock()

    async def _every(self, seconds: float, act: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await act()
            except PenstockError as error:
                log.warning("%s", error)

    async def _relist(self) -> None:
        """List all streams: at the start to know them all, later for those whose end was missed."""
        waited = 0
        while True:
            try:
                listed = [
                    body
                    for namespace in (*self._settings.namespaces,) or (None,)
                    for body in await self._api.streams(namespace)
                ]
                break
            except ApiFailed as error:
                metrics.ERRORS.labels("kubernetes").inc()
                pause = RETRY_SECONDS[min(waited, 5)]
                waited += 1
                log.warning("%s; asking again in %g s", error, pause)
                await asyncio.sleep(pause)
        uids = {body["metadata"]["uid"] for body in listed}
        for (namespace, name), tracked in list(self._streams.items()):
            if tracked.body["metadata"]["uid"] not in uids and await self._is_gone(namespace, name):
                self.stream_gone(tracked.body)
        for body in listed:
            self.stream_seen(body)

    async def _is_gone(self, namespace: str, name: str) -> bool:
        return await self._api.get(KIND, namespace, name) is None

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self._process(key)
            finally:
                self._queue.done(key)

    async def _process(self, key: Key) -> None:
        tracked = self._streams.get(key)
        if tracked is None:
            return
        try:
            with metrics.RECONCILE_SECONDS.time():
                await self._reconcile(key, tracked)
        except PenstockError as error:
            self._failed(key, tracked, error)
        except Exception as error:
            # One stream that a bug stops must not stop the others.
            log.warning("stream %s/%s: %s", *key, describe_bug(error))
            log.debug("stream %s/%s", *key, exc_info=error)
            metrics.ERRORS.labels("operator").inc()
            self._failed(key, tracked, error)
        else:
            tracked.failures = 0
            metrics.RECONCILES.labels("done").inc()

    def _failed(self, key: Key, tracked: Tracked, error: Exception) -> None:
        metrics.RECONCILES.labels("failed").inc()
        if isinstance(error, ApiFailed):
            metrics.ERRORS.labels("kubernetes").inc()
        pause = RETRY_SECONDS[min(tracked.failures, len(RETRY_SECONDS) - 1)]
        tracked.failures += 1
        # That the API server is away is told once, for all streams.
        level = logging.DEBUG if isinstance(error, ApiFailed) and not error.code else logging.WARNING
        log.log(level, "stream %s/%s: %s; trying again in %g s", *key, error, pause)
        self._queue.put_later(key, pause)

    # One stream

    async def _reconcile(self, key: Key, tracked: Tracked) -> None:
        stream = tracked.stream
        if stream is None:
            status = invalid_status(
                tracked.body.get("status") or {}, tracked.generation, tracked.invalid, self._moment()
            )
            await self._write_status(tracked, status)
            return
        if not tracked.deployments_known or not all(
            is_ours(stream, live) for live in tracked.deployments.values()
        ):
            await self._look_for_deployments(tracked, stream)
        if self._rivals_stale:
            self._judge_rivals()
        observed = await self._observe(tracked, stream)
        plan = reconcile(observed, tracked.memory, self._moment(), self._installation)
        if plan.delete_topic:
            plan = await self._delete_topic(tracked, stream, plan)
        await self._carry_out(key, tracked, stream, plan)

    async def _look_for_deployments(self, tracked: Tracked, stream: DirectoryStream) -> None:
        """Know what runs before deciding how many are to run, whatever the watch has told so far.

        It tells nothing of a Deployment that has our name and is somebody else's.
        """
        for side in SIDES:
            await self._look_for_deployment(tracked, stream, side)
        tracked.deployments_known = True

    async def _look_for_deployment(
        self, tracked: Tracked, stream: DirectoryStream, side: Side
    ) -> Object | None:
        live = await self._api.get("Deployment", stream.metadata.namespace, deployment_name(stream, side))
        if live is None:
            tracked.deployments.pop(side, None)
        elif _version(live) > _version(tracked.deployments.get(side)):
            tracked.deployments[side] = live
        return live

    async def _observe(self, tracked: Tracked, stream: DirectoryStream) -> Observed:
        namespace = stream.metadata.namespace
        found = [
            await self._references.get(reference.kind, namespace, reference.name)
            for reference in credentials(stream.spec.kafka)
        ]
        deleting = stream.metadata.deletion_timestamp is not None
        return Observed(
            stream=stream,
            reading=tracked.reading,
            deployments=tracked.deployments,
            claims={
                name: await self._references.get("PersistentVolumeClaim", namespace, name)
                for name in (() if deleting else claims(stream))
            },
            revision=revision(one for one in found if one is not None),
            earlier=self._rivals.get(stream.id),
            topic_notes=() if tracked.prepared is None else tracked.prepared.differences,
            topic_error=tracked.topic_error,
            created_topic_id=None if tracked.prepared is None else tracked.prepared.created_topic_id,
            refused={side: refusal.message for side, refusal in tracked.refused.items()},
            failing=tracked.failing,
            sidecars=tracked.sidecars,
        )

    async def _carry_out(self, key: Key, tracked: Tracked, stream: DirectoryStream, plan: Plan) -> None:
        if plan.finalizers is not None:
            await self._set_finalizers(tracked, plan.finalizers)
        if plan.prepare_topic:
            await self._prepare_topic(tracked, stream)
            tracked.memory = plan.memory
            self._want_reading(tracked)
            return
        for side, body in plan.apply.items():
            await self._apply(key, tracked, stream, side, body)
        for body in plan.delete:
            log.info("stream %s/%s: Deployment %s goes", *key, body["metadata"]["name"])
            await self._api.delete("Deployment", key[0], body["metadata"]["name"])
            tracked.deployments_known = False
            self._queue.put_later(key, DELETION_CHECK_SECONDS)
        tracked.memory = plan.memory
        if plan.status is not None:
            await self._write_status(tracked, plan.status)
            self._measure(key, tracked, plan.status)
        await self._tell(stream, plan.notes)

    async def _apply(
        self, key: Key, tracked: Tracked, stream: DirectoryStream, side: Side, body: Object
    ) -> None:
        live, applied = tracked.deployments.get(side), tracked.applied.get(side)
        refusal, now = tracked.refused.get(side), self._clock()
        if not needed(body, live, applied):
            return
        if refusal is not None and refusal.digest == digest(body) and now < refusal.until:
            return
        if live is None:
            live = await self._look_for_deployment(tracked, stream, side)
            if live is not None and not is_ours(stream, live):
                self._queue.put(key)
                return
        changed = live is not None and applied is not None and is_changed(body, live, applied)
        restored = () if applied is None else applied.restored
        contested = None if applied is None else applied.contested_until(now)
        if changed and contested is not None:
            self._queue.put_later(key, contested - now)
            return
        try:
            answered = await self._api.apply(body)
        except ApiFailed as error:
            if not error.final:
                raise
            await self._refused(key, tracked, stream, side, body, error)
            return
        tracked.refused.pop(side, None)
        if changed and live is not None and _version(answered) > _version(live):
            restored = (*restored[-CONTESTED:], now)
            name = body["metadata"]["name"]
            said = f"Somebody has changed Deployment {name}; it is again as the DirectoryStream says."
            await self._tell(stream, (Note("Restored", said),))
        tracked.applied[side] = Applied.of(body, answered, restored)
        if _version(answered) > _version(tracked.deployments.get(side)):
            tracked.deployments[side] = answered

    async def _refused(
        self,
        key: Key,
        tracked: Tracked,
        stream: DirectoryStream,
        side: Side,
        body: Object,
        error: ApiFailed,
    ) -> None:
        """Remember a refusal, for the conditions, and ask again with growing pauses."""
        metrics.ERRORS.labels("kubernetes").inc()
        before = tracked.refused.get(side)
        tries = 0 if before is None else before.tries
        pause = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
        tracked.refused[side] = Refusal(digest(body), str(error), tries + 1, self._clock() + pause)
        self._queue.put_later(key, pause)
        if before is None or before.message != str(error):
            await self._tell(stream, (Note("ApplyRefused", str(error), warning=True),))
            self._queue.put(key)

    async def _set_finalizers(self, tracked: Tracked, finalizers: tuple[str, ...]) -> None:
        try:
            named = _named(tracked.body["metadata"])
            named["metadata"]["finalizers"] = [*finalizers]
            self.stream_seen(await self._api.apply(named))
        except ApiFailed as error:
            if not error.gone:
                raise
            self.stream_gone(tracked.body)

    async def _write_status(self, tracked: Tracked, status: Object) -> None:
        if tracked.body.get("status") == status:
            return
        metadata = tracked.body["metadata"]
        named = _named(metadata)
        try:
            answered = await self._api.apply_status({**named, "status": status})
        except ApiFailed as error:
            if not error.gone:
                raise
            self.stream_gone(tracked.body)
            return
        self.stream_seen(answered)

    async def _tell(self, stream: DirectoryStream, notes: Iterable[Note]) -> None:
        """Make Events. Nobody waits for them: one that cannot be made is in the log."""
        now = _timestamp()
        for note in notes:
            level = logging.WARNING if note.warning else logging.INFO
            log.log(level, "stream %s: %s: %s", stream.id, note.reason, note.message)
            event = {
                "metadata": {"namespace": stream.metadata.namespace},
                "involvedObject": {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": KIND,
                    "namespace": stream.metadata.namespace,
                    "name": stream.metadata.name,
                    "uid": stream.metadata.uid,
                },
                "type": "Warning" if note.warning else "Normal",
                "reason": note.reason,
                "message": note.message[:1024],
                "source": {"component": "penstock-operator"},
                "reportingComponent": "penstock-operator",
                "reportingInstance": "penstock-operator",
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            }
            try:
                await self._api.post_event(event)
            except ApiFailed as error:
                metrics.ERRORS.labels("kubernetes").inc()
                log.warning("%s", error)

    def _measure(self, key: Key, tracked: Tracked, status: Object) -> None:
        ready = {condition["type"]: condition["status"] for condition in status["conditions"]}
        metrics.READY.labels(*key).set(ready.get("Ready") == "True")
        metrics.SCALING_ACTIVE.labels(*key).set(ready.get("ScalingActive") == "True")
        metrics.DESIRED.labels(*key).set(status["desiredReplicas"])
        metrics.READY_REPLICAS.labels(*key).set(status["readyReplicas"])
        for gauge, name in ((metrics.PARTITIONS, "partitions"), (metrics.LAG, "lag")):
            if name in status:
                gauge.labels(*key).set(status[name])
            else:
                with suppress(KeyError):
                    gauge.remove(*key)
        now_ready = status["readyReplicas"] >= status["desiredReplicas"]
        if tracked.grew_at is not None and now_ready and ready.get("DownloaderReady") == "True":
            metrics.NEW_PARTITION_SECONDS.observe(self._clock() - tracked.grew_at)
            tracked.grew_at = None

    # Kafka

    async def _connection(self, stream: DirectoryStream) -> Connection:
        """Say how to connect to a stream's Kafka. Raises PenstockError."""
        kafka, namespace = stream.spec.kafka, stream.metadata.namespace
        auth = kafka.auth_secret_ref
        ca = None if kafka.tls is None else kafka.tls.ca
        client = None if kafka.tls is None else kafka.tls.client_secret_ref
        references = References(
            auth=None if auth is None else await self._references.content("Secret", namespace, auth.name),
            ca=None
            if ca is None
            else await self._references.content("Secret", namespace, ca.secret.name)
            if ca.secret is not None
            else await self._references.content("ConfigMap", namespace, ca.config_map.name)
            if ca.config_map is not None
            else None,
            client=None
            if client is None
            else await self._references.content("Secret", namespace, client.name),
        )
        return connect(kafka, references)

    def _want_reading(self, tracked: Tracked) -> None:
        tracked.read_wanted = True
        self._read_wanted.set()

    async def _read_now_and_then(self) -> None:
        """Read all streams every `read_seconds`, and those that ask for it at once."""
        due = self._clock()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._read_wanted.wait(), max(0.0, due - self._clock()))
            everything = self._clock() >= due
            if everything:
                due = self._clock() + self._settings.read_seconds
            else:
                await asyncio.sleep(0.1)  # streams that come together are read together
            self._read_wanted.clear()
            wanted = [
                (key, tracked)
                for key, tracked in self._streams.items()
                if tracked.stream is not None and (everything or tracked.read_wanted)
            ]
            await self._read(wanted)

    async def _read(self, wanted: list[tuple[Key, Tracked]]) -> None:
        together: dict[Connection, list[tuple[Key, Tracked]]] = {}
        for key, tracked in wanted:
            stream = tracked.stream
            if stream is None:
                continue
            try:
                await self._look_at_pods(tracked, stream)
                connection = await self._connection(stream)
            except ApiFailed as error:
                if error.final:
                    self._taken(key, tracked, _unread(error))
                continue  # without Kubernetes nothing could be done about it
            except PenstockError as error:
                self._taken(key, tracked, _unread(error))
                continue
            together.setdefault(connection, []).append((key, tracked))
        for connection, streams in together.items():
            if connection in self._reading:
                continue  # it is slow; those who wait are read when it has answered
            self._reading.add(connection)
            for _, tracked in streams:
                tracked.read_wanted = False
            self._start(self._read_cluster(connection, streams))

    async def _read_cluster(self, connection: Connection, streams: list[tuple[Key, Tracked]]) -> None:
        asked = {
            key: (tracked, Watched(tracked.stream.spec.topic.name, tracked.stream.consumer_group))
            for key, tracked in streams
            if tracked.stream is not None
        }
        try:
            with metrics.READ_SECONDS.time(), self._clusters.use(connection) as cluster:
                answered = await asyncio.wrap_future(
                    cluster.submit(observe, cluster, [watched for _, watched in asked.values()])
                )
        except PenstockError as error:
            answered = {watched: _unread(error) for _, watched in asked.values()}
        except Exception as error:
            # Whoever is read by it must hear that nothing is known.
            log.warning("reading %s: %s", connection.bootstrap_servers, describe_bug(error))
            log.debug("reading %s", connection.bootstrap_servers, exc_info=error)
            failed = FailedRead("OperatorFailed", describe_bug(error))
            answered = dict.fromkeys((watched for _, watched in asked.values()), Observation(failed, failed))
        finally:
            self._reading.discard(connection)
            if any(tracked.read_wanted for tracked in self._streams.values()):
                self._read_wanted.set()
        for key, (tracked, watched) in asked.items():
            self._taken(key, tracked, answered[watched])

    def _taken(self, key: Key, tracked: Tracked, observation: Observation) -> None:
        """Take in a reading of a stream, unless it has gone meanwhile."""
        if self._streams.get(key) is not tracked:
            return
        self._readings += 1
        if isinstance(observation.reading, FailedRead):
            metrics.ERRORS.labels("kafka").inc()
        if isinstance(observation.topic, TopicInfo):
            partitions = observation.topic.partitions
            if tracked.partitions is not None and partitions > tracked.partitions:
                tracked.grew_at = self._clock()
            tracked.partitions = partitions
        tracked.reading = ReadingTaken(self._readings, observation)
        self._queue.put(key)

    async def _look_at_pods(self, tracked: Tracked, stream: DirectoryStream) -> None:
        """See which pods lack their sidecar, and why pods of ours are not ready."""
        namespace, uploader = stream.metadata.namespace, stream.spec.source.uploader
        now = self._clock()
        if uploader.pod_selector is not None and now - tracked.sidecars_at >= PODS_SECONDS:
            tracked.sidecars = sidecars_of(await self._api.pods(namespace, uploader.pod_selector))
            tracked.sidecars_at = now
        for side in SIDES:
            live = tracked.deployments.get(side)
            wanted = 0 if live is None else int(live["spec"].get("replicas", 1))
            if live is None or not is_ours(stream, live) or settled(live, wanted) == wanted:
                tracked.failing.pop(side, None)
            else:
                labels = LabelSelector(match_labels=selector(stream, side))
                tracked.failing[side] = failing_pods(await self._api.pods(namespace, labels))

    async def _prepare_topic(self, tracked: Tracked, stream: DirectoryStream) -> None:
        """Make the topic as the stream wants it, and say at once whose it is."""
        known = stream.status.created_topic_id
        if tracked.prepared is not None:
            known = tracked.prepared.created_topic_id or known
        try:
            with self._clusters.use(await self._connection(stream)) as cluster:
                tracked.prepared = await asyncio.wrap_future(
                    cluster.submit(prepare, cluster, TopicWanted.of(stream.spec.topic), known)
                )
        except PenstockError as error:
            metrics.ERRORS.labels("kafka").inc()
            tracked.topic_error = failed_read(error)
            return
        tracked.topic_error = None
        created = tracked.prepared.created_topic_id
        if created is not None and created != stream.status.created_topic_id:
            status = {**(tracked.body.get("status") or {}), "createdTopicId": created}
            await self._write_status(tracked, status)
        await self._tell(stream, [Note("TopicPrepared", done) for done in tracked.prepared.done])

    async def _delete_topic(self, tracked: Tracked, stream: DirectoryStream, plan: Plan) -> Plan:
        """Try to delete the topic; its pods have to have ended."""
        key, topic = (stream.metadata.namespace, stream.metadata.name), stream.spec.topic.name
        outcome: Any
        try:
            for side in SIDES:
                labels = LabelSelector(match_labels=selector(stream, side))
                if await self._api.pods(stream.metadata.namespace, labels):
                    raise PenstockError(f"pods of its {side} have not ended")
            named_by = [
                f"DirectoryStream {other.stream.id}"
                for other in self._streams.values()
                if other.stream is not None and other is not tracked and other.stream.spec.topic.name == topic
            ]
            with self._clusters.use(await self._connection(stream)) as cluster:
                outcome = await asyncio.wrap_future(
                    cluster.submit(
                        delete,
                        cluster,
                        topic,
                        stream.consumer_group,
                        created_topic_id=stream.status.created_topic_id,
                        named_by=named_by,
                    )
                )
        except PenstockError as error:
            outcome = failed_read(error)
        then = after_deletion(outcome, plan.memory, self._moment(), topic)
        if then.finalizers is None:
            self._queue.put_later(key, DELETION_CHECK_SECONDS)
        return then

    async def _renew(self) -> None:
        """Keep the offsets of streams that have no downloaders from being forgotten."""
        now = self._clock()
        together: dict[Connection, dict[Watched, Tracked]] = {}
        for tracked in list(self._streams.values()):
            stream, decision = tracked.stream, tracked.memory.decision
            if stream is None or decision is None or decision.replicas:
                tracked.renewed_at = None
                continue
            if tracked.renewed_at is not None and now - tracked.renewed_at < RENEWAL_SECONDS:
                continue
            with suppress(PenstockError):  # the reading tells it
                watched = Watched(stream.spec.topic.name, stream.consumer_group)
                together.setdefault(await self._connection(stream), {})[watched] = tracked
        for connection, streams in together.items():
            self._start(self._renew_cluster(connection, streams))

    async def _renew_cluster(self, connection: Connection, streams: dict[Watched, Tracked]) -> None:
        try:
            with self._clusters.use(connection) as cluster:
                done = await asyncio.wrap_future(cluster.submit(renew_each, cluster, list(streams)))
        except PenstockError as error:
            done = dict.fromkeys(streams, error)
        for watched, result in done.items():
            if isinstance(result, PenstockError):
                metrics.ERRORS.labels("kafka").inc()
                log.warning("offsets of group %s could not be renewed: %s", watched.group, result)
            else:
                streams[watched].renewed_at = self._clock()

    # Small things

    def _judge_rivals(self) -> None:
        """Find anew which streams are refused, and let those look again for whom that has changed."""
        self._rivals_stale = False
        streams = [tracked.stream for tracked in self._streams.values() if tracked.stream is not None]
        before, self._rivals = self._rivals, earlier_rivals(streams)
        for stream in streams:
            if before.get(stream.id) != self._rivals.get(stream.id):
                self._queue.put((stream.metadata.namespace, stream.metadata.name))

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _moment(self) -> Moment:
        return Moment(self._clock(), _timestamp())


class _References:
    """Secrets, ConfigMaps and claims that streams name, each asked for now and then."""

    def __init__(self, api: Api, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[tuple[str, str, str], tuple[float, Object | None]] = {}

    async def get(self, kind: Any, namespace: str, name: str) -> Object | None:
        """Return an object as it was within the last `REFERENCE_SECONDS`; one that is missing is asked for."""
        key, now = (kind, namespace, name), self._clock()
        when, found = self._known.get(key, (float("-inf"), None))
        if found is None or now - when >= REFERENCE_SECONDS:
            found = await self._api.get(kind, namespace, name)
            self._known[key] = (now, found)
        return found

    async def content(self, kind: Any, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Return what a Secret or ConfigMap holds; None if there is none."""
        found = await self.get(kind, namespace, name)
        if found is None:
            return None
        if kind == "ConfigMap":
            return {key: text.encode() for key, text in (found.get("data") or {}).items()}
        return {key: b64decode(text) for key, text in (found.get("data") or {}).items()}

    def forget(self, namespace: str) -> None:
        """Ask again for all of a namespace: a stream in it names other ones, perhaps."""
        for key in [key for key in self._known if key[1] == namespace]:
            del self._known[key]


class _Queue:
    """Streams that have to be worked on: each once, and by one worker at a time."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}

    def put(self, key: Key) -> None:
        """Let it be worked on; once more, if it is just now."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def put_later(self, key: Key, seconds: float) -> None:
        """Let it be worked on in a while, if not before."""
        handle = self._later.pop(key, None)
        if handle is not None:
            handle.cancel()
        self._later[key] = asyncio.get_running_loop().call_later(max(0.0, seconds), self._in_time, key)

    def _in_time(self, key: Key) -> None:
        self._later.pop(key, None)
        self.put(key)

    def forget(self, key: Key) -> None:
        """Do not work on it later."""
        handle = self._later.pop(key, None)
        if handle is not None:
            handle.cancel()

    async def get(self) -> Key:
        """Wait for the next; call `done` with it after."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """Say that it was worked on."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.put(key)


def _version(body: Object | None) -> int:
    """Give an object's resource version: a number that grows, as Kubernetes promises since 1.35 (KEP-5504)."""
    if body is None:
        return -1
    text = body["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdecimal() else 0


def _named(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Give what names a stream in an apply; with its uid, another one of its name is never meant."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {name: metadata[name] for name in ("namespace", "name", "uid")},
    }


def _unread(error: PenstockError) -> Observation:
    failed = failed_read(error)
    return Observation(failed, failed)


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
