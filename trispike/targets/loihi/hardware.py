"""Chips and boards as data files: every number with its source and how far it can be trusted."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.network.headers import problems

Confidence: TypeAlias = Literal["published", "secondary", "assumed"]
"""published: by the maker of the chip; secondary: by others who programmed or described it;
assumed: not public, chosen here or by the user."""


MOST = 2**40
"""The largest magnitude of a number: sums of such numbers fit into 64 bits."""

AtLeastZero = Annotated[int, Field(ge=0, le=MOST)]
AtLeastOne = Annotated[int, Field(gt=0, le=MOST)]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sourced(_Schema):
    citation: str = Field(min_length=1)
    """Publication, or file of a public program."""
    confidence: Confidence
    """How far the number can be trusted."""
    note: str = ""
    """What a reader has to know beside it."""


class Count(_Sourced):
    """A number that has to be there, 1 or more."""

    value: AtLeastOne


class Limit(_Sourced):
    """A number that has to be there, 0 or more."""

    value: AtLeastZero


class SignedLimit(_Sourced):
    """A number that may be negative."""

    value: Annotated[int, Field(ge=-MOST, le=MOST)]


class OpenLimit(_Sourced):
    """A number, or null where there is no such limit."""

    value: AtLeastOne | None


class Widths(_Sourced):
    """The widths in bits that a field may have, ascending."""

    value: tuple[AtLeastZero, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> Widths:
        if list(self.value) != sorted(set(self.value)):
            raise ValueError(f"widths {list(self.value)} are not in ascending order")
        return self

    def at_least(self, bits: int) -> int:
        """The smallest width that holds so many bits; the largest one if none does."""
        return next((width for width in self.value if width >= bits), self.value[-1])


class SignPolicy(_Sourced):
    """How spikes of both signs travel."""

    value: Literal["native", "pair"]
    """native: a spike carries its sign; pair: an axon and a synapse list for each sign."""


class NeuronPolicy(_Sourced):
    """What a neuron of the chip can compute."""

    value: Literal["programmable", "lif"]
    """programmable: any update of the network; lif: a fixed leaky integrate-and-fire neuron."""


class SharingPolicy(_Sourced):
    """How a core stores the weights of a convolution."""

    value: Literal["lists", "kernel"]
    """lists: one synapse list for all source positions whose targets differ by a shift only;
    kernel: each weight once."""


class LearningPolicy(_Sourced):
    """How synapses of the chip learn."""

    value: Literal["programmable", "fixed"]
    """programmable: taken to compute any rule of the network; fixed: sums of products of traces of
    a width of their own, which is other arithmetic."""


Field_: TypeAlias = (
    Count
    | Limit
    | SignedLimit
    | OpenLimit
    | Widths
    | SignPolicy
    | NeuronPolicy
    | SharingPolicy
    | LearningPolicy
)


class Alternative(_Schema):
    """Other values of some fields, where sources conflict."""

    description: str
    """What it stands for."""
    fields: dict[str, dict[str, Any]]
    """By name of the field, in the field's own form."""


