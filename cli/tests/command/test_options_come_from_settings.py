"""The settings classes say which options there are; the command line adds none and forgets none."""

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from penstock.commands import download, registry, watch
from penstock.help import Command
from penstock.options import load, settings_options
from penstock_downloader.settings import DownloaderSettings
from penstock_uploader.settings import UploaderSettings
from servicekit.exceptions import ConfigurationError
from servicekit.settings import ByteSize, ServiceSettings, StringList


class Settings(ServiceSettings):
    directory: str = Field(description="Where.")
    chunk_size: ByteSize = Field(ByteSize(1024), description="How much.")
    existing: bool = Field(True, description="Whether.")
    include: StringList = Field(default_factory=list, description="Which.")
    retries: int | None = Field(None, ge=0, description="How often.")
    api_token: str = Field("hunter2", description="A secret with a default.")


def parse(*arguments: str) -> dict[str, object]:
    seen: dict[str, object] = {}
    command = Command("try", params=settings_options(Settings, groups={}), callback=seen.update)
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception:
        raise result.exception
    return seen


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)


def settings_of_the_registry():
    return pytest.importorskip("penstock_registry.settings").RegistrySettings


@pytest.mark.parametrize(
    ("command", "settings", "without"),
    [
        (watch.command, lambda: UploaderSettings, set()),
        (download.command, lambda: DownloaderSettings, set()),
        # A token on a command line could be seen by others.
        (registry.command, settings_of_the_registry, {"token"}),
    ],
    ids=["watch", "download", "registry"],
)
def test_every_setting_has_an_option_with_help_in_a_group(command, settings, without):
    options = {p.name: p for p in command.params}
    assert options.keys() == settings().model_fields.keys() - without
    for name, option in options.items():
        if isinstance(option, click.Option):
            assert f"--{name.replace('_', '-')}" in option.opts
            assert option.help, name
            assert option.group, name


def test_a_bool_has_two_names():
    assert parse("--existing")["existing"] is True
    assert parse("--no-existing")["existing"] is False
    assert parse()["existing"] is None


def test_what_was_not_given_is_left_to_environment_file_and_default(tmp_path, monkeypatch):
    file = tmp_path / "penstock.toml"
    file.write_text('chunk_size = "2KiB"\nretries = 3\ninclude = ["*.file"]\ndirectory = "/from/file"\n')
    monkeypatch.setenv("PENSTOCK_RETRIES", "4")
    monkeypatch.setenv("PENSTOCK_INCLUDE", "*.environment")
    given = parse("--config", str(file), "--include", "*.a", "--include", "*,b")
    settings = load(Settings, given)
    assert settings.directory == "/from/file"
    assert settings.chunk_size == 2048
    assert settings.retries == 4
    assert settings.include == ["*.a", "*,b"]  # the option won, and is not split again
    assert settings.existing is True


def test_properties_of_all_sources_are_merged_one_by_one(monkeypatch):
    monkeypatch.setenv("PENSTOCK_KAFKA", "linger.ms=1 client.rack=r1")
    given = parse("--directory", "x", "--kafka", "linger.ms=20", "--kafka", "sasl.password=a=b c")
    settings = load(Settings, given)
    assert settings.kafka == {"linger.ms": "20", "client.rack": "r1", "sasl.password": "a=b c"}


def test_a_bad_value_names_option_and_variable():
    with pytest.raises(ConfigurationError, match=r"--chunk-size \(PENSTOCK_CHUNK_SIZE\) = 'much': must be"):
        load(Settings, parse("--directory", "x", "--chunk-size", "much"))


def test_all_problems_are_told_at_once_a_line_each():
    with pytest.raises(ConfigurationError) as error:
        load(Settings, parse("--chunk-size", "much", "--retries", "-1"), argument="directory")
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "DIR (PENSTOCK_DIRECTORY) is missing" in lines


def test_a_secret_is_in_no_help_and_in_no_error():
    command = Command("try", params=settings_options(Settings, groups={}), callback=print)
    assert "hunter2" not in CliRunner().invoke(command, ["--help"]).output
    for bad in (["--kafka", "sasl.password:hunter3"], ["--kafka", "hunter3"]):
        with pytest.raises(ConfigurationError) as error:
            load(Settings, parse("--directory", "x", *bad))
        assert "hunter3" not in str(error.value)
