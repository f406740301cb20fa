"""What the API answers, route by route."""

import base64
import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from starlette.testclient import TestClient
from tests.registry_world import DIGEST, NOW, World, upload_id

from penstock_registry.api.app import create_app
from penstock_registry.store.batch import Aside, Batch
from penstock_registry.store.schema import metadata
from penstock_registry.store.store import Store
from servicekit.events import FileUploaded

HOSTILE = (
    "<script>alert(1)</script>.tif",
    "'; DROP TABLE files; --",
    "line\nbreak\t\x1b[31m.log",
    "../../etc/passwd",
    "%_\\\"'",
    "\u202egpj.exe",
    "x" * 4090,
)


@pytest.fixture(scope="module")
def database_url(tmp_path_factory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('api')}/registry.db"


@pytest.fixture(scope="module")
def migrated(database_url) -> Iterator[Store]:
    with Store(database_url, clock=lambda: NOW) as store:
        store.migrate()
        yield store


@pytest.fixture
def store(migrated) -> Store:
    with migrated.engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    return migrated


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def client(store) -> Iterator[TestClient]:
    app = create_app(store.engine, token=None, loopback=True, clock=lambda: NOW)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def get(client):
    def get(path, **query):
        response = client.get(f"/api/v1/{path}", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    return get


def paths(page):
    return [item["path"] for item in page["items"]]


class TestOverview:
    def test_of_nothing_is_empty(self, get):
        known = get("overview")

        assert (known["streams"], known["failures"], known["in_flight"]) == ([], [], [])
        assert (known["failures_total"], known["problems_total"]) == (0, 0)

    def test_shows_each_stream_with_its_files_rate_and_destinations(self, store, world, get):
        for number in range(3):
            upload = world.uploaded(f"{number}.tif", ago=40.0)
            if number < 2:
                world.delivered(f"{number}.tif", upload, ago=30.0)
        world.happen(store)

        (stream,) = get("overview")["streams"]

        assert (stream["topic"], stream["health"], stream["problems"]) == ("raw", "ok", [])
        assert stream["files"] == {
            "delivered": {"files": 2, "bytes": 2000},
            "uploaded": {"files": 1, "bytes": 1000},
        }
        (archive,) = stream["destinations"]
        assert (archive["name"], archive["delivered"]["files"], archive["lag"]) == (
            "archive",
            2,
            {"files": 1, "bytes": 1000},
        )
        assert archive["last_at"] == NOW - 30
        # Half of the minute before, as 30 s of this one have passed; and all of this one.
        assert stream["uploaded"] == {"files_per_second": 1.5 / 60, "bytes_per_second": 1500 / 60}
        delivered = {"files_per_second": 2 / 60, "bytes_per_second": 2000 / 60}
        assert stream["delivered"] == archive["rate"] == delivered
        assert stream["bytes_by_minute"] == [0] * 59 + [2000]

    @pytest.mark.parametrize(("ago", "moves"), [(59.0, True), (61.0, False)])
    def test_a_rate_is_zero_after_a_minute_of_nothing(self, store, world, get, ago, moves):
        world.delivered("a.tif", world.uploaded("a.tif", ago=ago + 1), ago=ago)
        world.happen(store)

        (stream,) = get("overview")["streams"]

        assert (stream["uploaded"]["files_per_second"] > 0) == moves
        assert (stream["delivered"]["files_per_second"] > 0) == moves

    def test_what_one_destination_has_and_another_waits_for_is_on_its_way(self, store, world, get):
        for name in ("both.tif", "behind.tif"):
            upload = world.uploaded(name)
            world.delivered(name, upload, to="archive")
            if name == "both.tif":
                world.delivered(name, upload, to="lab")
        other = World(topic="other")
        other.delivered("there.tif", other.uploaded("there.tif"), to="elsewhere")
        world.happen(store)
        other.happen(store)

        (behind,) = get("overview")["in_flight"]

        assert (behind["path"], behind["state"], behind["waiting_for"]) == (
            "behind.tif",
            "delivered",
            ["lab"],
        )
        states = {file["path"]: file["waiting_for"] for file in get("files")["items"]}
        assert states == {"both.tif": [], "behind.tif": ["lab"], "there.tif": []}

    def test_files_that_wait_for_a_stopped_downloader_are_seen_at_once(self, store, world, get):
        world.delivered("first.tif", world.uploaded("first.tif"), to="lab")
        world.uploaded("next.tif", ago=2.0)
        status = {"topic": "raw", "destination": "lab", "state": "stopped"}
        world.heartbeat("lab/pc", ago=3.0, service="downloader", status=status)
        world.happen(store)

        (stream,) = get("overview")["streams"]

        assert stream["health"] == "warning"
        assert stream["problems"] == [
            "lab: its downloader is stopped while 1 file waits for it: start it again"
        ]

    def test_a_refusal_of_one_destination_is_not_blamed_on_the_others(self, store, world, get):
        old = world.uploaded("old.tif", ago=90.0)
        for destination in ("archive", "small"):
            world.delivered("old.tif", old, to=destination, ago=80.0)
        upload = world.uploading("big.tif", 400, ago=20.0)
        world.rejected("big.tif", upload, "too-large", to="small", ago=19.0, detail="has 20 MB")
        world.failed("big.tif", "too-large", ago=18.0, upload_id=upload, destination="small", detail="no")
        world.happen(store)
        during = get("overview")
        place = {"digest": DIGEST, "partition": 3, "first_offset": 1, "last_offset": 2}
        about = {"source_id": "microscope", "path": "big.tif", "size": 1000, "topic": "raw"}
        world.events.append(FileUploaded(time=NOW - 5, upload_id=upload, **about, **place))
        world.happen(store)
        after = get("overview")

        assert during["failures"] == []
        (sent,) = during["in_flight"]
        assert (sent["path"], sent["state"], sent["waiting_for"]) == ("big.tif", "uploading", [])
        assert get(f"uploads/{upload}")["state"] == "rejected"
        (refused,) = after["failures"]
        assert (refused["state"], refused["reason"], refused["detail"]) == (
            "rejected", "too-large", "has 20 MB",
        )  # fmt: skip
        assert (refused["by"], refused["failed_for"]) == ("small", "small")
        assert refused["waiting_for"] == ["archive"]
        assert [file["path"] for file in after["in_flight"]] == ["big.tif"]
        assert after["streams"][0]["problems"][0].startswith("1 file rejected by small:")

    def test_a_file_that_cannot_be_sent_is_the_sources_own_trouble(self, store, world, get):
        world.failed("locked.tif", "unreadable", detail="Permission denied")
        world.happen(store)

        (locked,) = get("overview")["failures"]

        assert (locked["by"], locked["failed_for"], locked["waiting_for"]) == (None, "", [])

    def test_shows_failures_first_with_what_to_do(self, store, world, get):
        world.failed("locked.tif", "unreadable", detail="Permission denied")
        upload = world.uploaded("huge.tif")
        world.rejected("huge.tif", upload, "too-large", ago=20.0, detail="5 TB are more than 1 TB")
        world.delivered("fine.tif", world.uploaded("fine.tif"))
        world.happen(store)

        known = get("overview")

        assert known["failures_total"] == 2
        huge, locked = known["failures"]
        assert (huge["path"], huge["state"], huge["reason"]) == ("huge.tif", "rejected", "too-large")
        assert huge["detail"] == "5 TB are more than 1 TB"
        assert "--max-file-size" in huge["advice"]
        assert (locked["path"], locked["state"], locked["detail"]) == (
            "locked.tif",
            "failed",
            "Permission denied",
        )
        assert known["streams"][0]["health"] == "failing"

    def test_shows_what_is_on_its_way_with_its_progress(self, store, world, get):
        world.uploading("going.tif", 400, ago=3.0)
        world.uploaded("waits.tif", ago=9.0)
        world.delivered("there.tif", world.uploaded("there.tif"))
        world.happen(store)

        on_their_way = [(file["path"], file["bytes_done"]) for file in get("overview")["in_flight"]]

        assert on_their_way == [("going.tif", 400), ("waits.tif", 1000)]

    def test_warns_of_a_destination_that_is_behind(self, store, world, get):
        world.delivered("a.tif", world.uploaded("a.tif", ago=3000.0), ago=2990.0)
        world.uploaded("b.tif", ago=900.0)
        world.uploaded("c.tif", ago=5.0)
        world.happen(store)

        (stream,) = get("overview")["streams"]

        assert stream["health"] == "warning"
        assert "archive has not answered for 15 minutes while 2 files wait" in stream["problems"][0]

    def test_shows_what_was_lost_in_the_last_day(self, store, world, get):
        world.lost(5, 9, ago=3600.0)
        world.lost(1, 5, ago=90_000.0)
        world.happen(store)

        known = get("overview")

        assert [(lost["from_offset"], lost["to_offset"]) for lost in known["lost"]] == [(5, 9)]
        assert known["streams"][0]["health"] == "failing"

    def test_of_one_stream_is_about_nothing_else(self, store, world, get):
        world.failed("a.tif", "unreadable")
        other = World(topic="spectra")
        other.failed("b.tif", "unreadable")
        world.happen(store)
        other.happen(store)

        known = get("overview", stream="spectra")

        assert [stream["topic"] for stream in known["streams"]] == ["spectra"]
        assert [file["path"] for file in known["failures"]] == ["b.tif"]
        assert known["failures_total"] == 1


class TestStreams:
    def test_come_in_the_order_of_their_topics(self, store, get):
        for topic in ("b", "a", "c"):
            world = World(topic=topic)
            world.uploaded("x")
            world.happen(store)

        assert [stream["topic"] for stream in get("streams")["items"]] == ["a", "b", "c"]
        assert get("streams/b")["topic"] == "b"

    def test_that_nobody_spoke_of_are_not_found(self, client):
        assert client.get("/api/v1/streams/nothing").status_code == 404

    def test_without_news_for_an_hour_are_idle(self, store, world, get):
        world.delivered("a", world.uploaded("a", ago=4000.0), ago=3990.0)
        world.happen(store)

        assert get("streams/raw")["health"] == "idle"


class TestFiles:
    @pytest.fixture(autouse=True)
    def files(self, store, world):
        self.first = world.uploaded("run-1/a.tif", ago=50.0)
        world.delivered("run-1/a.tif", self.first, ago=40.0)
        world.uploaded("run-1/B.tif", ago=30.0)
        world.discovered("run-2/a.tif", ago=10.0)
        world.happen(store)

    def test_come_with_the_newest_first(self, get):
        assert paths(get("files")) == ["run-2/a.tif", "run-1/B.tif", "run-1/a.tif"]

    def test_come_by_path_if_asked(self, get):
        assert paths(get("files", order="path")) == ["run-1/B.tif", "run-1/a.tif", "run-2/a.tif"]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"stream": "raw", "state": "delivered"}, ["run-1/a.tif"]),
            ({"state": ["delivered", "discovered"]}, ["run-2/a.tif", "run-1/a.tif"]),
            ({"path_prefix": "run-1/"}, ["run-1/B.tif", "run-1/a.tif"]),
            ({"search": "b.TIF"}, ["run-1/B.tif"]),
            ({"search": "run-2"}, ["run-2/a.tif"]),
            ({"search": "tif"}, []),
            ({"source": "microscope", "state": "uploaded"}, ["run-1/B.tif"]),
            ({"source": "telescope"}, []),
            ({"stream": "spectra"}, []),
            ({"since": NOW - 29.0}, ["run-2/a.tif", "run-1/B.tif"]),
            ({"until": NOW - 29.0}, ["run-1/a.tif"]),
            ({"destination": "archive"}, ["run-1/a.tif"]),
            ({"destination": "archive", "state": "uploaded"}, ["run-1/B.tif"]),
            ({"destination": "nobody", "state": "uploaded"}, ["run-1/B.tif", "run-1/a.tif"]),
        ],
    )
    def test_are_those_that_fit(self, get, query, found):
        assert paths(get("files", **query)) == found

    def test_say_what_is_known_of_each(self, get):
        (file,) = get("files", state="delivered")["items"]

        assert (file["stream"], file["source"], file["size"]) == ("raw", "microscope", 1000)
        assert (file["digest"], file["upload_id"], file["version_id"]) == (DIGEST, self.first, self.first)
        assert file["answers"] == [
            {
                "destination": "archive",
                "outcome": "delivered",
                "current": True,
                "upload_id": self.first,
                "digest": DIGEST,
                "reason": None,
                "detail": None,
                "at": NOW - 40,
            }
        ]

    def test_come_in_pages(self, get):
        page, met = get("files", limit=2), []
        met += paths(page)
        page = get("files", limit=2, cursor=page["next"])
        met += paths(page)

        assert met == ["run-2/a.tif", "run-1/B.tif", "run-1/a.tif"]
        assert page["next"] is None

    @pytest.mark.parametrize("cursor", ["", "x", "W10", "bm9uc2Vuc2U", "'; DROP TABLE files; --"])
    def test_a_cursor_that_is_none_is_a_bad_request(self, client, cursor):
        response = client.get("/api/v1/files", params={"cursor": cursor})

        assert response.status_code == 400
        assert "cursor" in response.json()["detail"]


