// The gradients of causal attention over whole sequences that lie side by side, for training: FlashAttention's backward
// pass (Dao et al., 2022) in bfloat16 on the processor's tiles. Mirrored by `Gradients` in library.py.
#pragma once

#include <atomic>
#include <cstdint>

namespace flightloop {

struct Gradients {
  // bfloat16, [token][head][head width]; the mixed values are what attention gave, d_mixed is their gradient.
  const uint16_t *query, *key, *value, *mixed, *d_mixed;
  uint16_t *d_query, *d_key, *d_value;
  const float* sums;  // [head][token]: natural logarithm of the sum of a query's exponentiated scores
  const int32_t *start, *length;  // of each sequence
  int32_t tokens, sequences, heads, kv_heads, head_width;  // the width is a multiple of 32
  float scale;                                             // of the scores
  std::atomic<int32_t> next;                               // unit of work: a sequence's key/value head
};

// Does units until none is left; threads that call it share the work.
void gradients_share(Gradients& gradients);

}  // namespace flightloop
