// The words of simd.h with AVX-512.
#pragma once

#include "simd.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

struct Floats {
  __m512 v;
};
struct Ints {
  __m512i v;
};
struct Bytes {
  __m512i v;
};

inline Floats spread(float x) { return {_mm512_set1_ps(x)}; }
inline Ints spread(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline Ints counting() { return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }

inline Floats load(const float* from) { return {_mm512_loadu_ps(from)}; }
inline Ints load(const int32_t* from) { return {_mm512_loadu_si512(from)}; }
inline Bytes load_bytes(const void* from) { return {_mm512_loadu_si512(from)}; }
inline void store(float* to, Floats x) { _mm512_storeu_ps(to, x.v); }
inline void store(int32_t* to, Ints x) { _mm512_storeu_si512(to, x.v); }
inline void store_bytes(void* to, Bytes x) { _mm512_storeu_si512(to, x.v); }

// 16 numbers in float16 or bfloat16.
inline Floats load_float16(const void* from) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(from)))};
}
inline Floats load_bfloat16(const void* from) {
  const __m256i half = _mm256_loadu_si256(static_cast<const __m256i*>(from));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
}

// Reads and writes nothing where the mask has no bit; what is not read is 0.
inline Floats load_some(Mask mask, const float* from) { return {_mm512_maskz_loadu_ps(mask, from)}; }
inline void store_some(Mask mask, float* to, Floats x) { _mm512_mask_storeu_ps(to, mask, x.v); }

// Writes the numbers of the mask one after the other, and nothing beyond them.
inline void store_packed(Mask mask, int32_t* to, Ints x) { _mm512_mask_compressstoreu_epi32(to, mask, x.v); }

// Writes 16 integers as signed bytes, the nearest ones.
inline void store_narrow(int8_t* to, Ints x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtsepi32_epi8(x.v));
}

inline Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Floats plus_product(Floats c, Floats a, Floats b) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Floats product_less(Floats a, Floats b, Floats c) { return {_mm512_fmsub_ps(a.v, b.v, c.v)}; }
inline Floats max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Floats absolute(Floats x) { return {_mm512_abs_ps(x.v)}; }

inline Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline Ints operator-(Ints a, Ints b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline Ints operator<<(Ints x, int count) { return {_mm512_sll_epi32(x.v, _mm_cvtsi32_si128(count))}; }

// 0 where the mask has no bit.
inline Floats only(Mask mask, Floats x) { return {_mm512_maskz_mov_ps(mask, x.v)}; }
// The first operand where the mask has no bit.
inline Floats max_some(Mask mask, Floats a, Floats b) { return {_mm512_mask_max_ps(a.v, mask, a.v, b.v)}; }
inline Floats plus_product_some(Mask mask, Floats c, Floats a, Floats b) {
  return {_mm512_mask3_fmadd_ps(a.v, b.v, c.v, mask)};
}

inline Mask greater(Floats a, Floats b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
inline Mask equal(Floats a, Floats b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
inline Mask greater(Ints a, Ints b) { return _mm512_cmpgt_epi32_mask(a.v, b.v); }
inline Mask at_most(Ints a, Ints b) { return _mm512_cmple_epi32_mask(a.v, b.v); }
inline Mask equal(Ints a, Ints b) { return _mm512_cmpeq_epi32_mask(a.v, b.v); }

inline float sum_of(Floats x) { return _mm512_reduce_add_ps(x.v); }
inline int32_t sum_of(Ints x) { return _mm512_reduce_add_epi32(x.v); }
inline float largest_of(Floats x) { return _mm512_reduce_max_ps(x.v); }
inline float first_of(Floats x) { return _mm512_cvtss_f32(x.v); }

inline Ints nearest(Floats x) { return {_mm512_cvtps_epi32(x.v)}; }
inline Floats floats(Ints x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline Ints pattern(Floats x) { return {_mm512_castps_si512(x.v)}; }

inline Floats whole(Floats x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// The exponents of 2 for which ``times_power`` is right: here all.
inline Floats as_exponent(Floats x) { return x; }
// x * 2^exponent for a whole exponent.
inline Floats times_power(Floats x, Floats exponent) { return {_mm512_scalef_ps(x.v, exponent.v)}; }

// Byte ``i`` of each four, as a signed number.
inline Ints signed_byte(Bytes x, int i) {
  return {_mm512_srai_epi32(_mm512_sll_epi32(x.v, _mm_cvtsi32_si128(24 - 8 * i)), 24)};
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
