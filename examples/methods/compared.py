"""A method beside its absence: the same network trained with and without it, over a few seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping


def compare(variants: Mapping[str, Callable[[int], float]], seeds: Iterable[int]) -> list[str]:
    """Train every variant with every seed.

    Args:
        variants: Name to what trains it from a seed and returns its accuracy on the test images.
        seeds: Of everything random; the same ones for every variant.

    Returns:
        A table in Markdown: the accuracies, their mean, and their standard deviation.
    """
    chosen = list(seeds)
    rows = [
        "| variant | " + " | ".join(f"seed {seed}" for seed in chosen) + " | mean | std |",
        "|---|" + "--:|" * (len(chosen) + 2),
    ]
    for name, accuracy_of in variants.items():
        found = [accuracy_of(seed) for seed in chosen]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        cells = [f"{value:.2%}" for value in (*found, statistics.mean(found), spread)]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
    return rows
