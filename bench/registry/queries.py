"""How long the registry's queries take over millions of files, and how the database goes about them.

    python bench/registry/queries.py --database postgresql://... --files 10_000_000
    python bench/registry/queries.py --database sqlite:////tmp/bench.db --files 1_000_000 --keep

The database must be empty, or filled by an earlier run (then it is measured as it is). Each query of the API
runs several times, worst cases included; with --explain FILE the plans are written down.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, event, func, insert, select, text

from penstock_registry.api import models
from penstock_registry.store import schema
from penstock_registry.store.queries import Queries, Wanted, WantedReceipts
from penstock_registry.store.store import Store

STREAMS = 100
DAYS = 90
TARGET_MS = 100.0


class Sql:
    """What the two databases write differently."""

    def __init__(self, engine: Engine) -> None:
        self.postgresql = engine.dialect.name == "postgresql"

    def series(self, count: int) -> str:
        if self.postgresql:
            return f"generate_series(0, {count - 1}) AS n(i)"
        numbers = f"SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}"
        return f"(WITH RECURSIVE n(i) AS ({numbers}) SELECT i FROM n) AS n"

    def blob(self, expression: str) -> str:
        return f"convert_to({expression}, 'UTF8')" if self.postgresql else f"CAST({expression} AS BLOB)"

    def uuid(self, expression: str) -> str:
        return f"CAST({expression} AS uuid)" if self.postgresql else expression

    def json(self, expression: str) -> str:
        return f"CAST({expression} AS jsonb)" if self.postgresql else expression

    def hex12(self, expression: str) -> str:
        if self.postgresql:
            return f"lpad(to_hex({expression}), 12, '0')"
        return f"printf('%012x', {expression})"

    def big(self, expression: str) -> str:
        return f"CAST({expression} AS bigint)"


def fill(store: Store, count: int, now: float) -> None:
    """Fill the tables with so many files, made by the database itself."""
    sql = Sql(store.engine)
    indexes = [index for table in schema.metadata.sorted_tables for index in table.indexes]
    keys = [table.primary_key for table in (schema.files, schema.uploads, schema.receipts)]
    with store.engine.begin() as connection:
        if sql.postgresql:  # rows first, then what is sorted
            for key in keys:
                connection.execute(text(f"ALTER TABLE {key.table.name} DROP CONSTRAINT {key.name}"))
                connection.execute(text(f"ALTER TABLE {key.table.name} SET UNLOGGED"))
        for index in indexes:
            index.drop(connection, checkfirst=True)
        connection.execute(
            insert(schema.streams),
            [
                {
                    "id": schema.stream_key(topic),
                    "topic": topic,
                    "first_at": now - DAYS * 86400,
                    "last_at": now,
                }
                for topic in (f"lab{number:02}.raw" for number in range(STREAMS))
            ],
        )
    step = DAYS * 86400 / count
    at = f"({now} - ({count} - i) * {step})"
    upload = f"{sql.hex12(sql.big(f'{at} * 1000'))} || '7' || substr(h, 1, 3) || '8' || substr(h, 5, 15)"
    state = (
        f"CASE WHEN i > {count} - 100 THEN 'uploading' WHEN i > {count} - 2000 THEN 'uploaded' "
        "WHEN i % 100000 = 17 THEN 'failed' WHEN i % 5000 = 7 THEN 'rejected' "
        "WHEN i % 1000 = 3 THEN 'skipped' ELSE 'delivered' END"
    )
    answer = (
        (
            """'{{"archive": {{"upload_id": "' || u || '", "outcome": "' || state || '", "reason": null, """
            """"detail": null, "digest": "' || h || h || '", "at": ' || at || '}}}}'"""
        )
        .replace("{{", "{")
        .replace("}}", "}")
    )
    made = f"""
        SELECT i, h, sid, at, name, path, state, {upload.replace(at, "at")} AS u FROM (
            SELECT i, md5(CAST(i AS text)) AS h, s.id AS sid, {at} AS at, {state} AS state,
                'img_' || substr(md5(CAST(i AS text)), 1, 6) || '_' || i || '.tif' AS name,
                'run-' || (i / 50000) || '/plate-' || ((i / 500) % 100) || '/img_'
                    || substr(md5(CAST(i AS text)), 1, 6) || '_' || i || '.tif' AS path
            FROM {sql.series(count)} JOIN
                (SELECT id, row_number() OVER (ORDER BY topic) - 1 AS k FROM streams) AS s
                ON s.k = i % {STREAMS}
        ) AS made
    """
    _run(store.engine, "files", f"""
        INSERT INTO files (id, stream_id, source_id, path, name_key, state, reason, upload_id, version_id,
            size, digest, bytes_done, uploaded_at, answers, first_at, last_at)
        SELECT {sql.uuid('h')}, sid, 'source-' || (i % 300), {sql.blob('path')}, {sql.blob('name')}, state,
            CASE WHEN state IN ('failed', 'rejected') THEN 'too-large' END,
            {sql.uuid('u')}, {sql.uuid('u')}, 1000000 + i % 9000000, {sql.blob('h')}, 1000000,
            CASE WHEN state NOT IN ('uploading', 'failed') THEN at END,
            CASE WHEN state IN ('delivered', 'skipped', 'rejected') THEN {sql.json(answer)}
                ELSE {sql.json("'{}'")} END,
            at, at
        FROM ({made}) AS f
    """)  # fmt: skip
    _run(store.engine, "uploads", """
        INSERT INTO uploads (id, stream_id, file_id, size, digest, version_id, first_at, last_at, bytes_done,
            uploaded_at, seconds, partition, first_offset, last_offset)
        SELECT upload_id, stream_id, id, size, digest, upload_id, first_at, last_at, bytes_done, uploaded_at,
            2.0, 3, size, size + 10 FROM files
    """)  # fmt: skip
    _run(store.engine, "receipts", """
        INSERT INTO receipts (upload_id, destination, stream_id, outcome, at, digest, size, topic_id,
            partition, "offset", outcomes)
        SELECT upload_id, 'archive', stream_id, state, last_at, digest, size, 'T', 3, size, 1 FROM files
            WHERE state IN ('delivered', 'skipped', 'rejected')
    """)  # fmt: skip
    _run(store.engine, "counts", """
        INSERT INTO counts (stream_id, destination, state, files, bytes)
        SELECT stream_id, '', state, count(*), sum(size) FROM files GROUP BY stream_id, state
        UNION ALL SELECT stream_id, '', 'in-kafka', count(*), sum(size) FROM files
            WHERE uploaded_at IS NOT NULL GROUP BY stream_id
        UNION ALL SELECT stream_id, 'archive', outcome, count(*), sum(size) FROM receipts
            GROUP BY stream_id, outcome
    """)  # fmt: skip
    _run(store.engine, "totals", f"""
        INSERT INTO totals (stream_id, destination, outcome, files, bytes, last_at)
        SELECT stream_id, destination, state, files, bytes, {now} FROM counts WHERE destination <> ''
    """)  # fmt: skip
    for seconds, steps in ((60, 2 * 1440), (3600, DAYS * 24)):
        begin = int(now // seconds - steps + 1) * seconds
        _run(store.engine, f"throughput of {seconds} s", f"""
            INSERT INTO throughput (stream_id, destination, step, begins_at, files, bytes)
            SELECT s.id, d.name, {seconds}, {begin} + i * {seconds}, 20, 20000000
            FROM {sql.series(steps)} CROSS JOIN streams AS s CROSS JOIN
                (SELECT '' AS name UNION ALL SELECT 'archive' UNION ALL SELECT 'lab') AS d
        """)  # fmt: skip
    with store.engine.begin() as connection:
        connection.execute(insert(schema.services), [_service(number, now) for number in range(300)])
        connection.execute(
            insert(schema.lost_ranges),
            [
                {
                    "topic_id": "T", "partition": n % 6, "from_offset": n, "to_offset": n + 5,
                    "destination": "archive", "at": now - n * 600,
                    "stream_id": schema.stream_key(f"lab{n % STREAMS:02}.raw"),
                }
                for n in range(2000)
            ],
        )  # fmt: skip
    for key in keys if sql.postgresql else ():
        columns = ", ".join(column.name for column in key.columns)
        _run(
            store.engine,
            str(key.name),
            f"ALTER TABLE {key.table.name} ADD CONSTRAINT {key.name} PRIMARY KEY ({columns})",
        )
    for index in indexes:
        began = time.monotonic()
        with store.engine.begin() as connection:
            index.create(connection)
        print(f"  index {index.name}: {time.monotonic() - began:.0f} s", flush=True)
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if sql.postgresql else "ANALYZE"))


