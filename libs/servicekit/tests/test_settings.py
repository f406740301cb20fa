"""What a person configures, and what they are told when it cannot be."""

from typing import Literal

import pytest
from pydantic import Field, SecretStr, model_validator

from servicekit.exceptions import ConfigurationError
from servicekit.settings import (
    ByteSize,
    KafkaProperties,
    Seconds,
    ServiceSettings,
    StringList,
    approximately,
)


class Settings(ServiceSettings):
    chunk_size: ByteSize = Field(ByteSize(524288), ge=1024, description="Bytes of file in one record.")
    settle_seconds: Seconds = Field(2.0, description="How long a file must rest.")
    include: StringList = Field(default_factory=list, description="Globs of files.")
    after: Literal["keep", "delete"] = Field("keep", description="What becomes of a file.")
    admin_password: str = Field("", max_length=4, description="A secret.")
    address: SecretStr | None = Field(None, max_length=4, description="A secret by its type.")


class CheckedSettings(Settings):
    @model_validator(mode="after")
    def _fits(self):
        if self.after == "delete" and not self.include:
            raise ValueError("after=delete needs an include: say what may be deleted")
        return self


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in list(__import__("os").environ):
        if name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "penstock.toml"
        path.write_text(text)
        return str(path)

    return write


def problems(**given):
    with pytest.raises(ConfigurationError) as raised:
        Settings.load(**given)
    return str(raised.value).splitlines()


class TestWhoWins:
    def test_an_option_beats_the_environment_which_beats_the_file_which_beats_the_default(
        self, monkeypatch, write
    ):
        file = write('chunk_size = "1KiB"\nsettle_seconds = 3\nafter = "delete"\n')
        monkeypatch.setenv("PENSTOCK_CONFIG", file)
        monkeypatch.setenv("PENSTOCK_CHUNK_SIZE", "2KiB")
        monkeypatch.setenv("PENSTOCK_SETTLE_SECONDS", "4")

        settings = Settings.load(chunk_size="3KiB")

        assert settings.chunk_size == 3 * 1024
        assert settings.settle_seconds == 4
        assert settings.after == "delete"
        assert settings.bootstrap_servers == "localhost:9092"

    def test_none_and_an_empty_tuple_mean_not_given(self, monkeypatch):
        monkeypatch.setenv("PENSTOCK_INCLUDE", "*.raw, *.dat")

        assert Settings.load(include=(), after=None).include == ["*.raw", "*.dat"]

    def test_an_empty_environment_variable_means_not_set(self, monkeypatch):
        monkeypatch.setenv("PENSTOCK_CHUNK_SIZE", "")

        assert Settings.load().chunk_size == 524288

    def test_the_config_option_beats_the_variable(self, monkeypatch, write):
        monkeypatch.setenv("PENSTOCK_CONFIG", "/nowhere.toml")

        assert Settings.load(config=write("settle_seconds = 9")).settle_seconds == 9

    def test_kafka_properties_are_merged_one_by_one(self, monkeypatch, write):
        file = write('[kafka]\n"linger.ms" = 1\n"sasl.username" = "file"\n"socket.keepalive.enable" = true\n')
        monkeypatch.setenv("PENSTOCK_KAFKA", "sasl.username=environment linger.ms=2")

        settings = Settings.load(config=file, kafka=["linger.ms=3"])

        assert settings.kafka == {
            "linger.ms": "3",
            "sasl.username": "environment",
            "socket.keepalive.enable": "true",
        }

    def test_constructing_the_class_reads_nothing_but_its_arguments(self, monkeypatch):
        monkeypatch.setenv("PENSTOCK_CHUNK_SIZE", "2KiB")

        assert Settings().chunk_size == 524288


