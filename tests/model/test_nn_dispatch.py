"""Experts split over two processes give what one process gives."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from model.engine.kv_cache import KVCache
from model.nn.attention import AttentionBatch
from model.nn.dispatch import AllToAllDispatcher
from model.weights.tiny import TINY, random_decoder

PROMPTS = [[5, 17, 300], [9], [42, 43, 44, 45, 46, 47]]
STEPS = 6


def greedy(decoder):
    """Prefills the prompts together, then decodes together: token ids and the last step's logits."""
    kv = KVCache(TINY.layers, 6, 8, TINY.kv_heads, TINY.head_width, torch.float32)
    tables = [[0, 1], [2, 3], [4, 5]]
    new, lengths = [list(prompt) for prompt in PROMPTS], [len(prompt) for prompt in PROMPTS]
    produced = []
    with torch.inference_mode():
        for _ in range(STEPS):
            batch = AttentionBatch.build([len(tokens) for tokens in new], lengths, tables, 8)
            hidden = decoder(torch.tensor([token for tokens in new for token in tokens]), batch.positions_T, kv, batch)
            logits = decoder.logits(hidden[batch.last_S])
            chosen = logits.argmax(-1).tolist()
            produced.append(chosen)
            new, lengths = [[token] for token in chosen], [length + 1 for length in lengths]
    return produced, logits


def _rank(rank, ranks, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=ranks)
    decoder = random_decoder(TINY, 7)
    decoder.use_dispatcher(AllToAllDispatcher(None, TINY.experts))
    produced, logits = greedy(decoder)
    kept = decoder.blocks[0].moe.experts.count
    torch.save((produced, logits, kept, decoder.expert_tokens_E), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_give_the_same_greedy_tokens(tmp_path):
    mp.spawn(_rank, args=(2, str(tmp_path)), nprocs=2)
    local = random_decoder(TINY, 7)
    expected, logits = greedy(local)
    for rank in range(2):
        produced, theirs, kept, counted = torch.load(tmp_path / f"{rank}.pt")
        assert produced == expected
        torch.testing.assert_close(theirs, logits, atol=1e-4, rtol=1e-4)
        assert kept == TINY.experts // 2
        assert torch.equal(counted, local.expert_tokens_E)
