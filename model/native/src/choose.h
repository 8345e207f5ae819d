// Greedy choice among logits, with log-probability and entropy before any mask.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "vector.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

struct Choice {
  int32_t token;
  float logprob, entropy;  // natural logarithms
};

// ``mask``: null, or a bit per token; ``count`` is a multiple of 16. Ties go to the lower token.
inline Choice choose(const float* logits, int count, const uint32_t* mask) {
  const auto allowed = [mask](int first) {
    return static_cast<Mask>(mask ? mask[first / 32] >> first % 32 : kAll);
  };
  Floats most = spread(-INFINITY), best = most;
  for (int i = 0; i < count; i += 16) {
    const Floats x = load(logits + i);
    most = max(most, x);
    best = max_some(allowed(i), best, x);
  }
  const float largest = largest_of(most), chosen = largest_of(best);
  int token = 0;
  for (int i = 0; i < count; i += 16) {
    const Mask found = allowed(i) & equal(load(logits + i), spread(chosen));
    if (found) {
      token = i + __builtin_ctz(found);
      break;
    }
  }
  Floats total = spread(0.0f), weighted = total;
  for (int i = 0; i < count; i += 16) {
    const Floats x = load(logits + i) - spread(largest), p = exp(x);
    total = total + p;
    // Tokens of probability 0 add nothing to the entropy, however low their logits.
    weighted = plus_product_some(greater(x, spread(-80.0f)), weighted, p, x);
  }
  const float sum = sum_of(total), norm = std::log(sum);
  return {token, chosen - largest - norm, std::max(0.0f, norm - sum_of(weighted) / sum)};
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
