"""Hardware profiles: what each event costs, with a source for every number."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.network.headers import problems

COUNTED = (
    "synaptic_operation",
    "graded_operation",
    "neuron_update_active",
    "neuron_update_inactive",
    "neuron_access",
    "spike",
    "message",
    "input_message",
    "hop_x",
    "hop_y",
)
"""Events of a spiking network: a ternary spike over a synapse, a graded payload over a synapse,
the two kinds of neuron update, a neuron looked at (every one at every step, where a source has a
price for that beside the update), a neuron that fired; and on a placement a message from core to
core, one from outside to a core, and the routers that the former pass east-west (x) and
north-south (y)."""

DENSE = ("mac", "activation")
"""Events of the dense network of equal topology, once per inference: a multiply-accumulate, and an
element of a layer."""

EVENTS = (*COUNTED, *DENSE)
"""What can be priced."""

PLACED = ("message", "input_message", "hop_x", "hop_y")
"""Events that are counted on a placement only."""

TIMED = (
    "synaptic_operation",
    "graded_operation",
    "neuron_update_active",
    "neuron_update_inactive",
)
"""Events that keep a core busy, one after the other."""

IF_PRICED = ("neuron_access",)
"""Events that are other events looked at in another way: listed only where they have a price."""

Basis: TypeAlias = Literal["simulated", "measured", "regressed", "derived", "assumed"]
"""How a number came about."""

SynapseKind: TypeAlias = Literal["dense", "sparse", "convolution"]
"""How the synapses of a connection are stored: a matrix, a list, or a kernel; a connection without
weights of its own is a list."""

SYNAPSE_KINDS: tuple[SynapseKind, ...] = ("dense", "sparse", "convolution")

Confidence: TypeAlias = Literal["published", "secondary", "assumed"]
"""published: by those who made or measured it; secondary: read in what others wrote about it;
assumed: chosen here or by the user."""


class Schema(BaseModel):
    """Fixed fields, finite numbers that are no strings, strings without spaces around them."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        strict=True,
        str_strip_whitespace=True,
    )


SchemaT = TypeVar("SchemaT", bound=Schema)


