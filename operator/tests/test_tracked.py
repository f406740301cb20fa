"""What is told late does not undo what is known: of Deployments, and of streams."""

import asyncio
from typing import Any

import pytest
import yaml
from tests.streams import EXAMPLES

from penstock_operator.controller import Controller
from penstock_operator.kafka import Clusters
from penstock_operator.settings import OperatorSettings
from penstock_operator.tracked import Tracked, version


def deployment(at: int, uid: str = "one") -> dict[str, Any]:
    return {"metadata": {"name": "scope-downloader", "uid": uid, "resourceVersion": str(at)}}


def stream(at: int, uid: str = "one") -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load((EXAMPLES / "minimal.yaml").read_text())
    made = {"namespace": "lab", "uid": uid, "resourceVersion": str(at), "generation": 1}
    body["metadata"] |= made | {"creationTimestamp": "2026-03-01T12:00:00Z"}
    return body


class TestDeployments:
    @pytest.fixture
    def tracked(self) -> Tracked:
        return Tracked(stream(1), None)

    def test_the_newest_counts(self, tracked):
        assert tracked.deployment_seen("downloader", deployment(5))
        assert not tracked.deployment_seen("downloader", deployment(4))
        assert not tracked.deployment_seen("downloader", deployment(5))
        assert tracked.deployment_seen("downloader", deployment(6))
        assert version(tracked.deployments["downloader"]) == 6

    def test_an_answer_from_before_its_end_does_not_bring_it_back(self, tracked):
        tracked.deployment_gone("downloader", deployment(7))
        assert not tracked.deployment_seen("downloader", deployment(6))
        assert tracked.deployments == {}

    def test_one_that_only_lost_its_label_is_still_there_at_that_version(self, tracked):
        tracked.deployment_seen("downloader", deployment(6))
        tracked.deployment_gone("downloader", deployment(7))
        assert tracked.deployments == {}
        assert tracked.deployment_seen("downloader", deployment(7))

    def test_an_end_that_is_told_late_does_not_take_the_next_one(self, tracked):
        tracked.deployment_seen("downloader", deployment(8, "two"))
        tracked.deployment_gone("downloader", deployment(7))
        assert version(tracked.deployments["downloader"]) == 8


class TestStreams:
    @staticmethod
    def known(*told: tuple[str, dict[str, Any]]) -> str | None:
        """Tell a controller of a stream, and return the uid of the one that it knows in the end."""

        async def tell() -> str | None:
            controller = Controller(OperatorSettings(), Nobody(), Clusters())  # type: ignore[arg-type]
            for what, body in told:
                (controller.stream_gone if what == "gone" else controller.stream_seen)(body)
            found = await controller.find("lab", "balance")
            return None if found is None else found.metadata.uid

        return asyncio.run(tell())

    def test_made_again_under_its_name_it_is_another_one(self):
        assert self.known(("seen", stream(1)), ("gone", stream(2)), ("seen", stream(3, "two"))) == "two"

    def test_whose_end_was_missed_gives_way_to_the_next(self):
        assert self.known(("seen", stream(1)), ("seen", stream(3, "two"))) == "two"

    def test_a_list_or_an_answer_that_comes_late_does_not_bring_it_back(self):
        assert self.known(("seen", stream(1)), ("gone", stream(2)), ("seen", stream(1))) is None
        late = ("seen", stream(3, "two")), ("seen", stream(2))
        assert self.known(("seen", stream(1)), ("gone", stream(2)), *late) == "two"
        assert self.known(("seen", stream(1)), *late) == "two"

    def test_an_end_that_is_told_late_does_not_take_the_next_one(self):
        assert self.known(("seen", stream(1)), ("seen", stream(3, "two")), ("gone", stream(2))) == "two"


class Nobody:
    """An API server that has nothing."""

    async def get(self, *_: object) -> None:
        return None
