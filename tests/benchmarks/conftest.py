"""A small prepared case."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytest.importorskip("numba", reason="numba is not installed")

from benchmarks.case import Case
from benchmarks.networks import trained_cases


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder: Path = tmp_path_factory.mktemp("cases")
    cases: Iterator[Case] = trained_cases(folder, 8)
    return next(cases)
