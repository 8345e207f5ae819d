"""What is told where the platform does not start on Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
from click import ClickException

from agent.app import build
from agent.serve.start import reason

TRACEBACK = """\
A replica failed to start with exception. Retrying 1 more time(s). Error:
ray::ServeReplica:flightloop:Worker.initialize_and_get_metadata() (pid=1)
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
httpcore.ConnectError: All connection attempts failed

The above exception was the direct cause of the following exception:

  File "agent/serve/factories.py", line 80, in model_name
    raise ConfigError(
"""


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("flightloop.errors.ConfigError: FLIGHTLOOP_MODEL_URL: no answer\n", "FLIGHTLOOP_MODEL_URL: no answer"),
        ("MemoryError: 3 GB: too much", "MemoryError: 3 GB: too much"),
        ("", "ConnectError: All connection attempts failed"),
    ],
)
def test_the_last_error_of_a_traceback(end: str, told: str) -> None:
    assert reason(TRACEBACK + end) == told


def test_a_text_without_an_error() -> None:
    assert reason("") is None
    assert reason("Waiting for resources: {CPU: 1}") is None


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"port": "x"}, "FLIGHTLOOP_PORT: "),
        ({"model": "nowhere"}, "is none of them"),
        ({"model": "nowhere.gguf"}, "no file nowhere.gguf"),
        ({"model": "broken.gguf"}, "broken.gguf is not a complete GGUF file"),
        ({"model": "quantised"}, "quantised (fp8)"),
        ({"model_experts": "nowhere.safetensors"}, "no such file"),
        ({"model_lora": "nowhere.safetensors"}, "no such file"),
        ({"project": "."}, "contains no agent"),
    ],
)
def test_build_refuses_in_one_line_what_serve_run_shows(
    args: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    Path("broken.gguf").write_bytes(b"no model")
    Path("quantised").mkdir()
    config = '{"model_type": "qwen2", "quantization_config": {"quant_method": "fp8"}}'
    Path("quantised", "config.json").write_text(config)
    with pytest.raises(ClickException) as caught:
        build({"home": "home", **args})
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_the_model_is_chosen_once_and_the_choice_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a model's name, hub and package index. The model's file is not there either, so that ``build`` ends."""
    for name, value in (("HOME", str(tmp_path)), ("HF_HOME", str(tmp_path)), ("PIP_NO_INDEX", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FLIGHTLOOP_MODEL")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ClickException, match=r"nowhere\.safetensors"):
        build({"home": str(tmp_path / "home"), "model_lora": "nowhere.safetensors"})
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("The smallest model, edge, serves: cannot download Qwen2.5-Coder-0.5B-Instruct")
