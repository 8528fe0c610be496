"""Ledgers and traffic with numbers that can be followed by hand."""

from typing import Any

import numpy as np

from trispike.runtime.ledger import ConnectionCounts, Ledger, PopulationCounts
from trispike.targets.loihi.traffic import Flow, Traffic


def numbers(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def one_layer(
    *,
    operations: int = 0,
    graded: int = 0,
    neurons: int = 1,
    steps: int = 1,
    active: int = 0,
    positive: int = 0,
    negative: int = 0,
    dense_macs: int = 0,
) -> Ledger:
    """One sample over one connection into one population; all events in the first step."""
    rest = (0,) * (steps - 1)
    return Ledger(
        samples=1,
        steps=steps,
        populations={
            "a": PopulationCounts(
                neurons=neurons,
                spikes_positive=numbers(positive, *rest),
                spikes_negative=numbers(negative, *rest),
                updates=numbers(*(neurons,) * steps),
                updates_with_input=numbers(active, *rest),
                saturations=numbers(0, *rest),
            )
        },
        connections={
            "input->a": ConnectionCounts(
                synapses=operations,
                dense_macs=dense_macs,
                synaptic_operations=numbers(operations, *rest),
                macs=numbers(graded, *rest),
                zero_weight_operations=numbers(0, *rest),
                dense_operations=numbers(operations, *rest),
            )
        },
    )


def moved(messages: int, x: int, y: int, samples: int = 1, entered: int = 0) -> Traffic:
    """So many messages and hops, and messages of the input, in one step; all on one core."""
    flow = Flow(
        messages=numbers(messages),
        hops_x=numbers(x),
        hops_y=numbers(y),
        chip_crossings=numbers(0),
    )
    outside = Flow(
        messages=numbers(entered), hops_x=numbers(0), hops_y=numbers(0), chip_crossings=numbers(0)
    )
    return Traffic(
        samples=samples,
        connections={"input->a": flow},
        total=flow,
        input=outside,
        by_core=numbers(0),
        operations={"input->a": np.zeros((1, 1))},
        neurons=numbers(1),
        chips=1,
    )
