"""Profiles and boards: every number has a source, and what is wrong with a file is said."""

import json
from typing import Any

import pytest

from trispike.errors import FileFormatError, InvalidSettingError
from trispike.targets.loihi.hardware import (
    Board,
    Chip,
    board_names,
    boards_of,
    chip_names,
    limit_names,
    load_board,
    load_chip,
)


def test_what_comes_with_trispike():
    assert chip_names() == ["loihi1", "loihi2"]
    assert {name: load_board(name).chips.value for name in board_names()} == {
        "kapoho-bay": 2, "nahuku": 32, "pohoiki-springs": 768,
        "oheo-gulch": 1, "kapoho-point": 8, "hala-point": 1152,
    }  # fmt: skip
    for name in chip_names():
        boards = boards_of(load_chip(name))
        cores = [board.cores(load_chip(name)) for board in boards]
        assert cores == sorted(cores)
        assert {board.chip for board in boards} == {name}


@pytest.mark.parametrize("name", chip_names())
def test_every_number_has_a_source_and_assumptions_are_explained(name):
    chip = load_chip(name)
    for field in limit_names():
        limit = chip.limit(field)
        assert limit.citation
        if limit.confidence == "assumed":
            assert limit.note, field


def test_the_published_numbers():
    loihi1, loihi2 = load_chip("loihi1"), load_chip("loihi2")
    assert loihi1.neurons_per_core.value == 1024
    assert loihi1.synapse_memory.value == 16384 * 64 == 128 * 1024 * 8
    assert (loihi1.in_axons.value, loihi1.out_axons.value) == (4096, 4096)
    assert loihi2.neurons_per_core.value * 128 == 2**20
    flexible = load_chip("loihi2:flexible")
    assert loihi2.synapse_memory.value == 128 * 1024 * 8
    assert (flexible.synapse_memory.value, flexible.neuron_bits.value) == (192 * 1024 * 8, 72)
    hala = load_board("hala-point")
    assert hala.cores(loihi2) == 140_544
    assert load_board("oheo-gulch").cores(loihi2) == 120


@pytest.mark.parametrize(
    ("text", "bits"),
    [("192KiB", 1_572_864), ("128 kB".replace(" ", ""), 1_024_000), ("1MiB", 2**23), ("4096", 4096),
     ("100B", 800)],
)  # fmt: skip
def test_memory_is_given_in_bytes_or_bits(text, bits):
    chip = load_chip("loihi2", {"synapse_memory": text})
    assert chip.synapse_memory.value == bits
    assert chip.synapse_memory.confidence == "assumed"
    assert chip.synapse_memory.citation == "set by the user; the profile has 1048576"
    assert chip.in_axons == load_chip("loihi2").in_axons


