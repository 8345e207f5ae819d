// Products of a tile with narrow rows, with AVX-512 VNNI.
#pragma once

#include "matrix.h"
#include "rows.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

// Unpacks a group's codes into bytes, as [four inputs][output][input].
template <int kBits>
inline void unpack(const uint8_t* weight, __m512i* codes) {
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) codes[i] = _mm512_loadu_si512(weight + 64 * i);
  } else {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i both = _mm512_loadu_si512(weight + 64 * i);
      codes[i] = _mm512_and_si512(both, low);
      codes[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
#pragma GCC unroll 2
    for (int bit = 4; bit < kBits; ++bit) {
      const uint64_t* plane = reinterpret_cast<const uint64_t*>(weight + 64 * bit);
      const __m512i value = _mm512_set1_epi8(1 << bit);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) codes[i] = _mm512_mask_add_epi8(codes[i], plane[i], codes[i], value);
    }
  }
}

// sum += dot products of four bytes with each column's four.
inline void dot4(__m512i& sum, __m512i bytes, const int8_t* four) {
  struct Four {
    int8_t bytes[4];
  };
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(bytes), "m"(*reinterpret_cast<const Four*>(four)));
}

// 16 outputs of R rows, grouped.
template <int kBits, bool kMinimum, int R>
void tile_grouped(const uint8_t* weight, const Rows& rows, int row, float* out, int stride) {
  constexpr int kBytes = grouped_bytes(kBits, kMinimum);
  const int groups = rows.groups();
  const int8_t* codes = rows.codes(row);
  const float *scale = rows.scale(row), *sums = rows.sum(row);
  const int32_t* offset = rows.offset(row);
  __m512 total[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[r] = _mm512_setzero_ps();
  for (int g = 0; g < groups;
       ++g, weight += kBytes, codes += kRows * kGroup, scale += kRows, sums += kRows, offset += kRows) {
    __m512i w[8];
    unpack<kBits>(weight, w);
    ask<kBytes>(weight);
    const __m512 d = scales<kBits>(weight).v;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      // Without minima, the sum starts with the correction for the middle code.
      __m512i sum = kMinimum ? _mm512_setzero_si512() : _mm512_set1_epi32(offset[r] >> (8 - kBits));
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) dot4(sum, w[i], codes + r * kGroup + 4 * i);
      total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(d, _mm512_set1_ps(scale[r])), total[r]);
      if constexpr (kMinimum) total[r] = _mm512_fmadd_ps(minima<kBits>(weight).v, _mm512_set1_ps(sums[r]), total[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) _mm512_storeu_ps(out + r * stride, total[r]);
}

// 16 outputs of R rows, int8.
template <int R>
void tile8(const uint8_t* weight, const float* output_scale, const Rows& rows, int row, float* out, int stride) {
  const int groups = rows.groups();
  const int8_t* codes = rows.codes(row);
  const float* scale = rows.scale(row);
  const int32_t* offset = rows.offset(row);
  __m512 total[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[r] = _mm512_setzero_ps();
  for (int g = 0; g < groups; ++g, weight += kBytes8, codes += kRows * kGroup, scale += kRows, offset += kRows) {
    __m512i w[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) w[i] = _mm512_load_si512(weight + 64 * i);
    ask<kBytes8>(weight);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      // The codes are offset by 128: the sum starts with the correction.
      __m512i sum = _mm512_set1_epi32(offset[r]);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) dot4(sum, w[i], codes + r * kGroup + 4 * i);
      total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale[r]), total[r]);
    }
  }
  const __m512 factor = _mm512_loadu_ps(output_scale);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) _mm512_storeu_ps(out + r * stride, _mm512_mul_ps(total[r], factor));
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
