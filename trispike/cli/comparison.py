"""What stands beside an estimate: twins without spikes, and the conventions of others."""

from __future__ import annotations

from typing import Any, NamedTuple

from trispike.cli.console import joules, out, print_note, table
from trispike.network import Network
from trispike.runtime.energy.conventions import (
    Convention,
    conventions,
    neurobench_before_folding,
    sees_other_inputs,
)
from trispike.runtime.energy.twins import RELU_SPARSITY, AnnTwin, ann_twins
from trispike.runtime.engine import Array
from trispike.runtime.input_counts import InputCounts
from trispike.runtime.ledger import Ledger

SHOWN = 16
"""Samples on which the network runs once more where NeuroBench would see other inputs."""


class Comparison(NamedTuple):
    """Everything that a run is compared with."""

    twins: tuple[AnnTwin, ...]
    conventions: tuple[Convention, ...] = ()
    """Empty: nobody asked."""

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "ann_twins": [twin.to_dict() for twin in self.twins],
            "conventions": [convention.to_dict() for convention in self.conventions],
        }


def compare(
    ledger: Ledger,
    network: Network,
    counted: InputCounts | None = None,
    sparsity: float = RELU_SPARSITY,
    *,
    inputs: Array | None = None,
) -> Comparison:
    """Compare a run.

    Args:
        ledger: Of the run.
        network: That ran.
        counted: Of the data that it ran on, for the conventions of others; None: leave these out.
        sparsity: Share of zeros among the activations of the sparse twin.
        inputs: The data, if they are there: where NeuroBench would see other inputs, some of them
            are run once more.
    """
    twins = ann_twins(ledger, network, sparsity)
    if counted is None:
        return Comparison(twins)
    found = conventions(ledger, network, counted)
    if inputs is not None and sees_other_inputs(network):
        before = neurobench_before_folding(network, inputs[:SHOWN])
        found = (*found[:2], before, *found[2:])
    return Comparison(twins, found)


def print_comparison(comparison: Comparison) -> None:
    """The same for people."""
    _print_twins(comparison.twins)
    if comparison.conventions:
        _print_conventions(comparison.conventions)


def _print_twins(twins: tuple[AnnTwin, ...]) -> None:
    out.print()
    out.print(
        "Beside networks without spikes, arithmetic alone (45 nm, Horowitz, ISSCC 2014), per "
        "inference:",
        style="bold",
    )
    totals = table("twin", "spiking", "twin", "with neurons: spiking", "twin")
    for twin in twins:
        totals.add_row(
            twin.name,
            joules(twin.spiking_joules),
            joules(twin.twin_joules),
            joules(twin.spiking_with_neurons_joules),
            joules(twin.twin_with_neurons_joules),
        )
    out.print(totals)
    for twin in twins:
        print_note(f"{twin.name}: {twin.verdict}")
    for assumption in dict.fromkeys(a for twin in twins for a in twin.assumptions):
        print_note(f"assumed: {assumption}")
    out.print()
    out.print("Break-even firing rate (with the neurons' arithmetic in brackets):")
    rates = table("layer", "rate", *(twin.name for twin in twins))
    for layers in zip(*(twin.layers for twin in twins), strict=True):
        rates.add_row(
            layers[0].layer,
            "-" if layers[0].rate is None else f"{layers[0].rate:.3f}",
            *(
                f"{_rate(x.break_even_rate)} ({_rate(x.break_even_rate_with_neurons)})"
                for x in layers
            ),
        )
    out.print(rates)
    print_note(
        "Below its rate a spiking layer is cheaper. always: at any rate; never: not even in "
        "silence; -: it reads no spikes."
    )


def _print_conventions(found: tuple[Convention, ...]) -> None:
    out.print()
    out.print("The same run under other conventions, per inference:", style="bold")
    rows = table("convention", "AC", "MAC", "dense", "updates", "energy")
    for convention in found:
        rows.add_row(
            convention.name,
            *(
                _count(value)
                for value in (
                    convention.accumulates,
                    convention.multiply_accumulates,
                    convention.dense,
                    convention.neuron_updates,
                )
            ),
            "-" if convention.joules is None else joules(convention.joules),
        )
    out.print(rows)
    # What several conventions share is said once.
    said: dict[str, list[str]] = {}
    for convention in found:
        for sentence in convention.differences:
            said.setdefault(sentence, []).append(convention.name)
    for sentence, names in said.items():
        print_note(f"{'; '.join(names)}: {sentence}")


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    if value > 1:
        return "always"
    return "never" if value < 0 else f"{value:.3f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
