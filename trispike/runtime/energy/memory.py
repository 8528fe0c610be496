"""Models of digital cores that price memory, not only arithmetic: weights, states, queues.

Counts of operations alone flatter spiking networks, which fetch their weights again for every spike
and touch their states at every time step (Yan et al., arXiv 2409.08290). A memory model prices each
access by the size of the memory that it goes to.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from trispike.runtime.energy.profile import (
    Basis,
    Coefficient,
    Confidence,
    Profile,
    Schema,
    SignedSpikes,
    StaticPower,
    checked,
    checked_profile,
    packaged,
    profile_names,
    unknown_hardware,
)

FOLDER = "memory_models"


class Size(Schema):
    """A width, with its source."""

    value: PositiveInt
    citation: str = Field(min_length=1)
    """Publication, or who chose it."""
    confidence: Confidence = "assumed"
    """How far it can be trusted."""
    note: str = ""
    """What a reader has to know beside it."""


class Arithmetic(Schema):
    """Prices of operations in one kind of numbers."""

    accumulate: Coefficient
    """An addition, subtraction or comparison."""
    weight_multiply: Coefficient
    """A graded payload times a weight."""
    state_multiply: Coefficient
    """A state times a retention factor."""


class Sram(Coefficient):
    """An access of one word to a memory of one size."""

    bytes: PositiveInt


class Formats(Schema):
    """Arithmetic of the two kinds of networks."""

    integer: Arithmetic
    float: Arithmetic


class MemoryModel(Schema):
    """A digital core: what operations and memory accesses cost, and how wide things are."""

    kind: Literal["memory"]
    """Says that the file is no profile of events."""
    id: str = Field(min_length=1)
    """Name on the command line."""
    name: str
    description: str
    process_nm: float | None = Field(gt=0)
    """Process node, in nm."""
    voltage: float | None = Field(default=None, gt=0)
    """Supply voltage, in V."""
    basis: Basis
    """How the numbers came about."""
    signed_spikes: SignedSpikes
    """How the hardware represents ternary spikes, and how they are counted."""
    arithmetic: Formats
    address: Coefficient
    """Finding the target of a synapse."""
    sram: tuple[Sram, ...] = Field(min_length=1)
    """By ascending size; between two sizes the logarithms are interpolated."""
    dram: Coefficient
    """An access of one word to what is larger than the largest of these."""
    word_bits: Size
    """Width of an access."""
    accumulator_bits: Size
    """Width of the sum of a neuron's input."""
    payload_bits: Size
    """Width of what an event of the input carries."""
    static_power: StaticPower | None = None
    """Times the latency, where that is known; null: not known."""
    unpriced: dict[str, str]
    """Effects without a price, and why; reports list them."""
    caveats: list[str] = Field(default_factory=list)
    """What a reader has to know."""

    @property
    def scope(self) -> Literal["per_term", "all_in"]:
        """Its terms add up."""
        return "per_term"

    @property
    def prices(self) -> Literal["spiking", "dense"]:
        """It prices the spiking network."""
        return "spiking"

    @model_validator(mode="after")
    def _ascending(self) -> MemoryModel:
        sizes = [point.bytes for point in self.sram]
        if sizes != sorted(set(sizes)):
            raise ValueError(f"sram: sizes {sizes} are not in ascending order")
        energies = [point.picojoules for point in self.sram]
        if energies != sorted(energies) or not energies[0]:
            raise ValueError(f"sram: prices {energies} are zero or fall with the size")
        if self.static_power and "static_power" in self.unpriced:
            raise ValueError("static_power: both given and unpriced")
        return self

    def access(self, size: float) -> tuple[float, float, float]:
        """PJ of an access of one word to a memory of so many bytes: (low, price, high).

        Below the smallest published memory its price is taken, above the largest that of DRAM.
        """
        points = self.sram
        if size > points[-1].bytes:
            low, high = self.dram.interval
            return low, self.dram.picojoules, high
        above = next(n for n, point in enumerate(points) if size <= point.bytes)
        if not above:
            return points[0].interval[0], points[0].picojoules, points[0].interval[1]
        smaller, larger = points[above - 1], points[above]
        part = math.log(size / smaller.bytes) / math.log(larger.bytes / smaller.bytes)

        def between(one: float, other: float) -> float:
            return one ** (1 - part) * other**part

        return (
            between(smaller.interval[0], larger.interval[0]),
            between(smaller.picojoules, larger.picojoules),
            between(smaller.interval[1], larger.interval[1]),
        )

    def coefficients(self) -> Iterator[tuple[str, Coefficient]]:
        """All prices, by what they are of."""
        for kind in ("integer", "float"):
            for name in Arithmetic.model_fields:
                yield f"{kind} {name}", getattr(getattr(self.arithmetic, kind), name)
        yield "address", self.address
        for point in self.sram:
            yield f"sram {point.bytes // 1024} KiB", point
        yield "dram", self.dram


def memory_model_names() -> list[str]:
    """Names of the memory models that come with trispike."""
    folder = files(__package__) / FOLDER
    return sorted(
        p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json")
    )


def hardware_names() -> list[str]:
    """Names of all profiles and memory models that come with trispike."""
    return sorted(profile_names() + memory_model_names())


def load_hardware(name: str | os.PathLike[str]) -> Profile | MemoryModel:
    """A profile or a memory model by its name, or from a JSON file of the same form.

    Raises:
        InvalidSettingError: Neither a known name nor a file.
        FileFormatError: The file is neither.
    """
    text = str(name)
    if text in profile_names():
        return packaged(text, "profiles", Profile)
    if text in memory_model_names():
        return packaged(text, FOLDER, MemoryModel)
    if not Path(name).is_file():
        raise unknown_hardware(text, hardware_names())
    content = Path(name).read_bytes()
    return (checked_memory_model if _is_memory_model(content) else checked_profile)(content, text)


def checked_memory_model(content: bytes, name: str) -> MemoryModel:
    """A memory model of one's own, from the bytes of its file.

    Raises:
        FileFormatError: They are none, or it has the id of one that comes with trispike.
    """
    example = "trispike/runtime/energy/memory_models/cmos45-memory.json"
    return checked(content, f"memory model '{name}'", MemoryModel, example)


def _is_memory_model(content: bytes) -> bool:
    try:
        found = json.loads(content)
    except ValueError:
        return False
    return isinstance(found, dict) and "kind" in found
