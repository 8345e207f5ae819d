from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from flightloop.chat import ChatMessage, ChatRequest
from model.config import ModelConfig
from model.probes import __main__ as command
from model.probes.claim_readings import BETWEEN, LONGEST, POOLS, QUESTION, odds_of_no, prompt, read_claims
from model.probes.claims import composed_claims, missing_share
from model.probes.public import public
from model.probes.states import RECORDS, SYSTEM, frame
from model.probes.support import heads, left_out
from model.probes.texts import NONE, UNSUPPORTED, Text
from model.probes.training import Recipe
from model.weights.tiny import tiny_model

CONFIG = ModelConfig(routed_experts=0, dtype="float32", threads=1)
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def claim(evidence: str, text: str, label: str = NONE, source: str = "f") -> Text:
    return Text(source, "support", label, text, "claim", evidence=evidence)


def test_each_composed_claim_has_a_neighbour_that_its_records_do_not_support() -> None:
    texts = composed_claims()
    assert len(texts) >= 600
    for supported, other in zip(texts[::2], texts[1::2], strict=True):
        assert (supported.label, other.label) == (NONE, UNSUPPORTED)
        assert supported.evidence == other.evidence
        assert supported.text != other.text
        assert set(re.findall(r"\d+", other.text)) <= set(re.findall(r"\d+", other.evidence))
        assert not re.search(r"<<|>>|\{\w+\}", other.evidence + other.text + supported.text)
    assert sum(text.language == "zh" for text in texts) >= len(texts) / 3.1
    assert texts == composed_claims()


def test_most_claims_are_right_about_one_record_and_wrong_about_another() -> None:
    """So the label can't be read from the claim alone."""
    labels: dict[str, set[str]] = {}
    for text in composed_claims():
        labels.setdefault(text.text, set()).add(text.label)
    assert np.mean([len(found) == 2 for found in labels.values()]) > 0.8


@pytest.mark.parametrize(
    ("evidence", "text", "share"),
    [
        ("The kettle was delivered.", "Kettle delivered!", 0.0),
        ("The kettle was delivered.", "Bring the invoice", 1.0),
        ("包裹已经送达。", "包裹送达", 1 / 3),
        ("anything", "It is so.", 0.0),
    ],
)
def test_the_score_without_a_model_is_the_share_of_missing_parts(evidence: str, text: str, share: float) -> None:
    assert missing_share(claim(evidence, text)) == pytest.approx(share)


def test_a_wrong_file_of_claims_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("language: en\ntexts:\n  - ['<<a|b>>', [one]]\n")
    with pytest.raises(ValueError, match=r"bad\.yaml: IndexError"):
        composed_claims(folder=tmp_path)


def test_a_claim_is_read_as_the_chat_format_writes_it() -> None:
    loaded = tiny_model()
    text = claim("Status: sent.", "It was sent.")
    tokens, start, stop = prompt(loaded, text)
    content = f"{RECORDS}{text.evidence}{BETWEEN} {text.text}{QUESTION}"
    messages = [ChatMessage(role="system", content=SYSTEM), ChatMessage(role="user", content=content)]
    written = loaded.chat.encode(ChatRequest(model=loaded.name, messages=messages), loaded.config.max_positions)
    decode = loaded.tokenizer.decode
    assert decode([*frame(loaded, "claim"), *tokens], skip_special=False) == decode(written, skip_special=False)
    assert decode(tokens[start:stop]) == f" {text.text}"
    cut, _, stop = prompt(loaded, claim("first " + "word " * 2 * LONGEST, "It was sent."))
    assert len(cut) == LONGEST
    assert decode(cut[:stop]).endswith(f"{BETWEEN} It was sent.")


def test_the_odds_are_those_of_the_answers() -> None:
    tokenizer = tiny_model().tokenizer
    logits = torch.zeros(len(tokenizer.token_bytes))
    even = odds_of_no(tokenizer, logits)
    logits[tokenizer.encode("no")[0]] = 9.0
    assert odds_of_no(tokenizer, logits) > even + 5
    logits[tokenizer.encode("Yes")[0]] = 20.0
    assert odds_of_no(tokenizer, logits) < even - 5


def test_claims_are_read_once(tmp_path: Path) -> None:
    loaded = tiny_model()
    texts = [claim("Status: sent. " * count, "It was sent.") for count in (1, 9, 3)]
    first = read_claims(loaded, CONFIG, "weights", texts, (0, 1), tmp_path)
    assert first.states_NPLD.shape == (3, len(POOLS), 2, loaded.config.width)
    (alone,) = read_claims(loaded, CONFIG, "weights", texts[1:2], (0, 1), tmp_path).states_NPLD
    np.testing.assert_allclose(first.states_NPLD[1], alone, atol=2e-2)
    assert len(set(first.denied_N)) == 3
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = read_claims(loaded, CONFIG, "weights", texts, (0, 1), tmp_path)
    assert np.array_equal(again.denied_N, first.denied_N)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written


