"""The native codec: the value is the chunk's bytes, one header says all the rest (docs/wire.md).

The header `penstock` holds a msgpack array ``[version, type, upload id, flags, ...]`` and then, by type:

======  =========  ==========================================================
type    record     further elements
======  =========  ==========================================================
0       `Chunk`    index, offset, and for index 0 the description
1       `End`      description, digest, chunks, closed_ns
2       `Whole`    description, digest, closed_ns
3       `Abort`    path, source, why
======  =========  ==========================================================

A description is ``[path, size, chunk_size, mtime_ns, mode, source, to, metadata]``. Paths, ids and digests
are binary, names are UTF-8 strings. Bit 0 of the flags is `again`; the others are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from chunkproto.exceptions import ForeignRecord, InvalidRecord, MalformedRecord, UnsupportedRecord
from chunkproto.paths import decode_path, encode_path, path_problem
from chunkproto.plan import MAX_CHUNK_SIZE
from chunkproto.records import Abort, Chunk, Description, End, Record, Whole
from chunkproto.upload_id import UploadId

VERSION: Final = 1
HEADER: Final = "penstock"
MAX_HEADER_BYTES: Final = 64 * 1024
"""What a decoder reads at the most: path 4 KiB, metadata 8 KiB, 65 ids of 249 bytes, and their framing."""
RECORD_OVERHEAD_BYTES: Final = 20 * 1024
"""What a record may need in the topic beyond its chunk: the key (a path), the largest sensible header, and
Kafka's own framing. `max.message.bytes` has to hold a chunk and this."""

_CHUNK, _END, _WHOLE, _ABORT = 0, 1, 2, 3
_AGAIN = 1


def encode_key(path: str) -> bytes:
    """Give the key of every record of a file: its path, so that people and tools can read it."""
    return encode_path(path)


def encode_header(record: Record) -> bytes:
    """Give the value of the `penstock` header; raises InvalidRecord for a path that may not travel."""
    flags = _AGAIN if record.again else 0
    match record:
        case Chunk():
            fields: list[Any] = [VERSION, _CHUNK, bytes(record.upload_id), flags, record.index, record.offset]
            if record.description is not None:
                fields.append(_pack_description(record.description))
        case Whole():
            fields = [VERSION, _WHOLE, bytes(record.upload_id), flags]
            fields += _pack_description(record.description), record.digest, record.closed_ns
        case End():
            fields = [VERSION, _END, bytes(record.upload_id), flags]
            fields += _pack_description(record.description), record.digest, record.chunks, record.closed_ns
        case Abort():
            fields = [VERSION, _ABORT, bytes(record.upload_id), flags]
            fields += encode_path(record.path), record.source, record.why
    packed: bytes = msgpack.packb(fields)
    return packed


def decode(headers: Sequence[tuple[str, bytes | None]] | None, value: bytes | None) -> Record:
    """Read a record from a Kafka message's headers and value.

    Raises ForeignRecord when there is no `penstock` header, UnsupportedRecord for a version or type that
    this build does not know, and MalformedRecord for everything that breaks the specification. A path is
    not judged here: see `Description`.
    """
    ours = [raw for name, raw in headers or () if name == HEADER]
    if not ours:
        raise ForeignRecord(f"the message has no {HEADER!r} header")
    if len(ours) > 1:
        raise MalformedRecord(f"the message has {len(ours)} {HEADER!r} headers")
    fields = _unpack(ours[0])
    version, kind, raw_id, flags, *rest = fields
    if not _is_int(kind):
        raise MalformedRecord(f"a record of type {kind!r}")
    if not _is_int(flags) or flags not in (0, _AGAIN):
        raise MalformedRecord(f"flags {flags!r} are not known to version {version}")
    length = len(value) if value is not None else 0
    try:
        return _decode_fields(kind, UploadId(_binary(raw_id)), rest, bool(flags), length)
    except InvalidRecord as error:
        raise MalformedRecord(str(error)) from error


