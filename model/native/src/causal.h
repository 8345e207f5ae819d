// Causal attention over whole sequences that lie side by side, and its gradients, for training: in bfloat16 on the
// processor's tiles. The gradients are FlashAttention's (Dao et al., 2022). Mirrored by `Causal` in library.py.
#pragma once

#include <atomic>
#include <cstdint>

namespace flightloop {

struct Causal {
  // bfloat16, [token][head][head width]: of each head, what its queries mix together, and with d_ the gradients.
  const uint16_t *query, *key, *value;
  uint16_t* mixed;
  const uint16_t* d_mixed;
  uint16_t *d_query, *d_key, *d_value;
  float* sums;                    // [head][token]: logarithm to base 2 of the sum of a query's exponentiated scores
  const int32_t *start, *length;  // of each sequence
  int32_t tokens, sequences, heads, kv_heads, head_width;  // the width is a multiple of 32
  float scale;                                             // of the scores
  std::atomic<int32_t> next;                               // unit of work: a sequence's key/value head
};

// Both do units until none is left; threads that call them share the work.
void attend_share(Causal& causal);         // to ``mixed`` and ``sums``
void differentiate_share(Causal& causal);  // from these and ``d_mixed`` to the other gradients

}  // namespace flightloop
