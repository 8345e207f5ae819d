// Products of wide rows, in bfloat16 on the processor's tiles (AMX).
//
// A product first converts the weights of 32 outputs to bfloat16, for all its rows. Then each tile instruction
// multiplies 16 rows with 32 inputs of 16 outputs. For many rows, as in prompts.
#pragma once

#include <algorithm>
#include <cstdint>

#include "matrix.h"
#include "narrow.h"
#include "rows.h"
#include "tiles.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

#ifdef FLIGHTLOOP_TILES

// Rounds two vectors, each an input of 16 outputs, to bfloat16 and interleaves them.
inline void put_pair(uint16_t* to, __m512 even, __m512 odd) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i low = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(even), half), 16);
  const __m512i high = _mm512_add_epi32(_mm512_castps_si512(odd), half);
  _mm512_store_si512(to, _mm512_mask_blend_epi16(0xAAAAAAAA, low, high));
}

// Converts a grouped group of 16 outputs to bfloat16: [pair of inputs][output][2].
template <int kBits, bool kMinimum>
void widen(const uint8_t* weight, uint16_t* to) {
  ask<grouped_bytes(kBits, kMinimum)>(weight);
  const __m512 d = scales<kBits>(weight).v;
  const __m512 m = kMinimum ? minima<kBits>(weight).v : _mm512_mul_ps(d, _mm512_set1_ps(-(1 << (kBits - 1))));
  // Codes keep their position in the word, so they are scaled by 256^i.
  __m512 step[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) step[i] = _mm512_scalef_ps(d, _mm512_set1_ps(-8.0f * i));
  const auto value = [&](__m512i word, int i) {
    const __m512i code = _mm512_and_si512(word, _mm512_set1_epi32(255 << 8 * i));
    return _mm512_fmadd_ps(kBits == 8 ? _mm512_cvtepu32_ps(code) : _mm512_cvtepi32_ps(code), step[i], m);
  };
  __m512i codes[8];
  unpack<kBits>(weight, codes);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    put_pair(to + 64 * i, value(codes[i], 0), value(codes[i], 1));
    put_pair(to + 64 * i + 32, value(codes[i], 2), value(codes[i], 3));
  }
}

// Converts an int8 group of 16 outputs to bfloat16, which represents the codes exactly.
inline void widen8(const uint8_t* weight, uint16_t* to) {
  ask<kBytes8>(weight);
  for (int i = 0; i < 8; ++i) {
    const __m512i word = _mm512_load_si512(weight + 64 * i);
    const auto value = [&](int shift) {
      const __m512i code = _mm512_and_si512(_mm512_srli_epi32(word, shift), _mm512_set1_epi32(255));
      return _mm512_cvtepi32_ps(_mm512_sub_epi32(code, _mm512_set1_epi32(128)));
    };
    put_pair(to + 64 * i, value(0), value(8));
    put_pair(to + 64 * i + 32, value(16), value(24));
  }
}

// Stores the existing rows of a tile of sums, multiplied by the scale if there is one.
#define FLIGHTLOOP_PUT(tile, row, column)                                                    \
  do {                                                                                       \
    float* to = out + static_cast<size_t>(row) * stride + (column);                          \
    if (!scale && count - (row) >= kWideRows) {                                              \
      _tile_stored(tile, to, stride * sizeof(float));                                        \
    } else {                                                                                 \
      _tile_stored(tile, sums, 64);                                                          \
      put_sums(sums, std::min(kWideRows, count - (row)), scale ? scale + (column) : nullptr, to, stride); \
    }                                                                                        \
  } while (false)

inline void put_sums(const float* sums, int rows, const float* scale, float* out, int stride) {
  const __m512 factor = scale ? _mm512_loadu_ps(scale) : _mm512_set1_ps(1.0f);
  for (int r = 0; r < rows; ++r)
    _mm512_storeu_ps(out + static_cast<size_t>(r) * stride, _mm512_mul_ps(_mm512_load_ps(sums + 16 * r), factor));
}

// Computes 32 outputs of ``count`` rows.
inline void wide_product(const uint16_t* weight, const uint16_t* rows, int groups, int count, const float* scale,
                         float* out, int stride) {
  constexpr int kTileSize = kWideRows * kGroup;  // of rows and of weights alike
  alignas(64) float sums[kTileRows * kTile];
  asm volatile("" ::: "memory");  // g++ doesn't know what tile instructions read
  int row = 0;
  for (; row + kWideRows < count; row += 2 * kWideRows) {
    const uint16_t *first = rows + static_cast<size_t>(row) * groups * kGroup, *second = first + groups * kTileSize;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int g = 0; g < groups; ++g) {
      _tile_stream_loadd(4, first + g * kTileSize, 64);
      _tile_loadd(6, weight + 2 * g * kTileSize, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, weight + (2 * g + 1) * kTileSize, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_stream_loadd(5, second + g * kTileSize, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    FLIGHTLOOP_PUT(0, row, 0);
    FLIGHTLOOP_PUT(1, row, kTile);
    FLIGHTLOOP_PUT(2, row + kWideRows, 0);
    FLIGHTLOOP_PUT(3, row + kWideRows, kTile);
  }
  if (row < count) {
    const uint16_t* first = rows + static_cast<size_t>(row) * groups * kGroup;
    _tile_zero(0);
    _tile_zero(1);
    for (int g = 0; g < groups; ++g) {
      _tile_stream_loadd(4, first + g * kTileSize, 64);
      _tile_loadd(6, weight + 2 * g * kTileSize, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, weight + (2 * g + 1) * kTileSize, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    FLIGHTLOOP_PUT(0, row, 0);
    FLIGHTLOOP_PUT(1, row, kTile);
  }
}

#undef FLIGHTLOOP_PUT

// As `product`, for wide rows, ``begin`` a multiple of 16 past the narrow ones.
inline void wide_product(const Matrix& matrix, int first, int last, const Rows& rows, int begin, int end, float* out,
                         int stride) {
  static thread_local Buffer<uint16_t> scratch;
  const int groups = rows.groups();
  uint16_t* weight = scratch.need(static_cast<size_t>(groups) * 2 * kTile * kGroup);
  const Tiles tiles;
  for (int tile = first; tile < last; tile += 2) {
    for (int beside = 0; beside < 2; ++beside) {
      const uint8_t* codes = matrix.tile(tile + beside);
      uint16_t* to = weight + beside * kTile * kGroup;
      constexpr size_t kStep = 2 * kTile * kGroup;
      if (matrix.scale) {
        for (int g = 0; g < groups; ++g) widen8(codes + g * kBytes8, to + g * kStep);
        continue;
      }
      with_format(matrix, [&]<int kBits, bool kMinimum>() {
        for (int g = 0; g < groups; ++g)
          widen<kBits, kMinimum>(codes + g * grouped_bytes(kBits, kMinimum), to + g * kStep);
      });
    }
    wide_product(weight, rows.wide(begin), groups, end - begin, matrix.scale ? matrix.scale + tile * kTile : nullptr,
                 out + (tile - first) * kTile, stride);
  }
}

#else

inline void wide_product(const Matrix&, int, int, const Rows&, int, int, float*, int) {}

#endif

}  // namespace flightloop::inline FLIGHTLOOP_KIND
