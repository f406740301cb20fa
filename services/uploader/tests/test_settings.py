"""What is wrong use, and what it is said to be."""

import pytest

from penstock_uploader.settings import UploaderSettings
from servicekit.exceptions import ConfigurationError


def load(**given: object) -> UploaderSettings:
    return UploaderSettings.load(directory="/data", topic="t", **given)


@pytest.mark.parametrize("after", ["delete", "move"])
@pytest.mark.parametrize("when", [{}, {"after_when": "acknowledged"}])
def test_sources_do_not_go_on_acknowledgement_where_receipts_are_named(after, when):
    with pytest.raises(ConfigurationError, match="needs --after-when delivered") as refused:
        load(after=after, after_receipt_from=["archive"], **when)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("after", ["keep", "delete", "move"])
def test_delivered_needs_to_be_told_by_whom(after):
    with pytest.raises(ConfigurationError, match="needs at least one --after-receipt-from"):
        load(after=after, after_when="delivered")


def test_receipts_may_be_named_where_sources_stay():
    assert load(after_receipt_from=["archive"]).after == "keep"
    assert load(after="delete", after_when="delivered", after_receipt_from=["archive"]).after == "delete"
    assert load(after="delete").after_when == "acknowledged"
