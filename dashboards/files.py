"""The dashboards as files: their names, and their text."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import operator, overview, stream

DIRECTORY: Final = Path(__file__).parents[1] / "charts" / "penstock" / "files" / "dashboards"
_PAGES: Final = {"overview.json": overview.page, "stream.json": stream.page, "operator.json": operator.page}


def files() -> dict[str, str]:
    """Give the text of each file, by its name: the same one whenever it is asked for."""
    encoder = JSONEncoder(indent=2, sort_keys=True, ensure_ascii=False)
    return {name: encoder.encode(_numbered(page().build())) + "\n" for name, page in _PAGES.items()}


def _numbered(found: Dashboard) -> Dashboard:
    """Give panels their ids, which links to one panel use."""
    for number, panel in enumerate(found.panels or (), 1):
        panel.id_val = number
    return found