class TestHostileNames:
    @pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
    def test_are_given_as_they_are(self, store, world, get, client, name):
        upload = world.uploaded(name)
        world.delivered(name, upload, delivered_as=name)
        world.happen(store)

        (file,) = get("files")["items"]

        assert (file["path"], file["path_base64"]) == (name, None)
        assert paths(get("files", path_prefix=name)) == [name]
        assert paths(get("files", search=name)) == [name]
        assert get(f"files/{file['id']}")["path"] == name
        assert get("receipts")["items"][0]["delivered_as"] == name
        looked_up = client.post("/api/v1/files/lookup", json={"stream": "raw", "paths": [{"path": name}]})
        assert paths(looked_up.json()) == [name]

    def test_that_are_not_utf_8_come_exactly_in_base64(self, store, world, get, client):
        world.uploaded("caf\udce9.raw")
        world.happen(store)
        exact = base64.b64encode(b"caf\xe9.raw").decode()

        (file,) = get("files")["items"]

        assert (file["path"], file["path_base64"]) == ("caf\ufffd.raw", exact)
        wanted = {"stream": "raw", "paths": [{"path_base64": exact}]}
        assert paths(client.post("/api/v1/files/lookup", json=wanted).json()) == ["caf\ufffd.raw"]

    @pytest.mark.parametrize("parameter", ["source", "destination", "path_prefix", "search"])
    @pytest.mark.parametrize("value", [*HOSTILE[:-1], "x' OR '1'='1", "$.x", '"}', "{x}", ":x", "%(x)s", "?"])
    def test_in_a_filter_are_only_compared(self, store, world, get, parameter, value):
        world.delivered("a.tif", world.uploaded("a.tif"))
        world.happen(store)

        assert get("files", **{parameter: value})["items"] == []
        if parameter in {"source", "destination"}:
            assert get("receipts", **{parameter: value})["items"] == []
        assert len(get("files")["items"]) == 1

    def test_of_destinations_and_sources_are_only_names(self, store, get):
        world = World(source="'; DROP TABLE files; --")
        for destination in ('a"b', "a'b", "$.a", "ключ", "a.b[0]", "x" * 249):
            world.delivered("a.tif", world.uploaded("a.tif"), to=destination)
        world.happen(store)

        for destination in ('a"b', "a'b", "$.a", "ключ", "a.b[0]"):
            assert len(get("receipts", destination=destination)["items"]) == 1
            get("files", destination=destination, state="delivered")
        assert len(get("files", source="'; DROP TABLE files; --")["items"]) == 1
        assert len(get("files", destination="x" * 249, state="delivered")["items"]) == 1


