import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trispike.runtime.fast.workers import Workers


@given(st.integers(1, 5), st.integers(0, 40), st.integers(1, 9), st.booleans())
def test_parts_make_up_the_whole(threads, count, grain, inside):
    """Each index once, parts on multiples of the grain, no more parts than threads."""
    parts: list[tuple[int, int]] = []
    workers = Workers(threads)
    if inside:
        with workers:
            workers.over(count, lambda first, end: parts.append((first, end)), grain)
    else:
        workers.over(count, lambda first, end: parts.append((first, end)), grain)
    assert sorted(i for first, end in parts for i in range(first, end)) == list(range(count))
    assert all(first % grain == 0 and first < end for first, end in parts)
    assert len(parts) <= threads


def test_threads_share_the_work():
    """All parts are under way at once, or this would wait for ever."""
    together = threading.Barrier(3, timeout=30)
    with Workers(3) as workers:
        workers.over(3, lambda first, end: together.wait() and None)


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_errors_come_through_when_all_have_ended(bad):
    ended: list[int] = []

    def work(first: int, end: int) -> None:
        if first == bad:
            raise ArithmeticError(f"part {first}")
        ended.append(first)

    with Workers(3) as workers, pytest.raises(ArithmeticError, match=f"part {bad}"):
        workers.over(3, work)
    assert sorted([*ended, bad]) == [0, 1, 2]


def test_no_threads_are_left_over():
    before = threading.active_count()
    with Workers(4) as workers:
        workers.over(8, lambda first, end: None)
    assert threading.active_count() == before
