"""Hypothesis strategies for what travels."""

from hypothesis import strategies as st

from chunkproto import Abort, Chunk, ChunkPlan, Description, End, UploadId, Whole, next_upload_id
from chunkproto.paths import path_problem
from chunkproto.plan import MAX_CHUNK_SIZE

upload_ids = st.builds(
    next_upload_id, st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 74) - 1), st.none()
)

_components = st.binary(min_size=1, max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
paths = (
    st.lists(_components, min_size=1, max_size=6)
    .map("/".join)
    .filter(lambda path: path_problem(path) is None)
)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@st.composite
def descriptions(draw, single: bool | None = None, path=paths, max_size=1 << 40):
    chunk_size = draw(st.integers(1, MAX_CHUNK_SIZE))
    if single:
        size = draw(st.integers(0, min(chunk_size, 4096)))
    elif single is False:
        size = draw(st.integers(chunk_size + 1, max(max_size, chunk_size + 1)))
    else:
        size = draw(st.integers(0, max_size))
    return Description(
        path=draw(path),
        size=size,
        chunk_size=chunk_size,
        mtime_ns=draw(st.integers(-(1 << 63), (1 << 63) - 1)),
        mode=draw(st.none() | st.integers(0, 0o777)),
        source=draw(names),
        to=tuple(draw(st.lists(names, max_size=3))),
        metadata=draw(st.dictionaries(names, st.text(max_size=20), max_size=3)),
    )


digests = st.binary(min_size=32, max_size=32)
times = st.integers(0, (1 << 63) - 1)


@st.composite
def chunks(draw):
    if draw(st.booleans()):
        chunk_size = draw(st.integers(1, 2048))
        size = draw(st.integers(chunk_size + 1, 1 << 40))
        description = draw(descriptions(single=False))
        description = Description(
            **{
                name: getattr(description, name)
                for name in ("path", "mtime_ns", "mode", "source", "to", "metadata")
            },
            size=size,
            chunk_size=chunk_size,
        )
        return Chunk(draw(upload_ids), 0, 0, description, draw(st.booleans())), bytes(chunk_size)
    index = draw(st.integers(1, (1 << 40) - 1))
    offset = draw(st.integers(1, (1 << 63) - 1))
    return Chunk(draw(upload_ids), index, offset, None, draw(st.booleans())), b"x" * draw(st.integers(1, 64))


@st.composite
def ends(draw):
    description = draw(descriptions(single=False))
    count = ChunkPlan(description.size, description.chunk_size).count
    return (
        End(draw(upload_ids), description, draw(digests), count, draw(times), draw(st.booleans())),
        b"",
    )


@st.composite
def wholes(draw):
    description = draw(descriptions(single=True))
    return (
        Whole(draw(upload_ids), description, draw(digests), draw(times), draw(st.booleans())),
        bytes(description.size),
    )


aborts = st.builds(
    lambda upload_id, path, source, why, again: (Abort(upload_id, path, source, why, again), b""),
    upload_ids,
    paths,
    names,
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.booleans(),
)

records = st.one_of(chunks(), ends(), wholes(), aborts)

__all__ = ["UploadId", "descriptions", "paths", "records", "upload_ids"]
