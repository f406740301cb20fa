"""What the demo calls arrived is what it has seen with its own eyes."""

import os
import sys

import pytest

from penstock.demo import samples
from penstock.demo.proof import Proof, prove, seems_arrived
from penstock.demo.report import MAX_ROWS, Report, Result


@pytest.fixture
def pair(tmp_path):
    source, destination = tmp_path / "source", tmp_path / "destination"
    for directory in (source, destination):
        (directory / "sub").mkdir(parents=True)
        (directory / "sub" / "file").write_bytes(b"content")
        os.utime(directory / "sub" / "file", ns=(1_000_000_007, 1_000_000_007))
    return str(source), str(destination)


def test_equal_files_are_proved(pair):
    proof = prove(*pair, "sub/file")
    assert proof.problem is None
    assert proof.size == 7
    assert len(proof.digest) == 64
    assert seems_arrived(*pair, "sub/file")


def test_other_content_of_the_same_size_and_time_is_found(pair):
    there = os.path.join(pair[1], "sub/file")
    with open(there, "r+b") as file:
        file.write(b"X")
    os.utime(there, ns=(1_000_000_007, 1_000_000_007))
    assert seems_arrived(*pair, "sub/file")
    assert "content differs" in prove(*pair, "sub/file").problem


def test_a_nanosecond_of_mtime_is_found(pair):
    os.utime(os.path.join(pair[1], "sub/file"), ns=(0, 1_000_000_008))
    assert prove(*pair, "sub/file").problem == "its mtime differs by 1 ns"
    assert not seems_arrived(*pair, "sub/file")


@pytest.mark.skipif(sys.platform == "win32", reason="has no permission bits")
def test_another_mode_is_found(pair):
    os.chmod(os.path.join(pair[1], "sub/file"), 0o600)
    os.chmod(os.path.join(pair[0], "sub/file"), 0o640)
    assert prove(*pair, "sub/file").problem == "its mode is 600, not 640"


def test_a_missing_file_is_found(pair):
    os.unlink(os.path.join(pair[1], "sub/file"))
    assert prove(*pair, "sub/file").problem == "it is not at the destination"


def result(path: str, problem: str | None = None, chunks: int = 1, receipt: str | None = "aa") -> Result:
    return Result(Proof(path, 10, "aa", problem), chunks, 0.25, receipt)


def test_no_file_at_all_is_no_success():
    assert not Report([], 1.0).ok


@pytest.mark.parametrize(
    "bad",
    [result("b", "it differs"), result("b", receipt=None), result("b", receipt="bb")],
    ids=["content", "no receipt", "receipt for other bytes"],
)
def test_one_bad_file_fails_the_run_and_is_named(bad):
    report = Report([result("a"), bad], 1.0)
    assert not report.ok
    said = report.as_json()
    assert said["ok"] is False
    assert [file["path"] for file in said["files"] if not file["verified"]] == ["b"]
    assert said["totals"] == {
        "files": 2,
        "verified": 1,
        "bytes": 20,
        "chunks": 2,
        "seconds": 1.0,
        "bytes_per_second": 20,
    }


def test_many_small_files_are_one_row_and_large_or_failed_ones_their_own():
    results = [result(f"d/{n}") for n in range(200)]
    results += [result("d/large", chunks=128), result("d/failed", "it differs"), result("alone")]
    rows = Report(results, 1.0).rows()
    assert [(title, len(members)) for title, members in rows] == [
        ("d/failed", 1),
        ("d/ (200 files)", 200),
        ("alone", 1),
        ("d/large", 1),
    ]


def test_the_table_is_bounded_and_forgets_nobody():
    results = [result(f"{n}/{m}") for n in range(100) for m in range(20)]
    results += [result(f"single-{n}/x") for n in range(100)]
    rows = Report(results, 1.0).rows()
    assert len(rows) <= MAX_ROWS + 1
    assert sum(len(members) for _, members in rows) == len(results)


def test_the_samples_are_as_varied_as_the_demo_says(tmp_path):
    todo = samples.samples()
    assert sum(sample.size < 64 * 1024 for sample in todo) >= 200
    assert sum(sample.size >= 64 * 2**20 for sample in todo) == 2
    assert any(sample.size == 0 for sample in todo)
    assert any(sample.path.count("/") >= 20 for sample in todo)
    for odd in ("; ", "🔬", "[bold]"):
        assert any(odd in sample.path for sample in todo), odd
    if sys.platform == "linux":
        assert any("\n" in sample.path for sample in todo)
        assert any("\udce4" in sample.path for sample in todo)
    assert len({sample.path for sample in todo}) == len(todo)
    small = [sample for sample in todo if sample.size < 2**20]
    for sample in small:
        samples.write(tmp_path, sample)
    found, left_out = samples.files_below(str(tmp_path))
    assert found == sorted(sample.path for sample in small)
    assert left_out == 0


def test_links_and_our_own_state_are_left_out(tmp_path):
    (tmp_path / ".penstock").mkdir()
    (tmp_path / ".penstock" / "ledger").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert samples.files_below(str(tmp_path)) == (["file"], 1)


def test_the_growing_file_grows_line_by_line(tmp_path):
    sizes = [(tmp_path / samples.APPENDED).stat().st_size for _ in samples.grow(tmp_path)]
    assert sizes == sorted(set(sizes))
    assert len(sizes) == samples.APPENDED_LINES
