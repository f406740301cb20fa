"""What the registry is told, and that nobody gets to see its secrets."""

import logging
import os

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
