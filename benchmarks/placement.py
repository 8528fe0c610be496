"""How long it takes to give every neuron of a network a core of a chip."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, get_args

from benchmarks.case import Case
from trispike.network import IntegerNetwork
from trispike.targets.loihi.hardware import Chip, chip_names, load_chip
from trispike.targets.loihi.placement import Placement, place
from trispike.targets.loihi.tiles import Strategy


def placements(network: IntegerNetwork, rounds: int) -> list[dict[str, Any]]:
    """Wall-clock seconds per chip and strategy, the median of some rounds."""
    found = []
    for name in chip_names():
        chip = load_chip(name)
        for strategy in get_args(Strategy):
            seconds = [_timed(network, chip, strategy)[1] for _ in range(rounds - 1)]
            placement, last = _timed(network, chip, strategy)
            found.append(
                {
                    "target": name,
                    "strategy": strategy,
                    "cores": len(placement.cores),
                    "chips": placement.chips,
                    "seconds": statistics.median([*seconds, last]),
                }
            )
    return found


def _timed(network: IntegerNetwork, chip: Chip, strategy: Strategy) -> tuple[Placement, float]:
    start = time.perf_counter()
    placement = place(network, chip, strategy=strategy)
    return placement, time.perf_counter() - start


def main() -> None:
    """Measure a case and print JSON: ``python -m benchmarks.placement FOLDER ROUNDS``."""
    folder, rounds = sys.argv[1:]
    network = Case(Path(folder)).network()
    print(json.dumps({"placements": placements(network, int(rounds))}))


if __name__ == "__main__":
    main()
