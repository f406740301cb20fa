"""Rules between fields, each said once: in CEL for the API server, in Python for ourselves.

The API server checks them when somebody writes a DirectoryStream. We check them again when we read one: its
CRD may be older than this operator, or be somebody else's copy.

A rule about one value stands in that value's type (`Annotated[str, Rule(...)]`), a rule between fields in the
`rules` of the model that has the fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema
from typing_extensions import override

Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]

_BROKEN: Final = "broken_rules"


@dataclass(frozen=True)
class Rule:
    """One rule, and what to tell the person who broke it."""

    cel: str
    message: str
    """One line: what is wrong and the way out."""
    holds: Callable[[Any], bool] | None
    """The same in Python, of the value or model that has the rule. None if it compares with `oldSelf`: only
    the API server knows what was there before."""
    field: str = ""
    """Which field is to blame, from the model that has the rule: `after.moveTo`. Empty: the model itself."""
    reason: Reason = "FieldValueInvalid"

    def as_schema(self) -> dict[str, str]:
        """Give the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message, "reason": self.reason}
        return entry | ({"fieldPath": f".{self.field}"} if self.field else {})

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        holds = self.holds
        if holds is None:
            return handler(source)

        def check(value: object) -> object:
            if not holds(value):
                raise PydanticCustomError(_BROKEN, "{text}", {"text": self.message})
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        schema.setdefault("x-kubernetes-validations", []).append(self.as_schema())
        return schema


class Part(BaseModel):
    """A part of the resource: frozen, named as Kubernetes names things, with rules between its fields.

    Unknown fields are ignored, as everywhere in Kubernetes: the CRD may be newer than this operator.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        hide_input_in_errors=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obey(self) -> Self:
        broken = [rule for rule in self.rules if rule.holds is not None and not rule.holds(self)]
        if broken:
            text = "; ".join(rule.message for rule in broken)
            raise PydanticCustomError(_BROKEN, "{text}", {"text": text, "rules": broken})
        return self

    @classmethod
    @override
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        if cls.rules:
            schema["x-kubernetes-validations"] = [rule.as_schema() for rule in cls.rules]
        return schema

    def says_more_than(self, *fields: str) -> bool:
        """Whether any field but these has another value than its default."""
        return any(
            getattr(self, name) != field.default
            for name, field in type(self).model_fields.items()
            if name not in fields
        )

    def as_kubernetes(self) -> dict[str, Any]:
        """Give it as Kubernetes writes it: camelCase, without what is not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


def immutable(what: str, way_out: str) -> Rule:
    """Return the rule that a value stays what it was."""
    return Rule("self == oldSelf", f"{what} cannot be changed: {way_out}", None, reason="FieldValueForbidden")


def exactly_one_of(message: str, *fields: str) -> Rule:
    """Return the rule that one of these fields, all without a default, is given, and no other."""
    given = ", ".join(f"has(self.{to_camel(field)})" for field in fields)
    return Rule(
        f"[{given}].filter(given, given).size() == 1",
        message,
        lambda part: sum(getattr(part, field) is not None for field in fields) == 1,
    )


def required_in(mode: str, choice: str, field: str, message: str) -> Rule:
    """Return the rule that `field`, which has no default, is given when `mode` is `choice`."""
    return Rule(
        f"self.{to_camel(mode)} != '{choice}' || has(self.{to_camel(field)})",
        message,
        lambda part: getattr(part, mode) != choice or getattr(part, field) is not None,
        field=to_camel(field),
        reason="FieldValueRequired",
    )


def only_in(mode: str, choices: tuple[str, ...], field: str, message: str) -> Rule:
    """Return the rule that `field`, which has no default, is given only when `mode` is one of `choices`."""
    allowed = " || ".join(f"self.{to_camel(mode)} == '{choice}'" for choice in choices)
    return Rule(
        f"{allowed} || !has(self.{to_camel(field)})",
        message,
        lambda part: getattr(part, mode) in choices or getattr(part, field) is None,
        field=to_camel(field),
        reason="FieldValueForbidden",
    )


def matching(pattern: str, message: str) -> Rule:
    r"""Return the rule that all of a text matches; where a bare `pattern` would tell only the pattern.

    The pattern has to mean the same in RE2 and in Python: no `\d`, no `$` inside.
    """
    compiled = re.compile(pattern)
    quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return Rule(
        f"self.matches('^(?:{quoted})$')", message, lambda value: compiled.fullmatch(value) is not None
    )


LEGAL_GROUP: Final = matching(
    "[a-zA-Z0-9._-]+", "the id of a destination has letters, digits, '.', '_' and '-' only: choose such a one"
)
"""The rule for consumer groups, which are listed with commas and stand in metrics and logs."""


def explain(error: ValidationError) -> list[str]:
    """Say what is wrong, one line for each problem: the field's path, the reason, the way out."""
    lines: list[str] = []
    for detail in error.errors(include_url=False, include_input=False):
        path = _path(detail["loc"])
        rules = detail.get("ctx", {}).get("rules")
        if rules:
            lines += [_line(".".join(filter(None, (path, rule.field))), rule.message) for rule in rules]
        else:
            lines.append(_line(path, _sentence(detail)))
    return lines


def _line(path: str, text: str) -> str:
    return f"{path}: {text}" if path else text


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif re.fullmatch(r"\w+", step):
            path += f".{step}" if path else step
        else:
            path += f"[{step!r}]"
    return path


def _sentence(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "is missing: give it"
    message = detail["msg"]
    return message.replace("Input should ", "must ").replace("String should ", "must ")
