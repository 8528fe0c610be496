"""Data as NumPy arrays: known data sets by name, and files.

The digits come with scikit-learn. The others are fetched once, as packages, by the package
manager's own client, verified, and kept in a cache. Event recordings are read with tonic.
"""

from trispike.runtime.data.cache import CACHE_VARIABLE, cache_folder
from trispike.runtime.data.digits import (
    DIGITS_SPLIT_SEED,
    DIGITS_TEST_FRACTION,
    load_digits_split,
)
from trispike.runtime.data.events import Binning, Sensor
from trispike.runtime.data.load import DATA_SETS, load_data
from trispike.runtime.data.samples import Data, Notify, Part, Samples, Split

__all__ = [
    "CACHE_VARIABLE",
    "DATA_SETS",
    "DIGITS_SPLIT_SEED",
    "DIGITS_TEST_FRACTION",
    "Binning",
    "Data",
    "Notify",
    "Part",
    "Samples",
    "Sensor",
    "Split",
    "cache_folder",
    "load_data",
    "load_digits_split",
]