def test_a_source_teaches_nothing_about_itself() -> None:
    """What marks the label in one source only is chance when the source is left out; what all share is found."""
    sources = ["begin", "q2", *(f"file {index}" for index in range(10))]
    texts = [claim("", "", (NONE, UNSUPPORTED)[index % 2], sources[index // 40]) for index in range(480)]
    own, shared = RANDOM.normal(size=(2, 480, 16)).astype(np.float32)
    for index, text in enumerate(texts):
        own[index, index // 40] += 8 if text.wanted else -8
        shared[index, 3] += 4 * text.wanted
    wanted = np.array([text.wanted for text in texts])
    recipe = Recipe(hidden=16, epochs=200)
    for states, expected in ((own, False), (shared, True)):
        scores = left_out(states, texts, recipe)
        assert ((scores[wanted][:, None] > scores[~wanted]).mean() > 0.9) == expected


def archive(folder: Path, name: str, files: dict[str, str]) -> None:
    with tarfile.open(folder / f"{name}.tar.xz", "w:xz") as opened:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content.encode())
            opened.addfile(member, io.BytesIO(content.encode()))


def separated(rows: list[dict[str, str]], delimiter: str) -> str:
    written = io.StringIO()
    writer = csv.DictWriter(written, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    kinds = ("Fully attributable", "Not fully attributable", "Generic")
    begin = [{"knowledge": f"k{kind}", "response": f"{kind} said", "begin_label": kind} for kind in kinds]
    parts = {"cmu-dog": "cmu", "topicalchat": "tc", "wow": "wow"}
    archive(tmp_path, "begin-dev", {f"{one}/begin_dev_{two}.tsv": separated(begin, "\t") for one, two in parts.items()})
    labels = {"dodeca_response": "a", "memnet_response": "b", "dodeca_label": "1", "memnet_label": "0"}
    archive(tmp_path, "q2", {"third_party/data/cross_annotation.csv": separated([{**labels, "knowledge": "k"}], ",")})
    rows = [
        {"user_query": "q", "chatgpt_response": "This is a long enough sentence. Yes.", "hallucination": "no"},
        {"user_query": "q", "hallucination": "yes", "hallucination_spans": ["Another sentence, long enough."]},
    ]
    archive(tmp_path, "halueval-general", {"data/general_data.json": "\n".join(json.dumps(row) for row in rows)})
    return tmp_path


def test_the_labels_of_public_sets(data: Path) -> None:
    found = {(text.source, text.label, text.text, text.evidence) for text in public(data, "support")}
    assert found == {
        ("begin", NONE, "Fully attributable said", "kFully attributable"),
        ("begin", UNSUPPORTED, "Not fully attributable said", "kNot fully attributable"),
        ("q2", UNSUPPORTED, "a", "k"),
        ("q2", NONE, "b", "k"),
        ("halueval", NONE, "This is a long enough sentence.", "q"),
        ("halueval", UNSUPPORTED, "Another sentence, long enough.", "q"),
    }


def test_the_command_prints_a_row_for_each_head(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(command, "load_model", lambda config: tiny_model())
    options = ["--model", str(weights), "--layers", "1", "--every", "20", "--epochs", "2", "--kept", str(tmp_path)]
    done = CliRunner().invoke(command.app, ["claims", *options, "--data", str(data)])
    assert done.exit_code == 0, done.output
    rows = ("composed", "begin", "q2", "halueval", "model's own answer", *(f"{pool}, 1" for pool in POOLS))
    assert [name for name in rows if name not in done.output] == []


def test_heads_are_measured_for_each_source(tmp_path: Path) -> None:
    """The score without a model is right about words."""
    texts = [
        claim("the parcel arrived", said, label, source)
        for source in ("begin", "file")
        for said, label in (("parcel arrived", NONE), ("invoice lacking", UNSUPPORTED))
        for _ in range(3)
    ]
    readings = read_claims(tiny_model(), CONFIG, "weights", texts, (0,), tmp_path)
    first, *rest = heads(readings, (0,), texts, Recipe(4, 2))
    assert dict(first.by_source) == {"begin": (1.0, 1.0), "composed": (1.0, 1.0)}
    assert len(rest) == 1 + len(POOLS)
