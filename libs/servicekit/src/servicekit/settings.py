"""Settings of a service: options, environment, one TOML file, defaults; the first of them that speaks wins.

    class UploaderSettings(ServiceSettings):
        chunk_size: ByteSize = Field(ByteSize(524288), ge=1024, description="Bytes of file in one record ...")

    settings = UploaderSettings.load(chunk_size="1MiB")     # what the command line gave; None means not given

`load` reads the environment (`PENSTOCK_CHUNK_SIZE`) and the file (`chunk_size = "1MiB"`, named by `config` or
`PENSTOCK_CONFIG`). The class itself, `UploaderSettings(chunk_size=...)`, reads nothing but its arguments.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Self, get_args

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, SecretStr, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from servicekit.exceptions import ConfigurationError
from servicekit.logs import MASK, LogFormat, LogLevel, is_secret

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}{suffix}": 1024**power for power, letter in enumerate("kmgt", 1) for suffix in ("i", "ib")},
    **{f"{letter}{suffix}": 1000**power for power, letter in enumerate("kmgt", 1) for suffix in ("", "b")},
}
_SHOWN_UNITS: Final = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


class ByteSize(int):
    """A number of bytes: `524288`, `"512KiB"` (1024s), `"10MB"` (1000s). It prints as it would be given."""

    def __str__(self) -> str:
        for unit, factor in _SHOWN_UNITS:
            if self and self % factor == 0:
                return f"{self // factor}{unit}"
        return f"{int(self)}"

    __repr__ = __str__

    @classmethod
    def parse(cls, value: object) -> ByteSize:
        """Raise ValueError for what is not a size."""
        if isinstance(value, int) and not isinstance(value, bool):
            return cls(value)
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        factor = _UNITS.get(found[2].lower()) if found else None
        if found is None or factor is None:
            raise ValueError("a size in bytes, such as 524288, 512KiB or 10MB")
        number = float(found[1]) * factor if "." in found[1] else int(found[1]) * factor
        return cls(int(number))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: object) -> ByteSize:
            try:
                return cls.parse(value)
            except ValueError as error:
                raise PydanticCustomError("byte_size", "must be {what}", {"what": str(error)}) from None

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(int)
        )


def approximately(size: int) -> str:
    """Return a number of bytes for people: `300 KiB`, `19.5 MiB`."""
    for unit, factor in _SHOWN_UNITS:
        if size >= factor:
            return f"{round(size / factor, 1):g} {unit}"
    return f"{size} {'byte' if size == 1 else 'bytes'}"


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A duration in seconds, as a float."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in re.split(r"[\n,]", value) if part.strip()]


StringList = Annotated[list[str], BeforeValidator(_split)]
"""Strings: a repeated option, a TOML array; in the environment separated by commas or lines, or JSON."""


class KafkaProperties(dict[str, str]):
    """librdkafka properties by name. What it prints or serialises has the values of secrets masked."""

    def __repr__(self) -> str:
        return repr(self.shown())

    __str__ = __repr__

    def shown(self) -> dict[str, str]:
        """Return a copy for people and logs, secrets masked."""
        return {name: MASK if is_secret(name) else value for name, value in self.items()}

    @classmethod
    def parse(cls, value: object) -> KafkaProperties:
        """Read a mapping, `KEY=VALUE` strings, or text.

        Text is JSON, or `KEY=VALUE` one a line (verbatim), or several in one line (quoted as in a shell).
        Raises ValueError without the value, which may be a secret.
        """
        if isinstance(value, str):
            value = _items_of_text(value)
        if isinstance(value, Mapping):
            properties = value
        elif isinstance(value, Iterable):
            properties = dict(_pair(item) for item in value)
        else:
            raise ValueError("must be KEY=VALUE pairs")  # noqa: TRY004 - documented
        return cls({str(name): _property_value(given) for name, given in properties.items()})

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: object) -> KafkaProperties:
            try:
                return cls.parse(value)
            except ValueError as error:
                raise PydanticCustomError("kafka_properties", "{what}", {"what": str(error)}) from None

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(cls.shown)
        )


def _items_of_text(text: str) -> object:
    text = text.strip()
    if text.startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"is not JSON: {error.msg} at character {error.pos}") from None
    if "\n" in text:
        return [
            line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"cannot be split into KEY=VALUE pairs: {error}") from None


def _pair(item: object) -> tuple[str, str]:
    name, equals, value = item.partition("=") if isinstance(item, str) else ("", "", "")
    if not equals or not name.strip():
        raise ValueError("must be KEY=VALUE pairs, such as linger.ms=20")
    return name.strip(), value


def _property_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("values must be text, numbers or booleans")


class Settings(BaseSettings):
    """What every program that serves can be told. Each adds fields of its own."""

    model_config = SettingsConfigDict(
        env_prefix="PENSTOCK_",
        env_ignore_empty=True,  # an empty variable in a manifest means "not set"
        enable_decoding=False,  # lists and properties have their own, friendlier syntax
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    config: str | None = Field(
        None,
        description="TOML file with settings: the option names, with underscores. None is read by default.",
    )
    log_format: LogFormat = Field(
        "text", description="How to write logs: text for people, json for machines."
    )
    log_level: LogLevel = Field("info", description="Write this and what is more important to the log.")
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for /metrics, /healthz and /readyz; 0 takes a free one. By default there is none.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address to listen at for metrics; by default only this machine. 0.0.0.0 in a container.",
    )

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments only: `load` merges the others, and remembers which of them said what."""
        return (init_settings,)

    @classmethod
    def load(cls, **given: object) -> Self:
        """Merge what was given, the environment, the file and the defaults.

        None, and () as of an option that can be repeated, mean not given. `kafka` is merged property by
        property. Raises ConfigurationError with one line for each problem.
        """
        given = {name: value for name, value in given.items() if value is not None and value != ()}
        environment = EnvSettingsSource(cls)()
        file = given.get("config") or environment.get("config")
        layers: list[tuple[str, Mapping[str, object]]] = [
            ("option", given),
            ("environment", environment),
        ]
        if file is not None:
            layers.append((f"file {file}", cls._read_file(str(file))))

        merged: dict[str, object] = {}
        origin: dict[str, str] = {}
        problems: list[str] = []
        properties: dict[str, str] = {}
        for where, layer in reversed(layers):
            for name, value in layer.items():
                merged[name] = value
                origin[name] = where
                if name == "kafka":
                    try:
                        properties |= KafkaProperties.parse(value)
                    except ValueError as error:
                        problems.append(f"{cls._named('kafka', where)}: {error}")
        if "kafka" in merged:
            merged["kafka"] = properties
        try:
            settings = cls.model_validate(merged)
        except ValidationError as error:
            problems += [cls._explain(detail, merged, origin) for detail in error.errors(include_url=False)]
        if problems:
            raise ConfigurationError("\n".join(problems))
        return settings

    @classmethod
    def _read_file(cls, file: str) -> dict[str, object]:
        try:
            with open(file, "rb") as stream:
                read = tomllib.load(stream)
        except OSError as error:
            raise ConfigurationError(f"settings file {file!r} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"settings file {file!r} is not TOML: {error}") from None
        values = {name.replace("-", "_"): value for name, value in read.items()}
        known = [name for name in cls.model_fields if name != "config"]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ConfigurationError(
                "\n".join(f"settings file {file!r}: {_unknown('key', name, known)}" for name in unknown)
            )
        return values

    @classmethod
    def _named(cls, name: str, where: str) -> str:
        text = f"--{name.replace('_', '-')} (PENSTOCK_{name.upper()})"
        return text if where == "option" else f"{text}, from the {where}"

    @classmethod
    def _is_secret(cls, name: str) -> bool:
        kind = cls.model_fields[name].annotation if name in cls.model_fields else None
        return is_secret(name) or SecretStr in (kind, *get_args(kind))

    @classmethod
    def _explain(cls, detail: ErrorDetails, merged: Mapping[str, object], origin: Mapping[str, str]) -> str:
        location = detail["loc"]
        name = str(location[0]) if location else ""
        if detail["type"] == "extra_forbidden":
            return _unknown("option", name, list(cls.model_fields))
        if not name:
            return detail["msg"].removeprefix("Value error, ")
        text = cls._named(name, origin.get(name, "option"))
        if detail["type"] == "missing":
            return f"{text} is missing"
        value = merged.get(name)
        if value is not None and name != "kafka" and not cls._is_secret(name):
            text += f" = {value!r}"
        return f"{text}: {_sentence(detail['msg'])}"


class ServiceSettings(Settings):
    """What every service can be told that speaks to one Kafka. Each adds fields of its own."""

    bootstrap_servers: str = Field(
        "localhost:9092",
        description=(
            "Addresses of Kafka brokers, HOST:PORT separated by commas; a few are enough to find the others."
        ),
    )
    kafka: KafkaProperties = Field(
        default_factory=KafkaProperties,
        description=(
            "Any property of the Kafka client (librdkafka) as KEY=VALUE, such as security.protocol=SASL_SSL. "
            "Those that delivery is proved by cannot be changed."
        ),
    )
    sasl_username: str | None = Field(
        None, description="Name to log in to Kafka with; the same as --kafka sasl.username=NAME."
    )
    sasl_password: SecretStr | None = Field(
        None,
        description=(
            "Password to log in to Kafka with, best given in the environment; a line break at its end, as "
            "files have one, is left out."
        ),
    )

    @property
    def credentials(self) -> dict[str, str]:
        """Name and password to log in to Kafka with, as properties of the client; as far as they are given.

        They are settings of their own beside `kafka`, so that each can come from a Secret as it is.
        """
        given = {} if self.sasl_username is None else {"sasl.username": self.sasl_username}
        if self.sasl_password is not None:
            given["sasl.password"] = self.sasl_password.get_secret_value()
        return {name: value.rstrip("\r\n") for name, value in given.items()}


def _sentence(message: str) -> str:
    own = message.removeprefix("Value error, ")
    if own != message or not message.startswith("Input should "):
        return own  # a validator's own words
    # "Input should be a valid integer, unable to parse string as an integer"
    return "must " + message.removeprefix("Input should ").partition(", unable to")[0]


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(sorted(known))}"
    return f"unknown {what} {name!r}{hint}"
