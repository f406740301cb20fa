"""The routes under /api/v1. Each asks one question and answers with one of `models`."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Final, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from penstock_registry.api import models
from penstock_registry.api.answering import answer, etag_of
from penstock_registry.api.live import Live
from penstock_registry.api.problems import documented, problem
from penstock_registry.store.queries import Order, Queries, Wanted, WantedReceipts
from penstock_registry.store.queries.cursors import MAX_CURSOR

router = APIRouter(responses={304: {"description": "Not changed since the ETag in If-None-Match"}})

MAX_LIMIT: Final = 1000
_TOPIC: Final = r"^[a-zA-Z0-9._-]{1,249}$"
_TEXT: Final = r"^[^\x00]*$"
_YEAR_2200: Final = 7_258_118_400


class Step(IntEnum):
    """The steps that totals over time are kept in, in seconds."""

    MINUTE = 60
    HOUR = 3600


M = TypeVar("M", bound=BaseModel)


def _queries(request: Request) -> Queries:
    queries: Queries = request.app.state.queries
    return queries


Asked = Annotated[Queries, Depends(_queries)]
Topic = Annotated[str, Path(pattern=_TOPIC, description="The stream's topic.")]
Id = Annotated[str, Path(description="A UUID.", json_schema_extra={"format": "uuid"})]
StreamFilter = Annotated[str | None, Query(pattern=_TOPIC, description="Only of this stream (its topic).")]
SourceFilter = Annotated[
    str | None, Query(max_length=1024, pattern=_TEXT, description="Only of this source (its id).")
]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="So many at most.")]
Cursor = Annotated[
    str | None,
    Query(max_length=MAX_CURSOR, description="`next` of the page before; the filters must be the same."),
]
Since = Annotated[
    float | None,
    Query(ge=0, le=_YEAR_2200, description="Only what happened then or later; seconds since 1970."),
]
Until = Annotated[
    float | None, Query(ge=0, le=_YEAR_2200, description="Only what happened before; seconds since 1970.")
]


def _found(model: M | None, what: str) -> M:
    if model is None:
        raise HTTPException(404, f"no such {what} is known (any more)")
    return model


def _by_id(ask: Callable[[UUID], M | None], text: str) -> M | None:
    """Ask for what has this id; nothing has one that is no UUID."""
    try:
        return ask(UUID(text))
    except ValueError:
        return None


@router.get("/overview", response_model=models.Overview)
def overview(request: Request, queries: Asked, stream: StreamFilter = None) -> Response:
    """Show all of it at a glance. Its ETag does not change with the time alone."""
    known = queries.overview(stream)
    return answer(request, known, tag=etag_of(known.model_dump_json(exclude={"at"}).encode()))


@router.get("/streams", response_model=models.Streams)
def streams(request: Request, queries: Asked) -> Response:
    """List all streams."""
    return answer(request, queries.streams())


@router.get("/streams/{topic}", response_model=models.Stream, responses=documented(404))
def stream(request: Request, queries: Asked, topic: Topic) -> Response:
    """Show one stream."""
    return answer(request, _found(queries.stream(topic), "stream"))


@router.get("/files", response_model=models.Files, responses=documented(400))
def files(
    request: Request,
    queries: Asked,
    stream: StreamFilter = None,
    source: SourceFilter = None,
    state: Annotated[
        list[models.FileState] | None,
        Query(max_length=8, description="Only in this state; give several to get files in any of them."),
    ] = None,
    destination: Annotated[
        str | None,
        Query(
            max_length=1024,
            pattern=_TEXT,
            description=(
                "Only files that this destination has answered, as they are now; with `state`, the state is "
                "as this destination sees it: delivered, rejected or skipped is its own answer, and uploaded "
                "is what Kafka has and it has not answered yet (its lag)."
            ),
        ),
    ] = None,
    path_prefix: Annotated[
        str | None,
        Query(max_length=4096, pattern=_TEXT, description="Only paths that begin so, letter by letter."),
    ] = None,
    search: Annotated[
        str | None,
        Query(
            max_length=4096,
            pattern=_TEXT,
            description=(
                "Only files whose path begins so, or whose name does, upper and lower case alike. Those "
                "found by their path come first; `order` does not matter."
            ),
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    order: Annotated[
        Order | None,
        Query(
            description=(
                "recent: what happened last comes first (the default); path: bytewise by the first 256 bytes "
                "of the path, stream after stream (the default with `path_prefix`)."
            )
        ),
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List files, page by page."""
    wanted = Wanted(
        stream=stream,
        source=source,
        states=frozenset(state or ()),
        destination=destination,
        path_prefix=(path_prefix or "").encode(),
        search=search or "",
        since=since,
        until=until,
        order=order,
    )
    return answer(request, queries.files(wanted, limit, cursor))


