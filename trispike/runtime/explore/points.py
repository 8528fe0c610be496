"""The points of a sweep: every combination, or some that are drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from trispike.errors import InvalidSettingError
from trispike.network import FloatNetwork, Network, with_steps
from trispike.quantize import Granularity
from trispike.runtime.explore.plan import MOST_POINTS, Draw, Plan

Factor: TypeAlias = "float | tuple[float, ...]"
"""Of the thresholds of a population, or of each of its channels."""

ANY = "*"
"""Stands for the populations that are not named."""

DRAWS_PER_POINT = 100
"""Attempts at a point that has not been drawn before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One way to quantize and run a network."""

    weight_bits: int | None
    """None: the network is an integer one already."""
    granularity: Granularity | None
    """The same."""
    steps: int
    thresholds: tuple[tuple[str, Factor], ...] = field(default=())
    """Population or ``"*"``, and its factor."""
    exit_confidence: float | None = None
    """None: all steps."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "weight_bits": self.weight_bits,
            "granularity": self.granularity,
            "steps": self.steps,
            "thresholds": {
                name: list(factor) if isinstance(factor, tuple) else factor
                for name, factor in self.thresholds
            },
            "exit_confidence": self.exit_confidence,
        }


def points_of(plan: Plan, network: Network) -> list[Point]:
    """The points of a plan, each once; the same plan and network give the same points.

    Those that share a network follow each other in a grid. A longer random search begins with the
    points of a shorter one.

    Raises:
        InvalidSettingError: Too many points, or as :func:`check_points`.
    """
    check_plan(plan, network)
    choices = _choices(plan, network)
    if plan.search == "grid":
        count = math.prod(len(values) for values in choices)
        if count > MOST_POINTS:
            raise InvalidSettingError(
                "sweep",
                got=f"{count:,} points",
                expected=f"at most {MOST_POINTS:,}",
                fix='Try fewer values, or search = "random".',
            )
        points = [_point(plan, values) for values in itertools.product(*choices)]
        points = list(dict.fromkeys(points))
    else:
        points = _drawn(plan, network, choices)
    check_points(points, network)
    return points


def check_plan(plan: Plan, network: Network) -> None:
    """Refuse settings of quantization for a network that is quantized already, and the like.

    Raises:
        InvalidSettingError: There are some, or there is nothing to calibrate on.
    """
    is_float = isinstance(network, FloatNetwork)
    sweep = plan.sweep
    given = {
        "sweep.weight_bits": sweep.weight_bits,
        "sweep.granularity": sweep.granularity,
        "sweep.thresholds": sweep.thresholds or None,
        "calibration": plan.calibration,
    }
    wrong = [name for name, value in given.items() if value is not None]
    if not is_float and wrong:
        raise InvalidSettingError(
            wrong[0],
            got="an integer network",
            expected="a float network, which is quantized anew for every point",
            fix="Name the float network that it was quantized from, or leave this out.",
        )
    if is_float and plan.calibration is None:
        raise InvalidSettingError(
            "calibration",
            got="none",
            expected="data to quantize the float network on",
            fix="For example digits:train.",
        )


def check_points(points: Sequence[Point], network: Network) -> None:
    """Refuse points that the network cannot be brought to.

    Raises:
        InvalidSettingError: Steps that the data do not have, an unknown population, or another
            number of channels.
        UnsupportedError: The readout has no meaning over fewer steps; see ``with_steps``.
    """
    for steps in {point.steps for point in points}:
        if network.input.has_frames and steps > network.steps:
            raise InvalidSettingError(
                "sweep.steps",
                got=str(steps),
                expected=f"at most {network.steps}, as many as the data have frames",
                fix="Leave out what is more.",
            )
        with_steps(network, steps)
    if any(point.exit_confidence is not None for point in points):
        with_steps(network, 1)
    seen = {entry for point in points for entry in point.thresholds}
    for name, factor in sorted(seen, key=str):
        _check_factor(network, name, factor)


