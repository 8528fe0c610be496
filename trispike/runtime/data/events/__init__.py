"""Event cameras' files: found, read one by one, and binned into count frames."""

from trispike.runtime.data.events.binning import BINNINGS, Binning, By, count_frames
from trispike.runtime.data.events.load import is_event_data, load_events
from trispike.runtime.data.events.nmnist import NMNIST_SENSOR, write_nmnist
from trispike.runtime.data.events.stream import Events, Sensor

__all__ = [
    "BINNINGS",
    "NMNIST_SENSOR",
    "Binning",
    "By",
    "Events",
    "Sensor",
    "count_frames",
    "is_event_data",
    "load_events",
    "write_nmnist",
]