class TestLookup:
    def test_gives_files_in_the_order_of_the_paths(self, store, world, client):
        for path in ("a", "b", "c"):
            world.uploaded(path)
        world.happen(store)
        other = World(source="telescope")
        other.uploaded("b")
        other.happen(store)

        def lookup(**wanted):
            return client.post("/api/v1/files/lookup", json={"stream": "raw", **wanted}).json()["items"]

        wanted = [{"path": path} for path in ("c", "nothing", "b", "c")]

        assert [f["path"] for f in lookup(source="microscope", paths=wanted)] == ["c", "b"]
        assert [(f["path"], f["source"]) for f in lookup(paths=wanted)] == [
            ("c", "microscope"),
            ("b", "microscope"),
            ("b", "telescope"),
        ]

    @pytest.mark.parametrize(
        ("wanted", "status"),
        [
            ({"paths": []}, 422),
            ({"stream": "raw", "paths": [{}]}, 400),
            ({"stream": "raw", "paths": [{"path_base64": "?"}]}, 400),
            ({"stream": "raw", "paths": [{"path": "a"}] * 1001}, 422),
            ({"stream": "raw", "paths": [{"path": "a"}], "more": 1}, 422),
            ({"stream": "raw", "source": "\ud800", "paths": [{"path": "a"}]}, 422),
            ({"stream": "\ud800", "paths": [{"path": "a"}]}, 422),
            ({"stream": "raw", "paths": [{"path": "\ud800"}]}, 400),
            ({"stream": "raw", "paths": [{"path_base64": "\ud800"}]}, 400),
        ],
    )
    def test_of_what_cannot_be_is_refused(self, client, wanted, status):
        response = client.post(
            "/api/v1/files/lookup", content=json.dumps(wanted), headers={"Content-Type": "application/json"}
        )

        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize("known", ["*", None])
    def test_is_answered_whatever_is_known_already(self, client, known):
        """A condition is for what GET and HEAD answer."""
        wanted = {"stream": "raw", "paths": [{"path": "a"}]}
        known = known or client.post("/api/v1/files/lookup", json=wanted).headers["ETag"]

        answer = client.post("/api/v1/files/lookup", json=wanted, headers={"If-None-Match": known})

        assert answer.status_code == 200

    def test_of_a_thousand_long_paths_is_no_more_than_may_be_sent(self, client):
        path = base64.b64encode(b"x" * 4096).decode()
        wanted = {"stream": "raw", "paths": [{"path_base64": path}] * 1000}

        assert client.post("/api/v1/files/lookup", json=wanted).status_code == 200


