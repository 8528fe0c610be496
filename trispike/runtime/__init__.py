"""What runs a network, and what that cost."""

from trispike.runtime.engine import Engine, Result
from trispike.runtime.ledger import Ledger
from trispike.runtime.reference import ReferenceEngine

__all__ = ["Engine", "Ledger", "ReferenceEngine", "Result"]
