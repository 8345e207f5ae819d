"""Rows of number formats: size, speed, and quality of text prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.engine.bench import Bench
from bench.engine.contest import contest, rate
from bench.engine.models import FORMATS, fastest, matrix_bytes
from bench.engine.rows_decode import decode_task
from bench.engine.subject import BLOCK
from bench.engine.workload import wikitext
from bench.peers.environment import PeerError
from bench.perplexity import CONTEXT, Score, score
from bench.rows import Row
from flightloop.errors import ConfigError
from model.config import ModelConfig
from model.engine.local import local_runner
from model.weights.loaded import LoadedModel

PEERS = ("llama_cpp", "vllm")


def int8_size(bench: Bench) -> list[Row]:
    """Bytes of all matrices."""
    wide, narrow = (matrix_bytes(bench.dense(dtype).loaded) / 2**20 for dtype in ("float32", "int8"))
    return [Row("int8_size", wide, "MiB", peer="int8", peer_value=narrow, note="float32 is the value, int8 the peer")]


def int8_speed(bench: Bench) -> list[Row]:
    """Decoding speed of one stream, int8 against float32."""
    players = {dtype: bench.dense(dtype, slots=1) for dtype in ("int8", "float32")}
    task = decode_task(1, bench.size.new_tokens)
    taken = contest(players, task, rate, bench.size.rounds, bench.told)
    return [taken.row("int8_speed", "tok/s", "float32", ours="int8", note="dense base, 1 stream")]


def perplexities(bench: Bench) -> list[Row]:
    """Rows ``int8_perplexity``, ``perplexity_<format>`` and, on the same windows, ``perplexity_vs_<peer>``.

    The text is processed like an answer, as in decoding. With the kernels it is processed once more like a prompt, for
    ``perplexity_<format>_prompt``.
    """
    text: Sequence[int] = ()
    found: dict[str, float] = {}
    for dtype in FORMATS:
        try:
            loaded = bench.models.embedded(dtype)
        except ConfigError:
            continue  # not supported by this processor
        text = text or wikitext(bench.data, loaded.tokenizer)[: bench.size.windows * CONTEXT]
        found[dtype] = _scored(bench, loaded, text, dtype, answer=True)
        if loaded.form.kernels:
            found[f"{dtype}_prompt"] = _scored(bench, loaded, text, f"{dtype}, as a prompt", answer=False)
    note = f"WikiText-2, test part, {bench.size.windows} windows of {CONTEXT:,} tokens"
    rows = [Row(f"perplexity_{dtype}", value, "", higher_is_better=False, note=note) for dtype, value in found.items()]
    rows.append(
        Row("int8_perplexity", found["int8"], "", "float32", found["float32"], higher_is_better=False, note=note)
    )
    return rows + [_beside(bench, peer, text, found[fastest(bench.models.name)]) for peer in PEERS]


def of_file(bench: Bench) -> list[Row]:
    """Rows ``gguf_perplexity``, against llama.cpp on the same file, and ``noop_perplexity``, the mixture whose experts
    add nothing against the dense base."""
    loaded = bench.models.embedded("auto")
    text = wikitext(bench.data, loaded.tokenizer)[: bench.size.windows * CONTEXT]
    dense = _scored(bench, loaded, text, "the dense base", answer=True)
    mixture = _scored(bench, bench.models.embedded("auto", mixture=True), text, "the mixture", answer=True)
    note = f"WikiText-2, test part, {bench.size.windows} windows of {CONTEXT:,} tokens; {loaded.form.dtype}"
    beside = _beside(bench, "llama_cpp", text, dense)
    missing = "" if beside.peer_value is not None else f"; {beside.note}"
    return [
        replace(beside, name="gguf_perplexity", note=note + missing),
        Row("noop_perplexity", mixture, "", "without experts", dense, higher_is_better=False, note=note),
    ]


def _scored(bench: Bench, loaded: LoadedModel, text: Sequence[int], name: str, answer: bool) -> float:
    def told(done: int) -> None:
        bench.told(f"{name}, {done:,} of {len(text):,} tokens")

    config = ModelConfig(block_size=BLOCK, kv_blocks=CONTEXT // BLOCK + 1, max_context=CONTEXT)
    return score(local_runner(loaded, config), text, block_size=BLOCK, answer=answer, told=told).perplexity


def _beside(bench: Bench, peer: str, text: Sequence[int], ours: float) -> Row:
    note, theirs = f"ours: {fastest(bench.models.name)}", None
    bench.told(f"{peer}, perplexity")
    try:
        answer = bench.rivals.get(peer).ask({"task": "perplexity", "tokens": list(text), "context": CONTEXT})
        theirs = Score(answer["nll"], answer["count"]).perplexity
    except PeerError as error:
        note = str(error).splitlines()[0]
    return Row(f"perplexity_vs_{peer}", ours, "", peer, theirs, higher_is_better=False, note=note)