def _run(engine: Engine, what: str, statement: str) -> None:
    began = time.monotonic()
    with engine.begin() as connection:
        if engine.dialect.name != "postgresql":
            _teach_md5(connection)
        connection.exec_driver_sql(
            statement.replace("%", "%%") if engine.dialect.name == "postgresql" else statement
        )
    print(f"  {what}: {time.monotonic() - began:.0f} s", flush=True)


def _teach_md5(connection: Connection) -> None:
    import hashlib

    connection.connection.driver_connection.create_function(  # type: ignore[union-attr]
        "md5", 1, lambda value: hashlib.md5(str(value).encode()).hexdigest(), deterministic=True
    )


def _service(number: int, now: float) -> dict[str, Any]:
    return {
        "kind": "penstock", "program_id": f"source-{number}", "service": "uploader", "host": f"host-{number}",
        "version": "0.1", "first_at": now - 86400, "last_at": now, "interval_seconds": 10.0, "stopped": False,
        "status": {"problems": {}}, **dict.fromkeys(schema.COUNTERS, 12345),
    }  # fmt: skip


def questions(queries: Queries, engine: Engine, now: float) -> dict[str, Callable[[], object]]:
    """Return what is asked, by name."""
    f = schema.files.c
    topic = "lab42.raw"
    of_topic = f.stream_id == schema.stream_key(topic)
    with engine.connect() as connection:
        middle = connection.execute(
            select(f.id, f.upload_id, f.path, f.name_key)
            .where(of_topic, f.last_at > now - 45 * 86400)
            .limit(1)
        ).one()
        paths = [row.path.decode() for row in connection.execute(select(f.path).where(of_topic).limit(1000))]
    begin = now - DAYS * 86400
    prefix = middle.path.rsplit(b"/", 1)[0] + b"/"

    def files(limit: int = 100, **wanted: Any) -> Callable[[], object]:
        return lambda: queries.files(Wanted(**wanted), limit)

    def second(**wanted: Any) -> Callable[[], object]:
        cursor = queries.files(Wanted(**wanted), 1000).next
        return lambda: queries.files(Wanted(**wanted), 1000, cursor)

    def receipts(**wanted: Any) -> Callable[[], object]:
        return lambda: queries.receipts(WantedReceipts(**wanted), 100)

    def lookup(source: str | None) -> Callable[[], object]:
        wanted = models.Lookup(stream=topic, source=source, paths=[models.WantedPath(path=p) for p in paths])
        return lambda: queries.lookup(wanted)

    states = frozenset({"failed", "rejected"})
    return {
        "overview": queries.overview,
        "overview, one stream": lambda: queries.overview(topic),
        "streams": queries.streams,
        "files": files(),
        "files, 1000": files(limit=1000),
        "files, second page of 1000": second(),
        "files, last page": files(until=begin + 60.0),
        "files, stream": files(stream=topic),
        "files, failed": files(states=frozenset({"failed"})),
        "files, failed or rejected": files(states=states),
        "files, stream, failed or rejected": files(stream=topic, states=states),
        "files, all states but one": files(
            states=frozenset(
                {"delivered", "failed", "rejected", "aborted", "uploaded", "uploading", "skipped"}
            )
        ),
        "files, prefix": files(stream=topic, path_prefix=prefix),
        "files, prefix, all streams": files(path_prefix=prefix),
        "files, prefix that nobody has": files(path_prefix=b"nobody/"),
        "files, failed with a prefix": files(stream=topic, path_prefix=b"run-", states=frozenset({"failed"})),
        "files, aborted with a prefix, by time": files(
            path_prefix=b"run-", states=frozenset({"aborted"}), order="recent"
        ),
        "files, prefix nobody has, by time": files(path_prefix=b"nobody/", order="recent"),
        "files, by path": files(order="path"),
        "files, by path, second page of 1000": second(order="path"),
        "files, search": files(search=middle.name_key[:8].decode()),
        "files, search, stream": files(search=middle.name_key[:8].decode(), stream=topic),
        "files, search for a whole name": files(search=middle.name_key.decode()),
        "files, search without a hit": files(search="zzz"),
        "files, search, failed only": files(search="img_", states=frozenset({"failed"})),
        "files, source": files(source="source-77"),
        "files, source that nobody is": files(source="nobody"),
        "files, source that nobody is, by path": files(source="nobody", order="path"),
        "files, what a destination has": files(destination="archive"),
        "files, lag of a destination": files(destination="archive", states=frozenset({"uploaded"})),
        "files, lag of an idle destination": files(
            destination="archive", states=frozenset({"uploaded"}), until=now - 86400.0
        ),
        "lookup of 1000 paths": lookup("source-42"),
        "lookup of 1000 paths, any source": lookup(None),
        "one file": lambda: queries.file(middle.id),
        "one upload": lambda: queries.upload(middle.upload_id),
        "receipts": receipts(),
        "receipts, stream": receipts(stream=topic),
        "receipts, rejected": receipts(outcome="rejected"),
        "receipts, destination that nobody is": receipts(destination="nobody"),
        "receipts, source that nobody is": receipts(source="nobody"),
        "throughput, last hour": queries.throughput,
        "throughput, stream, a day": lambda: queries.throughput(stream=topic, since=now - 86400),
        "throughput, stream, 60 days by hour": lambda: queries.throughput(
            stream=topic, since=now - 60 * 86400, step=3600
        ),
        "services": queries.services,
        "lost ranges": queries.lost_ranges,
        "problems": queries.problems,
    }


