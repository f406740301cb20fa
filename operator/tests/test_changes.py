"""When a Deployment is applied again, and when it is left to whoever else changes it."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.changes import CONTEST_SECONDS, CONTESTED, Applied, digest, is_changed, needed

DESIRED = {
    "metadata": {"name": "d", "labels": {"app": "penstock", "side": "up"}, "ownerReferences": [{"uid": "u"}]},
    "spec": {"replicas": 3},
}


def there(generation=4, **metadata):
    return {
        "metadata": {
            **copy.deepcopy(DESIRED["metadata"]),
            "generation": generation,
            "uid": "d-1",
            **metadata,
        },
        "spec": {"replicas": 3, "paused": False},
    }


APPLIED = Applied.of(DESIRED, there())


def test_what_is_as_we_left_it_is_left():
    assert not needed(DESIRED, there(), APPLIED)


def test_what_others_add_or_say_of_its_status_is_theirs():
    more = there(
        labels={**DESIRED["metadata"]["labels"], "team": "imaging"},
        ownerReferences=[{"uid": "other"}, {"uid": "u"}],
        annotations={"a": "b"},
        resourceVersion="99",
    )
    assert not needed(DESIRED, {**more, "status": {"replicas": 3}}, APPLIED)


@pytest.mark.parametrize(
    ("live", "applied"),
    [
        (None, APPLIED),
        (there(), None),
        (there(), Applied.of({**DESIRED, "spec": {"replicas": 4}}, there())),
        (there(generation=5), APPLIED),
        (there(labels={"app": "penstock"}), APPLIED),
        (there(labels={"app": "penstock", "side": "down"}), APPLIED),
        (there(labels=None), APPLIED),
        (there(ownerReferences=[{"uid": "other"}]), APPLIED),
        (there(ownerReferences=None), APPLIED),
    ],
    ids=[
        "gone",
        "restarted",
        "wanted otherwise",
        "its spec",
        "a label taken",
        "a label changed",
        "no labels",
        "other owner",
        "no owner",
    ],
)
def test_it_is_applied_again_if(live, applied):
    assert needed(DESIRED, live, applied)


def test_a_change_of_ours_is_not_somebody_elses():
    other = {**DESIRED, "spec": {"replicas": 9}}
    assert not is_changed(other, there(), APPLIED)


@given(st.permutations(["metadata", "spec"]), st.permutations(["name", "labels", "ownerReferences"]))
def test_the_order_of_fields_says_nothing(outer, inner):
    shuffled = {key: DESIRED[key] for key in outer}
    shuffled["metadata"] = {key: DESIRED["metadata"][key] for key in inner}
    assert digest(shuffled) == digest(DESIRED)


def fought(*times):
    return Applied.of(DESIRED, there(), times)


def test_somebody_who_insists_is_left_alone_until_the_first_time_is_long_ago():
    times = [10.0 * number for number in range(CONTESTED)]
    assert fought(*times).contested_until(45.0) == CONTEST_SECONDS
    assert fought(*times).contested_until(CONTEST_SECONDS - 0.1) == CONTEST_SECONDS
    assert fought(*times).contested_until(CONTEST_SECONDS) is None


def test_now_and_then_is_not_insisting():
    assert fought().contested_until(0.0) is None
    assert fought(*range(CONTESTED - 1)).contested_until(5.0) is None
    slow = [number * CONTEST_SECONDS / CONTESTED for number in range(CONTESTED)]
    assert fought(*slow).contested_until(CONTEST_SECONDS + 1) is None


@given(st.lists(st.floats(0, 1000), max_size=8).map(sorted), st.floats(1000, 2000))
def test_waiting_has_an_end(times, now):
    until = fought(*times).contested_until(now)
    for _ in range(len(times)):
        if until is None:
            break
        assert now < until <= now + CONTEST_SECONDS
        now, until = until, fought(*times).contested_until(until)
    assert until is None
