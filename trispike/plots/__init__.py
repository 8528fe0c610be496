"""Pictures as Matplotlib figures: rasters, membrane traces and firing rates of recordings; curves.

```python
result = trispike.simulate(network, images, record={"conv1": "sv"})
recording = recorded_run(result, network)
plot_traces(recording, network=network)  # in a notebook, after %matplotlib inline
```
"""

from __future__ import annotations

import importlib.util

from trispike.errors import MissingDependencyError

if importlib.util.find_spec("matplotlib") is None:
    raise MissingDependencyError(
        "plots",
        got="no matplotlib",
        expected="matplotlib 3.9 or later",
        fix="Run: pip install 'trispike[plot]'",
    )

from trispike.plots.anytime import plot_anytime
from trispike.plots.canvas import FORMATS, check_format, save_figure
from trispike.plots.choice import KINDS, Kind, default_kind, shown_populations
from trispike.plots.pareto import plot_pareto
from trispike.plots.rasters import plot_raster
from trispike.plots.rates import plot_rates
from trispike.plots.traces import plot_traces

__all__ = [
    "FORMATS",
    "KINDS",
    "Kind",
    "check_format",
    "default_kind",
    "plot_anytime",
    "plot_pareto",
    "plot_raster",
    "plot_rates",
    "plot_traces",
    "save_figure",
    "shown_populations",
]
