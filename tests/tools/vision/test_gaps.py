"""Text without the marks of a chart that were read with it."""

from __future__ import annotations

import numpy as np

from tests.tools.vision.drawing import BLUE, FONT, ORANGE, canvas
from tools.vision.gaps import between_samples, divided, without_samples
from tools.vision.images import Pixels
from tools.vision.ocr import Word
from tools.vision.reader import all_words, without_shapes


def legend_image() -> Pixels:
    """Two entries: a line with a ring on it, and a name."""
    image, pen = canvas()
    for left, name, colour in ((100, "Plan", BLUE), (200, "Men", ORANGE)):
        pen.line((left, 50, left + 24, 50), fill=colour, width=2)
        pen.ellipse((left + 7, 45, left + 17, 55), outline=colour, fill="white", width=2)
        pen.text((left + 30, 50), name, font=FONT, fill="#333333", anchor="lm")
    return np.asarray(image)


def test_a_sample_that_was_read_as_text_is_dropped() -> None:
    sample, name = Word("-O-", (100.0, 44.0, 125.0, 57.0), 0.9), Word("Plan", (130.0, 43.0, 162.0, 57.0), 1.0)
    alone = Word("O", (400.0, 44.0, 410.0, 56.0), 1.0)
    assert without_samples([sample, name, alone], legend_image()) == [name, alone]


def test_a_sample_between_two_names_divides_them() -> None:
    boxes = between_samples(Word("Plan -O- Men", (129.0, 43.0, 262.0, 58.0), 0.9), legend_image())
    assert len(boxes) == 2
    assert boxes[0][2] < 200 < 224 < boxes[1][0]


def test_the_end_of_a_sample_before_a_name_is_no_word() -> None:
    image, pen = canvas()
    pen.line((90, 50, 101, 50), fill=BLUE, width=2)
    pen.text((112, 50), "Product A", font=FONT, fill="#333333", anchor="lm")
    (word,) = divided(Word("Product A", (100.0, 43.0, 182.0, 58.0), 1.0), np.asarray(image))
    assert word.text == "Product A"
    assert word.box[0] >= 111


def test_drawn_shapes_are_no_letters() -> None:
    pixels = np.full((400, 600, 3), 255, dtype=np.uint8)
    text = [Word("Retail", (20.0, 20.0, 60.0, 34.0), 1.0), Word("Nuclear", (20.0, 80.0, 70.0, 94.0), 1.0)]
    pie, digit = Word("D", (200.0, 100.0, 300.0, 200.0), 0.85, -19.0), Word("7", (400.0, 100.0, 450.0, 180.0), 0.99)
    assert without_shapes([*text, pie, digit], pixels) == [*text, digit]


def test_a_coloured_marker_that_was_read_as_a_letter_is_dropped() -> None:
    image, pen = canvas()
    pen.polygon([(300, 200), (292, 214), (308, 214)], fill=ORANGE)
    text = []
    for row, name in ((60, "Retail"), (90, "B"), (120, "Nuclear"), (150, "Sports")):
        pen.text((50, row), name, font=FONT, fill="#586e75", anchor="lm")
        text.append(Word(name, pen.textbbox((50, row), name, font=FONT, anchor="lm"), 1.0))
    marker = Word("A", (291.0, 199.0, 309.0, 215.0), 0.9)
    assert without_samples([*text, marker], np.asarray(image)) == text


def test_a_patch_that_was_read_with_a_name_of_two_words_is_no_part_of_it() -> None:
    image, pen = canvas()
    pen.rectangle((100, 44, 111, 55), fill=BLUE)
    pen.text((122, 50), "Product A", font=FONT, fill="#333333", anchor="lm")
    words = all_words(np.asarray(image))
    assert [word.text for word in words] == ["Product A"]
    assert words[0].box[0] > 115


def test_the_first_of_several_words_begins_at_its_ink() -> None:
    image, pen = canvas()
    pen.line((100, 44, 100, 56), fill="#333333")
    for left, text in ((115, "Apr"), (160, "May")):
        pen.text((left, 50), text, font=FONT, fill="#333333", anchor="lm")
    first, second = divided(Word("Apr May", (100.0, 43.0, 192.0, 58.0), 1.0), np.asarray(image))
    assert (first.text, second.text) == ("Apr", "May")
    assert first.box[0] >= 114
    assert second.box[0] >= 159


def test_bluish_text_in_small_letters_has_no_samples() -> None:
    image, pen = canvas()
    small = FONT.font_variant(size=9)
    for left, text in ((100, "Oslo"), (200, "Nuclear"), (300, "Product B")):
        pen.text((left, 50), text, font=small, fill="#2a3f5f", anchor="lm")
        box = pen.textbbox((left, 50), text, font=small, anchor="lm")
        assert between_samples(Word(text, box, 1.0), np.asarray(image)) == []
