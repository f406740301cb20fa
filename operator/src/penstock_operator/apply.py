"""Carrying out what was decided: Deployments, statuses, finalizers and Events, by server-side apply."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from penstock_operator import metrics
from penstock_operator.api import Api, ApiFailed
from penstock_operator.changes import CONTESTED, Applied, digest, is_changed, needed
from penstock_operator.objects import FIELD_MANAGER
from penstock_operator.objects.names import Side, deployment_name
from penstock_operator.observed import is_ours
from penstock_operator.reconcile import Note
from penstock_operator.resource import GROUP, KIND, VERSION, DirectoryStream
from penstock_operator.tracked import SIDES, Object, Refusal, Tracked, version
from penstock_operator.work_queue import WorkQueue

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""After how long what failed is tried again; at the last pace for ever."""
MESSAGE_LENGTH: Final = 1024
"""Characters of an Event's message that Kubernetes takes."""


class Applier:
    """Brings Kubernetes to what a plan says. Methods raise ApiFailed for what may pass."""

    def __init__(self, api: Api, queue: WorkQueue, clock: Callable[[], float]) -> None:
        self._api = api
        self._queue = queue
        self._clock = clock

    async def look_for_deployments(self, tracked: Tracked, stream: DirectoryStream) -> None:
        """Know what runs, whatever the watch has told so far.

        A watch by label tells nothing of a Deployment that has our name and is somebody else's.
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
        else:
            tracked.deployment_seen(side, live)
        return live

    async def deployment(self, tracked: Tracked, stream: DirectoryStream, side: Side, body: Object) -> None:
        """Apply a Deployment if that changes anything. A refusal is noted in `tracked.refused`."""
        live, applied = tracked.deployments.get(side), tracked.applied.get(side)
        if not needed(body, live, applied):
            return
        refusal, now = tracked.refused.get(side), self._clock()
        if refusal is not None and refusal.digest == digest(body) and now < refusal.until:
            return
        if live is None:
            live = await self._look_for_deployment(tracked, stream, side)
            if live is not None and not is_ours(stream, live):
                self._queue.put(tracked.key)
                return
        restored: tuple[float, ...] = ()
        changed = False
        if applied is not None:
            restored = applied.restored
            changed = live is None or is_changed(body, live, applied)
            contested = applied.contested_until(now)
            if changed and contested is not None:
                self._queue.put_later(tracked.key, contested - now)
                return
        try:
            answered = await self._api.apply(body)
        except ApiFailed as error:
            if not error.final:
                raise
            self._refused(tracked, side, body, error)
            return
        tracked.refused.pop(side, None)
        if changed and version(answered) > version(live):
            restored = (*restored[-CONTESTED:], now)
            name = body["metadata"]["name"]
            done = "changed" if live is not None else "deleted"
            said = f"Somebody has {done} Deployment {name}; it is again as the DirectoryStream says."
            await self.tell(tracked, (Note("Restored", said),))
        tracked.applied[side] = Applied.of(body, answered, restored)
        tracked.deployment_seen(side, answered)

    def _refused(self, tracked: Tracked, side: Side, body: Object, error: ApiFailed) -> None:
        """Remember a refusal, for the conditions, and ask again with growing pauses."""
        metrics.ERRORS.labels("kubernetes").inc()
        before = tracked.refused.get(side)
        tries = 0 if before is None else before.tries
        pause = RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)]
        tracked.refused[side] = Refusal(digest(body), str(error), tries + 1, self._clock() + pause)
        self._queue.put_later(tracked.key, pause)
        if before is None or before.message != str(error):
            self._queue.put(tracked.key)  # for its condition, which is told as an Event, too

    async def delete(self, tracked: Tracked, live: Object) -> None:
        """Delete a Deployment, and its pods after it."""
        name = live["metadata"]["name"]
        log.info("stream %s/%s: Deployment %s goes", *tracked.key, name)
        for side in SIDES:
            if tracked.deployments.get(side) is live:
                tracked.applied.pop(side, None)  # that it is gone is our own doing
        await self._api.delete("Deployment", tracked.key[0], name)
        tracked.deployments_known = False

    async def finalizers(self, tracked: Tracked, finalizers: tuple[str, ...]) -> Object | None:
        """Set those of ours. Returns the stream as it is then; None if it is gone."""
        named = _named(tracked)
        named["metadata"]["finalizers"] = [*finalizers]
        try:
            return await self._api.apply(named)
        except ApiFailed as error:
            if not await self._is_gone(tracked, error):
                raise
            return None

    async def status(self, tracked: Tracked, status: Object) -> Object | None:
        """Write a status, if it is another one. Returns the stream as it is then; None if it is gone."""
        if tracked.body.get("status") == status:
            return tracked.body
        named = _named(tracked)
        # The status of a custom resource is written whatever uid is said; another version is refused.
        named["metadata"]["resourceVersion"] = tracked.body["metadata"]["resourceVersion"]
        try:
            return await self._api.apply_status({**named, "status": status})
        except ApiFailed as error:
            if not await self._is_gone(tracked, error):
                raise
            return None

    async def _is_gone(self, tracked: Tracked, error: ApiFailed) -> bool:
        """Whether a write to a stream was refused because that is no more, though another one may be.

        What the API server says of a uid that is another one's differs from kind to kind of write.
        """
        if error.code not in {409, 422}:
            return error.gone
        live = await self._api.get(KIND, *tracked.key)
        return live is None or live["metadata"]["uid"] != tracked.body["metadata"]["uid"]

    async def tell(self, tracked: Tracked, notes: Iterable[Note]) -> None:
        """Make Events. Nothing waits for them: one that cannot be made is in the log."""
        for note in notes:
            level = logging.WARNING if note.warning else logging.INFO
            log.log(level, "stream %s/%s: %s: %s", *tracked.key, note.reason, note.message)
            try:
                await self._api.post_event(_event(_named(tracked), note))
            except ApiFailed as error:
                metrics.ERRORS.labels("kubernetes").inc()
                log.warning("%s", error)


def _event(named: Mapping[str, Any], note: Note) -> Mapping[str, Any]:
    now = timestamp()
    metadata = named["metadata"]
    return {
        "metadata": {"namespace": metadata["namespace"]},
        "involvedObject": {"apiVersion": named["apiVersion"], "kind": named["kind"], **metadata},
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": note.message[:MESSAGE_LENGTH],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _named(tracked: Tracked) -> dict[str, Any]:
    """Give what names a stream in an apply; with its uid, another one of its name is never meant."""
    metadata = tracked.body["metadata"]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {name: metadata[name] for name in ("namespace", "name", "uid")},
    }


def timestamp() -> str:
    """Give the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
