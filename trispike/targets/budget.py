"""What an integer network may take, as the user writes it: cores of a chip, or bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from trispike.errors import InvalidSettingError
from trispike.network import IntegerNetwork
from trispike.quantize import Budget, MemoryBudget
from trispike.targets.loihi import Chip, load_chip
from trispike.targets.loihi.placement import try_to_place

FORMS = "CHIP:cores=N (loihi2:cores=16) or memory=BYTES (memory=100000)"
"""How budgets are written, for help texts."""


@dataclass(frozen=True, slots=True)
class CoreBudget:
    """Cores of a chip that a network may be placed on, with the strategy ``compact``."""

    hardware: str
    """As the user names the chip."""
    limit: int
    chip: Chip = field(repr=False)
    unit = "cores"

    @property
    def name(self) -> str:
        """As a user writes it."""
        return self.named(self.limit)

    def named(self, limit: int) -> str:
        """A budget of this kind with another limit, as a user writes it."""
        return f"{self.hardware}:cores={limit}"

    def cost(self, network: IntegerNetwork) -> int | None:
        """Cores that hold the network; None if there is a neuron that no core holds."""
        placement = try_to_place(network, self.chip)
        return None if placement.misfits else len(placement.cores)


def parse_budget(text: str) -> Budget:
    """A budget from its written form.

    Args:
        text: As in :data:`FORMS`; the chip is a name or a file, as ``load_chip`` takes it.

    Raises:
        InvalidSettingError: Another form, a number below 1, or an unknown chip.
        FileFormatError: The file is not a chip.
    """
    before, _, last = text.rpartition(":")
    kind, _, number = last.partition("=")
    limit = int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else 0
    if limit and kind == "cores" and before:
        return CoreBudget(before, limit, load_chip(before))
    if limit and kind == "memory" and not before:
        return MemoryBudget(limit)
    raise InvalidSettingError(
        "budget",
        got=repr(text),
        expected=FORMS,
        fix="Write it in one of these forms, with a whole number of at least 1.",
    )