class TestWhatIsWrong:
    def test_each_problem_is_one_line_with_option_variable_and_value(self):
        lines = problems(chunk_size="many", settle_seconds="-1", after="burn")

        assert len(lines) == 3
        assert any(
            "--chunk-size (PENSTOCK_CHUNK_SIZE) = 'many': must be a size in bytes" in line for line in lines
        )
        assert any("--settle-seconds" in line and "greater than or equal to 0" in line for line in lines)
        assert any("--after" in line and "'keep' or 'delete'" in line for line in lines)

    def test_it_is_said_where_the_value_came_from(self, monkeypatch, write):
        monkeypatch.setenv("PENSTOCK_AFTER", "burn")
        file = write('chunk_size = "1B"')

        lines = problems(config=file)

        assert any("--after" in line and "from the environment" in line for line in lines)
        assert any(f"from the file {file}" in line and "1024" in line for line in lines)

    def test_an_unknown_key_in_the_file_is_named_with_near_ones(self, write):
        file = write("chunksize = 5")

        assert problems(config=file) == [
            f"settings file {file!r}: unknown key 'chunksize'; did you mean chunk_size?"
        ]

    def test_a_key_may_be_written_with_dashes_as_the_option_is(self, write):
        assert Settings.load(config=write("settle-seconds = 9")).settle_seconds == 9

    @pytest.mark.parametrize("text", ["chunk_size =", "chunk_size = 1\nchunk_size = 2"])
    def test_a_file_that_is_not_toml_is_named(self, write, text):
        file = write(text)

        assert file in problems(config=file)[0]

    def test_a_file_that_is_not_there_is_named(self):
        assert problems(config="/nowhere/penstock.toml") == [
            "settings file '/nowhere/penstock.toml' cannot be read: No such file or directory"
        ]

    def test_a_rule_over_several_settings_speaks_in_its_own_words(self):
        with pytest.raises(ConfigurationError, match=r"^after=delete needs an include: say what may be"):
            CheckedSettings.load(after="delete")

    @pytest.mark.parametrize("given", ["novalue", "=x", "{'a': 1}", '{"a": [1]}', "'unclosed=1", 5])
    def test_kafka_properties_that_are_none(self, given):
        assert "--kafka (PENSTOCK_KAFKA)" in problems(kafka=given)[0]


class TestSecrets:
    def test_are_in_no_representation(self):
        settings = Settings.load(kafka=["sasl.password=hush", "ssl.key.pem=hush", "linger.ms=7"])

        for shown in (repr(settings), str(settings), repr(settings.kafka), settings.model_dump_json()):
            assert "hush" not in shown
            assert "linger.ms" in shown
        assert "hush" not in str(settings.model_dump())
        assert settings.kafka["sasl.password"] == "hush"

    @pytest.mark.parametrize(
        "given", ["sasl.password hush", ["sasl.password", "hush"], '{"sasl.password": "hush"', "'hush=1"]
    )
    def test_are_in_no_error_about_kafka_properties(self, given):
        assert all("hush" not in line for line in problems(kafka=given))

    def test_are_in_no_error_about_a_secret_setting(self):
        first, second = problems(admin_password="hushhush", address="hushhush")

        assert "--admin-password" in first
        assert "--address" in second
        assert "hush" not in first + second


class TestByteSize:
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            (1024, 1024),
            ("1024", 1024),
            ("512KiB", 524288),
            ("512 kib", 524288),
            ("1.5MiB", 1572864),
            ("10MB", 10_000_000),
            ("10M", 10_000_000),
            ("2GiB", 2**31),
            ("1TB", 10**12),
            ("7B", 7),
        ],
    )
    def test_is_read_as_people_write_it(self, text, size):
        assert ByteSize.parse(text) == size

    @pytest.mark.parametrize("text", ["", "MB", "-1", "1 XB", "1e3", "0x10", "1,5MB", True, None, 1.5])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(ValueError, match="a size in bytes"):
            ByteSize.parse(text)

    @pytest.mark.parametrize("size", [0, 1, 1000, 1024, 524288, 2**20, 3 * 2**30, 2**40])
    def test_it_prints_as_it_can_be_read(self, size):
        assert ByteSize.parse(str(ByteSize(size))) == size

    def test_limits_apply(self):
        assert "1024" in problems(chunk_size="1000")[0]


class TestKafkaProperties:
    def test_one_line_is_split_as_a_shell_does(self):
        text = "sasl.username=me 'sasl.oauthbearer.config=principal=x scope=y'"

        assert KafkaProperties.parse(text) == {
            "sasl.username": "me",
            "sasl.oauthbearer.config": "principal=x scope=y",
        }

    def test_several_lines_are_taken_as_they_are(self):
        assert KafkaProperties.parse("# who\na=it's me = you\n\n b=2\n") == {"a": "it's me = you", "b": "2"}

    def test_json_takes_anything(self):
        assert KafkaProperties.parse('{"ssl.key.pem": "a\\nb", "n": 1, "t": true}') == {
            "ssl.key.pem": "a\nb",
            "n": "1",
            "t": "true",
        }


def test_every_setting_has_a_description_for_help():
    assert all(field.description for field in ServiceSettings.model_fields.values())


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (307_200, "300 KiB"), (20_000_000, "19.1 MiB")],
)
def test_a_size_for_people_is_short(size: int, text: str) -> None:
    assert approximately(size) == text
