"""The commands, in the order in which a user meets them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from trispike import __version__
from trispike.cli.check import check
from trispike.cli.compare import compare
from trispike.cli.conformance import conformance
from trispike.cli.console import INTERRUPTED, Group
from trispike.cli.convert import convert
from trispike.cli.data import with_event_options
from trispike.cli.demo import demo
from trispike.cli.diagnose import diagnose
from trispike.cli.doctor import doctor
from trispike.cli.estimate import estimate
from trispike.cli.explore import explore
from trispike.cli.export import export
from trispike.cli.finetune import finetune
from trispike.cli.hardware import hardware
from trispike.cli.import_ import import_
from trispike.cli.inspect import inspect
from trispike.cli.plastic import plastic_
from trispike.cli.plot import plot
from trispike.cli.quantize import quantize
from trispike.cli.report import report
from trispike.cli.simulate import simulate
from trispike.cli.verify import verify

app = typer.Typer(
    name="trispike",
    cls=Group,
    help="Ternary spiking networks from a PyTorch checkpoint to a Loihi-style deployment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"trispike {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Ternary spiking networks from a PyTorch checkpoint to a Loihi-style deployment."""


for command in (
    convert,
    quantize,
    finetune,
    diagnose,
    plastic_,
    inspect,
    simulate,
    plot,
    estimate,
    compare,
    explore,
    hardware,
    report,
    check,
    verify,
    conformance,
    export,
    import_,
    demo,
    doctor,
):
    app.command(command.__name__.strip("_"))(with_event_options(command))


def main() -> None:
    """Entry point of the ``trispike`` command."""
    try:
        app()
    except KeyboardInterrupt:  # Before the command began; its own end is in `console.command`.
        sys.exit(INTERRUPTED)
