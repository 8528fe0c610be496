"""``trispike plastic``: rules of run-time plasticity for a network. Experimental."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trispike.cli.console import (
    DebugFlag,
    JsonFlag,
    NetworkArgument,
    OutputOption,
    checked_output,
    command,
    out,
    print_json,
    print_note,
    progress_bar,
    table,
)
from trispike.cli.data import DATA_SOURCES, load_for
from trispike.errors import InvalidSettingError, UnsupportedError
from trispike.network import IntegerNetwork, Network, Plasticity, digest, load, make_plastic, save
from trispike.network.learning import EVERY, plastic, updates_per_sample
from trispike.network.rules import Rules, load_rules, rule_facts
from trispike.runtime.engines import LEARNING_ENGINES

CAVEAT = (
    "experimental: the published rule (DWAM, arXiv 2511.17563) is known in part only; activity, "
    "update and decay are assumptions, and parameters. See docs/plasticity.md."
)


@command
def plastic_(
    network: NetworkArgument,
    rules: Annotated[
        Path,
        typer.Argument(
            metavar="RULES",
            exists=True,
            dir_okay=False,
            help="JSON: a rule by label of a connection, or by * for every dense one into a "
            "population.",
        ),
    ],
    output: OutputOption,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help=f'Where theta is "measured": on these, {DATA_SOURCES}.'),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="With --data: use the first so many samples.")
    ] = 512,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Experimental: weights that change while the network runs, by rules from a file."""
    checked_output(output, network)
    checked_output(output, rules)
    loaded, given = load(network), load_rules(rules)
    if not isinstance(loaded, IntegerNetwork):
        raise UnsupportedError(
            f"network '{network}'",
            got="a float network",
            expected="an integer network, because rules are integer",
            fix="Quantize it first: trispike quantize NET --calibration DATA -o OUT.",
        )
    if bool(given.measured) != (data is not None):
        raise InvalidSettingError(
            "--data",
            got="data" if data is not None else "none",
            expected="data where the theta of a rule is measured, and only there",
            fix='Give --data, or set "theta" to "measured" in the rules.',
        )
    made = make_plastic(loaded, _complete(loaded, given, data, samples))
    save(made, output)
    facts = _facts(made, output)
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _complete(
    network: IntegerNetwork, given: Rules, data: str | None, samples: int
) -> dict[str, Plasticity | None]:
    if data is None:
        return dict(given.rules)
    # Only now, because it records spikes with an engine.
    from trispike.runtime.set_points import with_set_points

    measured = {label: given.rules[label] for label in given.measured}
    with progress_bar("measuring activity", None) as progress:
        inputs = load_for(network, data, samples).x
        found = with_set_points(network, measured, inputs, progress=progress)
    stated = {label: rule for label, rule in given.rules.items() if label not in given.measured}
    if EVERY in stated:  # those that are measured have entries of their own
        return {**stated, **found}
    return {**found, **stated}


def _facts(network: Network, output: Path) -> dict[str, Any]:
    updates = updates_per_sample(network)
    connections = {
        label: {"updates_per_sample": updates[label], "rule": rule_facts(connection.plasticity)}
        for label, connection in plastic(network).items()
        if connection.plasticity is not None
    }
    return {
        "output": str(output),
        "experimental": CAVEAT,
        "engines": list(LEARNING_ENGINES),
        "plastic": connections,
        "network_sha256": digest(network),
    }


def _print(facts: dict[str, Any]) -> None:
    shown = table("plastic connection", "update", "kept", "weight updates per sample", words=3)
    for label, connection in facts["plastic"].items():
        rule = connection["rule"]
        kept = [word for word in ("weights", "activity") if rule[f"keep_{word}"]]
        shown.add_row(
            label,
            f"every {rule['update']}",
            ", ".join(kept) or "nothing",
            f"{connection['updates_per_sample']:,}",
        )
    out.print(shown)
    print_note(CAVEAT)
    print_note("runs on: " + ", ".join(facts["engines"]))
    out.print(f"wrote {facts['output']}", soft_wrap=True)
