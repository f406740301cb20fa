"""What services may have said: histories of files as they happen, for property tests of the registry."""

import random
from collections.abc import Sequence

from hypothesis import strategies as st

from chunkproto import next_upload_id
from servicekit.events import (
    Event,
    FileAborted,
    FileDelivered,
    FileDiscovered,
    FileFailed,
    FileRejected,
    FileSkipped,
    FileUploaded,
    FileUploading,
    RangeLost,
    ServiceHeartbeat,
)

BEGINNING = 1_800_000_000.0
END = BEGINNING + 86_400.0
"""All that happens is between these times."""

TOPICS = ("lab1.images", "lab2")
SOURCES = ("microscope-1", "'; DROP TABLE files; --", "größe")
DESTINATIONS = ("archive", "analysis-7f3a", "uploaded")  # the last is called like a state of ours
PATHS = (
    "run/1.dat",
    "run/2.dat",
    "<script>alert(1)</script>.tif",
    "%_\\'\"; DROP TABLE files; --",
    "caf\udce9/\udcff\udcfe.raw",
    "line\nbreak\t\x1b[31m.log",
    "Ünïcödé/文件.dat",
    "/".join(["d" * 255] * 16),  # 4095 bytes
)


class _Lab:
    """Sources that send files to destinations, some of which misbehave."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.said: list[Event] = []
        self._ids = dict.fromkeys(SOURCES)
        self._offset = 0

    def tell(self, event: Event, *, lost: float = 0.2) -> None:
        """Telemetry may be lost; so may receipts that retention took."""
        if self.chance.random() >= lost:
            self.said.append(event)

    def new_id(self, source: str, at: float) -> str:
        self._ids[source] = next_upload_id(int(at * 1000), self.chance.getrandbits(74), self._ids[source])
        return str(self._ids[source])

    def file(self) -> None:
        """One path of a source: some versions of it, one after the other."""
        chance = self.chance
        topic, source, path = (chance.choice(names) for names in (TOPICS, SOURCES, PATHS))
        about = {"topic": topic, "source_id": source, "path": path}
        at = BEGINNING + chance.randrange(80_000)
        for _ in range(chance.randrange(1, 4)):
            size = chance.choice((0, 1, 5_000, 2**40))
            self.tell(FileDiscovered(time=at, size=size, **about))
            if chance.random() < 0.15:
                self.tell(FileFailed(time=at + 1, size=size, reason="unreadable", detail="no", **about))
                at += 500
                continue
            at = self._version(about, size, at + chance.choice((0.0, 0.0004, 2.0)))

    def _version(self, about: dict[str, str], size: int, at: float) -> float:
        chance, version, wanted = self.chance, "", []
        digest = f"{chance.getrandbits(256):064x}"
        for attempt in range(3):
            upload = self.new_id(about["source_id"], at)
            if attempt == 0:
                version = upload
            told = {
                **about,
                "upload_id": upload,
                "size": size,
                "version": "" if attempt == 0 else version,
                "to": tuple(wanted),
            }
            for part in range(chance.randrange(3)):
                self.tell(FileUploading(time=at + 1 + part, bytes_done=size * part // 3, **told))
            if chance.random() < 0.15:
                reason = chance.choice(("changed", "vanished"))
                given_up = FileAborted(time=at + 5, upload_id=upload, size=size, reason=reason, **about)
                self.tell(given_up)
                return at + 60
            self._offset += 3
            self.tell(
                FileUploaded(
                    time=at + 5,
                    digest=digest,
                    partition=0,
                    first_offset=self._offset,
                    last_offset=self._offset + 2,
                    seconds=4.5,
                    **told,
                )
            )
            wanted = self._answers(about, upload, size, digest, wanted, at + 6)
            at += 30
            if not wanted:
                break
        else:
            failed = FileFailed(
                time=at, upload_id=version, size=size, destination=wanted[0], reason="digest", **about
            )
            self.tell(failed)
        return at + 60

    def _answers(
        self, about: dict[str, str], upload: str, size: int, digest: str, to: Sequence[str], at: float
    ) -> list[str]:
        """Each destination answers, perhaps; return who wants it again."""
        again = []
        for destination in to or DESTINATIONS:
            answer = {
                "topic": about["topic"],
                "topic_id": "T1",
                "partition": 0,
                "offset": self._offset + 2,
                "destination": destination,
                "upload_id": upload,
            }
            known = {"source_id": about["source_id"], "path": about["path"], "size": size}
            fate = self.chance.random()
            if fate < 0.5:
                times = {"closed_at": at - 8, "visible_at": at}
                self.tell(FileDelivered(time=at, digest=digest, **answer, **known, **times), lost=0.05)
                if fate < 0.1:  # said again after a restart, by whom the times are not known any more
                    repeated = FileDelivered(time=at + 9, digest=digest, **answer, **known)
                    self.tell(repeated)
            elif fate < 0.6:
                self.tell(FileSkipped(time=at, reason="filtered", **answer, **known), lost=0.05)
            elif fate < 0.85:
                again.append(destination)
                reason = self.chance.choice(("digest", "incomplete", "expired"))
                self.tell(
                    FileRejected(
                        time=at,
                        reason=reason,
                        detail="d" * self.chance.choice((0, 9, 9, 9, 9, 9, 9, 9, 9, 9000)),
                        **answer,
                        **(known if fate < 0.7 else {}),
                    ),
                    lost=0.05,
                )
                if fate < 0.65:  # a member that was taken for dead has delivered it after all
                    self.tell(FileDelivered(time=at + 1, digest=digest, **answer, **known))
        return again

    def else_(self) -> None:
        """What is of no file."""
        at = BEGINNING + self.chance.randrange(80_000)
        place = {"topic": self.chance.choice(TOPICS), "topic_id": "T1", "partition": 1}
        self.tell(RangeLost(time=at, destination="archive", from_offset=3, to_offset=9, **place))
        self.tell(FileRejected(time=at, destination="archive", reason="undecodable", offset=5, **place))
        for number in range(self.chance.randrange(4)):
            self.tell(
                ServiceHeartbeat(
                    time=at + 10 * number,
                    program_id=self.chance.choice(SOURCES),
                    service="uploader",
                    host="h",
                    version="1",
                    n_bytes_read=number,
                    status={"problems": {"kafka": "it's \u2028 away"}},
                )
            )


# From seeds: hypothesis' own randoms draw each number by itself, and a history takes hundreds.
_CHANCES = st.integers(0, 2**32).map(random.Random)


@st.composite
def histories(draw: st.DrawFn, files: int = 6) -> list[Event]:
    """Events as they happened: in order, each one once."""
    lab = _Lab(draw(_CHANCES))
    for _ in range(draw(st.integers(1, files))):
        lab.file()
    if draw(st.booleans()):
        lab.else_()
    return lab.said


@st.composite
def tellings(draw: st.DrawFn, files: int = 6) -> tuple[list[Event], list[Event], list[int]]:
    """A history; the same as it may be heard, in any order and with repetitions; sizes of batches."""
    history = draw(histories(files))
    chance = draw(_CHANCES)
    heard = history + [event for event in history if chance.random() < 0.3]
    if draw(st.booleans()):
        chance.shuffle(heard)
    else:  # topics are read side by side, each in order
        heard.sort(key=lambda event: event.time + chance.random() * 20)
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    return history, heard, sizes
