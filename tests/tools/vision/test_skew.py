from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.tools.vision.drawing import bar_chart, canvas, line_chart, png, text_image, turned
from tools.vision.skew import MOST, skew_of, straightened

CITIES = ("Oslo", "Lima", "Rome", "Kyiv")


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("degrees", [-4.0, -0.5, 0.3, 2.0])
def test_the_turn_of_a_scan_is_found(degrees: float) -> None:
    scan = pixels(turned(bar_chart([(35, 81, 12, 57)], CITIES), degrees))
    assert skew_of(scan) == pytest.approx(degrees, abs=0.1)
    assert skew_of(straightened(scan, degrees)[0]) == 0.0


def test_straight_images_are_left_alone() -> None:
    for data in (bar_chart([(35, 81, 12, 57)], CITIES), line_chart([(20, 45, 30)], CITIES[:3]), text_image(("One",))):
        assert skew_of(pixels(data)) == 0.0
    assert skew_of(np.full((40, 40, 3), 255, np.uint8)) == 0.0


def test_lines_that_slope_on_purpose_turn_nothing() -> None:
    image, pen = canvas()
    pen.line((20, 200, 580, 210), fill="black", width=2)  # a curve, without an axis that is turned too
    assert skew_of(pixels(png(image))) == 0.0
    assert skew_of(pixels(turned(bar_chart([(35, 81, 12, 57)], CITIES), 4 * MOST))) == 0.0


def test_positions_lead_back_to_the_original() -> None:
    scan = pixels(turned(bar_chart([(35, 81, 12, 57)], CITIES), 3.0))
    straight, back = straightened(scan, 3.0)
    height, width = straight.shape[:2]
    assert back @ (width / 2, height / 2, 1.0) == pytest.approx((300, 200), abs=1.0)
