// Products of narrow rows: int8 by int4 or int8, with AVX-512 VNNI. For few rows: reading weights dominates.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "matrix.h"
#include "rows.h"

namespace flightloop {

// sum += dot products of four bytes with each column's four.
inline void dot4(__m512i& sum, __m512i bytes, const int8_t* four) {
  struct Four {
    int8_t bytes[4];
  };
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(bytes), "m"(*reinterpret_cast<const Four*>(four)));
}

// 16 outputs of R rows, int4.
template <int R>
void tile4(const uint8_t* weight, const Rows& rows, int row, float* out, int stride) {
  const int groups = rows.groups();
  const int8_t* codes = rows.codes(row);
  const float *scale = rows.scale(row), *sums = rows.sum(row);
  const __m512i low = _mm512_set1_epi8(15);
  __m512 total[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[r] = _mm512_setzero_ps();
  for (int g = 0; g < groups; ++g, weight += kBytes4, codes += kRows * kGroup, scale += kRows, sums += kRows) {
    __m512i w[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i both = _mm512_load_si512(weight + 64 * i);
      w[i] = _mm512_and_si512(both, low);
      w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
    ask<kBytes4>(weight);
    const __m512 d = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(weight + 256)));
    const __m512 m = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(weight + 288)));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) dot4(sum, w[i], codes + r * kGroup + 4 * i);
      total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(d, _mm512_set1_ps(scale[r])), total[r]);
      total[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(sums[r]), total[r]);
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

template <int R>
void tile_of(const Matrix& matrix, int tile, const Rows& rows, int row, float* out, int stride) {
  if (matrix.bits == 4) {
    tile4<R>(matrix.tile(tile), rows, row, out, stride);
  } else {
    tile8<R>(matrix.tile(tile), matrix.scale + tile * kTile, rows, row, out, stride);
  }
}

// As `product`, for narrow rows, ``begin`` a multiple of 8.
inline void narrow_product(const Matrix& matrix, int first, int last, const Rows& rows, int begin, int end, float* out,
                           int stride) {
  for (int tile = first; tile < last; ++tile) {
    for (int row = begin; row < end; row += kRows) {
      float* to = out + static_cast<size_t>(row - begin) * stride + (tile - first) * kTile;
      switch (std::min(kRows, end - row)) {
        case 1: tile_of<1>(matrix, tile, rows, row, to, stride); break;
        case 2: tile_of<2>(matrix, tile, rows, row, to, stride); break;
        case 3: tile_of<3>(matrix, tile, rows, row, to, stride); break;
        case 4: tile_of<4>(matrix, tile, rows, row, to, stride); break;
        case 5: tile_of<5>(matrix, tile, rows, row, to, stride); break;
        case 6: tile_of<6>(matrix, tile, rows, row, to, stride); break;
        case 7: tile_of<7>(matrix, tile, rows, row, to, stride); break;
        default: tile_of<8>(matrix, tile, rows, row, to, stride);
      }
    }
  }
}

}  // namespace flightloop
