"""A directory is never source and destination of one topic."""

import pytest

from servicekit.circles import note_topic, refuse_circle
from servicekit.exceptions import ConfigurationError
from servicekit.topics import TopicInfo

SCOPE = TopicInfo("scope", "id-of-scope", 1, 1)
OTHER = TopicInfo("other", "id-of-other", 1, 1)
AGAIN = TopicInfo("scope", "id-of-scope-made-again", 1, 1)


@pytest.mark.parametrize(("first", "second"), [("uploader", "downloader"), ("downloader", "uploader")])
def test_what_one_part_does_the_other_may_not(tmp_path, first, second):
    note_topic(str(tmp_path), first, OTHER)
    note_topic(str(tmp_path), first, SCOPE)
    for topic in (SCOPE, OTHER):
        with pytest.raises(ConfigurationError, match="go round"):
            refuse_circle(str(tmp_path), second, topic)
        refuse_circle(str(tmp_path), first, topic)


def test_a_topic_made_again_is_another(tmp_path):
    note_topic(str(tmp_path), "uploader", SCOPE)
    refuse_circle(str(tmp_path), "downloader", AGAIN)
    note_topic(str(tmp_path), "uploader", AGAIN)
    with pytest.raises(ConfigurationError):
        refuse_circle(str(tmp_path), "downloader", AGAIN)
    refuse_circle(str(tmp_path), "downloader", SCOPE)


@pytest.mark.parametrize("text", ["", "{", "7", '["x"]', '[{"topic": "scope"}]'])
def test_a_note_that_makes_no_sense_refuses_nothing(tmp_path, text):
    note = tmp_path / ".penstock" / "uploader" / "topic"
    note.parent.mkdir(parents=True)
    note.write_text(text)
    refuse_circle(str(tmp_path), "downloader", SCOPE)


def test_a_directory_that_cannot_be_written_is_left_alone(tmp_path):
    (tmp_path / ".penstock").write_text("a file")
    note_topic(str(tmp_path), "uploader", SCOPE)
    refuse_circle(str(tmp_path), "downloader", SCOPE)
