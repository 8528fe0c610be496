"""Hardware profiles: what each event costs, with a source for every number."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trispike.errors import FileFormatError, InvalidSettingError

EVENTS = (
    "synaptic_operation",
    "graded_operation",
    "neuron_update_active",
    "neuron_update_inactive",
    "mac",
)
"""What can be priced: a ternary spike over a synapse, a graded payload over a synapse, the two
kinds of neuron update, and a multiply-accumulate of a dense network."""


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Coefficient(_Schema):
    """The price of one event."""

    picojoules: float = Field(ge=0)
    """Energy per event."""
    low: float | None = Field(default=None, ge=0)
    """Lower end of a published interval, in pJ."""
    high: float | None = Field(default=None, ge=0)
    """Upper end of a published interval, in pJ."""
    citation: str = Field(min_length=1)
    """Publication and table."""

    @model_validator(mode="after")
    def _within_interval(self) -> Coefficient:
        ends = (self.low, self.picojoules, self.high)
        known = [end for end in ends if end is not None]
        if known != sorted(known):
            raise ValueError(f"low, picojoules and high are {ends}, not in ascending order")
        return self


class Profile(_Schema):
    """The prices of one piece of hardware, or of one convention."""

    id: str
    """Name on the command line."""
    name: str
    description: str
    process_nm: float = Field(gt=0)
    """Process node, in nm."""
    voltage: float | None = Field(default=None, gt=0)
    """Supply voltage, in V."""
    scope: Literal["per_term", "all_in"]
    """per_term: terms add up; all_in: one number that stands for everything."""
    basis: Literal["simulated", "measured", "regressed", "derived", "assumed"]
    """How the numbers came about."""
    signed_spikes: str
    """How the hardware represents ternary spikes, and how they are counted."""
    coefficients: dict[str, Coefficient]
    """By event."""
    unpriced: dict[str, str]
    """Events and effects without a price, and why; reports list them."""
    caveats: list[str] = Field(default_factory=list)
    """What a reader has to know."""

    @model_validator(mode="after")
    def _known_events(self) -> Profile:
        unknown = sorted(set(self.coefficients) - set(EVENTS))
        if unknown:
            raise ValueError(
                f"coefficients for {', '.join(unknown)}, which is not counted: events are "
                f"{', '.join(EVENTS)}; move others to 'unpriced'"
            )
        both = sorted(set(self.coefficients) & set(self.unpriced))
        if both:
            raise ValueError(f"{', '.join(both)}: both among coefficients and unpriced")
        return self


def profile_names() -> list[str]:
    """Names of the profiles that come with trispike."""
    folder = files(__package__) / "profiles"
    return sorted(
        p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json")
    )


def load_profile(name: str | os.PathLike[str]) -> Profile:
    """A profile by its name, or from a JSON file of the same form.

    Raises:
        InvalidSettingError: Neither a known name nor a file.
        FileFormatError: The file is not a profile.
    """
    if str(name) in profile_names():
        content = (files(__package__) / "profiles" / f"{name}.json").read_bytes()
    elif Path(name).is_file():
        content = Path(name).read_bytes()
    else:
        raise InvalidSettingError(
            "hardware profile",
            got=repr(str(name)),
            expected="one of " + ", ".join(profile_names()) + ", or a JSON file",
            fix="Loihi 2 has no published energy per operation; write a profile of assumptions."
            if "loihi2" in str(name)
            else "Correct the name.",
        )
    try:
        return Profile.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()
        )
        raise FileFormatError(
            f"hardware profile '{name}'",
            got=problems,
            expected="the fields of trispike.runtime.energy.Profile",
            fix="Compare with trispike/runtime/energy/profiles/loihi1.json.",
        ) from error
