"""Only the libraries that the lock names are run."""

import re
import shutil

import pytest

from penstock.broker import JarsError
from penstock.broker.jars import LOCK, ensure_jars, jars_directory, locked_jars


@pytest.fixture
def cache_copy(tmp_path, monkeypatch):
    """A cache of our own, filled, that a test may damage."""
    ensure_jars()
    shutil.copytree(
        jars_directory(), tmp_path / jars_directory().name, ignore=shutil.ignore_patterns("*.jsa")
    )
    monkeypatch.setenv("PENSTOCK_CACHE_DIR", str(tmp_path))
    ensure_jars()
    return jars_directory()


@pytest.fixture
def offline(monkeypatch):
    """Let all connections go to a proxy that is not there."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")


def test_the_lock_holds_coordinates_and_hashes_and_no_hosts():
    for line in LOCK.read_text().splitlines()[1:]:
        assert re.fullmatch(r"[\w.\-]+:[\w.\-]+:[\w.\-]+ [0-9a-f]{64}", line)
    assert "//" not in LOCK.read_text()
    assert any(jar.coordinates == "org.apache.kafka:kafka_2.13:4.3.1" for jar in locked_jars())


def test_a_damaged_jar_is_refused_and_named(cache_copy):
    victim = cache_copy / "kafka_2.13-4.3.1.jar"
    with victim.open("r+b") as file:
        file.seek(1000)
        file.write(b"?")
    with pytest.raises(JarsError, match=re.escape(str(victim)) + ".*kafka_2.13:4.3.1.*delete it"):
        ensure_jars()


def test_a_download_that_is_not_what_was_locked_is_refused(cache_copy, monkeypatch):
    (cache_copy / "slf4j-simple-1.7.36.jar").unlink()
    lock = cache_copy / "other.lock"
    lock.write_text(re.sub(r"(slf4j-simple:1.7.36) \w+", r"\1 " + "0" * 64, LOCK.read_text()))
    jars = locked_jars(lock)
    monkeypatch.setattr("penstock.broker.jars.locked_jars", lambda: jars)
    with pytest.raises(JarsError, match=r"refused org.slf4j:slf4j-simple:1.7.36"):
        ensure_jars()
    assert not (cache_copy / "slf4j-simple-1.7.36.jar").exists()


def test_a_missing_jar_is_downloaded_and_that_is_said(cache_copy):
    (cache_copy / "slf4j-simple-1.7.36.jar").unlink()
    said = []
    assert cache_copy / "slf4j-simple-1.7.36.jar" in ensure_jars(said.append)
    assert re.fullmatch(r"Downloading Apache Kafka 4\.3\.1 .*", said[0])
    assert not list(cache_copy.glob(".download-*"))


def test_a_download_that_fails_says_so_in_one_line(cache_copy, offline):
    (cache_copy / "slf4j-simple-1.7.36.jar").unlink()
    with pytest.raises(JarsError, match=r"cannot download org.slf4j:slf4j-simple:1.7.36.*online") as failure:
        ensure_jars()
    assert "\n" not in str(failure.value)