@router.post("/files/lookup", response_model=models.Files, responses=documented(400, 413))
def lookup(request: Request, queries: Asked, wanted: models.Lookup) -> Response:
    """Look files up by their paths, in the order of the paths; paths that are not known are left out."""
    return answer(request, queries.lookup(wanted))


@router.get("/files/{file_id}", response_model=models.FileDetail, responses=documented(404))
def file(request: Request, queries: Asked, file_id: Id) -> Response:
    """Show one file with its uploads."""
    return answer(request, _found(_by_id(queries.file, file_id), "file"))


@router.get("/uploads/{upload_id}", response_model=models.Upload, responses=documented(404))
def upload(request: Request, queries: Asked, upload_id: Id) -> Response:
    """Show one upload with its whole history."""
    return answer(request, _found(_by_id(queries.upload, upload_id), "upload"))


@router.get("/receipts", response_model=models.Receipts, responses=documented(400))
def receipts(
    request: Request,
    queries: Asked,
    stream: StreamFilter = None,
    destination: Annotated[
        str | None, Query(max_length=1024, pattern=_TEXT, description="Only of this destination.")
    ] = None,
    source: SourceFilter = None,
    outcome: Annotated[models.Outcome | None, Query(description="Only with this outcome.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List what destinations answered, the newest first, page by page."""
    wanted = WantedReceipts(
        stream=stream, destination=destination, source=source, outcome=outcome, since=since, until=until
    )
    return answer(request, queries.receipts(wanted, limit, cursor))


@router.get("/services", response_model=models.Services)
def services(request: Request, queries: Asked) -> Response:
    """List programs that send heartbeats, alive or not."""
    return answer(request, queries.services())


@router.get("/throughput", response_model=models.Throughput, responses=documented(400))
def throughput(
    request: Request,
    queries: Asked,
    stream: StreamFilter = None,
    destination: Annotated[
        str | None,
        Query(
            max_length=1024,
            pattern=_TEXT,
            description="Only of this destination; empty: only what Kafka acknowledged.",
        ),
    ] = None,
    since: Annotated[
        float | None, Query(ge=0, le=_YEAR_2200, description="From then on; by default the last 60 steps.")
    ] = None,
    until: Annotated[
        float | None, Query(ge=0, le=_YEAR_2200, description="Up to then; by default now.")
    ] = None,
    step: Annotated[Step, Query(description="Length of a step in seconds.")] = Step.MINUTE,
) -> Response:
    """Show files and bytes over time, for each stream and destination."""
    return answer(
        request,
        queries.throughput(stream=stream, destination=destination, since=since, until=until, step=step),
    )


@router.get("/lost-ranges", response_model=models.LostRanges)
def lost_ranges(request: Request, queries: Asked, stream: StreamFilter = None) -> Response:
    """List records that were gone before a destination had read them, the newest first."""
    return answer(request, queries.lost_ranges(stream))


@router.get("/problems", response_model=models.Asides)
def problems(request: Request, queries: Asked) -> Response:
    """List records on the events topics that are no events, the newest first."""
    return answer(request, queries.problems())


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": (
                "Events `overview`, whose data is what /overview answers, and `problem`, whose data is a "
                "Problem, while the database is away"
            ),
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def events(request: Request, stream: StreamFilter = None) -> Response:
    """Send what /overview answers whenever it changes, at most once a second: server-sent events."""
    live: Live = request.app.state.live
    if live.full:
        return problem(503, "too many listen already; ask /overview instead", {"Retry-After": "10"})
    return StreamingResponse(
        live.listen(stream), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


for _route in router.routes:
    if isinstance(_route, APIRoute):  # else OpenAPI would call them by the names of our functions
        _route.summary = _route.description.partition(". ")[0].partition("\n")[0].rstrip(".")