def _check_factor(network: Network, name: str, factor: Factor) -> None:
    if name != ANY and name not in network.populations:
        raise InvalidSettingError(
            f"sweep.thresholds.{name}",
            got="no population of the network",
            expected=f"one of {', '.join(network.populations)}, or {ANY!r} for all",
            fix="Correct the name; trispike inspect lists them.",
        )
    if not isinstance(factor, tuple):
        return
    names = network.populations if name == ANY else (name,)
    for each in names:
        channels = network.populations[each].shape[0]
        if len(factor) != channels:
            raise InvalidSettingError(
                f"sweep.thresholds.{name}",
                got=f"{len(factor)} factors",
                expected=f"one, or {channels} for the channels of {each}",
                fix="Correct the list.",
            )


def _choices(plan: Plan, network: Network) -> list[list[Any]]:
    """What each setting may be, the exit last; what is drawn between two ends is one choice."""
    sweep = plan.sweep
    is_float = isinstance(network, FloatNetwork)
    factors: list[list[Any]] = [
        [values]
        if isinstance(values, Draw)
        else [tuple(v) if isinstance(v, list) else v for v in values]
        for values in sweep.thresholds.values()
    ]
    exits: Any = sweep.exit_confidence or ["off"]
    return [
        list(sweep.weight_bits or [8]) if is_float else [None],
        list(sweep.granularity or ["channel"]) if is_float else [None],
        *factors,
        list(sweep.steps or [network.steps]),
        [exits] if isinstance(exits, Draw) else [None if e == "off" else e for e in exits],
    ]


def _point(plan: Plan, values: Sequence[Any]) -> Point:
    bits, granularity, *factors, steps, confidence = values
    return Point(
        weight_bits=bits,
        granularity=granularity,
        steps=steps,
        thresholds=tuple(zip(plan.sweep.thresholds, factors, strict=True)),
        exit_confidence=confidence,
    )


def _drawn(plan: Plan, network: Network, choices: list[list[Any]]) -> list[Point]:
    rng = np.random.default_rng(plan.seed)
    found: dict[Point, None] = {}
    assert plan.points is not None
    for _ in range(DRAWS_PER_POINT * plan.points):
        if len(found) == plan.points:
            break
        values = [each[int(rng.integers(len(each)))] for each in choices]
        names = [None, None, *plan.sweep.thresholds, None, None]
        drawn = [
            _draw(value, name, network, rng) if isinstance(value, Draw) else value
            for value, name in zip(values, names, strict=True)
        ]
        found[_point(plan, drawn)] = None
    return list(found)


def _draw(draw: Draw, name: str | None, network: Network, rng: np.random.Generator) -> Factor:
    """Numbers with six digits, so that a plan can name them."""
    count = 1
    if draw.per == "channel":
        if name is None or name not in network.populations:
            raise InvalidSettingError(
                f"sweep.thresholds.{name}" if name else "sweep.exit_confidence",
                got='per = "channel"',
                expected="a population of the network",
                fix="Name the populations one by one.",
            )
        count = network.populations[name].shape[0]
    values = tuple(float(f"{v:.6g}") for v in rng.uniform(draw.low, draw.high, count))
    return values if draw.per == "channel" else values[0]


def described(settings: Mapping[str, Any]) -> str:
    """A point for people, from the form that ``Point.to_dict`` gives it."""
    parts = []
    if settings["weight_bits"] is not None:
        parts += [f"{settings['weight_bits']} bit", f"per {settings['granularity']}"]
    parts.append(f"T = {settings['steps']}")
    for name, factor in settings["thresholds"].items():
        shown = f"{len(factor)} factors" if isinstance(factor, Sequence) else f"{factor:g}"
        parts.append(f"thresholds {'' if name == ANY else name + ' '}x {shown}")
    if settings["exit_confidence"] is not None:
        parts.append(f"exit {settings['exit_confidence']:g}")
    return ", ".join(parts)
