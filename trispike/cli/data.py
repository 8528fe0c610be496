"""How commands get the data that the user names."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import typer

from trispike.cli.console import percent, stage, warn
from trispike.network import Network
from trispike.network.network import PAYLOAD_LIMIT
from trispike.runtime.data import DATA_SETS, Binning, Data, Sensor, load_data
from trispike.runtime.data.events import By, is_event_data
from trispike.runtime.data.events.load import Check

DATA_SOURCES = (
    f"{', '.join(DATA_SETS)} (the held-out part; add :train for the other), an .npz, .npy or "
    ".safetensors file with x, or a folder of event recordings"
)
"""What can be named, for help texts."""

DataOption: TypeAlias = Annotated[
    str,
    typer.Option("--data", metavar="DATA", help=f"{DATA_SOURCES} and, for the accuracy, y."),
]
SamplesOption: TypeAlias = Annotated[
    int | None, typer.Option("--samples", min=1, help="Use the first so many samples only.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOptions:
    """How a command was told to bin event recordings."""

    frames: int | None = None
    """T; None: the network's."""
    by: By | None = None
    """None: by time."""
    sensor: Sensor | None = None
    """None: what the format says."""

    def binning(self, steps: int) -> Binning:
        """For a network of so many steps."""
        return Binning(frames=self.frames or steps, by=self.by or "time", sensor=self.sensor)


_CHOSEN: ContextVar[EventOptions | None] = ContextVar("event options", default=None)
"""Of the command that runs."""

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "frames": (
        int | None,
        typer.Option(
            metavar="T", min=1, help="Event recordings: frames; default: the network's steps."
        ),
    ),
    "bin": (
        By | None,
        typer.Option(help="Event recordings: frames of equal time (default) or event count."),
    ),
    "sensor": (
        str | None,
        typer.Option(metavar="HxW", help="Event recordings: pixels; default: as the format says."),
    ),
}
"""By name of the argument: type, and what typer has to know."""

_TAKES_DATA = {"data", "calibration"}


def with_event_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that takes data, with ``--frames``, ``--bin`` and ``--sensor``; others unchanged.

    What is given holds for all that :func:`load_shown` loads while the command runs.
    """
    signature = inspect.signature(function, eval_str=True)
    if not _TAKES_DATA & set(signature.parameters):
        return function

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        frames, by, sensor = (kwargs.pop(name) for name in _OPTIONS)
        token = _CHOSEN.set(EventOptions(frames=frames, by=by, sensor=_sensor(sensor)))
        try:
            return function(*args, **kwargs)
        finally:
            _CHOSEN.reset(token)

    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
        )
        for name, (kind, option) in _OPTIONS.items()
    ]
    own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values()]
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own[:-2], *added, *own[-2:]]
    )
    return wrapper


def _sensor(text: str | None) -> Sensor | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no size of a sensor, like 34x34 (height x width).", param_hint="--sensor"
        )
    return Sensor(*map(int, found.groups()))


def load_shown(
    source: str, samples: int | None, steps: int = 1, check: Check | None = None
) -> Data:
    """The first samples of data; stderr, if that is a terminal, says what is fetched for them.

    Args:
        source: What the user named.
        samples: How many; None: all.
        steps: Frames that event recordings become, unless ``--frames`` says it.
        check: Called with the frames of the first event recording, before others are read.
    """
    options = _CHOSEN.get() or EventOptions()
    if options != EventOptions() and not is_event_data(Path(source)):
        warn(f"--frames, --bin and --sensor do nothing for '{source}': it holds no events.")
    with stage("loading data") as status:
        notify = None if status is None else status.update
        return load_data(
            source, samples=samples, notify=notify, binning=options.binning(steps), check=check
        )


def load_for(network: Network, source: str, samples: int | None) -> Data:
    """The first samples of data for a network, checked before anything is run on them.

    Data that leave the range that the input was quantized for are told on stderr.

    Raises:
        InvalidDataError: They do not fit its input, or the labels not its classes.
        TrispikeError: As ``load_data``.
    """
    steps, spikes = network.steps, network.input.encoding == "spikes"
    # Counts that are too large as spikes do not end the command; they are clipped below.
    given = load_shown(
        source,
        samples,
        steps,
        lambda first: network.input.check(
            first.clip(max=PAYLOAD_LIMIT) if spikes else first, steps
        ),
    )
    if spikes and is_event_data(Path(source)):
        _clip(given)
    network.input.check(given.x, steps)
    if given.y is not None:
        network.readout.checked_labels(given.y, len(given.x))
    if clipped := network.input.clipped(given.x):
        warn(
            f"{percent(clipped)} of the input values were clipped: they are beyond the range of "
            "the calibration data. Is the data scaled as those were?"
        )
    return given


def _clip(given: Data) -> None:
    """Bring counts, which are ours alone, into the range of a spike's payload, and tell it."""
    clipped = 0
    for frames in given.x:
        clipped += int((frames > PAYLOAD_LIMIT).sum())
        np.minimum(frames, PAYLOAD_LIMIT, out=frames)
    if clipped:
        warn(
            f"{clipped:,} counts ({percent(clipped / given.x.size)}) were clipped at "
            f"{PAYLOAD_LIMIT}, the largest payload of a spike. More frames make counts smaller."
        )