class TestLives:
    """One upload, and one file with all of its uploads."""

    def test_an_upload_is_told_from_the_closing_of_the_file_to_the_last_answer(self, store, world, get):
        world.discovered("a.tif", ago=62.0)
        upload = world.uploaded("a.tif", ago=60.0)
        world.delivered("a.tif", upload, ago=50.0, closed_at=NOW - 63, visible_at=NOW - 51)
        world.skipped("a.tif", upload, "filtered", to="lab", ago=45.0)
        world.happen(store)

        told = get(f"uploads/{upload}")

        assert [(step["what"], NOW - step["at"]) for step in told["history"]] == [
            ("closed", 63.0),
            ("discovered", 62.0),
            ("begun", 60.0),
            ("uploaded", 59.0),
            ("delivered", 50.0),
            ("skipped", 45.0),
        ]
        assert (told["path"], told["source"], told["state"]) == ("a.tif", "microscope", "delivered")
        assert [receipt["destination"] for receipt in told["receipts"]] == ["archive", "lab"]

    def test_a_rejection_shows_with_its_reason_and_what_the_uploader_did(self, store, world, get):
        first = world.uploaded("a.tif", ago=60.0)
        world.rejected("a.tif", first, "digest", ago=55.0)
        second = world.uploaded("a.tif", ago=50.0, version=first, to=("archive",))
        world.delivered("a.tif", second, ago=40.0)
        world.happen(store)

        told = get(f"uploads/{first}")

        assert [step["what"] for step in told["history"]] == ["begun", "uploaded", "rejected", "resent"]
        assert told["history"][-1]["upload_id"] == second
        assert "archive" in told["history"][-1]["text"]
        assert "sends it again by itself" in told["receipts"][0]["advice"]
        (file,) = get("files")["items"]
        uploads = get(f"files/{file['id']}")["uploads"]
        assert [(one["id"], one["version_id"], one["state"]) for one in uploads] == [
            (second, first, "delivered"),
            (first, first, "rejected"),
        ]

    def test_an_upload_that_was_given_up_says_why(self, store, world, get):
        upload = world.uploading("a.tif", 100)
        world.aborted("a.tif", upload, "changed", ago=40.0)
        world.happen(store)

        told = get(f"uploads/{upload}")

        assert (told["state"], told["abort_reason"]) == ("aborted", "changed")
        (file,) = get("files")["items"]
        assert (file["state"], file["reason"]) == ("aborted", "changed")
        assert "as soon as it rests" in file["advice"]

    @pytest.mark.parametrize("kind", ["files", "uploads"])
    def test_what_is_not_known_is_not_found(self, client, kind):
        response = client.get(f"/api/v1/{kind}/{uuid4()}")

        assert response.status_code == 404
        assert response.json()["detail"].startswith("no such")


