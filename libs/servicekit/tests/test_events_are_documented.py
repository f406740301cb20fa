"""docs/events.md names every event and every field of it."""

from pathlib import Path

import pytest

from servicekit.events import RECEIPTS, TELEMETRY, Event

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text()


@pytest.mark.parametrize("event", RECEIPTS + TELEMETRY, ids=lambda event: event.type)
def test_an_event_and_its_fields_are_on_the_page(event: type[Event]):
    assert f"`{event.type}`" in PAGE
    for field in event.model_fields:
        assert f"`{field}`" in PAGE, f"{event.type} has a field that docs/events.md does not name: {field}"
