import importlib.metadata
import inspect

import pytest

from tests.networks import vectors
from trispike.errors import InvalidSettingError, MissingDependencyError
from trispike.runtime import Engine, ReferenceEngine
from trispike.runtime.engines import ENGINES, build_engine, engine_version


def test_the_reference_is_the_first_engine():
    assert next(iter(ENGINES)) == "reference"


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_the_contract(name):
    engine = ENGINES[name]
    assert getattr(engine, "name") == name  # noqa: B009 - a protocol's property
    expected = inspect.signature(Engine.run).parameters
    found = inspect.signature(getattr(engine, "run")).parameters  # noqa: B009
    assert {n: (p.kind, p.default) for n, p in found.items()} == {
        n: (p.kind, p.default) for n, p in expected.items()
    }


def test_options_reach_the_engine():
    engine = build_engine("reference", vectors(), batch_size=5, strict=True)
    assert isinstance(engine, ReferenceEngine)
    assert (engine.batch_size, engine.strict) == (5, True)


def test_an_unknown_name_is_refused_with_the_known_ones():
    text = "engine 'loihi': got an unknown name; expected one of reference, "
    with pytest.raises(InvalidSettingError, match=text):
        build_engine("loihi", vectors())


def test_versions_name_the_package():
    assert engine_version("reference") == "numpy " + importlib.metadata.version("numpy")


def test_an_engine_whose_package_is_missing_says_so(monkeypatch):
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert engine_version("lava") == "lava-nc (not installed)"
    with pytest.raises(MissingDependencyError, match="the Lava target: got no lava-nc"):
        build_engine("lava", vectors())
