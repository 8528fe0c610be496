"""The fast engine: layer by layer over all time steps, int8 convolutions, fused neurons.

Importing it before torch has the threads of torch's OpenMP sleep between convolutions, unless the
environment says otherwise: they would spin, on the cores that the compiled loops run on.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "0")

from trispike.runtime.fast.engine import FastEngine

__all__ = ["FastEngine"]
