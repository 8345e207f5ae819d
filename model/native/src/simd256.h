// The words of simd.h with AVX2, FMA and F16C: every vector is two halves.
#pragma once

#include "simd.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

struct Floats {
  __m256 low, high;
};
struct Ints {
  __m256i low, high;
};
struct Bytes {
  __m256i low, high;
};

inline Floats spread(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Ints spread(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline Ints counting() {
  return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
}

inline __m256i load_half(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
inline void store_half(void* to, __m256i x) { _mm256_storeu_si256(static_cast<__m256i*>(to), x); }

inline Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline Ints load(const int32_t* from) { return {load_half(from), load_half(from + 8)}; }
inline Bytes load_bytes(const void* from) {
  return {load_half(from), load_half(static_cast<const uint8_t*>(from) + 32)};
}
inline void store(float* to, Floats x) {
  _mm256_storeu_ps(to, x.low);
  _mm256_storeu_ps(to + 8, x.high);
}
inline void store(int32_t* to, Ints x) {
  store_half(to, x.low);
  store_half(to + 8, x.high);
}
inline void store_bytes(void* to, Bytes x) {
  store_half(to, x.low);
  store_half(static_cast<uint8_t*>(to) + 32, x.high);
}

// 16 numbers in float16 or bfloat16.
inline Floats load_float16(const void* from) {
  const auto* halves = static_cast<const __m128i*>(from);
  return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
inline Floats load_bfloat16(const void* from) {
  const auto* halves = static_cast<const __m128i*>(from);
  const auto widened = [&](int i) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(halves + i)), 16));
  };
  return {widened(0), widened(1)};
}

// All bits of the numbers that the mask has, none of the others.
inline Ints spread_mask(Mask mask) {
  const __m256i low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), high = _mm256_slli_epi32(low, 8);
  const __m256i bits = _mm256_set1_epi32(mask);
  return {_mm256_cmpeq_epi32(_mm256_and_si256(bits, low), low), _mm256_cmpeq_epi32(_mm256_and_si256(bits, high), high)};
}
inline Mask mask_of(__m256 low, __m256 high) {
  return static_cast<Mask>(_mm256_movemask_ps(low) | _mm256_movemask_ps(high) << 8);
}
inline Mask mask_of(__m256i low, __m256i high) { return mask_of(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)); }

// Reads and writes nothing where the mask has no bit; what is not read is 0.
inline Floats load_some(Mask mask, const float* from) {
  const Ints lanes = spread_mask(mask);
  return {_mm256_maskload_ps(from, lanes.low), _mm256_maskload_ps(from + 8, lanes.high)};
}
inline void store_some(Mask mask, float* to, Floats x) {
  const Ints lanes = spread_mask(mask);
  _mm256_maskstore_ps(to, lanes.low, x.low);
  _mm256_maskstore_ps(to + 8, lanes.high, x.high);
}

// Writes the numbers of the mask one after the other, and nothing beyond them.
inline void store_packed(Mask mask, int32_t* to, Ints x) {
  int32_t numbers[16];
  store(numbers, x);
  for (unsigned left = mask; left; left &= left - 1) *to++ = numbers[__builtin_ctz(left)];
}

// Writes 16 integers as signed bytes, the nearest ones.
inline void store_narrow(int8_t* to, Ints x) {
  // Packing works within each half of a register: low 0..3, high 0..3 (8..11), low 4..7, high 4..7.
  const __m256i words = _mm256_packs_epi32(x.low, x.high), ordered = _mm256_permute4x64_epi64(words, 0b11011000);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
}

