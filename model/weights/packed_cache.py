"""Packed weights on disk, so that only the first start has to convert a model's file."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog
from safetensors import SafetensorError

from model.config import ModelConfig
from model.native.balance import balanced
from model.native.calibrate import key_sizes
from model.native.packed import PackedWeights
from model.nn.decoder import Decoder
from model.nn.shape import DecoderConfig
from model.weights.form import Form

KEPT = 4
"""Files that are kept; the ones that were used longest ago are deleted."""
WORTH = 32 * 2**20
"""Bytes of packed weights below which packing is as fast as reading."""
CALIBRATION = """The river rises in the mountains of the north and reaches the sea after 1,240 km. Its water is cold.
Where is my order 10442? It was to come on Monday, 3 March, by 9:30. Please don't send it to the old address again!
我的订单在哪里？我上周三买了两件衬衫，一共付了 58.90 元，到现在还没有收到。
def mean(values: list[float]) -> float:
    return sum(values) / len(values)  # of at least one value
{"name": "get_order", "arguments": {"order_id": 10442, "fields": ["status", "total"]}}
¿Dónde está la estación? La séance commence à huit heures, et il fait déjà nuit."""
"""The text that keys are measured on: prose, questions, several languages, code and data."""
_CODE = [Path(__file__).parents[1] / room for room in ("native", "quant", "weights")]
_UNREADABLE = (OSError, SafetensorError, ValueError, LookupError, TypeError)

log = structlog.get_logger(__name__)


def loaded_weights(
    config: ModelConfig,
    form: Form,
    files: Sequence[Path],
    shape: DecoderConfig,
    make: Callable[[], Decoder],
    encode: Callable[[str], Sequence[int]],
) -> Decoder | PackedWeights:
    """The weights for torch or, packed, for the kernels; these come from the cache if they have been packed before.

    Args:
        config: has the cache's folder and the untrained experts' seed.
        form: the weights' format, and what runs them.
        files: the files that the weights are made from. Their names, sizes and times are part of the cached file's
            name, as is the code that packs.
        shape: the decoder's shape.
        make: loads and quantises the decoder.
        encode: the model's tokenizer, for the text that keys are measured on.
    """
    if not form.kernels:
        return make().eval().requires_grad_(False)
    facts = f"{form.dtype} {config.seed}"
    path = Path(config.cache).expanduser() / f"packed-{_digest(files, facts, shape)}.safetensors"
    try:
        packed = PackedWeights.load(path, shape)
        with suppress(OSError):
            path.touch()
        return packed
    except FileNotFoundError:
        pass
    except _UNREADABLE as error:
        log.warning("cached weights can't be read and are made anew", file=str(path), reason=str(error))
    packed = _packed(make(), Path(config.cache).expanduser(), form, encode)
    if packed.nbytes >= WORTH:
        try:
            _store(packed, path)
        except (OSError, SafetensorError) as error:
            log.warning("packed weights can't be cached; the next start is slower", file=str(path), reason=str(error))
    return packed


def _packed(decoder: Decoder, cache: Path, form: Form, encode: Callable[[str], Sequence[int]]) -> PackedWeights:
    packed = PackedWeights.of(decoder)
    if not balanced(decoder.config):
        return packed
    return packed.balanced_by(decoder, key_sizes(packed, encode(CALIBRATION), cache, form.kind))


def _store(packed: PackedWeights, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        written = Path(scratch) / path.name
        packed.save(written)
        written.replace(path)
    newest = sorted(path.parent.glob("packed-*.safetensors"), key=lambda each: each.stat().st_mtime, reverse=True)
    for old in newest[KEPT:]:
        old.unlink(missing_ok=True)


def _digest(files: Sequence[Path], facts: str, shape: DecoderConfig) -> str:
    # A missing file is told when the weights are loaded.
    seen = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()]
    # Windows decide which keys are read, not how weights are packed.
    same = replace(shape, windows=(), sinks=0, global_heads=(), retrieved=0)
    hashed = hashlib.sha256(json.dumps([seen, facts, repr(same)]).encode())
    for path in sorted(path for room in _CODE for path in room.glob("*.py")):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:16]
