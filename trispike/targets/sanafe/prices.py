"""What an event costs in energy and time, from a cited data file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator

SYNAPSES = ("dense", "sparse", "convolution")
"""Formats that a core stores synapses in, which cost differently to read."""

CATEGORIES = {
    **{f"synapse_{unit}": "synapse" for unit in SYNAPSES},
    "neuron_access": "soma",
    "neuron_update": "soma",
    "spike_out": "soma",
    "message_out": "network",
    "message_in": "network",
    "hop_x": "network",
    "hop_y": "network",
}
"""Events that are priced, and where SANA-FE reports their energy."""


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Price(_Schema):
    """Of one event."""

    picojoules: NonNegativeFloat
    nanoseconds: NonNegativeFloat
    citation: str = Field(min_length=1)


class Mesh(_Schema):
    """The chip: tiles with cores, a router each. Tile i is at (i // rows, i % rows)."""

    columns: PositiveInt
    rows: PositiveInt
    cores_per_tile: PositiveInt
    neurons_per_core: PositiveInt
    link_buffer: PositiveInt
    """Messages that a link holds; only SANA-FE's own latency model knows it."""

    @property
    def cores(self) -> int:
        """Of the chip."""
        return self.columns * self.rows * self.cores_per_tile


class Synchronization(_Schema):
    """What the end of a time step takes."""

    nanoseconds_from_tiles: dict[PositiveInt, NonNegativeFloat] = Field(min_length=1)
    """By the smallest number of tiles in use that it stands for."""
    citation: str = Field(min_length=1)

    def nanoseconds(self, tiles: int) -> float:
        """With so many tiles in use."""
        known = self.nanoseconds_from_tiles
        return known[max((n for n in known if n <= tiles), default=min(known))]


class Prices(_Schema):
    """A chip in SANA-FE's terms."""

    id: str
    name: str
    basis: str
    """How the numbers came about."""
    citation: str
    mesh: Mesh
    events: dict[str, Price]
    """By name, all of :data:`CATEGORIES`."""
    synchronization: Synchronization
    unpriced: dict[str, str]
    """What the model leaves out, and why."""
    caveats: tuple[str, ...]

    @model_validator(mode="after")
    def _complete(self) -> Prices:
        if set(self.events) != set(CATEGORIES):
            raise ValueError(f"events: {sorted(self.events)} instead of {sorted(CATEGORIES)}")
        return self

    def joules(self, event: str) -> float:
        """Of one event."""
        return self.events[event].picojoules * 1e-12

    def seconds(self, event: str) -> float:
        """Of one event."""
        return self.events[event].nanoseconds * 1e-9


@cache
def load_prices() -> Prices:
    """Those of Loihi 1, the one chip of this series that SANA-FE describes."""
    return Prices.model_validate_json((files(__package__) / "loihi1.json").read_bytes())
