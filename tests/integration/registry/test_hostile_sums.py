"""Sizes that somebody made up spoil no sum: what is true is learned and told beside them."""

import pytest
from tests.registry_world import NOW, World

from penstock_registry.knowledge.sums import MOST
from penstock_registry.store.batch import Batch
from penstock_registry.store.queries import Queries
from penstock_registry.store.store import Store

HUGE = 2**63 - 1
"""More than `check` lets pass: the sums do not rely on it."""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    sqlite = f"sqlite:///{tmp_path / 'registry.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres")
    with Store(url, clock=lambda: NOW) as store:
        store.migrate()
        yield store


def test_sums_end_at_their_bound_and_everything_is_still_told(store):
    forged, true = World(), World(topic="true")
    for number in range(3):
        upload = forged.uploaded(f"huge{number}", size=HUGE, ago=30)
        for destination in ("a", "b"):
            forged.delivered(f"huge{number}", upload, to=destination, size=HUGE, ago=20)
    forged.discovered("never sent", size=HUGE)
    true.delivered("fine", true.uploaded("fine", size=10, ago=5), size=10, ago=4)
    for event in [*forged.events, *true.events, *forged.events]:
        store.learn(Batch(events=[event]))

    queries = Queries(store.engine, clock=lambda: NOW)
    streams = {stream.topic: stream for stream in queries.overview().streams}
    assert streams["true"].files["delivered"].bytes == 10
    assert streams["raw"].files["delivered"].files == 3
    assert streams["raw"].files["delivered"].bytes == MOST
    queries.throughput()
    queries.streams()