class TestReceipts:
    @pytest.fixture(autouse=True)
    def receipts(self, store, world):
        world.delivered("a", world.uploaded("a"), ago=40.0)
        world.rejected("b", world.uploaded("b"), "stale", ago=30.0)
        world.skipped("c", world.uploaded("c"), "exists", to="lab", ago=20.0)
        world.happen(store)
        other = World(topic="spectra", source="telescope")
        other.delivered("d", other.uploaded("d"), ago=10.0)
        other.happen(store)

    def test_come_with_the_newest_first_and_with_their_files(self, get):
        assert [(r["path"], r["source"], r["outcome"]) for r in get("receipts")["items"]] == [
            ("d", "telescope", "delivered"),
            ("c", "microscope", "skipped"),
            ("b", "microscope", "rejected"),
            ("a", "microscope", "delivered"),
        ]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"stream": "raw"}, ["c", "b", "a"]),
            ({"destination": "lab"}, ["c"]),
            ({"source": "microscope"}, ["c", "b", "a"]),
            ({"source": "nobody"}, []),
            ({"outcome": "rejected"}, ["b"]),
            ({"since": NOW - 20}, ["d", "c"]),
            ({"until": NOW - 20}, ["b", "a"]),
        ],
    )
    def test_are_those_that_fit(self, get, query, found):
        assert paths(get("receipts", **query)) == found

    def test_come_in_pages(self, get):
        met, cursor = [], None
        while True:
            page = get("receipts", limit=1, **({"cursor": cursor} if cursor else {}))
            met += paths(page)
            cursor = page["next"]
            if cursor is None:
                break

        assert met == ["d", "c", "b", "a"]


