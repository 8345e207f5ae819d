// Products of narrow rows: int8 by the weights' codes, with AVX-512 VNNI. For few rows: reading weights dominates.
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
    const __m512 d = scales<kBits>(weight);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      // Without minima, the sum starts with the correction for the middle code.
      __m512i sum = kMinimum ? _mm512_setzero_si512() : _mm512_set1_epi32(offset[r] >> (8 - kBits));
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) dot4(sum, w[i], codes + r * kGroup + 4 * i);
      total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(d, _mm512_set1_ps(scale[r])), total[r]);
      if constexpr (kMinimum) total[r] = _mm512_fmadd_ps(minima<kBits>(weight), _mm512_set1_ps(sums[r]), total[r]);
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
  if (matrix.scale) {
    tile8<R>(matrix.tile(tile), matrix.scale + tile * kTile, rows, row, out, stride);
  } else {
    with_format(matrix, [&]<int kBits, bool kMinimum>() {
      tile_grouped<kBits, kMinimum, R>(matrix.tile(tile), rows, row, out, stride);
    });
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