def test_other_settings():
    chip = load_chip(
        "loihi1",
        {"thresholds_per_core": "none", "weight_widths": "4, 8", "weight_exponent_min": "-8",
         "signed_spikes": "native", "neuron": "programmable", "convolution": "kernel"},
    )  # fmt: skip
    assert chip.thresholds_per_core.value is None
    assert chip.weight_widths.value == (4, 8)
    assert chip.weight_exponent_min.value == -8
    assert chip.neuron.value == "programmable"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"memory": "1"}, "'memory': got an unknown field of a hardware profile; expected one of"),
        ({"in_axons": "-4"}, "in_axons.value: Input should be greater than 0"),
        ({"in_axons": "0"}, "in_axons.value: Input should be greater than 0"),
        ({"in_axons": "99999999999999999999"}, "in_axons.value: Input should be less than or"),
        ({"in_axons": "9" * 5000}, "'; expected a whole number"),
        ({"synapse_memory": "9" * 5000 + "KiB"}, "expected a size such as 192KiB"),
        ({"synapse_memory": "99999999999MiB"}, "synapse_memory.value: Input should be less than"),
        ({"in_axons": "many"}, "setting 'in_axons': got 'many'; expected a whole number"),
        ({"in_axons": "none"}, "setting 'in_axons': got 'none'; expected a whole number."),
        ({"synapse_memory": "much"}, "expected a size such as 192KiB, or whole bits"),
        ({"synapse_memory": "0KiB"}, "synapse_memory.value: Input should be greater than 0"),
        ({"neuron": "quantum"}, "neuron.value: Input should be 'programmable' or 'lif'"),
        ({"weight_widths": "8,4"}, r"widths \[8, 4\] are not in ascending order"),
        ({"weight_widths": "wide"}, "expected whole numbers, separated by commas"),
        ({"weight_exponent_max": "-9"}, "-7 is above weight_exponent_max, -9"),
        ({"cores_per_chip": "129"}, "129 cores do not fit on 32 routers with 4 cores each"),
        ({"id": "x"}, "setting 'id': got an unknown field"),
    ],
)
def test_bad_settings(settings, text):
    with pytest.raises(InvalidSettingError, match=text):
        load_chip("loihi1", settings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("loihi3", "hardware profile: got 'loihi3'; expected one of loihi1, loihi2, or a JSON"),
        ("loihi2:large", "alternative 'large' of loihi2: got an unknown name; expected one of fl"),
        ("loihi1:x", "alternative 'x' of loihi1: got an unknown name; expected none"),
    ],
)
def test_unknown_chips(name, text):
    with pytest.raises(InvalidSettingError, match=text):
        load_chip(name)


def changed(change: Any, tmp_path: Any, kind: type[Chip] | type[Board] = Chip) -> Any:
    content = (load_chip("loihi1") if kind is Chip else load_board("nahuku")).model_dump()
    change(content)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_profile_of_ones_own(tmp_path):
    def change(content: Any) -> None:
        content["id"] = "mine"
        content["neurons_per_core"]["value"] = 7

    chip = load_chip(changed(change, tmp_path))
    assert (chip.id, chip.neurons_per_core.value) == ("mine", 7)
    assert boards_of(chip) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.update(colour=1), "colour: Extra inputs are not permitted"),
        (lambda c: c["in_axons"].update(colour=1), "in_axons.colour: Extra inputs are not"),
        (lambda c: c["in_axons"].pop("citation"), "in_axons.citation: Field required"),
        (lambda c: c["in_axons"].update(citation=""), "in_axons.citation: String should have at"),
        (lambda c: c["in_axons"].update(value=-1), "in_axons.value: Input should be greater than"),
        (lambda c: c["in_axons"].update(value=None), "in_axons.value: Input should be a valid int"),
        (lambda c: c["in_axons"].update(confidence="sure"), "in_axons.confidence: Input should be"),
        (lambda c: c.pop("neuron"), "neuron: Field required"),
        (lambda c: c.update(alternatives={"a": {"description": "", "fields": {"x": {}}}}),
         "alternatives.a: unknown x"),
    ],
)  # fmt: skip
def test_bad_profiles(change, text, tmp_path):
    with pytest.raises(FileFormatError, match=text) as caught:
        load_chip(changed(change, tmp_path))
    assert "Compare with trispike/targets/loihi/profiles/loihi1.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.update(colour=1), "colour: Extra inputs are not permitted"),
        (lambda c: c["chips"].pop("citation"), "chips.citation: Field required"),
        (lambda c: c["chips"].update(value=33), "33 do not fit into 8 x 4"),
        (lambda c: c["chips"].update(value=-2), "chips.value: Input should be greater than 0"),
    ],
)
def test_bad_boards(change, text, tmp_path):
    with pytest.raises(FileFormatError, match=text):
        load_board(changed(change, tmp_path, Board))


def test_what_is_no_json(tmp_path):
    (tmp_path / "mine.json").write_text("{", encoding="utf-8")
    with pytest.raises(FileFormatError, match="Invalid JSON"):
        load_chip(tmp_path / "mine.json")
    with pytest.raises(InvalidSettingError, match="board: got 'big'; expected one of hala-point"):
        load_board("big")
