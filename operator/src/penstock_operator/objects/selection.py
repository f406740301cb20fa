"""Which pods a label selector selects, as Kubernetes decides it."""

from __future__ import annotations

from collections.abc import Mapping

from penstock_operator.resource.kubernetes import LabelSelector, LabelSelectorRequirement


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Say whether something with these labels is selected. An empty selector selects everything."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(requirement, labels.get(requirement.key)) for requirement in selector.match_expressions
    )


def _holds(requirement: LabelSelectorRequirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values  # what has no such label is not in, either
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
