"""Interleaved rounds, and what is concluded from them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Seconds of several contestants, round by round: all ran once before any ran twice."""

    seconds: Mapping[str, tuple[float, ...]]
    """By contestant, from round 1 on; a slow one has fewer rounds than the others."""

    def median(self, name: str) -> float:
        """Median of one contestant's seconds."""
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> float:
        """How many times as long ``slow`` took: the median of the ratios within a round.

        What disturbs a round disturbs both, so this is steadier than a ratio of medians.
        """
        pairs = zip(self.seconds[slow], self.seconds[fast], strict=False)
        return statistics.median(a / b for a, b in pairs)


def interleave(
    contestants: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    allowance: float,
    warm_up: bool = True,
) -> Rounds:
    """Run all contestants in turn, round after round: A B C, A B C, ...

    Args:
        contestants: Each runs once and returns the seconds it took.
        rounds: How often, at most.
        allowance: Seconds per contestant; one that would exceed them runs no further round, but
            everyone runs one.
        warm_up: Whether each runs once before, unmeasured unless that uses up its allowance.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    spent = dict.fromkeys(contestants, 0.0)
    for name, run in contestants.items() if warm_up else ():
        spent[name] = run()
        if spent[name] > allowance:
            seconds[name].append(spent[name])
    for number in range(rounds):
        for name, run in contestants.items():
            if len(seconds[name]) > number:
                continue
            last = max(seconds[name], default=0.0)
            if seconds[name] and (len(seconds[name]) < number or spent[name] + last > allowance):
                continue
            took = run()
            spent[name] += took
            seconds[name].append(took)
    return Rounds(seconds={name: tuple(values) for name, values in seconds.items()})


def spread(values: Sequence[float]) -> float:
    """Half the distance between smallest and largest, relative to the median."""
    return (max(values) - min(values)) / 2 / statistics.median(values)


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The e of the power law y = a * x**e that fits best, in logarithms."""
    slope, _ = np.polyfit(np.log(x), np.log(y), 1)
    return float(slope)
