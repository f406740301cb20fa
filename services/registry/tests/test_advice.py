"""What people are told about a reason."""

import re

import pytest

from chunkproto import Reason, SkipReason
from penstock_downloader.settings import DownloaderSettings
from penstock_registry import advice
from penstock_uploader.settings import UploaderSettings

UPLOADER = ["unsendable", "unreadable", "too-slow", "source-gone", "changed", "vanished", "superseded"]
"""What the uploader says in file.failed and file.aborted."""


@pytest.mark.parametrize("reason", [*Reason, *SkipReason, *UPLOADER, "range-lost"])
def test_every_reason_is_explained(reason):
    assert str(reason) in advice.KNOWN
    assert advice.about(reason).endswith(".")


@pytest.mark.parametrize("reason", list(Reason))
def test_what_is_said_of_sending_again_is_what_the_uploader_does(reason):
    said = advice.about(reason)

    assert ("sends it again by itself" in said) == reason.sending_again_helps


def test_options_are_named_as_they_are_typed():
    fields = {*UploaderSettings.model_fields, *DownloaderSettings.model_fields}

    for reason in advice.KNOWN:
        said = advice.about(reason)
        assert all(option.replace("-", "_") in fields for option in re.findall(r"--([a-z-]+)", said))
        assert not {word.strip(".,;()") for word in said.split()} & {f for f in fields if "_" in f}


@pytest.mark.parametrize(
    "reason", sorted(reason for reason in advice.KNOWN if "resend" in advice.about(reason))
)
def test_who_is_told_to_send_again_is_told_what_where_and_to_whom(reason):
    assert "`penstock resend PATH`, on the machine of its source" in advice.about(reason)
    assert "to all destinations" in advice.about(reason)


def test_a_reason_of_a_newer_version_is_not_guessed():
    assert "does not know" in advice.about("eaten-by-a-bear")


@pytest.mark.parametrize("reason", [None, ""])
def test_where_there_is_no_reason_there_is_no_advice(reason):
    assert advice.about(reason) is None
