"""What a sweep covers: a TOML file, or the same from options."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.quantize import Granularity

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_POINTS = 10_000
"""In one sweep."""

Factor = Annotated[float, Field(gt=0, lt=1e6)]
Confidence = Annotated[float, Field(gt=0, lt=1)]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Draw(_Schema):
    """Numbers between two ends, for a random search; uniform."""

    low: float = Field(gt=0)
    high: float
    per: Literal["layer", "channel"] = "layer"
    """Thresholds: one factor for a population, or one for each of its channels."""

    @model_validator(mode="after")
    def _ascending(self) -> Draw:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        return self


class Sweep(_Schema):
    """Values to try; what is left out stays as it is."""

    weight_bits: list[Annotated[int, Field(ge=2, le=8)]] | None = Field(None, min_length=1)
    """Of a float network: widths of the weights; 8 if left out."""
    granularity: list[Granularity] | None = Field(None, min_length=1)
    """Of a float network: weight scales, and with them thresholds, per channel or per layer."""
    steps: list[Annotated[int, Field(ge=1)]] | None = Field(None, min_length=1)
    """Time steps; the network's own if left out."""
    thresholds: dict[str, Draw | Annotated[list[Factor | list[Factor]], Field(min_length=1)]] = (
        Field(default_factory=dict)
    )
    """Of a float network: factors of the thresholds by population, ``"*"`` for those not named;
    each a number, or a list with one for each channel."""
    exit_confidence: (
        Draw | Annotated[list[Confidence | Literal["off"]], Field(min_length=1)] | None
    ) = None
    """Where samples stop early; ``"off"``: never, as if left out."""


class Plan(_Schema):
    """A sweep, and what it runs on. Paths are relative to the working folder."""

    network: str
    """File of a network."""
    data: str
    """As ``--data``; with labels."""
    samples: int | None = Field(None, ge=1)
    """The first so many only."""
    calibration: str | None = None
    """Of a float network: data to quantize it on."""
    calibration_samples: int = Field(256, ge=1)
    hardware: str = "loihi1"
    assume: dict[str, float] = Field(default_factory=dict)
    """Prices in pJ by event, where the profile has none or another."""
    engine: str | None = None
    """What runs the networks; None: the fastest there is."""
    search: Literal["grid", "random"] = "grid"
    """All combinations, or some drawn at random."""
    points: int | None = Field(None, ge=1, le=MOST_POINTS)
    """Of a random search: how many."""
    seed: int = Field(0, ge=0)
    """Of a random search."""
    sweep: Sweep = Field(default_factory=Sweep)

    @model_validator(mode="after")
    def _matching(self) -> Plan:
        if (self.search == "random") != (self.points is not None):
            raise ValueError("'points' goes with search = \"random\", and only with it")
        draws = [n for n, values in self.sweep.thresholds.items() if isinstance(values, Draw)]
        draws += ["exit_confidence"] if isinstance(self.sweep.exit_confidence, Draw) else []
        if draws and self.search == "grid":
            raise ValueError(f'{", ".join(draws)}: low and high need search = "random"')
        if isinstance(self.sweep.exit_confidence, Draw) and self.sweep.exit_confidence.high >= 1:
            raise ValueError("exit_confidence: high is not below 1")
        return self


def load_plan(path: str | os.PathLike[str], changes: Mapping[str, Any] | None = None) -> Plan:
    """A plan from a TOML file.

    Args:
        path: The file.
        changes: What replaces single entries of it; those of ``sweep`` one by one.

    Raises:
        FileFormatError: No TOML.
        InvalidSettingError: An entry that is unknown, missing or out of range.
        FileNotFoundError: No such file.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"file '{path}'",
            got=str(error),
            expected="TOML",
            fix="Correct the line, or give options instead of a file.",
        ) from error
    for name, value in (changes or {}).items():
        if name == "sweep" and isinstance(content.get(name), dict):
            content[name] = {**content[name], **value}
        else:
            content[name] = value
    return plan_from(content, f"plan '{path}'")


def plan_from(content: Mapping[str, Any], what: str = "plan") -> Plan:
    """A plan from its entries.

    Args:
        content: The entries, as in the file.
        what: How to name it in errors.

    Raises:
        InvalidSettingError: An entry that is unknown, missing or out of range.
    """
    try:
        return Plan.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        # Branches of a union are part of the location, and of no use to a reader.
        place = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        raise InvalidSettingError(
            what,
            got=f"{place}: {first['msg']}" if place else first["msg"],
            expected="the entries of trispike.runtime.explore.Plan",
            fix="Correct the entry; docs/explore.md shows them all.",
        ) from error
