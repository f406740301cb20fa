"""The queue of streams: nothing that happened is lost, and no stream is worked on twice at once."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_operator.work_queue import WorkQueue

A, B = ("lab", "a"), ("lab", "b")
LONG = 1e6

pytestmark = pytest.mark.asyncio


async def soon(queue):
    """The next one, which has to come by itself."""
    return await asyncio.wait_for(queue.get(), 20)


async def nothing(queue):
    """Whether there is none, now that all has happened that was to happen at once."""
    asking = asyncio.ensure_future(queue.get())
    for _ in range(5):
        await asyncio.sleep(0)
    return asking.cancel()


async def test_first_come_first_served_and_each_once():
    queue = WorkQueue()
    for key in (A, B, A, A):
        queue.put(key)
    assert (await soon(queue), await soon(queue)) == (A, B)
    assert await nothing(queue)


async def test_what_happens_during_the_work_is_worked_on_after_it_once():
    queue = WorkQueue()
    queue.put(A)
    await soon(queue)
    queue.put(A)
    queue.put(A)
    assert await nothing(queue)
    queue.done(A)
    assert await soon(queue) == A
    queue.done(A)
    assert await nothing(queue)


async def test_work_that_is_done_is_done_until_something_happens():
    queue = WorkQueue()
    queue.put(A)
    queue.done(await soon(queue))
    assert await nothing(queue)
    queue.put(A)
    assert await soon(queue) == A


async def test_it_waits_for_work():
    queue = WorkQueue()
    asking = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not asking.done()
    queue.put(B)
    assert await asking == B


async def test_later_comes_by_itself():
    queue = WorkQueue()
    queue.put_later(A, 0.001)
    assert await soon(queue) == A


async def test_of_two_times_the_first_one_counts():
    queue = WorkQueue()
    queue.put_later(A, LONG)
    queue.put_later(A, 0.001)
    queue.put_later(A, LONG)
    assert await soon(queue) == A
    queue.done(A)
    queue.put_later(A, 0.001)
    assert await soon(queue) == A


async def test_a_time_that_is_over_already_is_now():
    queue = WorkQueue()
    queue.put_later(A, -5.0)
    assert await soon(queue) == A


async def test_what_comes_in_time_while_it_is_worked_on_is_not_lost():
    queue = WorkQueue()
    queue.put(A)
    await soon(queue)
    queue.put_later(A, 0.0)
    queue.put_later(B, 0.0)
    assert await soon(queue) == B
    queue.done(A)
    assert await soon(queue) == A


async def test_what_is_forgotten_does_not_come_later():
    queue = WorkQueue()
    queue.put_later(A, 0.0)
    queue.put_later(B, 0.0)
    queue.forget(A)
    queue.forget(A)
    assert await soon(queue) == B
    assert await nothing(queue)
    queue.put_later(A, 0.0)
    assert await soon(queue) == A


@given(st.lists(st.tuples(st.sampled_from(["put", "get", "done"]), st.sampled_from([A, B])), max_size=40))
async def test_a_put_is_always_followed_by_work_that_begins_after_it(steps):
    queue = WorkQueue()
    owed, working = set(), set()
    for what, key in steps:
        if what == "put":
            queue.put(key)
            owed.add(key)
        elif what == "done" and key in working:
            queue.done(key)
            working.discard(key)
        elif what == "get" and owed - working:
            found = await soon(queue)
            assert found in owed - working
            working.add(found)
            owed.discard(found)
    while owed or working:
        for key in working:
            queue.done(key)
        working.clear()
        while owed - working:
            found = await soon(queue)
            owed.remove(found)
            working.add(found)
    assert await nothing(queue)