class Coefficient(Schema):
    """The price of one event."""

    picojoules: float = Field(ge=0)
    """Energy per event."""
    low: float | None = Field(default=None, ge=0)
    """Lower end of a published interval, in pJ."""
    high: float | None = Field(default=None, ge=0)
    """Upper end of a published interval, in pJ."""
    citation: str = Field(min_length=1)
    """Publication and table."""
    basis: Basis | None = None
    """How this number came about; null: as the profile's."""
    confidence: Confidence = "assumed"
    """How far it can be trusted."""
    note: str = ""
    """What a reader has to know beside it."""

    @model_validator(mode="after")
    def _within_interval(self) -> Coefficient:
        ends = (self.low, self.picojoules, self.high)
        known = [end for end in ends if end is not None]
        if known != sorted(known):
            raise ValueError(f"low, picojoules and high are {ends}, not in ascending order")
        return self

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) in pJ; the price itself where no interval is published."""
        return (
            self.picojoules if self.low is None else self.low,
            self.picojoules if self.high is None else self.high,
        )


class Duration(Schema):
    """How long one event keeps a core busy."""

    nanoseconds: float = Field(gt=0)
    citation: str = Field(min_length=1)
    """Publication and table."""
    is_maximum: bool = False
    """Whether the source gives it as a maximum, so that it says nothing about the least time."""


class Barrier(Schema):
    """The end of a time step, at which all cores wait for each other."""

    low_nanoseconds: float = Field(gt=0)
    """With the fewest tiles in use."""
    high_nanoseconds: float = Field(gt=0)
    """With the most."""
    citation: str = Field(min_length=1)
    """Publication and table."""

    @model_validator(mode="after")
    def _ascending(self) -> Barrier:
        if self.low_nanoseconds > self.high_nanoseconds:
            raise ValueError("low_nanoseconds is above high_nanoseconds")
        return self


class Times(Schema):
    """What the latency of an inference follows from."""

    events: dict[str, Duration] = Field(min_length=1)
    """By event that keeps a core busy."""
    barrier: Barrier
    cores: int = Field(gt=0)
    """Of a chip."""

    @model_validator(mode="after")
    def _known_events(self) -> Times:
        if unknown := sorted(set(self.events) - set(TIMED)):
            raise ValueError(f"{', '.join(unknown)}: times are of {', '.join(TIMED)}")
        return self


class StaticPower(Schema):
    """What is drawn whether or not anything happens."""

    watts: float = Field(gt=0)
    citation: str = Field(min_length=1)
    """Publication and table."""
    basis: Basis = "assumed"
    """How this number came about."""
    confidence: Confidence = "assumed"
    """How far it can be trusted."""


class SignedSpikes(Schema):
    """How spikes of both signs run on the hardware."""

    policy: Literal["native", "dual_channel", "sign_as_weight"]
    """native: a spike carries its sign, or the sign selects addition or subtraction; dual_channel:
    an axon, a list of synapses and a neuron for each sign; sign_as_weight: the sign is a payload
    that the weight is multiplied with."""
    note: str = Field(min_length=1)
    """What that means here."""


class Supports(Schema):
    """What the hardware has; null: not known."""

    signed_spikes: bool | None = None
    graded_spikes: bool | None = None
    bits: int | None = Field(default=None, gt=0)
    """Width of the widest weight."""


class Profile(Schema):
    """The prices of one piece of hardware, or of one convention."""

    id: str = Field(min_length=1)
    """Name on the command line."""
    name: str
    description: str
    process_nm: float | None = Field(gt=0)
    """Process node, in nm; null: several, or not known."""
    voltage: float | None = Field(default=None, gt=0)
    """Supply voltage, in V."""
    scope: Literal["per_term", "all_in"]
    """per_term: terms add up; all_in: one number that stands for everything."""
    basis: Basis
    """How the numbers came about."""
    prices: Literal["spiking", "dense"] = "spiking"
    """Which network is priced: the spiking one, or the dense one of equal topology."""
    signed_spikes: SignedSpikes
    """How the hardware represents ternary spikes, and how they are counted."""
    supports: Supports = Field(default_factory=Supports)
    """What the hardware has."""
    coefficients: dict[str, Coefficient] = Field(min_length=1)
    """By event."""
    synapses: dict[SynapseKind, Coefficient] = Field(default_factory=dict)
    """A synaptic operation by how its synapses are stored, where that makes a difference; the
    coefficient stands for connections of which it is not known."""
    times: Times | None = None
    """How long events take; null: not known."""
    static_power: StaticPower | None = None
    """Times the latency, where that is known; null: not known."""
    included: dict[str, str] = Field(default_factory=dict)
    """Events whose energy other coefficients hold already, and which."""
    unpriced: dict[str, str]
    """Events and effects without a price, and why; reports list them."""
    caveats: list[str] = Field(default_factory=list)
    """What a reader has to know."""

    @model_validator(mode="after")
    def _known_events(self) -> Profile:
        for field in ("coefficients", "included"):
            if unknown := sorted(set(getattr(self, field)) - set(EVENTS)):
                raise ValueError(
                    f"{field} for {', '.join(unknown)}, which is not counted: events are "
                    f"{', '.join(EVENTS)}; move others to 'unpriced'"
                )
        fields = ("coefficients", "included", "unpriced")
        for n, one in enumerate(fields):
            for other in fields[n + 1 :]:
                if both := sorted(set(getattr(self, one)) & set(getattr(self, other))):
                    raise ValueError(f"{', '.join(both)}: both among {one} and {other}")
        return self

    @model_validator(mode="after")
    def _every_kind_of_synapse(self) -> Profile:
        if not self.synapses:
            return self
        if missing := sorted(set(SYNAPSE_KINDS) - set(self.synapses)):
            raise ValueError(f"synapses: none for {', '.join(missing)}")
        if "synaptic_operation" not in self.coefficients:
            raise ValueError("synapses: no synaptic_operation for what is not known")
        return self

    @model_validator(mode="after")
    def _adds_up(self) -> Profile:
        if self.scope == "all_in" and (len(self.coefficients) > 1 or self.static_power):
            raise ValueError(
                "an all_in number stands for everything: it is the only coefficient, without "
                "static power"
            )
        if self.static_power and "static_power" in self.unpriced:
            raise ValueError("static_power: both given and unpriced")
        if self.prices == "dense" and (spiking := sorted(set(self.coefficients) - set(DENSE))):
            raise ValueError(f"{', '.join(spiking)}: no event of a dense network")
        if self.prices == "spiking" and not set(self.coefficients) & set(COUNTED):
            raise ValueError("coefficients: none for an event of a spiking network")
        return self

    @model_validator(mode="after")
    def _supported(self) -> Profile:
        if self.supports.signed_spikes is False and self.signed_spikes.policy == "native":
            raise ValueError("signed_spikes: the policy is native, but they are not supported")
        if self.supports.graded_spikes is False and "graded_operation" in self.coefficients:
            raise ValueError("graded_operation: has a price, but graded spikes are not supported")
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
        return packaged(str(name), "profiles", Profile)
    if not Path(name).is_file():
        raise unknown_hardware(str(name), profile_names())
    return checked_profile(Path(name).read_bytes(), str(name))


def unknown_hardware(name: str, known: list[str]) -> InvalidSettingError:
    """The error for what is neither a name nor a file."""
    return InvalidSettingError(
        "hardware profile",
        got=repr(name),
        expected="one of " + ", ".join(known) + ", or a JSON file",
        fix="Loihi 2 has no published energy per operation; write a profile of assumptions."
        if "loihi2" in name.lower().replace(" ", "").replace("-", "").replace("_", "")
        else "Correct the name.",
    )


def checked_profile(content: bytes, name: str) -> Profile:
    """A profile of one's own, from the bytes of its file.

    Raises:
        FileFormatError: They are none, or it has the id of one that comes with trispike.
    """
    return checked(content, f"hardware profile '{name}'", Profile, EXAMPLE)


EXAMPLE = "trispike/runtime/energy/profiles/loihi1.json"
"""What a profile looks like."""


def packaged(name: str, folder: str, schema: type[SchemaT]) -> SchemaT:
    """A profile or a memory model that comes with trispike."""
    return schema.model_validate_json((files(__package__) / folder / f"{name}.json").read_bytes())


def packaged_ids() -> set[str]:
    """Ids that files of one's own may not have."""
    folders = [files(__package__) / folder for folder in ("profiles", "memory_models")]
    return {
        p.name.removesuffix(".json")
        for folder in folders
        for p in folder.iterdir()
        if p.name.endswith(".json")
    }


