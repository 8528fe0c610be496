"""How commands get the data that the user names."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from trispike.cli.console import percent, stage, warn
from trispike.network import Network
from trispike.runtime.data import DATA_SETS, Data, load_data

DATA_SOURCES = (
    f"{', '.join(DATA_SETS)} (the held-out part; add :train for the other), or an .npz, .npy or "
    ".safetensors file with x"
)
"""What can be named, for help texts."""

DataOption: TypeAlias = Annotated[
    str,
    typer.Option("--data", metavar="DATA", help=f"{DATA_SOURCES} and, for the accuracy, y."),
]
SamplesOption: TypeAlias = Annotated[
    int | None, typer.Option("--samples", min=1, help="Use the first so many samples only.")
]


def load_shown(source: str, samples: int | None) -> Data:
    """The first samples of data; stderr, if that is a terminal, says what is fetched for them."""
    with stage("loading data") as status:
        notify = None if status is None else status.update
        return load_data(source, samples=samples, notify=notify)


def load_for(network: Network, source: str, samples: int | None) -> Data:
    """The first samples of data for a network, checked before anything is run on them.

    Data that leave the range that the input was quantized for are told on stderr.

    Raises:
        InvalidDataError: They do not fit its input, or the labels not its classes.
        TrispikeError: As ``load_data``.
    """
    given = load_shown(source, samples)
    network.input.check(given.x, network.steps)
    if given.y is not None:
        network.readout.checked_labels(given.y, len(given.x))
    if clipped := network.input.clipped(given.x):
        warn(
            f"{percent(clipped)} of the input values were clipped: they are beyond the range of "
            "the calibration data. Is the data scaled as those were?"
        )
    return given
