"""Which of several streams may read a topic in a consumer group."""

from hypothesis import given
from hypothesis import strategies as st
from tests.reconciling import changed, ending, with_status
from tests.streams import example

from penstock_operator.rivals import earlier_rivals


def stream(
    name,
    *,
    namespace="lab",
    created="2026-01-01T00:00:00Z",
    brokers="kafka:9092",
    topic="t",
    group="g",
    topic_id=None,
):
    made = example(
        "minimal",
        kafka={"bootstrapServers": brokers},
        topic={"name": topic},
        downloader={"consumerGroup": group},
    )
    made = changed(made, name=name, namespace=namespace, uid=f"uid-{name}", creation_timestamp=created)
    return made if topic_id is None else with_status(made, {"topicId": topic_id})


def test_the_older_one_was_first_in_whatever_order_they_are_seen():
    older = stream("z", created="2025-12-31T23:59:59Z")
    newer = stream("a")
    assert earlier_rivals([newer, older]) == earlier_rivals([older, newer]) == {"lab.a": "lab.z"}


def test_of_two_of_the_same_second_it_is_always_the_same_one():
    one, other = stream("a"), stream("b")
    assert earlier_rivals([one, other]) == earlier_rivals([other, one]) == {"lab.b": "lab.a"}


def test_all_others_lose_to_the_first():
    assert earlier_rivals([stream("c"), stream("a"), stream("b")]) == {"lab.b": "lab.a", "lab.c": "lab.a"}


def test_another_group_topic_or_kafka_is_no_rival():
    others = [stream("b", group="h"), stream("c", topic="u"), stream("d", brokers="other:9092")]
    assert earlier_rivals([stream("a"), *others]) == {}


def test_one_topic_is_the_same_under_any_address():
    pair = [stream("a", brokers="k1:9092", topic_id="x"), stream("b", brokers="k2:9092", topic_id="x")]
    assert earlier_rivals(pair) == {"lab.b": "lab.a"}
    assert earlier_rivals([pair[0], stream("b", brokers="k2:9092", topic_id="x", group="h")]) == {}


def test_brokers_are_the_same_in_any_order_and_spelling():
    pair = [stream("a", brokers="K1:9092, k2:9092"), stream("b", brokers="k2:9092,k1:9092")]
    assert earlier_rivals(pair) == {"lab.b": "lab.a"}


def test_an_id_that_is_not_known_yet_or_any_more_does_not_hide_a_rival():
    for topic_id in (None, "old"):
        assert earlier_rivals([stream("a", topic_id=topic_id), stream("b", topic_id="x")])


def test_a_stream_that_is_being_deleted_was_first_until_it_is_gone():
    """It may be held for long, and still deliver."""
    assert earlier_rivals([ending(stream("a")), stream("b")]) == {"lab.b": "lab.a"}
    assert earlier_rivals([stream("b")]) == {}


def test_in_another_namespace_only_a_stream_that_kafka_has_shown_the_topic_was_first():
    """Else whoever may make a stream anywhere could stop another's."""
    claims = stream("a", namespace="evil")
    assert earlier_rivals([claims, stream("b")]) == {}
    shown = stream("a", namespace="office", topic_id="x")
    assert earlier_rivals([shown, stream("b")]) == {"lab.b": "office.a"}
    assert earlier_rivals([shown, stream("b", brokers="other:9092", topic_id="x")]) == {"lab.b": "office.a"}


def test_one_that_lost_takes_nothing_from_others():
    """The second reads nothing, so that the third, which only it collides with, may."""
    first = stream("a", brokers="k1:9092", topic_id="x")
    second = stream("b", brokers="k2:9092", topic_id="x")
    third = stream("c", brokers="k2:9092")
    assert earlier_rivals([first, second, third]) == {"lab.b": "lab.a"}


ANY = st.builds(
    stream,
    st.sampled_from("abcdefgh"),
    created=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    brokers=st.sampled_from(["k1:1", "k2:1"]),
    topic=st.sampled_from(["t", "u"]),
    group=st.sampled_from(["g", "h"]),
    topic_id=st.sampled_from([None, "x", "y"]),
)


@given(st.lists(ANY, max_size=8, unique_by=lambda made: made.id), st.randoms())
def test_whoever_may_read_has_no_rival_among_those_who_may(streams, random):
    lost = earlier_rivals(streams)
    allowed = [made for made in streams if made.id not in lost]
    assert earlier_rivals(allowed) == {}
    assert set(lost.values()) <= {made.id for made in allowed}
    random.shuffle(streams)
    assert earlier_rivals(streams) == lost
