"""What the command reads of a registry's answers is what the registry's own models say."""

import time
import uuid

import pytest
from pydantic import BaseModel

from penstock import registry_answers

models = pytest.importorskip("penstock_registry.api.models")

PAIRS = {
    registry_answers.Amount: models.Amount,
    registry_answers.Rate: models.Rate,
    registry_answers.Destination: models.Destination,
    registry_answers.Stream: models.Stream,
    registry_answers.Answer: models.Answer,
    registry_answers.KnownFile: models.File,
    registry_answers.Receipt: models.Receipt,
    registry_answers.Upload: models.Upload,
    registry_answers.FileDetail: models.FileDetail,
    registry_answers.Files: models.Files,
    registry_answers.Service: models.Service,
    registry_answers.Services: models.Services,
    registry_answers.LostRange: models.LostRange,
    registry_answers.Overview: models.Overview,
}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.items(), ids=lambda model: model.__name__)
def test_each_field_that_is_read_is_one_that_is_written(ours: type[BaseModel], theirs: type[BaseModel]):
    assert ours.model_fields.keys() <= theirs.model_fields.keys()
    for name, field in ours.model_fields.items():
        # What they may leave out we must not ask for.
        assert not field.is_required() or theirs.model_fields[name].is_required(), name


def test_an_answer_of_theirs_is_understood():
    now = time.time()
    number = uuid.uuid4()
    answer = models.Answer(
        destination="archive", outcome="rejected", current=True, upload_id=number, reason="size", at=now
    )
    file = models.File(
        id=number, stream="s", source="here", path="\ufffd", path_base64="/w==", size=1, state="rejected",
        bytes_done=1, first_at=now, last_at=now, answers=[answer],
    )  # fmt: skip
    read = registry_answers.KnownFile.model_validate_json(file.model_dump_json())
    assert read.name == "\udcff"
    assert read.answers[0].upload_id == number
    assert read.answers[0].reason == "size"
