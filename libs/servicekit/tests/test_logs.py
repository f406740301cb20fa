"""Logs: one line for each thing that happened, and no secret in any."""

import json
import logging
import re

import pytest

from servicekit import logs
from servicekit.logs import Limiter, fields


@pytest.fixture
def lines(capsys):
    """Configure as a service does, and read what it would write to stderr."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def configure(*args, **kwargs):
        logs.configure(*args, **kwargs)
        return lambda: capsys.readouterr().err.splitlines()

    yield configure
    root.handlers[:] = before
    root.setLevel(level)


log = logging.getLogger("test")


class TestText:
    def test_is_time_level_message_and_pairs(self, lines):
        read = lines("text", "info")

        log.info("delivered", extra=fields(path="a b.raw", size=5, seconds=0.123456789, empty=""))

        (line,) = read()
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d INFO delivered "
            r'path="a b\.raw" size=5 seconds=0\.123457 empty=""',
            line,
        )

    def test_a_name_cannot_break_the_line_or_steer_the_terminal(self, lines):
        read = lines()

        log.info("saw %s", "a\nb\x1b[31m\udcff", extra=fields(path="c\nd\u2028\udcfe"))

        (line,) = read()
        assert r"saw a\nb\x1b[31m\udcff" in line
        assert r"\n" in line.partition("path=")[2]

    def test_an_exception_is_part_of_the_line(self, lines):
        read = lines()
        try:
            raise OSError("disk\ngone")
        except OSError:
            log.exception("cannot write")

        (line,) = read()
        assert line.endswith('cannot write error="OSError: disk gone"')

    def test_a_traceback_comes_only_at_debug(self, lines):
        read = lines("text", "debug")
        try:
            raise OSError("gone")
        except OSError as error:
            log.debug("cannot write", exc_info=error)

        assert "Traceback" in "\n".join(read())

    def test_a_level_hides_what_is_less_important(self, lines):
        read = lines("text", "warning")

        log.info("no")
        log.warning("yes")

        assert [line.split()[-1] for line in read()] == ["yes"]

    def test_configuring_again_replaces(self, lines):
        lines("json")
        read = lines("text")

        log.info("once")

        assert len(read()) == 1


class TestJson:
    def test_is_one_object_a_line(self, lines):
        read = lines("json")

        log.warning("saw\n%s", "x", extra=fields(path="a\udcff", size=5, nothing=None, odd={1, 2}.__class__))

        (line,) = read()
        entry = json.loads(line)
        assert entry["level"] == "warning"
        assert entry["logger"] == "test"
        assert entry["message"] == "saw\nx"
        assert entry["path"] == "a\udcff"
        assert entry["size"] == 5
        line.encode("utf-8")

    def test_fields_do_not_overwrite_what_every_line_has(self, lines):
        read = lines("json")

        log.info("real", extra=fields(message="false", level="false"))

        assert json.loads(read()[0])["message"] == "real"

    def test_an_exception_is_in_it(self, lines):
        read = lines("json")
        try:
            raise OSError("gone")
        except OSError:
            log.exception("cannot write")

        (line,) = read()
        assert json.loads(line)["error"] == "OSError: gone"


class TestSecrets:
    @pytest.mark.parametrize("form", ["text", "json"])
    @pytest.mark.parametrize(
        "message",
        [
            "config sasl.password=hush1 and more",
            "{'sasl.password': 'hush1', 'ssl.key.password': \"hush1\"}",
            '{"client_secret": "hush1"}',
            "token: hush1",
            "-----BEGIN PRIVATE KEY-----\nhush1\n-----END PRIVATE KEY-----",
            "sasl.jaas.config=hush1",
            "postgresql+psycopg://someone:hush1@db.example:5432/penstock",
        ],
    )
    def test_what_looks_like_one_is_masked(self, lines, form, message):
        read = lines(form)

        log.warning("got %s", message, extra=fields(sasl_password="hush1", note=message))
        try:
            raise ValueError(message)
        except ValueError:
            log.exception("failed")

        written = "\n".join(read())
        assert "hush1" not in written
        assert "***" in written

    @pytest.mark.parametrize(
        "name",
        [
            "sasl.password",
            "ssl.key.password",
            "ssl.keystore.password",
            "ssl.key.pem",
            "ssl.certificate.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "api_key",
            "PENSTOCK_REGISTRY_TOKEN",
        ],
    )
    def test_are_known_by_their_names(self, name):
        assert logs.is_secret(name)

    @pytest.mark.parametrize(
        "name", ["sasl.username", "ssl.ca.location", "linger.ms", "key", "path", "after"]
    )
    def test_other_names_are_none(self, name):
        assert not logs.is_secret(name)

    def test_long_lines_are_masked_without_delay(self):
        text = "a" * 200_000

        assert logs.mask_secrets(text) == text
        assert logs.mask_secrets(text + "token=hush") == text + "token=***"


class TestLimiter:
    def test_lets_the_first_through_and_counts_the_rest(self):
        limiter = Limiter()

        assert [limiter.first("a") for _ in range(4)] == [True, False, False, False]
        assert limiter.held_back("a") == 3
        assert limiter.first("b")

    def test_forgets_when_the_trouble_is_over(self):
        limiter = Limiter()
        limiter.first("a")

        limiter.forget("a")

        assert limiter.first("a")

    def test_speaks_again_after_its_time(self):
        limiter = Limiter(every_seconds=0)

        assert limiter.first("a")
        assert limiter.first("a")

    def test_remembers_a_bounded_number_of_keys(self):
        limiter = Limiter(max_keys=10)

        for key in range(1000):
            assert limiter.first(key)

        assert len(limiter._seen) == 10
        assert not limiter.first(999)
        assert limiter.first(0)


@pytest.mark.parametrize("environ", [{}, {"PENSTOCK_LOG_FORMAT": "xml", "PENSTOCK_LOG_LEVEL": "loud"}])
def test_what_the_environment_cannot_mean_is_left_for_the_settings_to_refuse(lines, environ):
    logs.configure_from_environment(environ)

    assert logging.getLogger().level == logging.INFO
