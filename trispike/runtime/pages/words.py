"""Numbers as people read them."""

from __future__ import annotations


def count(value: float | None) -> str:
    """12345.6 as "12,346"; small ones keep two digits."""
    if value is None:
        return "–"
    return f"{value:,.2g}" if 0 < abs(value) < 10 and value != int(value) else f"{value:,.0f}"


def percent(value: float | None, digits: int = 2) -> str:
    """0.985 as "98.50 %"."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"
