"""Runs SANA-FE on two files, in a process of its own; prints one JSON object as its last line.

It imports nothing of trispike. A network that SANA-FE cannot digest may end the process that it
runs in, and its messages go to the standard output: neither must happen to the caller.
"""

import json
import sys

del sys.path[0]  # the folder of this file, whose modules are not meant to be found by their names
import sanafe  # noqa: E402


def main(architecture: str, network: str, steps: str) -> None:
    """Simulate under both latency models."""
    arch = sanafe.load_arch(architecture)
    net = sanafe.load_net(network, arch)
    results = {}
    for model in ("simple", "detailed"):
        # A chip remembers how far its spike trains have been played: a new one for each.
        chip = sanafe.SpikingChip(arch)
        chip.load(net)
        run = chip.sim(int(steps), timing_model=model, perf_trace=True)
        run["hops"] = sum(run["perf_trace"]["hops"])
        results[model] = {
            key: run[key]
            for key in ("energy", "sim_time", "spikes", "packets_sent", "neurons_fired", "hops")
        }
    print(json.dumps(results))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
