"""Plans: what a file says, and everything that is refused."""

import pytest

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.runtime.explore import Draw, load_plan, plan_from

START = {"network": "net", "data": "digits"}

TEXT = """
network = "net.safetensors"
data = "digits"
calibration = "digits:train"
search = "random"
points = 20
seed = 3

[assume]
graded_operation = 23.6

[sweep]
weight_bits = [8, 4]
granularity = ["channel", "layer"]
steps = [1, 2]
exit_confidence = ["off", 0.9]

[sweep.thresholds]
"*" = [1, 1.5]
conv1 = { low = 0.5, high = 2, per = "channel" }
conv2 = [1.0, [0.5, 2.0]]
"""


def test_a_file(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(TEXT, encoding="utf-8")
    plan = load_plan(path)
    assert (plan.search, plan.points, plan.seed) == ("random", 20, 3)
    assert plan.assume == {"graded_operation": 23.6}
    assert plan.sweep.exit_confidence == ["off", 0.9]
    assert plan.sweep.thresholds["conv1"] == Draw(low=0.5, high=2, per="channel")
    assert plan.sweep.thresholds["conv2"] == [1.0, [0.5, 2.0]]


def test_options_replace_single_entries(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(TEXT, encoding="utf-8")
    plan = load_plan(path, {"data": "other.npz", "sweep": {"steps": [4]}})
    assert plan.data == "other.npz"
    assert plan.sweep.steps == [4]
    assert plan.sweep.weight_bits == [8, 4]
    bare = load_plan(path, {"seed": 5})
    assert (bare.seed, bare.sweep.steps) == (5, [1, 2])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"netwrok": "x"}, "netwrok: Extra inputs are not permitted"),
        ({"samples": 0}, "samples: Input should be greater than or equal to 1"),
        ({"points": 3}, "'points' goes with search"),
        ({"search": "random"}, "'points' goes with search"),
        ({"search": "clever"}, "search: Input should be 'grid' or 'random'"),
        ({"sweep": {"weight_bits": [9]}}, "sweep.weight_bits.0: Input should be less than"),
        ({"sweep": {"weight_bits": []}}, "sweep.weight_bits: List should have at least 1 item"),
        ({"sweep": {"steps": [0]}}, "sweep.steps.0: Input should be greater than"),
        ({"sweep": {"granularity": ["row"]}}, "sweep.granularity.0: Input should be 'channel' or"),
        ({"sweep": {"thresholds": {"a": [0]}}}, "sweep.thresholds.a"),
        ({"sweep": {"thresholds": {"a": [float("nan")]}}}, "sweep.thresholds.a"),
        ({"sweep": {"exit_confidence": [1.0]}}, "sweep.exit_confidence"),
        ({"sweep": {"exit_confidence": ["never"]}}, "sweep.exit_confidence"),
        ({"sweep": {"thresholds": {"a": {"low": 1, "high": 2}}}}, "a: low and high need search"),
        (
            {"search": "random", "points": 2, "sweep": {"exit_confidence": {"low": 2, "high": 1}}},
            "low 2.0 is not below high 1.0",
        ),
        (
            {
                "search": "random",
                "points": 2,
                "sweep": {"exit_confidence": {"low": 0.5, "high": 1}},
            },
            "exit_confidence: high is not below 1",
        ),
    ],
)
def test_bad_entries(changes, text):
    with pytest.raises(InvalidSettingError) as caught:
        plan_from({**START, **changes})
    assert text in str(caught.value)


def test_what_is_missing():
    with pytest.raises(InvalidSettingError, match="data: Field required"):
        plan_from({"network": "net"})


def test_no_toml(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("network = ", encoding="utf-8")
    with pytest.raises(FileFormatError, match="expected TOML"):
        load_plan(path)
