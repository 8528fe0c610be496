"""Settings are refused before anything is computed."""

import pytest

from trispike.errors import InvalidSettingError
from trispike.quantize.finetune import Settings


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", [0, -1, 1.5, True, "3", 2**31]),
        ("batch_size", [0, 2.0]),
        ("patience", [0, 1.5]),
        ("seed", [-1, None]),
        ("learning_rate", [0, -0.1, 1.5, float("nan"), "fast", True]),
        ("loss", ["mse", None]),
        ("surrogate", ["step"]),
        ("trained", [(), "weights", ("weights", "magic")]),
    ],
)
def test_values_out_of_range(name, values):
    for value in values:
        with pytest.raises(InvalidSettingError, match=f"setting '{name}': got"):
            Settings(**{name: value})


def test_the_kinds_come_in_one_order():
    assert Settings(trained=("steps", "weights")).trained == ("weights", "steps")
    assert Settings().to_dict()["trained"] == ["weights", "bias", "steps"]
