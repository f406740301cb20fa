"""What the registry is told, and that nobody gets to see its secrets."""

import logging
import os
import re

import pytest

from penstock_registry.settings import RegistrySettings
from servicekit import logs
from servicekit.exceptions import ConfigurationError

PASSWORD = "hunter2-hunter22"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)


def refusal(**given: object) -> str:
    with pytest.raises(ConfigurationError) as refused:
        RegistrySettings.load(**given)
    assert refused.value.exit_code == 2
    return str(refused.value)


class TestDatabase:
    def test_is_a_file_of_the_person_by_default(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))

        settings = RegistrySettings.load()

        assert settings.state_directory == str(tmp_path / "penstock" / "registry")
        assert settings.database_url == f"sqlite:///{tmp_path / 'penstock' / 'registry' / 'registry.db'}"

    def test_is_in_the_state_directory_that_was_named(self, tmp_path):
        settings = RegistrySettings.load(state_dir=str(tmp_path), database="")

        assert settings.database_url == f"sqlite:///{tmp_path / 'registry.db'}"

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_postgresql_is_spoken_with_psycopg_3(self, scheme):
        settings = RegistrySettings.load(database=f"{scheme}://u:{PASSWORD}@db:5433/penstock?sslmode=require")

        assert settings.database_url == f"postgresql+psycopg://u:{PASSWORD}@db:5433/penstock?sslmode=require"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("mysql://u:{}@h/d", "mysql is not supported"),
            ("postgresql://u:{}@h", "names no database"),
            ("u:{}@h", "is no URL of a database"),
            ("postgresql://u:{}@h:port/d", "is no URL of a database"),
            ("sqlite://", "names no database"),
            ("sqlite:///:memory:", "names no database"),
        ],
    )
    def test_another_one_is_refused_in_one_line_without_the_password(self, given, said):
        text = refusal(database=given.format(PASSWORD))

        assert said in text
        assert "--database (PENSTOCK_DATABASE)" in text
        assert PASSWORD not in text
        assert "\n" not in text


class TestGroup:
    def group(self, **given):
        return RegistrySettings.load(**given).consumer_group

    def test_is_of_the_database_so_that_only_those_who_share_one_share_the_reading(self, tmp_path):
        first, second = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"

        assert re.fullmatch(r"penstock-registry-[0-9a-f]{10}", self.group(database=first))
        assert self.group(database=first) == self.group(database=f"sqlite:///{tmp_path}/x/../a.db")
        assert len({self.group(database=first), self.group(database=second), self.group()}) == 3

    def test_of_a_file_is_of_its_machine(self, tmp_path, monkeypatch):
        here = self.group(state_dir=str(tmp_path))
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")

        assert self.group(state_dir=str(tmp_path)) != here

    def test_of_a_server_is_the_same_whoever_logs_in(self):
        same = {
            self.group(database=f"postgresql://{who}@db{port}/penstock{more}")
            for who in ("a:1", "b:2")
            for port in ("", ":5432")
            for more in ("", "?sslmode=require")
        }

        assert len(same) == 1
        others = {
            self.group(database=f"postgres://a:1@{where}")
            for where in ("db2/penstock", "db:1/penstock", "db/b")
        }
        assert len(others | same) == 4

    def test_may_be_given(self):
        assert self.group(group="ours") == "ours"


class TestSecrets:
    def test_are_not_in_what_is_printed_or_logged(self, monkeypatch, capsys):
        monkeypatch.setenv("PENSTOCK_DATABASE", f"postgresql://u:{PASSWORD}@db/penstock")
        monkeypatch.setenv("PENSTOCK_TOKEN", PASSWORD)
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        settings = RegistrySettings.load()
        try:
            logs.configure()
            logging.getLogger("test").warning("%s and %s", settings, settings.database_url)
        finally:
            root.handlers[:] = before
            root.setLevel(level)

        said = f"{settings!r} {settings} {settings.shown_database} {settings.model_dump_json()}"
        assert PASSWORD not in said + capsys.readouterr().err
        assert settings.shown_database == "postgresql+psycopg://u:***@db/penstock"

    @pytest.mark.parametrize("token", ["short", "with a space in it", "grüne-neune-hunde", "x" * 1025])
    def test_a_token_that_protects_nothing_is_refused_without_being_shown(self, token):
        text = refusal(token=token)

        assert "at least 16 printable" in text
        assert token not in text

    def test_a_token_and_a_file_with_one_are_too_much(self):
        assert "leave one of them out" in refusal(token="x" * 16, token_file="/run/secrets/token")


class TestStreams:
    def test_are_globs_of_topics(self):
        assert RegistrySettings.load(streams=["lab1.*", "raw-??"]).streams == ["lab1.*", "raw-??"]

    @pytest.mark.parametrize("glob", ["a/b", "^a.*$", "(a|b)", ""])
    def test_nothing_else_is_taken(self, glob):
        assert "is no topic's name" in refusal(streams=[glob])


def test_only_loopback_goes_without_login():
    assert RegistrySettings.load().is_loopback
    assert RegistrySettings.load(host="::1").is_loopback
    assert not RegistrySettings.load(host="0.0.0.0").is_loopback
