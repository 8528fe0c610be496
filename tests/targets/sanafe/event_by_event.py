"""A simulation of the exported files in plain Python, one event after the other.

It knows nothing of how they were made, and adds up what SANA-FE's documentation says that each
event costs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import yaml


def load(path: Path) -> Any:
    """A YAML file; it is data of a test."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506


class Files:
    """Both files, as far as they matter here."""

    def __init__(self, folder: Path) -> None:
        chip = load(folder / "arch.yaml")["architecture"]
        self.height = int(chip["attributes"]["height"])
        self.tiles = chip["tile"]
        content = load(folder / "network.yaml")
        self.trains: dict[str, list[int]] = {}
        self.unit: dict[str, str] = {}
        self.synapse: dict[str, str] = {}
        for group in content["network"]["groups"]:
            (default,) = group["attributes"]
            for entry in group["neurons"]:
                ((number, attributes),) = entry.items()
                merged = {key: value for part in attributes for key, value in part.items()}
                name = f"{group['name']}.{number}"
                self.unit[name] = merged["soma_hw_name"]
                self.trains[name] = merged.get("soma", {}).get("spikes", [])
                self.synapse[name] = default["synapse_hw_name"]
        self.edges: dict[str, list[str]] = defaultdict(list)
        for edge in content["network"]["edges"]:
            ((text, attributes),) = edge.items()
            assert attributes == [{"w": 0}]
            source, target = text.split(" -> ")
            self.edges[source].append(target)
        self.core: dict[str, tuple[int, int]] = {}
        for mapping in content["mappings"]:
            ((where, attributes),) = mapping.items()
            group, neurons = where.split(".", 1)
            first, _, last = neurons.partition("..")
            tile, offset = str(attributes[0]["core"]).split(".")
            for number in range(int(first), int(last or first) + 1):
                name = f"{group}.{number}"
                assert name not in self.core, "mapped twice"
                self.core[name] = (int(tile), int(offset))
        assert self.core.keys() == self.trains.keys()
        owned = [(self.core[name], self.unit[name]) for name in self.core]
        assert len(set(owned)) == len(owned), "a spike train of two neurons"

    @cache  # noqa: B019
    def price(self, name: str, section: str, unit: str, event: str) -> float:
        """Joules of an event in a unit of a neuron's core."""
        tile, offset = self.core[name]
        units = self.tiles[tile]["core"][offset][section]
        for candidate in units:
            base, _, numbers = candidate["name"].partition("[")
            if base == unit.partition("[")[0]:
                if numbers:
                    wanted, last = unit.partition("[")[2].rstrip("]"), numbers.rstrip("]")
                    assert int(wanted) <= int(last.split("..")[1])
                return float(candidate["attributes"][event])
        raise AssertionError(f"no {unit} on {self.core[name]}")

    def position(self, core: tuple[int, int]) -> tuple[int, int]:
        """Of the tile on the mesh."""
        return divmod(core[0], self.height)


def run(folder: Path, steps: int) -> tuple[Counter[str], dict[str, float]]:
    """Events, and joules by SANA-FE's categories."""
    files = Files(folder)
    events: Counter[str] = Counter()
    joules = {"synapse": 0.0, "soma": 0.0, "network": 0.0}
    for t in range(steps):
        for name, train in files.trains.items():
            soma: Any = ("soma", files.unit[name])
            joules["soma"] += files.price(name, *soma, "energy_access_neuron")
            if t >= len(train) or not train[t]:
                continue
            events["fires"] += 1
            joules["soma"] += files.price(name, *soma, "energy_update_neuron")
            joules["soma"] += files.price(name, *soma, "energy_spike_out")
            for core in {files.core[target] for target in files.edges[name]}:
                events["messages"] += 1
                joules["network"] += files.price(name, "axon_out", "out", "energy_message_out")
                (x, y), (to_x, to_y) = files.position(files.core[name]), files.position(core)
                events["hops_x"] += abs(x - to_x)
                events["hops_y"] += abs(y - to_y)
                hop = files.tiles[core[0]]["attributes"]
                joules["network"] += abs(x - to_x) * float(hop["energy_east_hop"])
                joules["network"] += abs(y - to_y) * float(hop["energy_north_hop"])
            for target in files.edges[name]:
                events["reads"] += 1
                unit = files.synapse[target]
                joules["synapse"] += files.price(target, "synapse", unit, "energy_process_spike")
    return events, joules
