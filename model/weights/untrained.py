"""Words that a checkpoint's vocabulary has as tokens of their own, and that its training never used.

Qwen2.5-Coder's template writes calls between ``<tool_call>`` and ``</tool_call>``, but the embeddings of these two
tokens are those of the vocabulary's padding: the model can neither read nor write them. As plain text, in several
tokens, it knows them well. (Seen in the files of the 0.5B and the 1.5B.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor
from torch.nn.functional import cosine_similarity

from model.weights.gguf import GgufFile
from model.weights.tokenizer import UNUSED, USER_DEFINED

EMBEDDING = "token_embd.weight"
ALIKE = 0.99
"""Least cosine of two embeddings that training has not moved apart. Those of any other two words are below 0.95."""


def untrained(words: Iterable[int], unused: int | None, row: Callable[[int], Tensor]) -> frozenset[int]:
    """Ids of the words whose embedding is that of an unused token.

    Args:
        words: ids of words that are tokens of their own.
        unused: id of a token that no text contains; None: the vocabulary has none, so nothing can be told.
        row: the embedding of a token.
    """
    if unused is None:
        return frozenset()
    padding = row(unused)
    return frozenset(word for word in words if float(cosine_similarity(row(word), padding, dim=0)) > ALIKE)


def untrained_in_gguf(file: GgufFile) -> frozenset[int]:
    """Ids of a GGUF file's untrained words."""
    rows = file.tensors[EMBEDDING].shape[0] if EMBEDDING in file.tensors else 0
    kinds = list(enumerate(file.metadata.get("tokenizer.ggml.token_type", ())))[:rows]
    unused = next((index for index, kind in kinds if kind == UNUSED), None)
    words = [index for index, kind in kinds if kind == USER_DEFINED]
    return untrained(words, unused, lambda index: file.row(EMBEDDING, index))
