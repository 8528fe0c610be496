"""Lava is imported late, through one module, and nothing of that is left behind."""

import importlib.metadata
import subprocess
import sys
import textwrap

import pytest

from trispike.errors import MissingDependencyError
from trispike.targets.lava import requirements

needs_lava = pytest.mark.skipif(
    not any(d.name == "lava-nc" for d in importlib.metadata.distributions()),
    reason="Lava is not installed",
)


def run(code: str) -> str:
    """Output of a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def versions(monkeypatch: pytest.MonkeyPatch, **known: str) -> None:
    def version(name: str) -> str:
        try:
            return known[name.replace("-", "_")]
        except KeyError:
            raise importlib.metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_lava_is_not_imported_before_it_is_needed():
    assert run("""
        import sys
        import trispike, trispike.targets, trispike.targets.lava, trispike.runtime.lava_engine
        print([name for name in sys.modules if name.split(".")[0] in ("lava", "scipy")])
        """).split() == ["[]"]


@needs_lava
@pytest.mark.parametrize("before", ["pass", "set_start_method('fork')", "get_context()", "Queue()"])
def test_import_leaves_nothing_behind(before):
    """Whatever has happened to the start method before, as long as it is "fork"."""
    assert run(f"""
        import dataclasses, warnings
        from multiprocessing import *
        {before}
        import trispike  # NumPy adds filters of its own
        original, filters = dataclasses.dataclass, list(warnings.filters)
        import trispike.targets.lava.imports
        assert dataclasses.dataclass is original
        assert warnings.filters == filters
        print(get_start_method())
        """).split() == ["fork"]


@needs_lava
@pytest.mark.parametrize("when", ["before", "after"])
def test_refuses_another_start_method(when):
    spawn = "import multiprocessing as mp; mp.set_start_method('spawn', force=True)"
    output = run(f"""
        {spawn if when == "before" else "pass"}
        from tests.networks import sample_inputs, vectors
        from trispike.errors import EngineError
        from trispike.runtime.lava_engine import LavaEngine
        try:
            engine = LavaEngine(vectors())
            {spawn if when == "after" else "pass"}
            engine.run(sample_inputs(vectors(), 1))
        except EngineError as error:
            print(error)
        """)
    assert output.startswith("multiprocessing start method: got 'spawn'; expected 'fork'")


def test_missing_lava(monkeypatch):
    versions(monkeypatch, numpy="1.26.4")
    with pytest.raises(MissingDependencyError, match="no lava-nc") as error:
        requirements.check_lava()
    for command in requirements.install_commands():
        assert command in str(error.value)


def test_wrong_lava(monkeypatch):
    versions(monkeypatch, numpy="1.26.4", lava_nc="0.5.0")
    with pytest.raises(MissingDependencyError, match=r"lava-nc 0\.5\.0; expected lava-nc 0\.10\.0"):
        requirements.check_lava()


def test_numpy_2_is_refused(monkeypatch):
    versions(monkeypatch, numpy="2.1.0", lava_nc="0.10.0")
    with pytest.raises(MissingDependencyError, match=r"numpy 2\.1\.0; expected numpy < 2.*fail"):
        requirements.check_lava()


@pytest.mark.parametrize(("python", "commands"), [((3, 10), 1), ((3, 11), 2), ((3, 12), 2)])
def test_install_commands(monkeypatch, python, commands):
    """lava-nc declares Python < 3.11: later ones need a second command."""
    monkeypatch.setattr(sys, "version_info", python)
    found = requirements.install_commands()
    assert len(found) == commands
    assert "trispike[lava]" in found[0]
    assert "--ignore-requires-python lava-nc==0.10.0" in found[-1] or commands == 1
