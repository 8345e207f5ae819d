"""What becomes of the rows: the page, the chart, the bounds."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.engine.page import BEGIN, END, fill, fragment
from bench.engine.plot import LABEL_GAP, curves, draw
from bench.engine.run import GROUPS
from bench.engine.targets import TARGETS
from bench.errors import BenchError
from bench.rows import Row

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def rows() -> list[Row]:
    return [
        Row("machine", 2, "cores", note="a processor"),
        Row("decode_1", 340, "tok/s", "llama_cpp", 200, spread=1.5, note="int4 | drafts off"),
        Row("busy_step", 12, "ms", "quiet", 4, higher_is_better=False),
        Row("start_seconds", 5.5, "s", higher_is_better=False),
        Row("decode_8", 700, "tok/s", "vllm"),
        Row("speculation", 400, "tok/s", "no drafts", 200),
        *(
            Row(f"throughput_{name}_{n}", n * v, "tok/s")
            for name, v in (("int8", 9), ("llama_cpp", 10))
            for n in (1, 4)
        ),
    ]


def test_the_page_takes_the_figures_and_keeps_its_words(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    fill(page, rows())
    fill(page, rows())
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nMeasured on: a processor.\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert text.count("| `decode_1` |") == 1
    assert "throughput" not in text


@pytest.mark.parametrize("text", ["", f"{BEGIN} only", f"{END} {BEGIN}"])
def test_a_page_without_marks_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "performance.md"
    page.write_text(text)
    with pytest.raises(BenchError, match="lacks the marks"):
        fill(page, rows())
    assert page.read_text() == text


def test_a_row_says_whether_its_target_was_reached() -> None:
    lines = {line.split("`")[1]: line for line in fragment(rows()).splitlines() if line.startswith("| `")}
    beside = "340 ± 1.5 tok/s | llama_cpp | 200 tok/s | **1.70** | ≥ 1.6 | yes | int4 \\| drafts off |"
    assert beside in lines["decode_1"]
    assert "**3.00** | ≤ 2.5 | no |" in lines["busy_step"]
    assert "5.5 s |  |  |  | ≤ 6 | yes |" in lines["start_seconds"]
    assert "≥ 2.5 | not measured |" in lines["decode_8"]
    assert "≥" not in lines["speculation"]


def test_every_target_has_a_measurement() -> None:
    made = {name for group in GROUPS for name in group.names}
    assert set(TARGETS) <= made


def test_the_chart_is_well_formed_and_has_all_points() -> None:
    found = curves(rows())
    assert [curve.name for curve in found] == ["int8", "llama_cpp"]
    assert found[0].points == ((1, 9), (4, 36))
    root = ElementTree.fromstring(draw(found, "a <processor> & more"))
    lines = root.findall(f"{SVG}polyline")
    assert [line.get("class") for line in lines] == [None, "peer"]
    assert all(len(line.get("points", "").split()) == 2 for line in lines)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert "a <processor> & more" in texts
    assert {"int8", "llama.cpp Q4_1", "1", "4"} <= set(texts)


def test_labels_of_close_lines_do_not_overlap() -> None:
    crowd = [Row(f"throughput_{name}_8", 500 + n, "tok/s") for n, name in enumerate(("int4", "int8", "vllm", "other"))]
    root = ElementTree.fromstring(draw(curves(crowd), ""))
    labels = {"int4", "int8", "vLLM bfloat16", "other"}
    heights = sorted(float(text.get("y", 0)) for text in root.iter(f"{SVG}text") if text.text in labels)
    assert len(heights) == 4
    assert min(b - a for a, b in pairwise(heights)) >= LABEL_GAP - 0.2


def test_the_page_in_the_documentation_takes_figures() -> None:
    text = (ROOT / "docs" / "performance.md").read_text()
    assert BEGIN in text
    assert END in text.partition(BEGIN)[2]
    chart = ROOT / "docs" / "performance.svg"
    assert ElementTree.fromstring(chart.read_text()).tag == f"{SVG}svg"
