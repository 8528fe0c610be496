"""Mixed precision: widths of the connections that suit a budget, by what each of them costs.

What a connection costs at few bits is measured with all others at 8. The costs are taken to add up,
so the widths are found by one greedy walk: from 8 bits everywhere, always the step that costs least
for what it saves. Whether it fits is asked of the budget itself, which may be a placement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

from trispike.errors import QuantizationError
from trispike.network import Identity, IntegerNetwork
from trispike.quantize.quantizer import WIDEST, Quantizer
from trispike.quantize.sensitivity import (
    Judge,
    Quality,
    Sensitivity,
    sensitivities,
)

Widths: TypeAlias = dict[str, int]

NARROWER = (7, 6, 5, 4, 3, 2)
"""Bits that connections may have instead of 8."""

MEASURED = (6, 4, 3, 2)
"""Bits at which every connection is measured. Others are only taken to use up a budget."""


class Budget(Protocol):
    """What a network may take."""

    @property
    def name(self) -> str:
        """As a user writes it."""

    @property
    def limit(self) -> int:
        """The most that it may take."""

    @property
    def unit(self) -> str:
        """Of what, in the plural."""

    def cost(self, network: IntegerNetwork) -> int | None:
        """What a network takes; None if there is no place for it, whatever the limit.

        It follows from shapes and widths; the values of the weights do not count.
        """

    def named(self, limit: int) -> str:
        """A budget of this kind with another limit, as a user writes it."""


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """Bytes of weights, each connection's packed densely: shared weights of a convolution once."""

    limit: int
    unit = "bytes"

    @property
    def name(self) -> str:
        """As a user writes it."""
        return self.named(self.limit)

    def named(self, limit: int) -> str:
        """A budget of this kind with another limit, as a user writes it."""
        return f"memory={limit}"

    def cost(self, network: IntegerNetwork) -> int:
        """Bytes that the weights take."""
        return sum(-(-c.operator.weight.size * c.bits // 8) for c in network.all_connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Widths, and what they cost."""

    bits: Mapping[str, int]
    """By label of the connection."""
    cost: int
    """In the budget's unit."""
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPrecision:
    """What was chosen for a budget, and on what grounds."""

    budget: str
    limit: int
    unit: str
    chosen: Choice
    uniform: Choice | None
    """The widest equal bits that fit; None where not even 2 do."""
    sensitivity: tuple[Sensitivity, ...]
    """What was measured; nothing where 8 bits fit."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def choose_widths(
    quantizer: Quantizer,
    judge: Judge,
    budget: Budget,
    progress: Callable[[int], None] | None = None,
) -> MixedPrecision:
    """Widths that fit a budget, with the least divergence from the float network.

    Never worse on the calibration data than the widest equal bits that fit: those are measured
    too. Identities, which have next to no weights, keep 8 bits.

    Args:
        quantizer: Makes the networks.
        judge: Compares them with the float network.
        budget: What they may take.
        progress: Called with 1 after each measurement.

    Raises:
        QuantizationError: Not even 2 bits everywhere fit; names the smallest budget that would.
            Or what a network takes depends on the values of its weights.
    """
    search = _Search(quantizer, budget)
    widest = dict.fromkeys(quantizer.labels, WIDEST)
    if search.fits(widest):
        only = search.choice(widest, judge)
        return _mixed(budget, only, only, ())
    movable = _movable(quantizer)
    narrowest = {**widest, **dict.fromkeys(movable, min(NARROWER))}
    uniform = search.widest_uniform()
    if uniform is None and not search.fits(narrowest):
        raise _impossible(search, narrowest, dict.fromkeys(widest, min(NARROWER)))
    measured = sensitivities(quantizer, judge, MEASURED, movable, progress)
    path = _walk(widest, measured, judge.quality(quantizer.network(widest, {})).divergence)
    candidates = []
    if search.fits(narrowest):
        candidates.append(search.filled(search.first_fitting(path), path))
    if uniform is not None:
        candidates.append(uniform)
        candidates.append(search.filled(uniform, path))
    choices = [search.choice(widths, judge) for widths in candidates]
    best = min(choices, key=lambda choice: choice.quality.divergence)
    plain = None if uniform is None else choices[candidates.index(uniform)]
    return _mixed(budget, best, plain, measured)


def _mixed(
    budget: Budget, best: Choice, uniform: Choice | None, measured: tuple[Sensitivity, ...]
) -> MixedPrecision:
    return MixedPrecision(
        budget=budget.name,
        limit=budget.limit,
        unit=budget.unit,
        chosen=best,
        uniform=uniform,
        sensitivity=measured,
    )


def _movable(quantizer: Quantizer) -> list[str]:
    return [
        label for label, c in quantizer.separated.labelled() if not isinstance(c.operator, Identity)
    ]


class _Search:
    """Asks a budget, and no question twice."""

    def __init__(self, quantizer: Quantizer, budget: Budget) -> None:
        self._quantizer = quantizer
        self.budget = budget
        self._costs: dict[tuple[int, ...], int | None] = {}

    def cost(self, widths: Widths) -> int | None:
        """What a network of these widths takes; the plainest rounding shows it."""
        key = tuple(widths[label] for label in self._quantizer.labels)
        if key not in self._costs:
            sketch = self._quantizer.network(widths, {}, method="nearest")
            self._costs[key] = self.budget.cost(sketch)
        return self._costs[key]

    def fits(self, widths: Widths) -> bool:
        """Whether it is within the budget."""
        cost = self.cost(widths)
        return cost is not None and cost <= self.budget.limit

    def choice(self, widths: Widths, judge: Judge) -> Choice:
        """Widths that fit, with what they cost."""
        network = self._quantizer.network(widths, {})
        cost = self.budget.cost(network)
        if cost is None or cost != self.cost(widths):
            raise QuantizationError(
                f"budget {self.budget.name!r}",
                got=f"a network that takes {cost} {self.budget.unit}, and {self.cost(widths)} if "
                "its weights have other values",
                expected="the same, since widths and shapes are the same",
                fix="Count stored weights, also those that are 0.",
            )
        return Choice(bits=dict(widths), cost=cost, quality=judge.quality(network))

    def widest_uniform(self) -> Widths | None:
        """The most bits that fit if all have the same."""
        for bits in NARROWER:
            widths = dict.fromkeys(self._quantizer.labels, bits)
            if self.fits(widths):
                return widths
        return None

    def first_fitting(self, path: Sequence[Widths]) -> Widths:
        """The first of a path that fits, if costs fall along it; its end fits."""
        low, high = 0, len(path) - 1
        while low < high:
            middle = (low + high) // 2
            if self.fits(path[middle]):
                high = middle
            else:
                low = middle + 1
        return path[low]

    def filled(self, widths: Widths, path: Sequence[Widths]) -> Widths:
        """Wider where the budget has room left: what the path gave up last comes back first."""
        widths = dict(widths)
        lost = [
            label
            for before, after in pairwise(path)
            for label in before
            if before[label] != after[label]
        ]
        for label in reversed(lost):
            for bits in range(WIDEST, widths[label], -1):
                wider = {**widths, label: bits}
                if self.fits(wider):
                    widths = wider
                    break
        return widths


def _walk(widest: Widths, measured: Sequence[Sensitivity], base: float) -> list[Widths]:
    """From 8 bits to 2, always the step with the least divergence per bit that it saves.

    Args:
        widest: Where it begins.
        measured: What fewer bits cost.
        base: Divergence of 8 bits everywhere, which no connection is to blame for.
    """
    cost: dict[str, dict[int, float]] = {}
    weights = {}
    for entry in sorted(measured, key=lambda s: -s.bits):
        known = cost.setdefault(entry.label, {WIDEST: base})
        # Fewer bits are never taken for better: that is chance.
        known[entry.bits] = max(entry.divergence, *known.values())
        weights[entry.label] = entry.weights
    widths, path = dict(widest), [dict(widest)]
    while True:
        steps = [
            ((known[bits] - known[widths[label]]) / (weights[label] * (widths[label] - bits)),
             -weights[label], label, bits)
            for label, known in cost.items()
            for bits in known
            if bits < widths[label]
        ]  # fmt: skip
        if not steps:
            return path
        _, _, label, bits = min(steps)
        widths[label] = bits
        path.append(dict(widths))


def _impossible(search: _Search, *smallest: Widths) -> QuantizationError:
    budget = search.budget
    costs = [cost for cost in map(search.cost, smallest) if cost is not None]
    if not costs:
        return QuantizationError(
            f"budget {budget.name!r}",
            got="a network with populations of which not even one neuron fits, with 2-bit weights",
            expected="neurons that fit one by one",
            fix="See trispike check, which lists what would help.",
        )
    least = min(costs)
    return QuantizationError(
        f"budget {budget.name!r}",
        got=f"a network that takes {least:,} {budget.unit} even with 2-bit weights",
        expected=f"at most {budget.limit:,}",
        fix=f"The smallest budget that can be met is {budget.named(least)}.",
    )
