"""The ray engine: shards of a data set on the workers of a Ray cluster, the same bits as here."""

from trispike.runtime.ray_engine.engine import RayEngine

__all__ = ["RayEngine"]
