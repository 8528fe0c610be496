"""Placements as files: they come back equal, and what is wrong with one is said."""

import json
from typing import Any

import pytest

from tests.networks import CASES, random_network
from trispike.errors import FileFormatError
from trispike.targets.loihi.files import load_placement, placement_schema, save_placement
from trispike.targets.loihi.hardware import load_board, load_chip
from trispike.targets.loihi.placement import place, try_to_place

NETWORK = CASES["pooled_downsample"]()


@pytest.fixture
def path(tmp_path):
    placement = place(NETWORK, load_chip("loihi1", {"neurons_per_core": "40"}))
    save_placement(placement, tmp_path / "placement.json")
    return tmp_path / "placement.json"


@pytest.mark.parametrize("strategy", ["compact", "low-traffic"])
@pytest.mark.parametrize("settings", [{}, {"in_axons": "12"}, {"neurons_per_core": "20"}])
def test_what_is_written_comes_back(settings, strategy, tmp_path):
    for network in (NETWORK, random_network(3)):
        chip = load_chip("loihi1", settings)
        board = load_board("nahuku")
        placement = try_to_place(network, chip, board=board, strategy=strategy)
        save_placement(placement, tmp_path / "p.json")
        again = load_placement(tmp_path / "p.json", network)
        for field in ("cores", "grids", "chip", "board", "strategy", "misfits", "network_sha256"):
            assert getattr(again, field) == getattr(placement, field)


def test_the_schema_names_everything(path):
    schema, content = placement_schema(), json.loads(path.read_text())
    assert set(schema["required"]) == set(content)
    assert schema["additionalProperties"] is False


def test_another_network_is_refused(path):
    with pytest.raises(FileFormatError, match=r"got a placement of network \w+; expected one of"):
        load_placement(path, CASES["deep"]())
    assert load_placement(path).cores


def tile(content: Any) -> Any:
    return content["cores"][0]["tiles"][0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.update(version=2), "version: Input should be 1; expected a placement of vers"),
        (lambda c: c.update(format="other"), "format: Input should be 'trispike-placement'"),
        (lambda c: c.update(more=1), "more: Extra inputs are not permitted"),
        (lambda c: c.pop("strategy"), "strategy: Field required"),
        (lambda c: c.update(network_sha256="x"), "network_sha256: String should match pattern"),
        (lambda c: c["chip"]["in_axons"].pop("citation"), "chip.in_axons.citation: Field required"),
        (lambda c: c["cores"][0].update(x=-1), "cores.0.x: Input should be greater than or equal"),
        (lambda c: tile(c).update(rows=[0]), "cores.0.tiles.0.rows: List should have at least 2"),
        (lambda c: tile(c).update(rows=[0, 99]), "a tile outside of"),
        (lambda c: tile(c).update(rows=[2, 2]), "a tile outside of"),
        (lambda c: tile(c).update(population="who"), "a tile outside of 'who'"),
        (lambda c: c["cores"].append(c["cores"][0]), "on no core or on several"),
        (lambda c: c["cores"].pop(), "neurons of '.*' on no core or on several"),
        (lambda c: c["cores"][1].update(core=c["cores"][0]["core"], chip=c["cores"][0]["chip"]),
         "a core that is listed twice"),
    ],
)  # fmt: skip
def test_damaged_files(change, text, path):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=text) as caught:
        load_placement(path, NETWORK)
    assert str(path) in str(caught.value)


def test_no_json_and_no_file(path, tmp_path):
    path.write_text("{")
    with pytest.raises(FileFormatError, match="Invalid JSON"):
        load_placement(path)
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        load_placement(tmp_path / "none.json")
