"""The loop: what is seen in Kubernetes and Kafka goes into `reconcile`, and what comes out is carried out.

One asyncio loop. Each stream is worked on by one task at a time, as soon as something has happened to it;
Kafka is read for all streams of a cluster together, every `read_seconds` or when a stream asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from prometheus_client import Gauge

from penstock_operator import metrics
from penstock_operator.api import Api, ApiFailed
from penstock_operator.apply import RETRY_SECONDS, Applier, timestamp
from penstock_operator.conditions import settled
from penstock_operator.kafka import (
    RENEWAL_SECONDS,
    Clusters,
    Connection,
    Observation,
    Prepared,
    Watched,
    failed_read,
)
from penstock_operator.kafka_calls import KafkaCalls
from penstock_operator.lookups import Lookups
from penstock_operator.objects import INJECT_LABEL, claims, credentials, revision, selector
from penstock_operator.objects.names import REVISION_ANNOTATION, Side
from penstock_operator.observed import Observed, ReadingTaken, failing_pods, is_ours, sidecars_of
from penstock_operator.reading import FailedRead
from penstock_operator.reconcile import (
    FINALIZER,
    Moment,
    Note,
    Plan,
    after_deletion,
    after_invalid,
    invalid_status,
    reconcile,
)
from penstock_operator.resource import KIND, DirectoryStream, InvalidResource
from penstock_operator.resource.kubernetes import LabelSelector
from penstock_operator.rivals import earlier_rivals
from penstock_operator.settings import OperatorSettings
from penstock_operator.tracked import SIDES, Key, Object, Tracked, version
from penstock_operator.work_queue import WorkQueue
from servicekit.exceptions import PenstockError
from servicekit.lifecycle import describe_bug
from servicekit.topics import TopicInfo

log = logging.getLogger(__name__)

WORKERS: Final = 8
"""How many streams are worked on at once."""
PODS_SECONDS: Final = 30.0
"""How often it is looked for pods without their sidecar; at each reading, while something is not well."""
RELIST_SECONDS: Final = 600.0
"""How often all streams and their Deployments are listed, for those whose end was missed, at least."""
LIST_TRIES: Final = 4
"""After how many failed tries at the start the pauses between them stay the same."""
RENEW_CHECK_SECONDS: Final = 300.0
BEAT_SECONDS: Final = 1.0
"""How often the event loop says that it turns, and looks what is due."""
DELETION_CHECK_SECONDS: Final = 2.0
TOGETHER_SECONDS: Final = 0.1
"""Streams that ask for a reading within so long are read together."""


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
        self._kafka = KafkaCalls(clusters)
        self._clock = clock
        self._lookups = Lookups(api, clock)
        self._queue = WorkQueue()
        self._applier = Applier(api, self._queue, clock)
        self._streams: dict[Key, Tracked] = {}
        self._rivals: dict[str, str] = {}
        self._rivals_stale = True
        self._relist_wanted = False
        self._gone: set[str] = set()
        self._read_wanted = asyncio.Event()
        self._reading: set[Connection] = set()
        self._readings = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._alive_at = clock()

    # What Kubernetes tells

    def stream_seen(self, body: Object) -> None:
        """Take notice of a DirectoryStream as it is now."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        tracked = self._streams.get(key)
        if body["metadata"]["uid"] in self._gone:
            return  # a list or an answer that was on its way when it went
        if tracked is not None and version(body) <= version(tracked.body):
            return
        if tracked is None or tracked.body["metadata"]["uid"] != body["metadata"]["uid"]:
            if tracked is not None:
                self.stream_gone(tracked.body)
            tracked = self._streams[key] = Tracked(body, None)
            changed = True
        else:
            generation = int(body["metadata"].get("generation", 0))
            changed = tracked.generation != generation or "deletionTimestamp" in body["metadata"]
        before = None if tracked.stream is None else tracked.stream.status.topic_id
        tracked.body = body
        try:
            tracked.stream, tracked.invalid = DirectoryStream.parse(body), ""
        except InvalidResource as error:
            tracked.stream, tracked.invalid = None, str(error)
        if tracked.stream is None or before != tracked.stream.status.topic_id:
            self._rivals_stale = True
        if tracked.stream is not None:  # neither the topic's name nor the group ever changes
            metrics.INFO.labels(*key, tracked.stream.spec.topic.name, tracked.stream.consumer_group).set(1)
        if changed:
            tracked.failures = 0
            tracked.refused.clear()
            tracked.sidecars_at = float("-inf")
            self._rivals_stale = True
            self._lookups.forget(key[0])
            self._want_reading(tracked)
            self._queue.put(key)
        metrics.STREAMS.set(len(self._streams))

    def stream_gone(self, body: Object) -> None:
        """Forget a DirectoryStream that is there no more."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        tracked = self._streams.get(key)
        self._gone.add(body["metadata"]["uid"])
        if tracked is None or tracked.body["metadata"]["uid"] != body["metadata"]["uid"]:
            return
        del self._streams[key]
        self._queue.forget(key)
        self._lookups.forget(key[0])
        for gauge in metrics.OF_STREAMS:
            _remove(gauge, key)
        metrics.INFO.remove_by_labels({"namespace": key[0], "stream": key[1]})
        metrics.STREAMS.set(len(self._streams))
        self._judge_rivals()

    def deployment_seen(self, body: Object) -> None:
        """Take notice of a Deployment that has a stream's label."""
        found = self._whose(body)
        if found is None:
            return
        tracked, side = found
        if tracked.deployment_seen(side, body):
            self._queue.put(tracked.key)

    def deployment_gone(self, body: Object) -> None:
        """Take notice that a Deployment is there no more, or has no stream's label any more."""
        found = self._whose(body)
        if found is None:
            return
        tracked, side = found
        tracked.deployment_gone(side, body)
        self._queue.put(tracked.key)

    def listed_anew(self) -> None:
        """Take notice that a watch has begun anew, and that ends may have been missed."""
        self._relist_wanted = True

    def _whose(self, body: Object) -> tuple[Tracked, Side] | None:
        """Find the stream whose Deployment has this name: labels may have been changed."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        for side in SIDES:
            tracked = self._streams.get((namespace, name.removesuffix(f"-{side}")))
            if tracked is not None and name == f"{tracked.key[1]}-{side}":
                return tracked, side
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
            self._tasks = tasks
            tasks.create_task(self._beat())
            await self._list_at_start()
            known()
            for _ in range(WORKERS):
                tasks.create_task(self._work())
            tasks.create_task(self._read_now_and_then())
            tasks.create_task(self._every(RELIST_SECONDS, self._relist, self._may_have_missed))
            tasks.create_task(self._every(RENEW_CHECK_SECONDS, self._renew))

    async def _every(
        self,
        seconds: float,
        act: Callable[[], Coroutine[Any, Any, None]],
        sooner: Callable[[], bool] = lambda: False,
    ) -> None:
        due = self._clock() + seconds
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._clock() < due and not sooner():
                continue
            due = self._clock() + seconds
            try:
                await act()
            except ApiFailed as error:
                # That the API server is away is told once.
                log.log(logging.WARNING if error.code else logging.DEBUG, "%s", error)
            except Exception as error:
                # A bug; the next time may be better, and without this task none would be.
                metrics.ERRORS.labels("operator").inc()
                log.warning("%s", describe_bug(error))
                log.debug("%s", act, exc_info=error)

    async def _beat(self) -> None:
        while True:
            self._alive_at = self._clock()
            await asyncio.sleep(BEAT_SECONDS)

    async def _list_at_start(self) -> None:
        """Know all streams before the first decision: which of two was first, what runs already."""
        tries = 0
        while True:
            try:
                await self._relist()
            except ApiFailed as error:
                metrics.ERRORS.labels("kubernetes").inc()
                pause = RETRY_SECONDS[min(tries, LIST_TRIES)]
                tries += 1
                log.warning("%s; asking again in %g s", error, pause)
                await asyncio.sleep(pause)
            else:
                return

    def _may_have_missed(self) -> bool:
        # One that was away is asked until it answers: in a quiet cluster nothing else would ask it soon.
        return self._relist_wanted or self._api.problem is not None

    async def _relist(self) -> None:
        self._relist_wanted = False
        self._gone.clear()
        namespaces = self._settings.namespaces or ["*"]
        listed = [body for namespace in namespaces for body in await self._api.streams(namespace)]
        deployments = [body for namespace in namespaces for body in await self._api.deployments(namespace)]
        uids = {body["metadata"]["uid"] for body in listed}
        for tracked in list(self._streams.values()):
            # One that was made while the list was on its way is not gone.
            if tracked.body["metadata"]["uid"] not in uids and not await self._api.get(KIND, *tracked.key):
                self.stream_gone(tracked.body)
        for body in listed:
            self.stream_seen(body)
        there = {body["metadata"]["uid"] for body in deployments}
        for tracked in self._streams.values():
            if any(live["metadata"]["uid"] not in there for live in tracked.deployments.values()):
                tracked.deployments_known = False
                self._queue.put(tracked.key)
        for body in deployments:
            self.deployment_seen(body)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                tracked = self._streams.get(key)
                if tracked is not None:
                    await self._process(tracked)
            finally:
                self._queue.done(key)

    async def _process(self, tracked: Tracked) -> None:
        try:
            with metrics.RECONCILE_SECONDS.time():
                await self._reconcile(tracked)
        except PenstockError as error:
            metrics.ERRORS.labels("kubernetes").inc()
            # That the API server is away is told once, for all streams; that somebody was faster is no news.
            self._failed(tracked, str(error), isinstance(error, ApiFailed) and error.code in {0, 409})
        except Exception as error:
            # One stream that a bug stops must not stop the others.
            metrics.ERRORS.labels("operator").inc()
            log.debug("stream %s/%s", *tracked.key, exc_info=error)
            self._failed(tracked, describe_bug(error))
        else:
            tracked.failures = 0
            metrics.RECONCILES.labels("done").inc()

    def _failed(self, tracked: Tracked, message: str, told: bool = False) -> None:
        metrics.RECONCILES.labels("failed").inc()
        pause = RETRY_SECONDS[min(tracked.failures, len(RETRY_SECONDS) - 1)]
        tracked.failures += 1
        level = logging.DEBUG if told else logging.WARNING
        log.log(level, "stream %s/%s: %s; trying again in %g s", *tracked.key, message, pause)
        self._queue.put_later(tracked.key, pause)

    # One stream

    async def _reconcile(self, tracked: Tracked) -> None:
        stream = tracked.stream
        if "deletionTimestamp" in tracked.body["metadata"]:
            await self._end(tracked)
            return
        if stream is None:
            metrics.READY.labels(*tracked.key).set(0)
            before = tracked.body.get("status") or {}
            status = invalid_status(before, tracked.generation, tracked.invalid, self._moment())
            await self._write_status(tracked, status)
            return
        if not (
            tracked.deployments_known and all(is_ours(stream, live) for live in tracked.deployments.values())
        ):
            await self._applier.look_for_deployments(tracked, stream)
        if self._rivals_stale:
            self._judge_rivals()
        observed = await self._observe(tracked, stream)
        plan = reconcile(observed, tracked.memory, self._moment(), self._installation)
        await self._carry_out(tracked, plan)
        if plan.prepare_topic:
            # What was read before means nothing, nor does what is read meanwhile.
            tracked.reading, tracked.topic_changed_at = None, float("inf")
            self._beside(self._prepare_topic(tracked, stream))

    async def _observe(self, tracked: Tracked, stream: DirectoryStream) -> Observed:
        namespace = stream.metadata.namespace
        found = [
            await self._lookups.get(reference.kind, namespace, reference.name)
            for reference in credentials(stream.spec.kafka)
        ]
        mounted = {
            name: await self._lookups.get("PersistentVolumeClaim", namespace, name) for name in claims(stream)
        }
        prepared = tracked.prepared
        return Observed(
            stream=stream,
            reading=tracked.reading,
            deployments=tracked.deployments,
            claims=mounted,
            revision=_revision(found, tracked.deployments.values()),
            earlier=self._rivals.get(stream.id),
            topic_notes=() if prepared is None else prepared.differences,
            topic_error=tracked.topic_error,
            created_topic_id=None if prepared is None else prepared.created_topic_id,
            refused={side: refusal.message for side, refusal in tracked.refused.items()},
            failing=tracked.failing,
            sidecars=tracked.sidecars,
        )

    async def _carry_out(self, tracked: Tracked, plan: Plan) -> None:
        if plan.finalizers is not None:
            self._answered(tracked, await self._applier.finalizers(tracked, plan.finalizers))
        for side, body in plan.apply.items():
            if tracked.stream is not None:
                await self._applier.deployment(tracked, tracked.stream, side, body)
        for live in plan.delete:
            await self._applier.delete(tracked, live)
            self._queue.put_later(tracked.key, DELETION_CHECK_SECONDS)
        tracked.memory = plan.memory
        if plan.status is not None:
            await self._write_status(tracked, plan.status)
            self._measure(tracked, plan.status)
        await self._applier.tell(tracked, plan.notes)

    async def _end(self, tracked: Tracked) -> None:
        """Let go of a stream that is being deleted: soon, whatever is away, forbidden or not understood."""
        moment, stream = self._moment(), tracked.stream
        if tracked.memory.deleting_since is None:
            tracked.memory = replace(tracked.memory, deleting_since=moment.seconds)
        if stream is None:
            plan = after_invalid(tracked.body, tracked.memory)
        else:
            try:
                if not tracked.deployments_known:
                    await self._applier.look_for_deployments(tracked, stream)
                observed = Observed(stream=stream, reading=None, deployments=tracked.deployments)
                plan = reconcile(observed, tracked.memory, moment, self._installation)
                if plan.delete_topic:
                    plan = self._topic_deleted(tracked, stream, plan)
                await self._carry_out(tracked, plan)
                return
            except PenstockError as error:
                plan = after_deletion(
                    failed_read(error), tracked.memory, self._moment(), stream.spec.topic.name
                )
                if plan.finalizers is None or FINALIZER not in stream.metadata.finalizers:
                    raise
        await self._carry_out(tracked, plan)

    async def _write_status(self, tracked: Tracked, status: Object) -> None:
        self._answered(tracked, await self._applier.status(tracked, status))

    def _answered(self, tracked: Tracked, body: Object | None) -> None:
        """Take notice of a stream as it is after a write; None if it is gone."""
        if body is None:
            self.stream_gone(tracked.body)
        elif self._streams.get(tracked.key) is tracked:
            self.stream_seen(body)

    def _measure(self, tracked: Tracked, status: Object) -> None:
        key = tracked.key
        if self._streams.get(key) is not tracked:
            return  # it has gone meanwhile, and its series with it
        said = {condition["type"]: condition["status"] for condition in status["conditions"]}
        if tracked.stream is not None and tracked.stream.spec.suspend:
            _remove(metrics.READY, key)  # nobody asks it to be ready
        else:
            metrics.READY.labels(*key).set(said["Ready"] == "True")
        metrics.SCALING_ACTIVE.labels(*key).set(said.get("ScalingActive") == "True")
        metrics.DESIRED.labels(*key).set(status["desiredReplicas"])
        metrics.READY_REPLICAS.labels(*key).set(status["readyReplicas"])
        for gauge, name in ((metrics.PARTITIONS, "partitions"), (metrics.LAG, "lag")):
            if name in status:
                gauge.labels(*key).set(status[name])
            else:
                _remove(gauge, key)
        if tracked.grew_at is not None and said.get("DownloaderReady") == "True":
            metrics.NEW_PARTITION_SECONDS.observe(self._clock() - tracked.grew_at)
            tracked.grew_at = None

    # Its topic

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that waits for Kafka beside the workers: a slow one keeps no other stream waiting."""
        if self._tasks is None:
            work.close()
        else:
            self._tasks.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            # One stream that a bug stops must not stop the others.
            metrics.ERRORS.labels("operator").inc()
            log.warning("%s", describe_bug(error))
            log.debug("beside the workers", exc_info=error)

    async def _prepare_topic(self, tracked: Tracked, stream: DirectoryStream) -> None:
        """Make the topic as the stream wants it, say at once whose it is, and ask for a new reading."""
        known = stream.status.created_topic_id
        if tracked.prepared is not None:
            known = tracked.prepared.created_topic_id or known
        outcome: Prepared | FailedRead
        try:
            try:
                outcome = await self._kafka.prepare(await self._lookups.connection(stream), stream, known)
            except PenstockError as error:
                outcome = failed_read(error)
            if isinstance(outcome, FailedRead):
                tracked.topic_error = outcome
                return
            tracked.prepared, tracked.topic_error = outcome, None
            created = outcome.created_topic_id
            if created not in {None, stream.status.created_topic_id}:
                with suppress(ApiFailed):  # the next status has it, too
                    status = {**(tracked.body.get("status") or {}), "createdTopicId": created}
                    await self._write_status(tracked, status)
            await self._applier.tell(tracked, [Note("TopicPrepared", done) for done in outcome.done])
        finally:
            tracked.topic_changed_at = self._clock()
            self._want_reading(tracked)

    def _topic_deleted(self, tracked: Tracked, stream: DirectoryStream, plan: Plan) -> Plan:
        """Say what follows from the last attempt to delete the topic, or begin one."""
        outcome, tracked.deletion = tracked.deletion, None
        if outcome is None:
            if not tracked.deleting_topic:
                tracked.deleting_topic = True
                self._beside(self._delete_topic(tracked, stream))
            return Plan(memory=plan.memory)
        then = after_deletion(outcome, plan.memory, self._moment(), stream.spec.topic.name)
        if then.finalizers is None:
            self._queue.put_later(tracked.key, DELETION_CHECK_SECONDS)
        return then

    async def _delete_topic(self, tracked: Tracked, stream: DirectoryStream) -> None:
        """Try to delete the topic, if nobody reads or writes it any more, here or in another namespace."""
        try:
            await self._require_unused(stream)
            tracked.deletion = await self._kafka.delete(
                await self._lookups.connection(stream), stream, await self._who_else_names(stream)
            )
        except PenstockError as error:
            tracked.deletion = failed_read(error)
        finally:
            tracked.deleting_topic = False
            self._queue.put(tracked.key)

    async def _require_unused(self, stream: DirectoryStream) -> None:
        for side in SIDES:
            if await self._pods(stream, side):
                raise PenstockError(f"pods of its {side} have not ended")
        sending = sidecars_of(await self._pods_with_sidecar(stream)).present
        if sending:
            raise PenstockError(f"{sending} pods with its sidecar have not ended")

    async def _who_else_names(self, stream: DirectoryStream) -> list[str]:
        """Name the streams of all namespaces that name the same topic, whether we understand them or not."""
        return [
            f"DirectoryStream {body['metadata']['namespace']}/{body['metadata']['name']}"
            for body in await self._api.streams("*")
            if body["metadata"]["uid"] != stream.metadata.uid
            and ((body.get("spec") or {}).get("topic") or {}).get("name") == stream.spec.topic.name
        ]

    # Its pods

    async def _look_at_pods(self, tracked: Tracked, stream: DirectoryStream) -> None:
        """See which pods lack their sidecar, and why pods of ours are not ready."""
        uploader, now = stream.spec.source.uploader, self._clock()
        known = tracked.sidecars is not None and tracked.sidecars.settled
        if uploader.pod_selector is not None and not (known and now - tracked.sidecars_at < PODS_SECONDS):
            tracked.sidecars = sidecars_of(await self._pods_with_sidecar(stream))
            tracked.sidecars_at = now
        for side in SIDES:
            live = tracked.deployments.get(side)
            wanted = 0 if live is None else int(live["spec"].get("replicas", 1))
            if live is None or not is_ours(stream, live) or settled(live, wanted) == wanted:
                tracked.failing.pop(side, None)
            else:
                tracked.failing[side] = failing_pods(await self._pods(stream, side))

    async def _pods_with_sidecar(self, stream: DirectoryStream) -> list[Object]:
        """List the pods that are to have a sidecar: those that the stream selects, or that ask for it."""
        selected = stream.spec.source.uploader.pod_selector
        if selected is None:
            return []
        labelled = LabelSelector(match_labels={INJECT_LABEL: stream.metadata.name})
        found = {
            pod["metadata"]["name"]: pod
            for pods in (selected, labelled)
            for pod in await self._api.pods(stream.metadata.namespace, pods)
        }
        return list(found.values())

    async def _pods(self, stream: DirectoryStream, side: Side) -> list[Object]:
        labels = LabelSelector(match_labels=selector(stream, side))
        return await self._api.pods(stream.metadata.namespace, labels)

    # Readings of Kafka

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
                await asyncio.sleep(TOGETHER_SECONDS)
            self._read_wanted.clear()
            wanted = [one for one in self._streams.values() if everything or one.read_wanted]
            await self._read(wanted)

    async def _read(self, wanted: list[Tracked]) -> None:
        together: dict[Connection, dict[Watched, list[Tracked]]] = {}
        for tracked in wanted:
            stream = tracked.stream
            if stream is None:
                continue
            try:
                await self._look_at_pods(tracked, stream)
                connection = await self._lookups.connection(stream)
            except PenstockError as error:
                if isinstance(error, ApiFailed) and not error.final:
                    continue  # without Kubernetes nothing could be done about a reading
                self._not_read(tracked, failed_read(error))
            except Exception as error:
                # One stream that a bug stops must not stop the others.
                metrics.ERRORS.labels("operator").inc()
                log.warning("stream %s/%s: %s", *tracked.key, describe_bug(error))
                log.debug("stream %s", stream.id, exc_info=error)
                self._not_read(tracked, FailedRead("OperatorFailed", describe_bug(error)))
            else:
                watched = Watched(stream.spec.topic.name, stream.consumer_group)
                together.setdefault(connection, {}).setdefault(watched, []).append(tracked)
        for connection, streams in together.items():
            # One that is slow is not asked twice at once: who wants it, is read when it has answered.
            if connection not in self._reading and self._tasks is not None:
                self._reading.add(connection)
                self._tasks.create_task(self._read_cluster(connection, streams))

    def _not_read(self, tracked: Tracked, why: FailedRead) -> None:
        tracked.read_wanted = False
        self._taken(tracked, Observation(why, why), self._clock())

    async def _read_cluster(self, connection: Connection, streams: dict[Watched, list[Tracked]]) -> None:
        for asking in streams.values():
            for tracked in asking:
                tracked.read_wanted = False
        begun = self._clock()
        answered = await self._kafka.observe(connection, streams.keys())
        self._reading.discard(connection)
        for watched, asking in streams.items():
            for tracked in asking:
                self._taken(tracked, answered[watched], begun)
        if any(tracked.read_wanted for tracked in self._streams.values()):
            self._read_wanted.set()

    def _taken(self, tracked: Tracked, observation: Observation, begun: float) -> None:
        """Take in a reading of a stream, unless that is gone, or its topic was made or changed meanwhile."""
        if self._streams.get(tracked.key) is not tracked or begun < tracked.topic_changed_at:
            return
        self._readings += 1
        if isinstance(observation.topic, TopicInfo):
            before = None if tracked.reading is None else tracked.reading.observation.topic
            if not isinstance(before, TopicInfo) or before.topic_id != observation.topic.topic_id:
                self._rivals_stale = True
            partitions = observation.topic.partitions
            if tracked.partitions is not None and partitions > tracked.partitions:
                tracked.grew_at = self._clock()
            tracked.partitions = partitions
        tracked.reading = ReadingTaken(self._readings, observation)
        self._queue.put(tracked.key)

    async def _renew(self) -> None:
        """Keep the offsets of streams that have no downloaders from being forgotten."""
        now = self._clock()
        together: dict[Connection, dict[Watched, Tracked]] = {}
        for tracked in list(self._streams.values()):
            stream, decision = tracked.stream, tracked.memory.decision
            if stream is None or decision is None or decision.replicas:
                tracked.renewed_at = None
            elif tracked.renewed_at is None or now - tracked.renewed_at >= RENEWAL_SECONDS:
                with suppress(PenstockError):  # the reading tells of it
                    watched = Watched(stream.spec.topic.name, stream.consumer_group)
                    together.setdefault(await self._lookups.connection(stream), {})[watched] = tracked
        for connection, streams in together.items():
            if self._tasks is not None:
                self._tasks.create_task(self._renew_cluster(connection, streams))

    async def _renew_cluster(self, connection: Connection, streams: dict[Watched, Tracked]) -> None:
        for watched, result in (await self._kafka.renew(connection, streams.keys())).items():
            if isinstance(result, FailedRead):
                log.warning("offsets of group %s were not renewed: %s", watched.group, result.message)
            else:
                streams[watched].renewed_at = self._clock()

    # Small things

    def _judge_rivals(self) -> None:
        """Find anew which streams are refused, and let those look again for whom that has changed."""
        self._rivals_stale = False
        streams = [_as_read(tracked) for tracked in self._streams.values() if tracked.stream is not None]
        before, self._rivals = self._rivals, earlier_rivals(streams)
        for stream in streams:
            if before.get(stream.id) != self._rivals.get(stream.id):
                self._queue.put((stream.metadata.namespace, stream.metadata.name))

    def _moment(self) -> Moment:
        return Moment(self._clock(), timestamp())


def _as_read(tracked: Tracked) -> DirectoryStream:
    """Give a stream with its topic's id as it was read last: its status has it only once all else is done."""
    stream, reading = tracked.stream, tracked.reading
    assert stream is not None
    if reading is None or not isinstance(reading.observation.topic, TopicInfo):
        return stream
    status = stream.status.model_copy(update={"topic_id": reading.observation.topic.topic_id})
    return stream.model_copy(update={"status": status})


def _remove(gauge: Gauge, key: Key) -> None:
    """Let a metric say nothing of a stream any more."""
    with suppress(KeyError):
        gauge.remove(*key)


def _revision(found: list[Object | None], deployments: Iterable[Object]) -> str:
    """Give the revision of what pods read at their start; as it was, while one of these objects is missing.

    Pods that run go on without it, and new ones could not start.
    """
    there = [one for one in found if one is not None]
    if len(there) == len(found):
        return revision(there)
    for live in deployments:
        annotations = live["spec"]["template"]["metadata"].get("annotations") or {}
        if REVISION_ANNOTATION in annotations:
            return str(annotations[REVISION_ANNOTATION])
    return ""
