from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.peers import shapes
from bench.peers.checkpoint import dense_checkpoint, tensor_shapes, write_random
from bench.peers.environment import ENVIRONMENTS, PeerError, build, cache_folder, python_of
from bench.peers.peer import Peer
from bench.peers.protocol import Desk, prompt, windows
from bench.peers.run_fake import Fake
from model.config import ModelConfig
from model.weights.families import folder_shape
from model.weights.files import embedded_path
from model.weights.folder import load_folder
from model.weights.gguf import GgufFile
from model.weights.gguf_decoder import gguf_shape, gguf_state
from model.weights.tokenizer import tokenizer_from_gguf

DECODE = {"task": "decode", "streams": 3, "prompt_tokens": 10, "new_tokens": 5, "seed": 1}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_peer_answers_task_after_task(tmp_path: Path) -> None:
    with Peer("fake", log=tmp_path / "log", threads=2, model=Path("here")) as peer:
        assert peer.loaded_s > 0
        assert peer.ask({"task": "about"}) == {"version": "0", "options": {"threads": 2, "model": "here"}}
        assert peer.ask(DECODE) == {"seconds": 8.0, "tokens": 12, "settings": {"pace": 2.0}}
        assert peer.ask({"task": "memory"})["peak"] > 1_000_000
    assert "loading" in (tmp_path / "log").read_text()


def test_tuning_keeps_the_quickest_settings_for_tasks_of_that_kind() -> None:
    desk = Desk(Fake({}))
    tuned = desk.answer({"task": "tune", "like": DECODE})
    assert tuned["tried"] == [{"pace": 2.0, "seconds": 8.0}, {"pace": 1.0, "seconds": 4.0}]
    assert desk.answer({**DECODE, "seed": 9})["seconds"] == 4.0
    assert desk.answer({**DECODE, "streams": 8})["seconds"] == 8.0  # another kind: not tuned


def test_what_a_peer_cant_do_is_an_error_and_it_goes_on(tmp_path: Path) -> None:
    with Peer("fake", log=tmp_path / "log") as peer:
        with pytest.raises(PeerError, match="could not do prefill: ValueError: no prefill here"):
            peer.ask({"task": "prefill", "tokens": 10, "seed": 0})
        with pytest.raises(PeerError, match="unknown task dance"):
            peer.ask({"task": "dance"})
        with pytest.raises(PeerError, match="decode"):
            peer.ask({"task": "decode", "streams": 1})
        assert peer.ask(DECODE)["tokens"] == 12


def test_a_peer_that_ends_says_so_with_its_log(tmp_path: Path) -> None:
    with Peer("fake", log=tmp_path / "log") as peer, pytest.raises(PeerError, match="ended before its answer"):
        peer.ask({"task": "warm_prefix", "first": 1, "added": 1, "seed": 0})
    with pytest.raises(PeerError, match=r"(?s)ended before its start.*it is broken"), Peer("fake", broken=True):
        pass


def test_a_peer_that_is_late_is_ended(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="did not start within 0 s"), Peer("fake", start_timeout_s=0.0):
        pass


def test_a_missing_environment_names_the_command() -> None:
    with pytest.raises(PeerError, match=r"python -m bench\.peers\.environment llama_cpp"), Peer("llama_cpp"):
        pass
    with pytest.raises(PeerError, match=r"peft is not .*environment transformers"), Peer("peft"):
        pass
    with pytest.raises(PeerError, match="unknown peer tabby; choose from llama_cpp"):
        build("tabby")


def test_a_half_built_environment_does_not_count() -> None:
    for name in ENVIRONMENTS:
        (cache_folder() / name / "bin").mkdir(parents=True)
        (cache_folder() / name / "bin" / "python").touch()
        with pytest.raises(PeerError):
            python_of(name)


def test_an_environment_that_lacks_what_was_added_since_does_not_count() -> None:
    stamp = cache_folder() / "transformers" / ".complete"
    stamp.parent.mkdir(parents=True)
    wanted = ENVIRONMENTS["transformers"].packages
    stamp.write_text("\n".join(wanted) + "\n")
    assert python_of("peft") == python_of("transformers") == stamp.parent / "bin" / "python"
    stamp.write_text("\n".join(wanted[:-1]) + "\n")
    with pytest.raises(PeerError, match="environment transformers"):
        python_of("peft")


def test_windows_of_a_text_do_not_overlap_and_leave_the_rest_out() -> None:
    assert [list(window) for window in windows(range(10), 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    answer = Desk(Fake({})).answer({"task": "perplexity", "tokens": list(range(10)), "context": 4})
    assert answer["count"] == 6
    assert math.exp(answer["nll"] / answer["count"]) == pytest.approx(2.0)


def test_prompts_are_the_same_for_everyone_and_differ_among_streams() -> None:
    assert prompt(1, 0, 50) == prompt(1, 0, 50)
    assert len({tuple(prompt(seed, stream, 50)) for seed in range(3) for stream in range(3)}) == 9
    assert prompt(1, 0, 50)[:20] == prompt(1, 0, 20)  # a longer one goes on from a shorter one
    assert all(1000 <= token < 40_000 for token in prompt(2, 5, 500))


def test_asking_needs_no_torch() -> None:
    code = "import sys, bench.peers.peer, bench.peers.shapes; print('torch' in sys.modules or 'numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_the_mixture_has_at_most_forty_percent_active_and_the_dense_one_its_size() -> None:
    total, active = shapes.parameters(shapes.MIXTURE)
    dense, dense_active = shapes.parameters(shapes.DENSE)
    assert 0.45e9 < total < 0.55e9
    assert active / total <= 0.40
    assert dense == dense_active == pytest.approx(total, rel=0.005)
    for settings, expected in ((shapes.MIXTURE, total), (shapes.DENSE, dense)):
        counted = sum(math.prod(shape) for shape in tensor_shapes(settings).values())
        assert counted == pytest.approx(expected, rel=0.001)  # norms aren't counted
        assert folder_shape(settings)[1].experts == settings.get("num_experts", 0)


@pytest.mark.parametrize("settings", [shapes.MIXTURE, shapes.DENSE], ids=["mixture", "dense"])
def test_a_random_checkpoint_loads(tmp_path: Path, settings: dict[str, object]) -> None:
    small = {**settings, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 8}
    folder = tmp_path / "small"
    folder.mkdir()
    write_random(folder, small, embedded_path())
    loaded = load_folder(folder, ModelConfig(dtype="float32"), "made")
    assert loaded.config.width == 64
    assert loaded.tokenizer.encode("Order 17 is late.") != []
    again = tmp_path / "again"
    again.mkdir()
    write_random(again, small, embedded_path())
    assert (folder / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


def test_the_dense_checkpoint_is_the_embedded_models_base() -> None:
    folder = dense_checkpoint("bfloat16")
    assert dense_checkpoint("bfloat16") == folder
    loaded = load_folder(folder, ModelConfig(dtype="bfloat16"), "made")
    file = GgufFile(embedded_path())
    assert loaded.config == replace(gguf_shape(file), normalise=False)  # which a dense model has no use for
    state = loaded.decoder.state_dict()
    for name, value in gguf_state(file, loaded.config).items():
        assert torch.equal(state[name], value.bfloat16()), name
    text = "In 1987, 42 ships sailed.\n\tAnd 'one' returned…"
    assert loaded.tokenizer.encode(text) == tokenizer_from_gguf(file.metadata).encode(text)
