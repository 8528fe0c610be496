"""Numbers as people read them."""

from trispike.runtime.pages import words


def test_counts():
    assert words.count(1234567.8) == "1,234,568"
    assert words.count(0.25) == "0.25"
    assert words.count(3.0) == "3"
    assert words.count(None) == "–"


def test_percents():
    assert words.percent(0.985) == "98.50 %"
    assert words.percent(0.985, 1) == "98.5 %"
    assert words.percent(None) == "–"
