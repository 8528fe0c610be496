"""Networks of every supported method, through the whole toolchain: one row each.

    python -m examples.results_methods
    python -m examples.results_methods --only imp ttfs

Each is converted, quantized on 256 training samples, verified on several engines, simulated on the
whole test set and priced. The table goes to `docs/results.md`, between its markers.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trispike
from examples import methods
from examples.methods.common import Method
from examples.results import CALIBRATION, PAGE, Store, versions_and_machine, write_page
from trispike.network import digest

BEGIN, END = "<!-- methods:begin -->", "<!-- methods:end -->"
COLUMNS = (
    *("method", "data", "T", "float", "integer", "engines that agree on every bit"),
    *("spikes per inference", "SOP per inference", "energy (loihi1)"),
)


def found_methods() -> dict[str, Method]:
    """All examples of the package, by name."""
    modules = sorted(module.name for module in pkgutil.iter_modules(methods.__path__))
    offered = (importlib.import_module(f"examples.methods.{name}") for name in modules)
    return {m.METHOD.name: m.METHOD for m in offered if hasattr(m, "METHOD")}


def measure(method: Method) -> dict[str, Any]:
    """Run one method's network through everything.

    Raises:
        SystemExit: Two engines differ.
    """
    train, test = method.samples()
    float_network = method.convert(method.checkpoint, test.x[:32]).network
    some = slice(CALIBRATION)
    integer = trispike.quantize(
        float_network, train.x[some], train.y[some], weight_bits=method.weight_bits
    ).network
    integer = method.deploy(integer, train)
    certificate = trispike.verify(integer, test.x[: method.verified], engines=method.engines)
    if not certificate.equal:
        raise SystemExit(f"{method.name}: {certificate.first_difference}")
    engine = "fast" if "fast" in method.engines else "reference"
    of_float = trispike.simulate(float_network, test.x, test.y, engine=engine)
    of_integer = trispike.simulate(integer, test.x, test.y, engine=engine)
    samples = len(test.y)
    return {
        "steps": integer.steps,
        "float": of_float.accuracy,
        "integer": of_integer.accuracy,
        "samples": samples,
        "engines": list(method.engines),
        "verified": method.verified,
        "spikes": of_integer.ledger.spikes / samples,
        "operations": of_integer.ledger.synaptic_operations / samples,
        "joules": trispike.estimate(of_integer).energy_per_inference_joules,
    }


def table(rows: Mapping[str, Mapping[str, Any]], known: Mapping[str, Method]) -> list[str]:
    """The rows in Markdown, with each method's note below."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|--:|--:|--:|---|--:|--:|--:|"]
    notes = []
    for name, row in rows.items():
        method = known[name]
        lines.append(
            f"| {method.title} | {method.data}, {row['samples']:,} | {row['steps']} "
            f"| {row['float']:.2%} | {row['integer']:.2%} "
            f"| {', '.join(row['engines'])} ({row['verified']} samples) "
            f"| {row['spikes']:,.0f} | {row['operations'] / 1e6:.3g} M "
            f"| {row['joules'] * 1e6:.3g} µJ |"
        )
        trained = f"`python -m examples.methods.{name}` trains it."
        notes.append(f"- **{method.title}:** {trained} {method.note}".rstrip())
    return [*lines, "", *notes, ""]


def main() -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    known = found_methods()
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("out"))
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    store = Store(options.output / "results.json")
    rows = {}
    for name in options.only or known:
        method = known[name]
        network = method.convert(method.checkpoint, method.samples()[1].x[:32]).network
        key = f"method {name} {digest(network)[:12]} {method.weight_bits} bit"
        rows[name] = store.get(key, lambda method=method: measure(method))
    words = " ".join(
        ["python -m examples.results_methods"]
        + ([f"--only {' '.join(options.only)}"] if options.only else [])
    )
    lines = [f"`{words}`, with {versions_and_machine()}.", "", *table(rows, known)]
    write_page(lines, options.page, BEGIN, END)
    print(f"written: {options.page}")


if __name__ == "__main__":
    main()
