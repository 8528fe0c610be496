"""Budgets as users write them, and what networks take of them."""

from pathlib import Path

import pytest

from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float
from trispike.errors import InvalidSettingError, QuantizationError
from trispike.quantize import MemoryBudget, quantize, quantize_to_fit
from trispike.targets.budget import CoreBudget, parse_budget
from trispike.targets.loihi import load_chip, place


@pytest.mark.parametrize("text", ["memory=1", "loihi2:cores=16", "loihi1:cores=3",
                                  "loihi2:flexible:cores=4"])  # fmt: skip
def test_a_budget_is_named_as_it_is_written(text):
    budget = parse_budget(text)
    assert budget.name == text
    assert budget.named(7) == text.rsplit("=", 1)[0] + "=7"


@pytest.mark.parametrize(
    "text",
    ["", "memory", "memory=", "memory=0", "memory=-5", "memory=1.5", "memory=1e3", "memory=²",
     "cores=4", "loihi2:cores=0", "loihi2:memory=5", "loihi2", "loihi2:chips=1",
     "memory=99999999999999999999"],
)  # fmt: skip
def test_other_forms_are_refused(text):
    with pytest.raises(InvalidSettingError, match=r"budget: got .*CHIP:cores=N .* or memory=BYTES"):
        parse_budget(text)


def test_an_unknown_chip_is_refused():
    with pytest.raises(InvalidSettingError, match="loihi9"):
        parse_budget("loihi9:cores=4")


def test_cores_are_those_of_the_placement():
    source = as_float(CASES["deep"](), unit=0.01)
    network = quantize(source, sample_inputs(CASES["deep"](), 3)).network
    budget = parse_budget("loihi1:cores=2")
    assert isinstance(budget, CoreBudget)
    assert budget.cost(network) == len(place(network, load_chip("loihi1")).cores)
    assert isinstance(parse_budget("memory=5"), MemoryBudget)


def small_cores(tmp_path: Path, bits: int) -> Path:
    """Loihi 2 with so little synapse memory that the weights decide."""
    chip = load_chip("loihi2", {"synapse_memory": str(bits)})
    path = tmp_path / "small.json"
    path.write_text(chip.model_dump_json(), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_network_that_fits_cores_is_found_by_placing_it(tmp_path):
    """The checker places the network again."""
    integer = CASES["deep"]()
    source, data = as_float(integer, unit=0.01), sample_inputs(integer, 5)
    path = small_cores(tmp_path, 1500)
    chip = load_chip(path)
    cores = [len(place(quantize(source, data, weight_bits=b).network, chip).cores) for b in (8, 2)]
    assert cores[1] < cores[0]
    for limit in range(cores[1], cores[0]):
        budget = parse_budget(f"{path}:cores={limit}")
        quantization, mixed = quantize_to_fit(source, data, budget=budget)
        assert len(place(quantization.network, chip).cores) == mixed.chosen.cost <= limit
    least = cores[1]
    with pytest.raises(QuantizationError, match=r"takes \d+ cores even with 2-bit weights") as no:
        quantize_to_fit(source, data, budget=parse_budget(f"{path}:cores=1"))
    smallest = int(str(no.value).rsplit("=", 1)[1].rstrip("."))
    assert smallest <= least
    found = quantize_to_fit(source, data, budget=parse_budget(f"{path}:cores={smallest}"))
    assert len(place(found.quantization.network, chip).cores) <= smallest
