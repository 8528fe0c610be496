"""What the fast engine is meant to reach, and whether a run shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Results: TypeAlias = Mapping[str, Any]

MAIN_CASE = "resnet19"
"""The case that the targets speak of."""
LINEAR = (0.8, 1.1)
"""Exponents that count as linear: below 1 is what fixed costs bring, above is what must not be."""
PLACEMENT_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One of them."""

    name: str
    wanted: str
    """For readers."""
    measured: str
    """For readers."""
    value: float | None
    """The figure; None if this run has not measured it."""
    met: bool | None
    """None if this run has not measured it."""


def targets(results: Results) -> list[Target]:
    """Every target, with what the results say about it."""
    case = next((c for c in results["cases"] if c["name"] == MAIN_CASE), None)
    rows = {row["name"]: row for row in case["contestants"]} if case else {}
    stock = results["stock_lava"].get(MAIN_CASE)
    fast, lava = rows.get("fast"), rows.get("lava")
    share = _ratio(rows, "limit-int8")
    found = [
        _at_least("against PyTorch eager, float32", 5, _ratio(rows, "eager"), "times as fast"),
        _at_least("share of the int8 convolution rate", 60, share and 100 * share, "%", digits=0),
        _at_least(
            "against Lava's stock processes, per image",
            1000,
            stock and fast and stock["seconds_per_image"] / fast["seconds_per_sample"],
            "times as fast",
            digits=0,
        ),
        _at_least(
            "our Lava processes against stock, per step",
            50,
            stock and lava and stock["seconds_per_step"] / lava["seconds_per_chip_step"],
            "times as fast",
            digits=0,
        ),
    ]
    found += [_memory(entry) for entry in results["memory"]]
    found.append(_placement(results.get("placements", ())))
    found += [
        _linear(f"cost against {title}", results["exponents"].get(axis))
        for axis, title in (("steps", "time steps"), ("batch", "batch"))
    ]
    return found


def _ratio(rows: Mapping[str, Any], name: str) -> float | None:
    ratio: float | None = rows[name]["times_fast"] if name in rows and "fast" in rows else None
    return ratio


def _at_least(
    name: str, wanted: float, value: float | None, unit: str, *, digits: int = 1
) -> Target:
    return Target(
        name=name,
        wanted=f"at least {wanted} {unit}",
        measured="not measured" if value is None else f"{value:,.{digits}f} {unit}",
        value=value,
        met=None if value is None else value >= wanted,
    )


def _memory(entry: Mapping[str, Any]) -> Target:
    used, budget = entry["used_bytes"], entry["budget_bytes"]
    return Target(
        name=f"memory of {entry['samples']:,} samples of {entry['case']}",
        wanted=f"at most {budget >> 20} MiB",
        measured=f"{used >> 20} MiB",
        value=used,
        met=used <= budget,
    )


def _placement(rows: Sequence[Mapping[str, Any]]) -> Target:
    """Of the chip and strategy that take longest."""
    value = max((row["seconds"] for row in rows), default=None)
    return Target(
        name="placement of ResNet-19 on Loihi",
        wanted=f"under {PLACEMENT_SECONDS} s",
        measured="not measured" if value is None else f"{value:.1f} s",
        value=value,
        met=None if value is None else value < PLACEMENT_SECONDS,
    )


def _linear(name: str, value: float | None) -> Target:
    low, high = LINEAR
    return Target(
        name=name,
        wanted=f"exponent from {low} to {high}",
        measured="not measured" if value is None else f"{value:.2f}",
        value=value,
        met=None if value is None else low <= value <= high,
    )