class TestServices:
    def test_are_alive_until_they_fall_silent(self, store, world, get):
        world.heartbeat("new", ago=5.0)
        world.heartbeat("old", ago=500.0)
        world.heartbeat("gone", ago=500.0, status={"state": "stopped"})
        world.heartbeat("ill", ago=5.0, status={"problems": {"kafka": "no broker answers"}})
        world.happen(store)

        states = {one["program_id"]: one["state"] for one in get("services")["items"]}

        assert states == {"new": "alive", "old": "silent", "gone": "stopped", "ill": "alive"}
        ill = next(one for one in get("services")["items"] if one["program_id"] == "ill")
        assert ill["problems"] == ["kafka: no broker answers"]

    def test_that_were_replaced_have_ended(self, store, world, get):
        status = {"topic": "raw", "destination": "archive"}
        world.heartbeat("archive/pod-1", ago=500.0, service="downloader", status=status)
        world.heartbeat("archive/pod-2", ago=15.0, service="downloader", status=status)
        world.heartbeat("lab/pod-3", ago=500.0, service="downloader", status=status | {"destination": "lab"})
        world.happen(store)

        states = {one["program_id"]: one["state"] for one in get("services")["items"]}

        assert states == {"archive/pod-1": "stopped", "archive/pod-2": "alive", "lab/pod-3": "silent"}

    def test_of_a_stream_that_are_silent_are_a_warning(self, store, world, get):
        world.uploaded("a")
        world.heartbeat("microscope", ago=500.0, status={"topic": "raw"})
        world.happen(store)

        assert get("streams/raw")["health"] == "warning"
        assert get("streams/raw")["problems"] == [
            "uploader microscope is silent: see whether it runs, or stop it properly"
        ]

    def test_count_what_their_heartbeats_said(self, store, world, get):
        world.heartbeat("a", ago=15.0, n_bytes_read=5)
        world.heartbeat("a", ago=5.0, n_bytes_read=7)
        world.happen(store)

        assert get("services")["items"][0]["totals"]["n_bytes_read"] == 12


