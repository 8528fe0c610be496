"""The command line: ``trispike``."""

from trispike.cli.app import main

__all__ = ["main"]
