"""What the ray engine costs beside the engine inside: python -m benchmarks.ray_costs NET --data X.

Prints what docs/scaling.md calls S, c, d and t. CPU seconds are what is compared, because
they hold on a busy machine too; Ray gives its workers a low priority, so that their wall-clock time
does not.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import NamedTuple

import numpy as np

from trispike.network import Network, load
from trispike.runtime.data import load_data
from trispike.runtime.engine import Array
from trispike.runtime.engines import build_engine
from trispike.runtime.ray_engine import RayEngine

SMALL, LARGE = 256, 8192
"""Numbers of samples; what grows from one to the other is the cost of a sample."""


class Cost(NamedTuple):
    """Seconds of one run."""

    wall: float
    cpu: float
    """Of this process, all of its threads."""


def cost(engine: str, network: Network, x: Array, **options: object) -> Cost:
    """Run an engine once, Ray's session included."""
    built = build_engine(engine, network, **options)
    wall, cpu = time.perf_counter(), time.process_time()
    built.run(x)
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def costs(network: Network, x: Array, inner: str, samples: int) -> dict[str, float]:
    """S, c, d in seconds, and t in bytes."""
    many = np.resize(x, (LARGE, *x.shape[1:]))
    options = {} if inner == "reference" else {"threads": 1}
    build_engine(inner, network, **options).run(many[:1])  # what is compiled at first
    inside = cost(inner, network, many[:samples], **options)
    shards = {"inner": inner, "workers": 1, "shard_size": SMALL}
    small = cost(RayEngine.name, network, many[:SMALL], **shards)
    large = cost(RayEngine.name, network, many, **shards)
    return {
        "S": small.wall,
        "c": inside.cpu / samples,
        "d": (large.cpu - small.cpu) / (LARGE - SMALL),
        "t": x[0].nbytes,
        "workers_at_most": inside.cpu / samples * (LARGE - SMALL) / (large.cpu - small.cpu),
    }


def main() -> None:
    """Print the costs as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("--data", required=True)
    parser.add_argument("--inner", default="reference")
    parser.add_argument("--samples", type=int, default=512, help="that c is measured with")
    given = parser.parse_args()
    x = load_data(given.data).x
    print(json.dumps(costs(load(given.network), x, given.inner, given.samples)))


if __name__ == "__main__":
    main()