class TestThroughput:
    def test_is_given_by_stream_and_destination(self, store, world, get):
        world.delivered("a", world.uploaded("a", ago=100.0), ago=95.0, visible_at=NOW - 96)
        world.happen(store)

        known = get("throughput")

        assert known["step_seconds"] == 60
        assert {(one["stream"], one["destination"]) for one in known["series"]} == {
            ("raw", ""),
            ("raw", "archive"),
        }
        for one in known["series"]:
            assert one["points"] == [{"at": int(NOW) - 150, "files": 1, "bytes": 1000}]

    def test_can_be_asked_for_by_hour_and_for_one_destination(self, store, world, get):
        world.delivered("a", world.uploaded("a"))
        world.happen(store)

        known = get("throughput", step=3600, destination="archive", since=NOW - 7200, until=NOW)

        assert [one["destination"] for one in known["series"]] == ["archive"]
        assert known["since"] % 3600 == 0

    def test_that_is_too_much_to_draw_is_refused(self, client):
        response = client.get("/api/v1/throughput", params={"since": 0, "until": NOW})

        assert response.status_code == 400
        assert "step=3600" in response.json()["detail"]


class TestWhatWentWrong:
    def test_lost_ranges_come_with_the_newest_first(self, store, world, get):
        world.lost(1, 5, ago=90.0)
        world.lost(7, 9, ago=10.0)
        world.happen(store)

        assert [lost["from_offset"] for lost in get("lost-ranges")["items"]] == [7, 1]
        assert get("lost-ranges", stream="spectra")["items"] == []

    def test_records_that_are_no_events_are_shown(self, store, get):
        aside = Aside("penstock.events", 0, 7, NOW, "not JSON", b"\xff<b>")
        store.learn(Batch(events=[], beats=[], asides=[aside], positions={}))

        (shown,) = get("problems")["items"]

        assert (shown["offset"], shown["reason"]) == (7, "not JSON")
        assert base64.b64decode(shown["head_base64"]) == b"\xff<b>"
        assert get("overview")["problems_total"] == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/v1/nothing", 404),
            ("GET", "/api/", 404),
            ("POST", "/api/v1/overview", 405),
            ("DELETE", "/api/v1/files", 405),
            ("GET", "/api/v1/files?limit=0", 422),
            ("GET", "/api/v1/files?limit=1001", 422),
            ("GET", "/api/v1/files?limit=x", 422),
            ("GET", "/api/v1/files?state=lost", 422),
            ("GET", "/api/v1/files?since=nan", 422),
            ("GET", "/api/v1/files?since=inf", 422),
            ("GET", "/api/v1/files?search=%00", 422),
            ("GET", "/api/v1/files?stream=a%2Fb", 422),
            ("GET", "/api/v1/files/not-a-uuid", 404),
            ("GET", "/api/v1/throughput?step=61", 422),
        ],
    )
    def test_are_problems(self, client, method, path, status):
        response = client.request(method, path)

        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = response.json()
        assert (problem["status"], problem["type"]) == (status, "about:blank")
        assert problem["title"]
        assert problem["detail"]

    def test_a_method_that_is_not_possible_says_which_one_is(self, client):
        assert client.post("/api/v1/overview").headers["Allow"] == "GET"

    def test_a_database_that_is_away_is_said_and_when_to_come_again(self):
        with Store("postgresql://nobody:secret@127.0.0.1:1/nothing") as store:
            app = create_app(store.engine, token=None, loopback=True)
            response = TestClient(app, base_url="http://localhost").get("/api/v1/overview")

        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "secret" not in response.text

    def test_a_bug_is_a_problem_without_what_it_is_about(self, client, monkeypatch):
        def broken():
            raise ValueError("something private")

        monkeypatch.setattr(client.app.state.queries, "services", broken)
        response = client.get("/api/v1/services")

        assert response.status_code == 500
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "private" not in response.text


