"""What people are told about a reason."""

import pytest

from chunkproto import Reason, SkipReason
from penstock_registry import advice

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


def test_a_reason_of_a_newer_version_is_not_guessed():
    assert "does not know" in advice.about("eaten-by-a-bear")


@pytest.mark.parametrize("reason", [None, ""])
def test_where_there_is_no_reason_there_is_no_advice(reason):
    assert advice.about(reason) is None
