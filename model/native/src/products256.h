// Dot products of bytes and words with AVX2, in one instruction each with AVX-VNNI.
#pragma once

#include "simd.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

#ifdef __AVXVNNI__
constexpr bool kVnni = true;

// In assembly, since g++ 12 spends as many instructions on moving the sums between registers as on adding to them.
inline void dot_bytes(__m256i& sum, __m256i bytes, __m256i signed_bytes) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(bytes), "x"(signed_bytes));
}
inline void dot_words(__m256i& sum, __m256i a, __m256i b) {
  asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
}

#else
constexpr bool kVnni = false;

// sum += dot products of four unsigned and four signed bytes. Products of two must fit 16 bits together.
inline void dot_bytes(__m256i& sum, __m256i bytes, __m256i signed_bytes) {
  const __m256i pairs = _mm256_maddubs_epi16(bytes, signed_bytes);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
// sum += dot products of two words.
inline void dot_words(__m256i& sum, __m256i a, __m256i b) { sum = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }

#endif

}  // namespace flightloop::inline FLIGHTLOOP_KIND
