// Vector functions that AVX-512 lacks: exponentials, loading bfloat16, rounding, and a few loops over vectors.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace flightloop {

// 2^x to about 2 units in the last place; 0 for very small x.
inline __m512 exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(x, whole);
  // Minimax polynomial of degree 5 over |f| <= 1/2 with value 1 at 0; error 9e-8.
  __m512 y = _mm512_set1_ps(1.32647e-3f);
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.67151e-3f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.550734e-2f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.4022242e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.9314698e-1f));
  y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(y, whole);
}

// sum += dot products of four unsigned and four signed bytes, for 16 columns. In assembly, since g++ 12 spends as many
// instructions on moving the sums between registers as on adding to them.
inline void dot(__m512i& sum, __m512i bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(signed_bytes));
}

constexpr float kLog2E = 1.44269504f;

inline __m512 exp(__m512 x) { return exp2(_mm512_mul_ps(x, _mm512_set1_ps(kLog2E))); }

inline __m512 silu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  return _mm512_div_ps(x, _mm512_add_ps(one, exp(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

inline __m512 load_bfloat16(const uint16_t* from) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline float inverse_rms(const float* x, int width, float epsilon) {
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < width; i += 16) {
    const __m512 v = _mm512_loadu_ps(x + i);
    sum = _mm512_fmadd_ps(v, v, sum);
  }
  return 1.0f / std::sqrt(_mm512_reduce_add_ps(sum) / static_cast<float>(width) + epsilon);
}

inline void scale(float* x, const float* weight, float factor, int width) {
  for (int i = 0; i < width; i += 16) {
    const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(factor));
    _mm512_storeu_ps(x + i, _mm512_mul_ps(v, _mm512_loadu_ps(weight + i)));
  }
}

inline float largest(const float* x, int width) {
  __m512 most = _mm512_setzero_ps();
  for (int i = 0; i < width; i += 16) most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
  return _mm512_reduce_max_ps(most);
}

// Quantises a vector symmetrically to 8 bits; returns the scale of the codes.
inline float round8(const float* x, int width, int8_t* to) {
  const float most = largest(x, width);
  const __m512 factor = _mm512_set1_ps(most > 1e-30f ? 127.0f / most : 0.0f);
  for (int i = 0; i < width; i += 16) {
    const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm512_cvtsepi32_epi8(code));
  }
  return most / 127.0f;
}

// Quantises a vector to 16 bits, offset by 32768: first the high bytes of all numbers, then the low bytes.
inline float round16(const float* x, int width, uint8_t* to) {
  const float most = largest(x, width);
  const __m512 factor = _mm512_set1_ps(most > 1e-30f ? 32767.0f / most : 0.0f);
  for (int i = 0; i < width; i += 16) {
    const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor));
    const __m512i raised = _mm512_add_epi32(code, _mm512_set1_epi32(32768));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(raised, 8)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + width + i), _mm512_cvtepi32_epi8(raised));
  }
  return most / 32767.0f;
}

}  // namespace flightloop
