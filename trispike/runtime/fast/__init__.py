"""The fast engine: layer by layer over all time steps, int8 convolutions, fused neurons."""

from trispike.runtime.fast.engine import FastEngine

__all__ = ["FastEngine"]
