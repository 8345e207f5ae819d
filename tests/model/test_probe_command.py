from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.probes import __main__ as command
from model.probes.probe import digest, load_probes
from model.weights.tiny import tiny_model


def test_fit_writes_probes_of_the_weights_that_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, out = tmp_path / "model.gguf", tmp_path / "probes.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(command, "load_model", lambda config: tiny_model())
    options = ["--model", str(weights), "--layers", "0,1", "--every", "25", "--epochs", "2", "--kept", str(tmp_path)]
    done = CliRunner().invoke(command.app, ["fit", "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    assert "layer 1" in done.output
    assert done.output.count("composed, file left out") == len(command.PARTS)
    probes = load_probes(out, digest([weights]))
    assert [(probe.axis, probe.place) for probe in probes] == [*command.PARTS]
    assert {probe.layer for probe in probes} <= {0, 1}


def test_layers_that_the_model_lacks_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(command, "load_model", lambda config: tiny_model())
    done = CliRunner().invoke(command.app, ["fit", "--model", str(weights), "--layers", "7", "--kept", str(tmp_path)])
    assert done.exit_code == 1
    assert "layers must ascend from 0 to at most 1" in done.output
