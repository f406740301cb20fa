"""Click's options, made from a service's settings class: the one place that says which options there are.

    params = settings_options(UploaderSettings, groups={"What to send": ["include", "exclude"]})
    settings = load(UploaderSettings, ctx.params)

A field `chunk_size: ByteSize` becomes `--chunk-size BYTES`, a bool `--x/--no-x`, a list an option that may be
repeated, a Literal a choice. Values reach `Settings.load` as they were typed, and only those that were: so
the environment (PENSTOCK_CHUNK_SIZE), the file (--config) and the defaults are found in their order, and one
validator's messages name option and variable.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typing_extensions import override

from penstock.help import Option
from servicekit.exceptions import ConfigurationError
from servicekit.logs import MASK, is_secret
from servicekit.settings import ByteSize, KafkaProperties, ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

KAFKA_GROUP = "Kafka"
RUNNING_GROUP = "Logs, metrics, settings"
MORE_GROUP = "More"

_COMMON: dict[str, Sequence[str]] = {
    KAFKA_GROUP: ("topic", "bootstrap_servers", "kafka", "sasl_username", "sasl_password"),
    RUNNING_GROUP: ("config", "log_format", "log_level", "metrics_port", "metrics_host"),
}

# What stands for a value in --help, where the type alone would not say it.
_METAVARS: dict[str, str] = {
    "config": "FILE",
    "bootstrap_servers": "HOST:PORT,...",
    "topic": "TOPIC",
    "group": "GROUP",
    "after_receipt_from": "GROUP",
    "include": "GLOB",
    "exclude": "GLOB",
    "prefix": "TEMPLATE",
    "rate_limit": "BYTES_PER_S",
    "source_id": "ID",
    "metrics_host": "ADDRESS",
    "host": "ADDRESS",
    "database": "URL",
    "streams": "GLOB",
    "openmsi_heartbeat_topics": "TOPIC",
}

EVERYWHERE = (
    "Every option can also be set in the environment (--log-level as PENSTOCK_LOG_LEVEL) and in a TOML file "
    "(log_level, see --config). An option wins over the environment, the environment over the file. Put "
    "passwords into one of these two: others on this machine can see what is on a command line."
)


class SettingOption(Option):
    """An option that stands for a field of a settings class."""

    def __init__(self, declarations: Sequence[str], *, shown_default: str | None, **attributes: Any) -> None:  # noqa: ANN401
        super().__init__(declarations, **attributes)
        self._shown_default = shown_default

    @override
    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return what stands left and right in --help."""
        record = super().get_help_record(ctx)
        if record is None or self._shown_default is None:
            return record
        return record[0], f"{record[1]} [{self._shown_default}]"


def settings_options(
    settings: type[ServiceSettings], *, groups: Mapping[str, Sequence[str]], without: Sequence[str] = ()
) -> list[click.Parameter]:
    """Return an option for each field of `settings` but those in `without`.

    `groups` names the fields of each section of --help, in their order; those that nobody names are "More".
    """
    fields = {name: field for name, field in settings.model_fields.items() if name not in without}
    sections: dict[str, Sequence[str]] = {KAFKA_GROUP: _COMMON[KAFKA_GROUP], **groups}
    placed = {name for names in (*groups.values(), *_COMMON.values()) for name in names}
    sections[MORE_GROUP] = [name for name in fields if name not in placed]
    sections[RUNNING_GROUP] = _COMMON[RUNNING_GROUP]
    return [
        _option(name, fields[name], title)
        for title, names in sections.items()
        for name in names
        if name in fields
    ]


def load(settings: type[S], given: Mapping[str, object], *, argument: str | None = None) -> S:
    """Return the settings; `given` is what Click made of the command line.

    `argument` is the field that is a positional argument, so that messages do not call it an option. Raises
    ConfigurationError, one line for each problem.
    """
    explicit = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if value is not None and value != ()
    }
    try:
        return settings.load(**explicit)
    except ConfigurationError as error:
        if argument is None:
            raise
        option = f"--{argument.replace('_', '-')} ("
        raise ConfigurationError(str(error).replace(option, f"{metavar(argument)} (")) from None


def metavar(name: str) -> str:
    """Return what stands for the value of a field in --help."""
    if name in _METAVARS:
        return _METAVARS[name]
    if name.endswith(("directory", "_dir", "_move_to")):
        return "DIR"
    if name.endswith("_seconds") or name == "until_idle":
        return "SECONDS"
    if name.endswith(("_port", "count")):
        return "N"
    return name.split("_")[-1].upper()


def _option(name: str, field: FieldInfo, group: str) -> SettingOption:
    kind = _kind(field)
    spelled = "--" + name.replace("_", "-")
    attributes: dict[str, Any] = {
        "group": group,
        "help": " ".join((field.description or "").split()),
        "default": None,
        "shown_default": shown_default(name, field),
    }
    if kind is bool:
        return SettingOption([f"{spelled}/--no-{spelled[2:]}"], is_flag=True, **attributes)
    if get_origin(kind) is Literal:
        return SettingOption(
            [spelled], type=click.Choice([str(choice) for choice in get_args(kind)]), **attributes
        )
    attributes |= {"type": click.STRING, "metavar": metavar(name)}
    if kind is KafkaProperties:
        return SettingOption([spelled], multiple=True, **attributes | {"metavar": "KEY=VALUE"})
    if kind is list or kind is tuple:
        return SettingOption([spelled], multiple=True, **attributes)
    if kind is ByteSize and name not in _METAVARS:
        attributes["metavar"] = "BYTES"
    elif kind in (int, float) and name not in _METAVARS and attributes["metavar"] not in ("SECONDS", "N"):
        attributes["metavar"] = "N"
    return SettingOption([spelled], **attributes)


def _kind(field: FieldInfo) -> Any:  # noqa: ANN401 - a type, or a form of typing
    """Return the type without Optional, Annotated and the parameters of containers."""
    kind: Any = field.annotation
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            kind = get_args(kind)[0]
        elif origin in (Union, types.UnionType):
            kind = next(part for part in get_args(kind) if part is not type(None))
        else:
            return kind if origin in (None, Literal) else origin


def shown_default(name: str, field: FieldInfo) -> str | None:
    """Return a default for --help; None if there is none, or its description says better what happens."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=False)
    if default is None or default is PydanticUndefined or default in ("", [], (), {}):
        return None
    if is_secret(name):
        return MASK
    if isinstance(default, bool):
        return f"default: --{'' if default else 'no-'}{name.replace('_', '-')}"
    if isinstance(default, float):
        return f"default: {int(default) if default.is_integer() else default}"
    return f"default: {default}"
