"""Colours and columns of heat maps."""

from trispike.runtime.pages.heat import (
    LEVELS,
    MOST_COLUMNS,
    colour,
    column_names,
    groups,
    level,
)


def test_levels():
    assert level(0.0, 5.0) == 0
    assert level(5.0, 0.0) == 0
    assert level(1e-9, 5.0) == 1
    assert level(5.0, 5.0) == LEVELS - 1 == 7
    assert [level(n / 7, 1.0) for n in range(1, 7)] == [2, 3, 4, 5, 6, 7]


def test_what_is_there_has_a_colour():
    assert [colour(part) for part in (0.0, 0.5, 1.0, 3.0)] == [1, 4, 7, 7]


def test_steps_share_columns_evenly():
    assert groups(3) == [(0, 1), (1, 2), (2, 3)]
    found = groups(MOST_COLUMNS * 2 + 1)
    assert len(found) <= MOST_COLUMNS
    assert [n for first, last in found for n in range(first, last)] == list(range(49))


def test_columns_are_named_by_steps_from_one():
    assert column_names(3) == ("1", "2", "3")
    assert column_names(MOST_COLUMNS + 1)[:2] == ("1-2", "3-4")
    assert column_names(MOST_COLUMNS + 1)[-1] == "25"
