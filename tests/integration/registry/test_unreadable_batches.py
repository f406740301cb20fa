"""Records that cannot be unpacked are kept aside, and what is said behind them is learned."""

from tests.integration.registry.saying import lives_of_files, records_of, say
from tests.unreadable import send_unreadable


def test_what_is_said_behind_an_unreadable_batch_is_learned(kafka, topic, events, make_registry):
    send_unreadable(kafka, events, before=2, after=2)
    send_unreadable(kafka, f"{topic}.receipts")
    say(kafka, *records_of(events, lives_of_files(topic, 20)))

    registry = make_registry(streams=[topic], events=events).start()
    registry.await_read()

    assert {row[5] for row in registry.tables()["files"]} == {"delivered"}
    aside = {one["topic"]: one for one in registry.get("/problems")["items"]}
    assert set(aside) == {events, f"{topic}.receipts"}
    assert aside[events]["offset"] == 4
    assert "the records 0 to 4 cannot be unpacked" in aside[events]["reason"]
    assert registry.metric("penstock_registry_records_kept_aside_total") == 2
