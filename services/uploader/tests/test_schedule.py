"""Whose turn it is: small ones first, nobody for ever last, never more than was allowed."""

from hypothesis import given
from hypothesis import strategies as st

from penstock_uploader.schedule import RateLimit, Schedule

CHUNK = 1000


def run(schedule: Schedule, left: dict[str, int], budget: int) -> list[str]:
    """Take steps and end files as the service would; give the paths in the order of their steps."""
    taken = []
    for step in schedule.take(budget):
        if step.path not in left:
            continue  # it ended within this batch
        taken.append(step.path)
        left[step.path] -= CHUNK
        if left[step.path] <= 0:
            del left[step.path]
            schedule.done(step.path)
    return taken


def filled(files: dict[str, int], **options: int) -> tuple[Schedule, dict[str, int]]:
    schedule = Schedule(CHUNK, **options)
    for path, size in files.items():
        schedule.add(path, size)
    return schedule, dict(files)


def test_a_small_file_does_not_wait_for_a_large_one():
    schedule, left = filled({"huge": 10**9, "small": 10}, turn_bytes=5 * CHUNK)
    run(schedule, left, 50 * CHUNK)
    schedule.add("later", 10)
    left["later"] = 10
    taken = run(schedule, left, 10 * CHUNK)
    assert "later" in taken


def test_a_large_file_moves_on_while_small_ones_never_end():
    schedule, left = filled({"huge": 10**9}, turn_bytes=10 * CHUNK)
    steps_of_the_huge_one = 0
    for round_ in range(100):
        for number in range(50):
            schedule.add(f"{round_}-{number}", 500)
            left[f"{round_}-{number}"] = 500
        steps_of_the_huge_one += run(schedule, left, 10 * CHUNK).count("huge")
    assert steps_of_the_huge_one > 100


def test_files_of_the_same_size_take_turns_chunk_by_chunk():
    schedule, left = filled({"a": 100 * CHUNK, "b": 100 * CHUNK})
    taken = run(schedule, left, 20 * CHUNK)
    assert abs(taken.count("a") - taken.count("b")) <= 1


def test_only_a_few_files_of_a_class_are_open_at_once():
    schedule, left = filled({f"f{number}": 50 * CHUNK for number in range(20)}, active=3)
    assert len(set(run(schedule, left, 60 * CHUNK))) == 3


def test_a_path_is_in_it_once():
    schedule, left = filled({"a": 10})
    schedule.add("a", 20)
    assert run(schedule, left, 10_000) == ["a"]
    assert len(schedule) == 0


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 40 * CHUNK), max_size=12),
    st.integers(1, 30 * CHUNK),
)
def test_every_file_is_read_to_its_end_and_no_batch_exceeds_what_is_allowed(files, budget):
    schedule, left = filled(files)
    for _ in range(2000):
        if not left:
            break
        steps = schedule.take(budget)
        assert steps
        assert len(steps) == 1 or sum(step.size for step in steps) <= budget
        for step in steps:
            if step.path in left:
                left[step.path] -= CHUNK
                if left[step.path] <= 0:
                    del left[step.path]
                    schedule.done(step.path)
    assert not left
    assert len(schedule) == 0
    assert schedule.take(budget) == []


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 5000)), max_size=50))
def test_no_more_goes_than_the_rate_allows(steps):
    limit, now, sent = RateLimit(1000, 500, 0.0), 0.0, 0
    for wait, size in steps:
        now += wait
        allowed = limit.allowance(now)
        assert allowed is not None
        if allowed > 0:
            size = min(size, allowed)
            limit.spend(size)
            sent += size
        assert sent <= 500 + 1000 * now + 1


def test_without_a_limit_all_may_go():
    limit = RateLimit(None, 500, 0.0)
    limit.spend(10**12)
    assert limit.allowance(0.0) is None
    assert limit.wait_seconds() == 0.0
