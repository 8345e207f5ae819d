// Exponentials, rounding, and a few loops over vectors.
#pragma once

#include <cmath>
#include <cstdint>

#include "simd.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

// 2^x to about 2 units in the last place; 0 for very small x.
inline Floats exp2(Floats x) {
  x = as_exponent(x);
  const Floats exponent = whole(x), f = x - exponent;
  // Minimax polynomial of degree 5 over |f| <= 1/2 with value 1 at 0; error 9e-8.
  Floats y = spread(1.32647e-3f);
  y = plus_product(spread(9.67151e-3f), y, f);
  y = plus_product(spread(5.550734e-2f), y, f);
  y = plus_product(spread(2.4022242e-1f), y, f);
  y = plus_product(spread(6.9314698e-1f), y, f);
  y = plus_product(spread(1.0f), y, f);
  return times_power(y, exponent);
}

constexpr float kLog2E = 1.44269504f;

inline Floats exp(Floats x) { return exp2(x * spread(kLog2E)); }

inline Floats silu(Floats x) { return x / (spread(1.0f) + exp(spread(0.0f) - x)); }

inline float inverse_rms(const float* x, int width, float epsilon) {
  Floats sum = spread(0.0f);
  for (int i = 0; i < width; i += 16) {
    const Floats v = load(x + i);
    sum = plus_product(sum, v, v);
  }
  return 1.0f / std::sqrt(sum_of(sum) / static_cast<float>(width) + epsilon);
}

inline void scale(float* x, const float* weight, float factor, int width) {
  for (int i = 0; i < width; i += 16) store(x + i, load(x + i) * spread(factor) * load(weight + i));
}

inline float largest(const float* x, int width) {
  Floats most = spread(0.0f);
  for (int i = 0; i < width; i += 16) most = max(most, absolute(load(x + i)));
  return largest_of(most);
}

// Quantises a vector symmetrically to 8 bits; returns the scale of the codes.
inline float round8(const float* x, int width, int8_t* to) {
  const float most = largest(x, width);
  const Floats factor = spread(most > 1e-30f ? 127.0f / most : 0.0f);
  for (int i = 0; i < width; i += 16) store_narrow(to + i, nearest(load(x + i) * factor));
  return most / 127.0f;
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
