"""A picture of a network: one self-contained SVG, made without other tools."""

from trispike.network.picture.svg import draw

__all__ = ["draw"]