def measure(
    asked: dict[str, Callable[[], object]], repeats: int
) -> list[tuple[str, float, float, float, float]]:
    """Return of each question its name, then in ms: first, median and longest time, our own CPU time."""
    found = []
    for name, ask in asked.items():
        times, busy = [], []
        for _ in range(repeats):
            began, worked = time.perf_counter(), time.thread_time()
            ask()
            times.append((time.perf_counter() - began) * 1000)
            busy.append((time.thread_time() - worked) * 1000)
        found.append((name, times[0], statistics.median(times), max(times[1:]), statistics.median(busy)))
    return found


def explain(engine: Engine, asked: dict[str, Callable[[], object]]) -> str:
    """Return the plans of all statements that the questions lead to, as Markdown."""
    lines = [
        "# How PostgreSQL goes about the registry's queries",
        "",
        "Written by `bench/registry/queries.py --explain`; what several questions lead to is shown once.",
        "",
    ]
    seen: set[str] = set()
    for name, ask in asked.items():
        statements: list[tuple[str, Any]] = []

        def note(
            _c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any, to: Any = statements
        ) -> None:
            to.append((statement, parameters))

        event.listen(engine, "before_cursor_execute", note)
        ask()
        event.remove(engine, "before_cursor_execute", note)
        lines += [f"## {name}", ""]
        with engine.connect() as connection:
            for statement, parameters in statements:
                if not statement.lstrip().upper().startswith(("SELECT", "WITH")) or statement in seen:
                    continue
                seen.add(statement)
                plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
                lines += ["```", *(_shortened(row[0]) for row in plan), "```", ""]
    return "\n".join(lines)