def checked(content: bytes, what: str, schema: type[SchemaT], example: str) -> SchemaT:
    """Hardware of one's own, from the bytes of its file.

    Args:
        content: The file.
        what: What to call it in an error.
        schema: What it should be; with an ``id``.
        example: A file that is one.

    Raises:
        FileFormatError: It is none, it gives a key twice, or it has the id of hardware that comes
            with trispike.
    """
    expected = f"the fields of trispike.runtime.energy.{schema.__name__}"
    fix = f"Compare with {example}."
    try:
        found = schema.model_validate_json(content)
        json.loads(content, object_pairs_hook=_once)
    except ValidationError as error:
        raise FileFormatError(what, got=problems(error), expected=expected, fix=fix) from error
    except _TwiceError as error:
        raise FileFormatError(what, got=str(error), expected="each key once", fix=fix) from error
    name = getattr(found, "id")  # noqa: B009 - of every schema that comes here
    if name in packaged_ids():
        raise FileFormatError(
            what,
            got=f"id {name!r}, which is that of hardware that comes with trispike",
            expected="an id of its own",
            fix="Rename it, so that its figures are not taken for the published ones.",
        )
    return found


class _TwiceError(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _TwiceError(f"key {key!r} twice in one object")
        found[key] = value
    return found


def hardware_sha256(hardware: BaseModel) -> str:
    """Hash of everything that a profile or memory model says."""
    return hashlib.sha256(hardware.model_dump_json().encode()).hexdigest()
