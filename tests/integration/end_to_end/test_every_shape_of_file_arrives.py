"""Any file arrives byte-identical, with its path, mtime and permission bits."""

import os
from pathlib import Path

import pytest
from blake3 import blake3
from tests.stream import Stream, snapshot

CHUNK = 1024


def write(path: Path, data: bytes, mode: int = 0o644, mtime_ns: int = 1_600_000_000_123_456_789) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def noise(length: int) -> bytes:
    return blake3(b"penstock").digest(length=length)


def test_sizes_around_every_edge(stream: Stream):
    for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 1_000_000):
        write(stream.source / f"{size}.bin", noise(size))
    stream.uploader(chunk_size=CHUNK)
    stream.downloader()
    stream.await_delivery()


def test_names_with_anything_in_them(stream: Stream):
    names = [
        "with space", ";semicolon;", "new\nline", "📄 emoji", 'quote"\'`$(x)', "-dash", "~tilde", "tab\t",
        "back\\slash", "*glob?[a]", "%s %d {}", "ünïcödé", "trailing.", "trailing ", "con", "x" * 255,
        os.fsdecode(b"not-utf8-\xff\xe9"), ".hidden", "a.csv.tmp.part",
    ]  # fmt: skip
    for number, name in enumerate(names):
        write(stream.source / name, f"file {number}".encode())
    write(stream.source.joinpath(*["deep"] * 40, "leaf"), b"forty levels down")
    stream.uploader()
    stream.downloader()
    stream.await_delivery()
    assert len(snapshot(stream.destination)) == len(names) + 1


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o755, 0o777])
def test_permission_bits(stream: Stream, mode):
    write(stream.source / "file", b"data", mode)
    stream.uploader()
    stream.downloader()
    stream.await_delivery()


def test_times_before_the_epoch_and_far_ahead(stream: Stream):
    write(stream.source / "old", b"old", mtime_ns=-1_000_000_001)
    write(stream.source / "new", b"new", mtime_ns=4_000_000_000_000_000_001)
    stream.uploader()
    stream.downloader()
    stream.await_delivery()


def test_set_id_bits_stay_at_home(stream: Stream):
    write(stream.source / "tool", b"#!", 0o4755)
    stream.uploader()
    stream.downloader()
    arrived = stream.destination / "tool"
    (stream.source / "tool").chmod(0o755)
    stream.await_delivery()
    assert arrived.stat().st_mode & 0o7777 == 0o755


def test_hard_links_are_files_and_symbolic_links_are_not_followed(stream: Stream, tmp_path: Path):
    secret = tmp_path / "secret"
    write(secret, b"outside of the source")
    (tmp_path / "outside").mkdir()
    write(tmp_path / "outside" / "also", b"outside too")
    write(stream.source / "first", b"linked")
    os.link(stream.source / "first", stream.source / "second")
    (stream.source / "link-to-file").symlink_to(secret)
    (stream.source / "link-to-directory").symlink_to(tmp_path / "outside")
    (stream.source / "dangling").symlink_to(tmp_path / "nowhere")
    stream.uploader()
    stream.downloader()
    stream.await_delivery()
    assert set(snapshot(stream.destination)) == {"first", "second"}


def test_a_prefix_stands_before_every_path(stream: Stream):
    write(stream.source / "a" / "b", b"data")
    stream.uploader(prefix="lab/{host}")
    stream.downloader()
    stream.await_delivery(destination=stream.destination / "lab" / os.uname().nodename)


@pytest.mark.long
def test_three_gibibytes_arrive_in_bounded_memory(stream: Stream):
    with (stream.source / "large").open("wb") as large:
        block = noise(1 << 20)
        for number in range(3 * 1024):
            large.write(number.to_bytes(8, "big") + block[8:])
    uploader = stream.uploader()
    downloader = stream.downloader()
    stream.await_delivery(timeout=600)
    assert uploader.resident_bytes() < 150e6
    assert downloader.resident_bytes() < 150e6
