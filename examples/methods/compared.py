"""A method beside its absence: the same network trained with and without it, over a few seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping


def compare(variants: Mapping[str, Callable[[int], float]], seeds: Iterable[int]) -> list[str]:
    """Train every variant with every seed, one seed after the other.

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
    accuracies: dict[str, list[float]] = {name: [] for name in variants}
    for seed in chosen:
        for name, accuracy_of in variants.items():
            accuracies[name].append(accuracy_of(seed))
            print(f"seed {seed}, {name}: {accuracies[name][-1]:.2%}", flush=True)
    for name, found in accuracies.items():
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        cells = [f"{value:.2%}" for value in (*found, statistics.mean(found), spread)]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows
