"""When what happens: chip time against sample time.

A spike sent at one chip step arrives at the next, so a network is a pipeline: a population of
depth D computes time step t of sample n at chip step ``n*T + t + D``. Two spikes meant for one
time step are therefore one chip step apart per layer between their sources, and the shorter way
waits: a connection from depth P to depth D with the network's own delay d holds its spikes for
``D - P + d`` chip steps, of which the wire itself takes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trispike.errors import UnsupportedError
from trispike.network import Connection, Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Depths, and the latency of every connection that follows from them."""

    depth: Mapping[str, int]
    """Chip steps between the arrival of a time step in the network and its computation, for the
    input (0), every population, and the readout."""
    steps: int
    """Time steps per sample, T."""

    def latency(self, connection: Connection) -> tuple[int, ...]:
        """Chip steps from firing to use, >= 1, for each source of a connection."""
        target = self.depth[connection.target]
        return tuple(target - self.depth[s] + connection.delay for s in connection.sources)

    def chip_steps(self, samples: int) -> int:
        """Chip steps in which so many samples pass through, back to back: n*T + depth."""
        return samples * self.steps + max(self.depth.values())


def schedule(network: Network) -> Schedule:
    """Depths such that every connection has the time that it needs.

    Raises:
        UnsupportedError: A loop's connections take more chip steps than the loop has delay.
    """
    depth = dict(network.depth)
    edges = [(s, c.target, c.delay) for c in network.all_connections for s in c.sources]
    # Longest paths by relaxation; a loop that never settles asks for more time than it has.
    late: list[tuple[str, str, int]] = []
    for _ in range(len(depth) + 1):
        late = [(s, t, d) for s, t, d in edges if depth[t] + d < depth[s] + 1]
        if not late:
            return Schedule(depth=depth, steps=network.steps)
        for source, target, delay in late:
            depth[target] = max(depth[target], depth[source] + 1 - delay)
    loop = ", ".join(sorted({f"{s}->{t} (delay {d})" for s, t, d in late if d}))
    raise UnsupportedError(
        f"recurrent connection {loop}",
        got="a loop with more connections than time steps of delay",
        expected="a delay of at least one time step per connection on the loop, because every "
        "connection takes one chip step",
        fix="Raise the delay and train with it, or run this network on the reference engine.",
    )
