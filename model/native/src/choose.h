// Greedy choice among logits, with log-probability and entropy before any mask.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>

#include "vector.h"

namespace flightloop {

struct Choice {
  int32_t token;
  float logprob, entropy;  // natural logarithms
};

// ``mask``: null, or a bit per token; ``count`` is a multiple of 16. Ties go to the lower token.
inline Choice choose(const float* logits, int count, const uint32_t* mask) {
  const auto allowed = [mask](int first) {
    return static_cast<__mmask16>(mask ? mask[first / 32] >> first % 32 : 0xffff);
  };
  __m512 most = _mm512_set1_ps(-INFINITY), best = most;
  for (int i = 0; i < count; i += 16) {
    const __m512 x = _mm512_loadu_ps(logits + i);
    most = _mm512_max_ps(most, x);
    best = _mm512_mask_max_ps(best, allowed(i), best, x);
  }
  const float largest = _mm512_reduce_max_ps(most), chosen = _mm512_reduce_max_ps(best);
  int token = 0;
  for (int i = 0; i < count; i += 16) {
    const __mmask16 found = _mm512_mask_cmpeq_ps_mask(allowed(i), _mm512_loadu_ps(logits + i), _mm512_set1_ps(chosen));
    if (found) {
      token = i + __builtin_ctz(found);
      break;
    }
  }
  __m512 total = _mm512_setzero_ps(), weighted = _mm512_setzero_ps();
  for (int i = 0; i < count; i += 16) {
    const __m512 x = _mm512_sub_ps(_mm512_loadu_ps(logits + i), _mm512_set1_ps(largest)), p = exp(x);
    total = _mm512_add_ps(total, p);
    // Tokens of probability 0 add nothing to the entropy, however low their logits.
    weighted = _mm512_mask3_fmadd_ps(p, x, weighted, _mm512_cmp_ps_mask(x, _mm512_set1_ps(-80.0f), _CMP_GT_OQ));
  }
  const float sum = _mm512_reduce_add_ps(total), norm = std::log(sum);
  return {token, chosen - largest - norm, std::max(0.0f, norm - _mm512_reduce_add_ps(weighted) / sum)};
}

}  // namespace flightloop
