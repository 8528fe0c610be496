"""The picture of a placement: one square per core, coloured by how full and how busy it is."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tests.networks import CASES
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.picture import LEVELS, MOST_CHIPS, draw_placement
from trispike.targets.loihi.placement import place
from trispike.targets.loihi.traffic import count_traffic

NETWORK = CASES["deep"]()
SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str, kind: str) -> list[ET.Element]:
    root = ET.fromstring(text)
    return [r for r in root.iter(f"{SVG}rect") if kind in r.get("class", "").split()]


def test_every_core_is_drawn_once_per_panel():
    placement = place(NETWORK, load_chip("loihi2", {"neurons_per_core": "9"}))
    text = draw_placement(placement)
    assert len(drawn(text, "core")) == len(placement.cores) > 10
    assert len(drawn(text, "free")) == 120 - len(placement.cores)
    ones = {
        n: np.ones((NETWORK.steps, *NETWORK.shape_of(n)), int)
        for n in ("input", *NETWORK.populations)
    }
    both = draw_placement(placement, count_traffic(NETWORK, placement, ones, 1))
    assert len(drawn(both, "core")) == 2 * len(placement.cores)
    for word in ("Utilisation", "Traffic", "per sample", "Placement on Loihi 2 on Oheo Gulch"):
        assert word in both
    for population in (*NETWORK.populations, "readout"):
        assert f"{population} channels" in both


def test_colours_follow_the_fullest_resource():
    placement = place(NETWORK, load_chip("loihi2", {"neurons_per_core": "16"}))
    for square, core in zip(drawn(draw_placement(placement), "core"), placement.cores, strict=True):
        fullest = max(
            used / limit
            for used, limit in zip(core.use, placement.limits, strict=True)
            if limit is not None
        )
        assert f"c{min(LEVELS - 1, int(fullest * LEVELS))}" in square.get("class", "").split()


def test_squares_do_not_overlap_and_lie_in_the_picture():
    placement = place(NETWORK, load_chip("loihi1", {"neurons_per_core": "2"}), strategy="compact")
    text = draw_placement(placement)
    root = ET.fromstring(text)
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    corners = set()
    for square in drawn(text, "core") + drawn(text, "free"):
        x, y, side = (float(square.get(k, "0")) for k in ("x", "y", "width"))
        assert 0 < x < width - side
        assert 0 < y < height - side
        corners.add((x, y))
    assert len(corners) == len(drawn(text, "core")) + len(drawn(text, "free"))


def test_nothing_is_loaded_from_elsewhere_and_names_are_escaped():
    text = draw_placement(place(NETWORK, load_chip("loihi2")))
    assert set(re.findall(r"https?://[^\"]*", text)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.slow
def test_of_very_many_chips_the_first_are_drawn():
    chip = load_chip("loihi2", {"neurons_per_core": "1", "cores_per_chip": "4"})
    placement = place(NETWORK, chip)
    assert placement.chips > MOST_CHIPS
    text = draw_placement(placement)
    assert f"the first {MOST_CHIPS} chips are drawn" in text
    assert len(drawn(text, "core")) == 4 * MOST_CHIPS
