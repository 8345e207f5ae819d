// Causal attention over whole concatenated sequences, and its gradients, for training: in bfloat16 on the processor's
// tile registers (AMX). The gradients are FlashAttention's (Dao et al., 2022). Mirrored by `Causal` in library.py.
#pragma once

#include <atomic>
#include <cstdint>

#include "kind.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

struct Causal {
  // bfloat16, [token][head][head width]. mixed: attention's output; d_: gradients.
  const uint16_t *query, *key, *value;
  uint16_t* mixed;
  const uint16_t* d_mixed;
  uint16_t *d_query, *d_key, *d_value;
  float* sums;                    // [head][token]: logarithm to base 2 of the sum of a query's exponentiated scores
  // Of each sequence. begun: number of its first queries that are not wanted, in forward and backward.
  const int32_t *start, *length, *begun;
  int32_t tokens, sequences, heads, kv_heads, head_width;  // the width is a multiple of 32
  float scale;                                             // of the scores
  std::atomic<int32_t> next;                               // next unit of work: one key/value head of one sequence
};

// Both process units until none is left. Threads that call them share the work.
void attend_share(Causal& causal);         // writes ``mixed`` and ``sums``
void differentiate_share(Causal& causal);  // reads these and ``d_mixed``, writes the other gradients

}  // namespace flightloop::inline FLIGHTLOOP_KIND