def _shortened(line: str) -> str:
    return line if len(line) <= 160 else line[:157] + "..."


def main() -> None:
    """Do as the options say."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--database", required=True)
    parser.add_argument("--files", type=lambda given: int(given.replace("_", "")), default=10_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--only", default="", help="measure only what has this in its name")
    parser.add_argument("--explain", metavar="FILE")
    options = parser.parse_args()
    store = Store(options.database)
    store.migrate()
    with store.engine.connect() as connection:
        empty = connection.execute(select(schema.streams.c.id).limit(1)).first() is None
    if empty:
        print(f"filling with {options.files:,} files ...", flush=True)
        fill(store, options.files, time.time())
    with store.engine.connect() as connection:
        now = connection.execute(select(func.max(schema.streams.c.last_at))).scalar_one()
    asked = questions(Queries(store.engine, clock=lambda: now), store.engine, now)
    asked = {name: ask for name, ask in asked.items() if options.only in name}
    print(f"{'query':<42}{'first ms':>10}{'median':>10}{'max':>10}{'our CPU':>10}")
    slow = 0
    for name, first, median, longest, busy in measure(asked, options.repeats):
        slow += median > TARGET_MS
        print(f"{name:<42}{first:>10.1f}{median:>10.1f}{longest:>10.1f}{busy:>10.1f}")
    if options.explain:
        with open(options.explain, "w", encoding="utf-8") as file:
            file.write(explain(store.engine, asked))
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
