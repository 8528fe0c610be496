"""Nothing wrong goes unnoticed: every construction fails for some engine that is wrong."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.conformance.wrong import ARITHMETIC, WRONG
from trispike.errors import EngineError, MissingDependencyError
from trispike.network import Network
from trispike.runtime import ReferenceEngine
from trispike.runtime.conformance import CONSTRUCTIONS, conformance


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_engine_is_caught(wrong):
    change, shown_by = WRONG[wrong]
    found = conformance(lambda network: ReferenceEngine(change(network)), shown_by)
    assert not found.conforms
    failed = {o.construction for o in found.outcomes if o.status == "failed"}
    assert failed == set(shown_by)
    assert all(o.difference for o in found.outcomes if o.status == "failed")


@pytest.mark.parametrize("wrong", ARITHMETIC)
def test_wrong_arithmetic_is_caught(wrong, monkeypatch):
    place, name, function, shown_by = ARITHMETIC[wrong]
    assert conformance("reference", shown_by).conforms

    class Wrong(ReferenceEngine):
        """Only while it runs, so that what is expected is not touched."""

        def run(self, *args: Any, **kwargs: Any) -> Any:
            with monkeypatch.context() as patch:
                patch.setattr(place, name, function)
                return super().run(*args, **kwargs)

    found = conformance(Wrong, shown_by)
    failed = {o.construction for o in found.outcomes if o.difference and o.kind == "integer"}
    assert failed == set(shown_by)


def test_every_construction_catches_something():
    shown = {name for _, names in WRONG.values() for name in names}
    shown |= {name for *_, names in ARITHMETIC.values() for name in names}
    assert shown == set(CONSTRUCTIONS)


def test_the_first_difference_is_named():
    class Late(ReferenceEngine):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            result = super().run(*args, **kwargs)
            result.records["xor"]["v"][0, 2, 0] += 1
            result.records["xor"]["s"][0, 1, 0] = -1
            result.logits[0] += 1
            return result

    integer = conformance(Late, ["xor"]).outcomes[1]
    assert (integer.construction, integer.kind, integer.status) == ("xor", "integer", "failed")
    difference = integer.difference
    assert difference is not None
    assert (difference.engine, difference.what) == ("Late", "xor.s")
    assert (difference.sample, difference.step, difference.index) == (0, 1, (0,))
    assert (difference.expected, difference.got) == (1, -1)


class Spoiled(ReferenceEngine):
    """Changes its result, or raises."""

    def __init__(self, network: Network, spoil: Any) -> None:
        super().__init__(network)
        self.spoil = spoil

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return self.spoil(super().run(*args, **kwargs))


def _without_records(result: Any) -> Any:
    return replace(result, records={})


def _flat(result: Any) -> Any:
    return replace(result, step_logits=result.step_logits.ravel())


def _nan(result: Any) -> Any:
    return replace(result, logits=result.logits * np.nan)


def _logits(result: Any) -> Any:
    return replace(result, logits=result.logits + 1)


def _breaks(result: Any) -> Any:
    raise ZeroDivisionError("oh")


def _stops(result: Any) -> Any:
    raise EngineError("chip", got="smoke", expected="none", fix="Buy another.")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_without_records, "not_other.v is missing in the result"),
        (_flat, "step_logits has shape (36,), expected (3, 4, 3)"),
        (_nan, "logits holds NaN or infinity"),
        (_breaks, "ZeroDivisionError: oh"),
        (_stops, "chip: got smoke; expected none. Buy another."),
    ],
)
def test_a_result_that_cannot_be_compared_is_a_failure(spoil, reason):
    found = conformance(functools.partial(Spoiled, spoil=spoil), ["xor"])
    assert [(o.status, o.difference) for o in found.outcomes] == [("failed", None)] * 2
    assert {o.reason for o in found.outcomes} == {reason}
    assert found.to_dict()["values_compared"] == 0


def test_logits_alone_are_compared_too():
    found = conformance(functools.partial(Spoiled, spoil=_logits), ["xor"])
    assert {o.difference.what for o in found.outcomes if o.difference} == {"logits"}


def test_three_fields_of_a_result_are_enough():
    class Chip:
        """What docs/conformance.md asks of an engine, and no more."""

        def __init__(self, network: Network) -> None:
            self.network = network

        def run(self, inputs: Any, record: Any = None) -> Any:
            result = ReferenceEngine(self.network).run(inputs, record=record)
            return SimpleNamespace(
                records=result.records, step_logits=result.step_logits, logits=result.logits
            )

    found = conformance(Chip, ["xor"])
    assert (found.engine, found.conforms, found.count("passed")) == ("Chip", True, 2)


def test_an_engine_that_is_not_installed_is_no_failure():
    def build(network: Network) -> Any:
        raise MissingDependencyError("chip", got="none", expected="one", fix="Buy one.")

    with pytest.raises(MissingDependencyError, match="Buy one"):
        conformance(build)