class TestCaching:
    @pytest.mark.parametrize("path", ["overview", "streams", "files", "receipts", "services", "throughput"])
    def test_what_has_not_changed_is_not_sent_again(self, store, world, client, path):
        world.uploaded("a")
        world.happen(store)
        first = client.get(f"/api/v1/{path}")

        again = client.get(f"/api/v1/{path}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]

    def test_what_has_changed_is_sent(self, store, world, client):
        first = client.get("/api/v1/files")
        world.uploaded("a")
        world.happen(store)

        assert (
            client.get("/api/v1/files", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200
        )

    def test_the_time_alone_is_no_change_of_the_overview(self, store):
        times = iter([NOW, NOW + 1])
        app = create_app(store.engine, token=None, loopback=True, clock=lambda: next(times))
        client = TestClient(app, base_url="http://localhost")
        first = client.get("/api/v1/overview")

        again = client.get("/api/v1/overview", headers={"If-None-Match": first.headers["ETag"]})

        assert again.status_code == 304

    def test_what_is_large_goes_compressed(self, store, world, client):
        for number in range(50):
            world.uploaded(f"{number}.tif")
        world.happen(store)

        response = client.get("/api/v1/files", headers={"Accept-Encoding": "gzip"})

        assert response.headers["Content-Encoding"] == "gzip"
        assert len(response.json()["items"]) == 50


def test_the_openapi_document_describes_everything(client):
    document = client.get("/api/v1/openapi.json").json()

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation.get("description") or operation.get("summary"), where
            assert {"401", "403", "503"} <= set(operation["responses"]), where
            for parameter in operation.get("parameters", []):
                assert parameter.get("description") or parameter["in"] == "path", (where, parameter["name"])
    assert "Problem" in document["components"]["schemas"]
    assert json.dumps(document)


def test_an_id_of_an_upload_is_no_id_of_a_file(store, world, client):
    world.uploaded("a")
    world.happen(store)

    assert client.get(f"/api/v1/files/{upload_id(NOW)}").status_code == 404


@pytest.mark.parametrize("route", ["files/999999", "uploads/none", "files/%00", "files/" + "0" * 5000])
def test_an_id_that_can_be_nobodys_is_not_known(client, route):
    refused = client.get(f"/api/v1/{route}")

    assert refused.status_code == 404
    assert refused.json()["detail"] == f"no such {route.partition('s/')[0]} is known (any more)"


def test_routes_are_listed_by_what_they_do(get):
    summaries = [
        operation["summary"] for path in get("openapi.json")["paths"].values() for operation in path.values()
    ]

    assert "Show one upload with its whole history" in summaries
    assert all(len(summary.split()) > 2 for summary in summaries), summaries


def test_programs_keep_their_places_whoever_was_heard_of_last(store, world, get):
    for name, ago in (("b", 3.0), ("a", 9.0), ("gone", 300.0), ("c", 1.0)):
        world.heartbeat(name, ago=ago)
    world.heartbeat("0", ago=2.0, status={"state": "stopped"})
    world.happen(store)

    names = [program["program_id"] for program in get("services")["items"]]

    assert names == ["gone", "a", "b", "c", "0"]


def test_what_happened_in_one_moment_is_told_in_the_order_it_must_have_had(store, world, get):
    upload = world.uploaded("a.tif", ago=60.0)  # the id knows milliseconds, the file system more
    world.discovered("a.tif", ago=59.9993)
    world.delivered("a.tif", upload, closed_at=NOW - 59.9995)
    world.happen(store)

    history = get(f"uploads/{upload}")["history"]

    assert [step["what"] for step in history] == ["closed", "discovered", "begun", "uploaded", "delivered"]
