"""Rectangles of one colour."""

from __future__ import annotations

import numpy as np

from tests.tools.vision.drawing import canvas
from tools.vision.fills import coloured_areas, rectangles
from tools.vision.scene import hex_of, scene_of


def test_the_edge_of_a_longer_neighbour_is_no_part_of_a_bar() -> None:
    image, pen = canvas()
    pen.rectangle((50, 100, 500, 120), fill="#4c78a8")
    pen.rectangle((50, 121, 200, 141), fill="#9ecae9")
    pen.line((50, 121, 500, 121), fill="#9ecae9", width=2)
    scene = scene_of(np.asarray(image), [])
    found = rectangles(scene, coloured_areas(scene), np.zeros((scene.height, scene.width), dtype=bool))
    assert {hex_of(fill.colour): fill.box for fill in found}["#9ecae9"][2] <= 203