class Chip(_Schema):
    """What one chip offers."""

    id: str
    """Name on the command line."""
    name: str
    description: str
    neurons_per_core: Count
    cores_per_chip: Count
    synapse_memory: Count
    """Bits per core."""
    neuron_bits: Limit
    """Bits of the synapse memory that each neuron takes for itself."""
    in_axons: Count
    """Per core: what arrives."""
    out_axons: Count
    """Per core: what leaves, in slots."""
    map_axon_slots: Count
    """Slots of an outgoing axon that carries a channel number."""
    thresholds_per_core: OpenLimit
    """Different thresholds among the neurons of a core."""
    weight_widths: Widths
    """Stored widths of a weight, sign included."""
    index_widths: Widths
    """Stored widths of the target's index in a synapse; 0 alone: none is stored."""
    weight_exponent_min: SignedLimit
    weight_exponent_max: SignedLimit
    """Shift of a connection's sum beyond the neuron's own 6 bits."""
    state_bits: Count
    """Width of a state, sign included."""
    decay_bits: Count
    """Width of a retention factor."""
    delay_max: Limit
    """Time steps that a synapse can wait, beyond the one that every spike takes."""
    payload_bits: Limit
    """Width of a spike's payload, sign included; 0: a spike says nothing but that it was."""
    threshold_bits: OpenLimit
    """Width of a threshold's mantissa."""
    threshold_shift: Limit
    """Left shift of that mantissa."""
    bias_bits: OpenLimit
    """Width of the magnitude of a bias's mantissa."""
    bias_exponent: Limit
    """Largest left shift of that mantissa."""
    block_synapses: Count
    """Synapses that share a header."""
    header_bits: Limit
    word_bits: Count
    """Blocks are rounded up to whole words."""
    signed_spikes: SignPolicy
    neuron: NeuronPolicy
    convolution: SharingPolicy
    learning: LearningPolicy
    mesh_columns: Count
    mesh_rows: Count
    """Routers of a chip; a router's position is (id // rows, id % rows)."""
    cores_per_router: Count
    alternatives: dict[str, Alternative] = Field(default_factory=dict)
    """By name."""

    @model_validator(mode="after")
    def _consistent(self) -> Chip:
        routers = self.mesh_columns.value * self.mesh_rows.value
        if routers * self.cores_per_router.value < self.cores_per_chip.value:
            raise ValueError(
                f"cores_per_chip: {self.cores_per_chip.value} cores do not fit on {routers} "
                f"routers with {self.cores_per_router.value} cores each"
            )
        low, high = self.weight_exponent_min.value, self.weight_exponent_max.value
        if low > high:
            raise ValueError(f"weight_exponent_min: {low} is above weight_exponent_max, {high}")
        for name, alternative in self.alternatives.items():
            if unknown := sorted(set(alternative.fields) - set(limit_names())):
                raise ValueError(f"alternatives.{name}: unknown {', '.join(unknown)}")
        return self

    def limit(self, name: str) -> Field_:
        """A field with its source, by name."""
        value: Field_ = getattr(self, name)
        return value


class Board(_Schema):
    """Chips on a board."""

    id: str
    """Name on the command line."""
    name: str
    description: str
    chip: str
    """Id of its chips."""
    chips: Count
    usable_cores: OpenLimit
    """Cores per chip that programs can use; null: all."""
    columns: Count
    rows: Count
    """Arrangement of the chips in the mesh."""

    @model_validator(mode="after")
    def _arranged(self) -> Board:
        if self.columns.value * self.rows.value < self.chips.value:
            raise ValueError(
                f"chips: {self.chips.value} do not fit into {self.columns.value} x "
                f"{self.rows.value}"
            )
        return self

    def cores_per_chip(self, chip: Chip) -> int:
        """Cores of each chip that can be used."""
        usable = self.usable_cores.value
        return min(chip.cores_per_chip.value, usable or chip.cores_per_chip.value)

    def cores(self, chip: Chip) -> int:
        """Cores of the board that can be used."""
        return self.chips.value * self.cores_per_chip(chip)


Model = TypeVar("Model", Chip, Board)


def limit_names() -> list[str]:
    """Names of the fields of a chip that have a source."""
    plain = {"id", "name", "description", "alternatives"}
    return [name for name in Chip.model_fields if name not in plain]


def chip_names() -> list[str]:
    """Names of the chips that come with trispike."""
    return _names("profiles")


def board_names() -> list[str]:
    """Names of the boards that come with trispike."""
    return _names("boards")


def load_chip(name: str | os.PathLike[str], settings: Mapping[str, str] | None = None) -> Chip:
    """A chip by its name (``loihi2``, or ``loihi2:flexible`` for an alternative), or from a file.

    Args:
        name: A key of :func:`chip_names`, or a JSON file of the same form.
        settings: Values by field that replace the profile's, as text: ``192KiB``, ``none``.

    Raises:
        InvalidSettingError: Neither a known name nor a file, or a setting that is no field or has
            no such value.
        FileFormatError: The file is not a profile.
    """
    text = str(name)
    known, _, alternative = text.partition(":") if not Path(text).is_file() else (text, "", "")
    chip = _load(Chip, "profiles", known, "hardware profile")
    if alternative:
        chip = with_alternative(chip, alternative)
    return with_settings(chip, settings or {})


def load_board(name: str | os.PathLike[str]) -> Board:
    """A board by its name, or from a JSON file of the same form.

    Raises:
        InvalidSettingError: Neither a known name nor a file.
        FileFormatError: The file is not a board.
    """
    return _load(Board, "boards", str(name), "board")


def boards_of(chip: Chip) -> list[Board]:
    """The boards that come with trispike and carry a chip, the smallest first."""
    boards = [load_board(name) for name in board_names()]
    found = [board for board in boards if board.chip == chip.id]
    return sorted(found, key=lambda board: (board.cores(chip), board.id))