inline Floats operator+(Floats a, Floats b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline Floats plus_product(Floats c, Floats a, Floats b) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Floats product_less(Floats a, Floats b, Floats c) {
  return {_mm256_fmsub_ps(a.low, b.low, c.low), _mm256_fmsub_ps(a.high, b.high, c.high)};
}
inline Floats max(Floats a, Floats b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline Floats min(Floats a, Floats b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline Floats absolute(Floats x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}

inline Ints operator+(Ints a, Ints b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
inline Ints operator-(Ints a, Ints b) { return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}; }
inline Ints operator<<(Ints x, int count) {
  const __m128i by = _mm_cvtsi32_si128(count);
  return {_mm256_sll_epi32(x.low, by), _mm256_sll_epi32(x.high, by)};
}

// 0 where the mask has no bit.
inline Floats only(Mask mask, Floats x) {
  if (__builtin_constant_p(mask) && mask == kAll) return x;
  const Ints lanes = spread_mask(mask);
  return {_mm256_and_ps(_mm256_castsi256_ps(lanes.low), x.low), _mm256_and_ps(_mm256_castsi256_ps(lanes.high), x.high)};
}
// The first operand where the mask has no bit.
inline Floats select(Mask mask, Floats a, Floats b) {
  if (__builtin_constant_p(mask) && mask == kAll) return b;
  const Ints lanes = spread_mask(mask);
  return {_mm256_blendv_ps(a.low, b.low, _mm256_castsi256_ps(lanes.low)),
          _mm256_blendv_ps(a.high, b.high, _mm256_castsi256_ps(lanes.high))};
}
inline Floats max_some(Mask mask, Floats a, Floats b) { return select(mask, a, max(a, b)); }
inline Floats plus_product_some(Mask mask, Floats c, Floats a, Floats b) {
  return select(mask, c, plus_product(c, a, b));
}

inline Mask greater(Floats a, Floats b) {
  return mask_of(_mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ));
}
inline Mask equal(Floats a, Floats b) {
  return mask_of(_mm256_cmp_ps(a.low, b.low, _CMP_EQ_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_EQ_OQ));
}
inline Mask greater(Ints a, Ints b) {
  return mask_of(_mm256_cmpgt_epi32(a.low, b.low), _mm256_cmpgt_epi32(a.high, b.high));
}
inline Mask at_most(Ints a, Ints b) { return static_cast<Mask>(~greater(a, b)); }
inline Mask equal(Ints a, Ints b) {
  return mask_of(_mm256_cmpeq_epi32(a.low, b.low), _mm256_cmpeq_epi32(a.high, b.high));
}

inline float first_of(Floats x) { return _mm256_cvtss_f32(x.low); }
inline float sum_of(Floats x) {
  const __m256 eight = _mm256_add_ps(x.low, x.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline int32_t sum_of(Ints x) {
  const __m256i eight = _mm256_add_epi32(x.low, x.high);
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0b01001110));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0b10110001)));
}
inline float largest_of(Floats x) {
  const __m256 eight = _mm256_max_ps(x.low, x.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

inline Ints nearest(Floats x) { return {_mm256_cvtps_epi32(x.low), _mm256_cvtps_epi32(x.high)}; }
inline Floats floats(Ints x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
inline Ints pattern(Floats x) { return {_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)}; }

inline Floats whole(Floats x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.low, kNearest), _mm256_round_ps(x.high, kNearest)};
}
// The exponents of 2 for which ``times_power`` is right: others become the nearest, of which the power is 0 or
// infinite. The operands' order keeps what is not a number.
inline Floats as_exponent(Floats x) { return min(spread(128.0f), max(spread(-127.0f), x)); }
// x * 2^exponent for a whole exponent of -127 (of which the power is taken as 0) to 128.
inline Floats times_power(Floats x, Floats exponent) {
  const auto power = [](__m256 of) {
    const __m256i raised = _mm256_add_epi32(_mm256_cvtps_epi32(of), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(raised, 23));
  };
  return {_mm256_mul_ps(x.low, power(exponent.low)), _mm256_mul_ps(x.high, power(exponent.high))};
}

// Byte ``i`` of each four, as a signed number.
inline Ints signed_byte(Bytes x, int i) {
  const __m128i by = _mm_cvtsi32_si128(24 - 8 * i);
  return {_mm256_srai_epi32(_mm256_sll_epi32(x.low, by), 24), _mm256_srai_epi32(_mm256_sll_epi32(x.high, by), 24)};
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
