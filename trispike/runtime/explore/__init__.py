"""Sweeps over how a network is quantized and run: accuracy against energy, one point at a time."""

from trispike.runtime.explore.explorer import Explorer, explore
from trispike.runtime.explore.outcomes import Outcome, load_outcomes, pareto_front, save_outcomes
from trispike.runtime.explore.plan import Draw, Plan, Sweep, load_plan, plan_from
from trispike.runtime.explore.points import Point, described, points_of

__all__ = [
    "Draw",
    "Explorer",
    "Outcome",
    "Plan",
    "Point",
    "Sweep",
    "described",
    "explore",
    "load_outcomes",
    "load_plan",
    "pareto_front",
    "plan_from",
    "points_of",
    "save_outcomes",
]