def _unpack(raw: bytes | None) -> Sequence[Any]:
    if raw is None or len(raw) > MAX_HEADER_BYTES:
        raise MalformedRecord(f"a {HEADER!r} header of {'no' if raw is None else len(raw)} bytes")
    try:
        fields = msgpack.unpackb(raw, use_list=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, UnicodeDecodeError) as error:
        raise MalformedRecord(f"the {HEADER!r} header is not msgpack: {error}") from error
    if not isinstance(fields, tuple) or not fields or not _is_int(fields[0]):
        raise MalformedRecord(f"the {HEADER!r} header is not an array that begins with a version")
    if fields[0] != VERSION:
        raise UnsupportedRecord(f"version {fields[0]} of the wire; this build knows {VERSION}")
    if len(fields) < 4:
        raise MalformedRecord(f"a {HEADER!r} header of {len(fields)} elements")
    return fields


def _decode_fields(
    kind: object, upload_id: UploadId, rest: Sequence[Any], again: bool, length: int
) -> Record:
    match kind, rest:
        case 0, (index, offset):
            _expect(1 <= length <= MAX_CHUNK_SIZE, f"a chunk of {length} bytes")
            return Chunk(upload_id, _integer(index), _integer(offset), None, again)
        case 0, (index, offset, raw):
            description = _unpack_description(raw)
            _expect(
                length == description.chunk_size,
                f"a first chunk of {length} bytes, not {description.chunk_size}",
            )
            return Chunk(upload_id, _integer(index), _integer(offset), description, again)
        case 1, (raw, digest, chunks, closed_ns):
            _expect(length == 0, f"an end with a value of {length} bytes")
            description = _unpack_description(raw)
            return End(upload_id, description, _binary(digest), _integer(chunks), _integer(closed_ns), again)
        case 2, (raw, digest, closed_ns):
            description = _unpack_description(raw)
            _expect(length == description.size, f"{length} bytes of a file of {description.size}")
            return Whole(upload_id, description, _binary(digest), _integer(closed_ns), again)
        case 3, (path, source, why):
            _expect(length == 0, f"an abort with a value of {length} bytes")
            return Abort(upload_id, decode_path(_binary(path)), _text(source), _text(why), again)
    if kind not in (_CHUNK, _END, _WHOLE, _ABORT):
        raise UnsupportedRecord(f"record type {kind}; this build knows 0 to 3")
    raise MalformedRecord(f"a record of type {kind!r} with {len(rest)} further elements")


def _pack_description(description: Description) -> list[Any]:
    if problem := path_problem(description.path):
        raise InvalidRecord(f"path {description.path!r} may not travel: {problem}")
    return [
        encode_path(description.path),
        description.size,
        description.chunk_size,
        description.mtime_ns,
        description.mode,
        description.source,
        list(description.to),
        dict(description.metadata),
    ]


def _unpack_description(raw: object) -> Description:
    if not isinstance(raw, tuple) or len(raw) != 8:
        raise MalformedRecord("a description that is not an array of 8")
    path, size, chunk_size, mtime_ns, mode, source, to, metadata = raw
    if not isinstance(to, tuple) or not isinstance(metadata, dict):
        raise MalformedRecord("a description whose destinations are no array, or whose metadata are no map")
    return Description(
        path=decode_path(_binary(path)),
        size=_integer(size),
        chunk_size=_integer(chunk_size),
        mtime_ns=_integer(mtime_ns),
        mode=None if mode is None else _integer(mode),
        source=_text(source),
        to=tuple(_text(name) for name in to),
        metadata={_text(key): _text(text) for key, text in metadata.items()},
    )


def _expect(held: bool, otherwise: str) -> None:
    if not held:
        raise MalformedRecord(otherwise)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MalformedRecord(f"{type(value).__name__} where an integer belongs")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedRecord(f"{type(value).__name__} where a string belongs")
    return value


def _binary(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedRecord(f"{type(value).__name__} where bytes belong")
    return value
