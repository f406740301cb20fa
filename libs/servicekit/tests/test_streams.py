"""Topics for what is said of files carry no files."""

import pytest

from servicekit.exceptions import ConfigurationError
from servicekit.settings import ServiceSettings
from servicekit.streams import StreamTopic, refuse_as_stream


class Settings(ServiceSettings):
    topic: StreamTopic


@pytest.mark.parametrize("topic", ["raw", "receipts", "raw.receipts2", "penstock.events.raw"])
def test_a_stream_can_have_nearly_any_topic(topic):
    assert Settings.load(topic=topic).topic == topic


@pytest.mark.parametrize("topic", ["raw.receipts", ".receipts", "raw.receipts.receipts", "penstock.events"])
def test_none_that_is_kept_for_what_is_said_of_files(topic):
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(topic=topic)
    assert str(refused.value).startswith(f"--topic (PENSTOCK_TOPIC) = '{topic}': ")
    assert str(refused.value).endswith("choose another topic")


def test_nor_the_one_that_was_chosen_for_telemetry():
    with pytest.raises(ValueError, match="kept for telemetry"):
        refuse_as_stream("lab.events", "lab.events")
