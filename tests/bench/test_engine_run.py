"""The command: what it refuses, and that every measurement runs, on the tiny model and without peers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.__main__ import app
from bench.engine.bench import LEAST
from bench.engine.child import Stepper, started
from bench.engine.machine import describe, taken_core
from bench.engine.models import TinyModels
from bench.engine.rivals import Rivals
from bench.engine.run import Wish, chosen, measure
from bench.errors import BenchError
from bench.peers.environment import PeerError
from bench.rows import Row, show, write

HERE = ["decode_1", "prefill_1000", "warm_ttft_vs_", "second_step_ttft", "toolcalls_16", "grammar_tokens"]
MORE = ["speculation", "int8_size", "int8_speed", "moe_overhead_1", "moe_vs_dense", "moe_vs_transformers_8", "long_10k"]
TARGETED = ["decode_1_avx2", "toolcalls_1"]


def run(*names: str, plot: Path | None = None) -> list[Row]:
    quiet = Console(file=io.StringIO())
    wish = Wish(rows=names, peers=(), size=LEAST, threads=1, data=Path("/nowhere"), plot=plot)
    return measure(quiet, wish, TinyModels())


@pytest.mark.parametrize("names", [HERE, MORE, TARGETED])
def test_measurements_run_and_miss_their_peers_only(names: list[str]) -> None:
    rows = {row.name: row for row in run(*names)}
    wanted = {name for name in names if not name.endswith("_")}
    assert wanted <= set(rows)
    assert rows["machine"].value == 1
    for row in rows.values():
        assert row.value > 0, row.name
        if row.peer_value is None and row.peer is not None:
            assert "does not take part" in (row.note or ""), row.name


def test_the_curve_is_drawn_from_the_same_rows(tmp_path: Path) -> None:
    rows = run("throughput_", plot=tmp_path / "chart.svg")
    names = {row.name for row in rows}
    assert {"throughput_float32_1", "throughput_float32_2", "throughput_int8_2"} <= names
    texts = ElementTree.fromstring((tmp_path / "chart.svg").read_text()).itertext()
    assert {"float32", "int8"} <= set(texts)


def test_without_the_text_there_is_no_perplexity_and_the_rest_goes_on() -> None:
    rows = run("int8_perplexity", "int8_size")
    assert [row.name for row in rows] == ["machine", "int8_size"]


def test_needles_are_looked_for_in_both_ways(tmp_path: Path) -> None:
    (tmp_path / "PaulGrahamEssays").mkdir()
    (tmp_path / "PaulGrahamEssays" / "one.txt").write_text("This sentence is straw, and so is the next one. " * 200)
    wish = Wish(rows=["long_10k_retention"], peers=(), size=LEAST, threads=1, data=tmp_path)
    [_, row] = measure(Console(file=io.StringIO()), wish, TinyModels())
    assert 0 <= row.value <= 1
    assert row.peer_value is not None
    assert "15 needles" in (row.note or "")


def test_names_choose_measurements() -> None:
    assert len(chosen(["decode_1", "decode_32"])) == 2
    assert len(chosen(["toolcalls_16_vs_vllm"])) == len(chosen(["toolcalls_16"])) == 1
    with pytest.raises(BenchError, match=r"'decode_2'.*decode_1, decode_1_avx2"):
        chosen(["decode_2"])


@pytest.mark.parametrize("options", [["--rows", "decode_2"], ["--peers", "llama"], ["--threads", "0"]])
def test_the_command_refuses_what_it_does_not_know(options: list[str]) -> None:
    result = CliRunner().invoke(app, ["engine", *options])
    assert result.exit_code != 0
    assert "decode_1" in str(result.exception) or "llama_cpp" in str(result.exception) or result.exit_code == 2


def test_rows_are_written_with_ratio_spread_and_note(tmp_path: Path) -> None:
    row = Row("decode_1", 3.0, "tok/s", "llama_cpp", 2.0, spread=0.1, peer_spread=0.2, note="int8")
    write([row], tmp_path / "new" / "rows.json")
    [found] = json.loads((tmp_path / "new" / "rows.json").read_text())
    assert (found["ratio"], found["spread"], found["peer_spread"], found["note"]) == (1.5, 0.1, 0.2, "int8")
    out = Console(file=io.StringIO(), width=120)
    show([row], out, "engine")
    assert "3 ± 0.1" in out.file.getvalue()  # type: ignore[attr-defined]
    assert "2 ± 0.2" in out.file.getvalue()  # type: ignore[attr-defined]


def test_peers_are_started_once_and_refused_with_what_to_do() -> None:
    with Rivals(["fake"], lambda name: {}) as rivals:
        assert rivals.get("fake") is rivals.get("fake")
        assert rivals.versions == {"fake": "0"}
        with pytest.raises(PeerError, match="does not take part"):
            rivals.get("vllm")
    with Rivals(["fake"], lambda name: {"broken": True}) as rivals:
        for _ in range(2):
            with pytest.raises(PeerError):
                rivals.get("fake")


def test_the_machine_is_described(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: A Processor\nflags\t\t: fpu avx2 avx512_vnni\n\nmodel name\t: Another\n")
    assert "A Processor" in describe(cpuinfo)
    assert "avx2 avx512_vnni" in describe(cpuinfo)
    assert "Python" in describe(tmp_path / "missing")


def test_a_core_is_taken_for_a_while_only() -> None:
    import psutil

    before = {child.pid for child in psutil.Process().children()}
    with taken_core():
        [spinning] = [child for child in psutil.Process().children() if child.pid not in before]
        assert spinning.is_running()
    assert not psutil.pid_exists(spinning.pid)


@pytest.mark.slow
def test_an_engine_in_a_process_of_its_own_starts_and_steps() -> None:
    config = {"dtype": "bfloat16", "threads": 1, "slots": 1, "max_context": 256}
    start = started(config)
    assert start.seconds > 0
    assert start.memory > 200 * 2**20
    with Stepper(config, tokens=4) as stepper:
        assert stepper.milliseconds() > 0
        assert stepper.milliseconds() > 0
