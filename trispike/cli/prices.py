"""Prices and settings of estimates: options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from trispike.errors import InvalidSettingError
from trispike.runtime.energy.twins import RELU_SPARSITY

PlacementOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Count messages and hops on this placement, as trispike check wrote it; a memory "
        "model takes the sizes of its memories from it.",
    ),
]
LatencyOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How long an inference takes on the hardware, for its static power.",
    ),
]
ReluSparsityOption: TypeAlias = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Share of zeros that the sparse ANN twin skips, 0..1."),
]

__all__ = [
    "RELU_SPARSITY",
    "LatencyOption",
    "PlacementOption",
    "ReluSparsityOption",
    "assumption_of",
    "parsed_assumption",
]


def parsed_assumption(text: str) -> tuple[str, float]:
    """Event and pJ of ``EVENT=PJ``.

    Raises:
        InvalidSettingError: Another form.
    """
    event, _, price = text.partition("=")
    try:
        return event.strip(), float(price)
    except ValueError:
        raise InvalidSettingError(
            "--assume",
            got=repr(text),
            expected="EVENT=PICOJOULES",
            fix="For example graded_operation=23.6.",
        ) from None


def assumption_of(text: str) -> tuple[str | None, str, float]:
    """Profile, event and pJ of ``PROFILE:EVENT=PJ``; without a profile None.

    Raises:
        InvalidSettingError: Another form.
    """
    profile, colon, rest = text.rpartition(":")
    return (profile.strip() if colon else None, *parsed_assumption(rest))