def with_settings(chip: Chip, settings: Mapping[str, str]) -> Chip:
    """A chip with other values, marked as the user's.

    Raises:
        InvalidSettingError: An unknown field, or a value that it cannot have.
    """
    if not settings:
        return chip
    content = chip.model_dump()
    for name, text in settings.items():
        if name not in limit_names():
            raise InvalidSettingError(
                f"setting {name!r}",
                got="an unknown field of a hardware profile",
                expected="one of " + ", ".join(limit_names()),
                fix="Correct the name.",
            )
        old = chip.limit(name)
        content[name] = {
            "value": _value(name, text, old),
            "citation": f"set by the user; the profile has {_plain(old.value)}",
            "confidence": "assumed",
            "note": "",
        }
    try:
        return Chip.model_validate(content)
    except ValidationError as error:
        raise InvalidSettingError(
            "setting",
            got=problems(error),
            expected="values that the field can have",
            fix="Correct the value.",
        ) from error


def _value(name: str, text: str, old: Field_) -> Any:
    """What a text means for a field; only its form is checked here."""
    text = text.strip()
    if isinstance(old, SignPolicy | NeuronPolicy | SharingPolicy):
        return text
    if isinstance(old, Widths):
        parts = text.split(",")
        if all(re.fullmatch(r"\s*\d{1,20}\s*", part) for part in parts):
            return [int(part) for part in parts]
    elif isinstance(old, OpenLimit) and text == "none":
        return None
    elif re.fullmatch(r"[+-]?\d{1,30}", text):
        return int(text)
    elif name == "synapse_memory" and (bits := _memory_bits(text)) is not None:
        return bits
    raise InvalidSettingError(
        f"setting {name!r}",
        got=repr(text),
        expected="a size such as 192KiB, or whole bits"
        if name == "synapse_memory"
        else "whole numbers, separated by commas"
        if isinstance(old, Widths)
        else "a whole number" + (", or none" if isinstance(old, OpenLimit) else ""),
        fix="Correct the value.",
    )


def _memory_bits(text: str) -> int | None:
    match = re.fullmatch(r"(\d{1,20}(?:\.\d+)?)\s*([KM]i?)?B", text, re.IGNORECASE)
    if not match:
        return None
    number, prefix = match.groups()
    base = 1024 if prefix and prefix.lower().endswith("i") else 1000
    power = 0 if not prefix else 1 + "km".index(prefix[0].lower())
    size = float(number) * 8 * base**power
    return math.floor(size)


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def with_alternative(chip: Chip, name: str) -> Chip:
    """A chip with the values of one of its alternatives.

    Raises:
        InvalidSettingError: It has no alternative of this name.
        FileFormatError: The alternative's values are none that the fields can have.
    """
    if name not in chip.alternatives:
        raise InvalidSettingError(
            f"alternative {name!r} of {chip.id}",
            got="an unknown name",
            expected="one of " + ", ".join(chip.alternatives) if chip.alternatives else "none",
            fix=f"Use {chip.id} as it is, or --set.",
        )
    content = chip.model_dump() | chip.alternatives[name].fields
    content["name"] = f"{chip.name} ({name})"
    content["alternatives"] = {}
    return _validated(Chip, content, f"alternative {name!r} of {chip.id}")


def _names(folder: str) -> list[str]:
    found = (files(__package__) / folder).iterdir()
    return sorted(p.name.removesuffix(".json") for p in found if p.name.endswith(".json"))


def _load(model: type[Model], folder: str, name: str, what: str) -> Model:
    names = _names(folder)
    if name in names:
        content = (files(__package__) / folder / f"{name}.json").read_bytes()
    elif Path(name).is_file():
        content = Path(name).read_bytes()
    else:
        raise InvalidSettingError(
            what,
            got=repr(name),
            expected="one of " + ", ".join(names) + ", or a JSON file",
            fix="Correct the name.",
        )
    return _validated(model, content, f"{what} '{name}'")


def _validated(model: type[Model], content: bytes | dict[str, Any], what: str) -> Model:
    try:
        if isinstance(content, bytes):
            return model.model_validate_json(content)
        return model.model_validate(content)
    except ValidationError as error:
        example = "profiles/loihi1" if model is Chip else "boards/kapoho-bay"
        raise FileFormatError(
            what,
            got=problems(error),
            expected=f"the fields of trispike.targets.loihi.{model.__name__}",
            fix=f"Compare with trispike/targets/loihi/{example}.json.",
        ) from error
