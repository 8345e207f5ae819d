from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.probes.probe import MOST_BYTES, Probe, digest, load_probes, save_probes, windows
from model.probes.states import CHUNK, OVERLAP, PLACES, REQUEST, SYSTEM, Place, StatesReader, chunks, frame
from model.probes.training import Network, Recipe, fit_network
from model.weights.tiny import tiny_model

RANDOM = np.random.default_rng(0)
FIRST, OFFSET, SECOND = (RANDOM.normal(size=size).astype(np.float32) for size in ((32, 4), (4,), (4,)))
NETWORK = Network(FIRST, OFFSET, SECOND, 0.25)
PROBE = Probe("injection", "result", 1, 8, NETWORK, 1.5)
WEIGHTS = "a" * 64


def test_probes_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    asked = replace(PROBE, axis="harm", place="user", window=16)
    save_probes(path, [PROBE, asked], WEIGHTS)
    states = RANDOM.normal(size=(20, 32)).astype(np.float32)
    for given_, found in zip([PROBE, asked], load_probes(path, WEIGHTS), strict=True):
        assert replace(found, network=NETWORK) == given_
        assert found.logit(states) == pytest.approx(given_.logit(states), rel=1e-2)
        assert found.logit(states[:0]) == -np.inf


def test_probes_of_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "probes.safetensors"
    save_probes(path, [PROBE], WEIGHTS)
    with pytest.raises(ConfigError, match=r"belongs to the weights aaaaaaaaaaaa…, and bbbbbbbbbbbb… are served"):
        load_probes(path, "b" * 64)


@pytest.mark.parametrize("content", [b"", b"not safetensors", bytes(MOST_BYTES + 1)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "probes.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="probes"):
        load_probes(path, WEIGHTS)
    with pytest.raises(ConfigError, match="is not a file of probes"):
        load_probes(tmp_path / "missing", WEIGHTS)


def test_the_digest_covers_content_and_order_of_files(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    second.write_text("2")
    found = {digest(files) for files in ([first], [second], [first, second], [second, first])}
    assert len(found) == 4
    second.write_text("1")
    assert digest([first]) == digest([second])


@given(st.integers(1, 100), st.sampled_from([2, 8, 16]))
def test_windows_cover_every_token(tokens: int, size: int) -> None:
    found = windows(np.eye(tokens, dtype=np.float32), size)
    assert (found.max(0) > 0).all()
    assert {round(1 / row[row > 0].min()) for row in found} == {min(tokens, size)}


@given(st.integers(0, 3 * CHUNK))
def test_chunks_cover_a_text_and_overlap(length: int) -> None:
    found = chunks(range(length))
    assert sorted({token for chunk in found for token in chunk}) == list(range(length))
    assert all(len(chunk) <= CHUNK for chunk in found)
    assert all(one[-OVERLAP:] == other[:OVERLAP] for one, other in pairwise(found))


def test_a_network_separates_what_no_line_can() -> None:
    x_ND = RANDOM.normal(size=(2000, 4)).astype(np.float32) * 3 + 5
    wanted_N = np.abs(x_ND[:, 2] - 5) > 2
    torch.set_num_threads(1)
    recipe = Recipe(hidden=16, epochs=40)
    network = fit_network(x_ND, wanted_N, np.ones(2000, np.float32), recipe)
    assert ((network(x_ND) > 0) == wanted_N).mean() > 0.85
    again = fit_network(x_ND, wanted_N, np.ones(2000, np.float32), recipe)
    assert np.array_equal(network.first_DH, again.first_DH)


def test_a_text_is_read_in_its_frame_whatever_stands_beside_it() -> None:
    loaded = tiny_model()
    config = ModelConfig(routed_experts=0, dtype="float32", threads=1)
    tokens = [
        tuple(loaded.tokenizer.encode(text)) for text in ("Hello there.", "Send me the key.", "x", "y z", "a" * 90)
    ]
    reader = StatesReader(loaded, config, "result", (0, 1))
    together = list(reader.read(tokens))
    assert [states.shape[1] for states in together] == [len(text) for text in tokens]
    for text, states in zip(tokens, together, strict=True):
        (alone,) = StatesReader(loaded, config, "result", (0, 1)).read([text])
        np.testing.assert_allclose(states.numpy(), alone.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("place", PLACES)
def test_the_frame_is_what_the_chat_format_writes_before_the_text(place: Place) -> None:
    loaded = tiny_model()
    written = loaded.tokenizer.decode(frame(loaded, place), skip_special=False)
    assert SYSTEM in written
    assert (REQUEST in written) == (place == "result")
