// Selects the keys of a long context that one token of an answer reads (SparQ attention: Ribar et al., 2024).
//
// Scores differ mostly by the columns in which the query is large and keys vary. All keys are scored by a few such
// columns, a fraction of their bytes. Then only the tiles with the largest estimated weights are read whole, besides
// the first tile and the newest ones.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "attention.h"

namespace flightloop {

constexpr int kLooked = 6;  // lines of 4 columns that are scored per tile; the narrowest heads have 8

// The queries of one token that share a key/value head, reduced to the columns that matter most.
class Glance {
 public:
  // ``near``: whole tiles that all these queries see; the variation of keys is estimated from them.
  Glance(const Queries& queries, const Cache& cache, const Places& near) : rows_(queries.rows), width_(cache.width) {
    const int width = cache.width;
    float size[kMostWidth / 4] = {};
    int order[kMostWidth / 4];
    const int lines = width / 4;
    for (int h = 0; h < lines; ++h) {  // deviation of the newest keys in each column
      for (int i = 0; i < 4; ++i) {
        __m512 sum = _mm512_setzero_ps(), squares = sum;
        for (const size_t tile : near.tile) {
          const __m512i keys = _mm512_load_si512(cache.keys + (tile * lines + h) * 64);
          const __m512i code = _mm512_srai_epi32(_mm512_sll_epi32(keys, _mm_cvtsi32_si128(24 - 8 * i)), 24);
          const __m512 number = _mm512_mul_ps(_mm512_cvtepi32_ps(code), _mm512_load_ps(cache.key_scale + tile * kTokens));
          sum = _mm512_add_ps(sum, number);
          squares = _mm512_fmadd_ps(number, number, squares);
        }
        const float mean = _mm512_reduce_add_ps(sum) / kKeys;
        const float deviation = std::sqrt(std::max(0.0f, _mm512_reduce_add_ps(squares) / kKeys - mean * mean));
        for (int r = 0; r < rows_; ++r)
          size[h] += std::abs(queries.codes[r][4 * h + i] - 128) * queries.scale[r] * deviation;
      }
    }
    std::iota(order, order + lines, 0);
    std::partial_sort(order, order + kLooked, order + lines, [&](int a, int b) {
      return size[a] > size[b] || (size[a] == size[b] && a < b);
    });
    std::copy_n(order, kLooked, line_);
    for (int r = 0; r < rows_; ++r) {
      int sum = 0;
      for (int l = 0; l < kLooked; ++l) {
        for (int i = 0; i < 4; ++i) {
          const int number = queries.codes[r][4 * line_[l] + i] - 128;
          number_[r][l][i] = static_cast<int8_t>(number);
          sum += number;
        }
      }
      raised_[r] = 128 * sum;
      scale_[r] = queries.scale[r] * 256 * kLog2E / std::sqrt(static_cast<float>(width));
    }
  }

  void ask(const Cache& cache, size_t tile) const {
    for (const int line : line_)
      _mm_prefetch(reinterpret_cast<const char*>(cache.keys + (tile * width_ / 4 + line) * 64), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(cache.key_scale + tile * kTokens), _MM_HINT_T0);
  }

  // Writes each row's highest score in a tile, as an exponent of 2.
  void score(const Cache& cache, size_t tile, float* to, size_t stride) const {
    __m512i keys[kLooked];  // unsigned, offset by 128
    for (int l = 0; l < kLooked; ++l)
      keys[l] = _mm512_xor_si512(_mm512_load_si512(cache.keys + (tile * width_ / 4 + line_[l]) * 64),
                                 _mm512_set1_epi8(static_cast<char>(0x80)));
    const __m512 key_scale = _mm512_load_ps(cache.key_scale + tile * kTokens);
    for (int r = 0; r < rows_; ++r) {
      __m512i sum = _mm512_set1_epi32(-raised_[r]);
      for (int l = 0; l < kLooked; ++l) {
        int32_t four;
        std::memcpy(&four, number_[r][l], 4);
        dot(sum, keys[l], _mm512_set1_epi32(four));
      }
      to[r * stride] = _mm512_reduce_max_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), key_scale)) * scale_[r];
    }
  }

 private:
  int rows_, width_;
  int line_[kLooked];
  int8_t number_[kQueryRows][kLooked][4];
  int raised_[kQueryRows];
  float scale_[kQueryRows];
};

// Number of distant tiles, from which a token's tiles are chosen. The 64 to 128 newest keys after them are always read.
inline int far_tiles(int position) { return std::max(0, position / kKeys - 1) * kTiles; }

// Scores tiles [first, last) of the ``far`` distant ones into scores[row][tile].
inline void glance(const Queries& queries, const Cache& cache, const AttentionTask& task, int head, int far, int first,
                   int last, float* scores) {
  constexpr int kAhead = 12;
  const Glance glance(queries, cache, Places(cache, task, head, far * kTokens));
  for (int i = first; i < last; ++i) {
    glance.ask(cache, place(cache, task, head, std::min(i + kAhead, far) * kTokens));
    glance.score(cache, place(cache, task, head, i * kTokens), scores + i, far);
  }
}

// Writes the indices of the ``count`` best of the ``far`` distant tiles to ``to``, in ascending order.
inline void choose(const float* scores, int rows, int far, int count, std::vector<float>& scratch, int32_t* to) {
  const auto mask = [far](int i) { return static_cast<__mmask16>(far - i < 16 ? (1 << (far - i)) - 1 : 0xFFFF); };
  scratch.assign(static_cast<size_t>(2) * far, 0.0f);
  float *share = scratch.data(), *weight = share + far;
  // Ranks each tile by its share of each row's estimated weights.
  for (int r = 0; r < rows; ++r) {
    const float* of_row = scores + static_cast<size_t>(r) * far;
    const __m512 best = _mm512_set1_ps(*std::max_element(of_row + 1, of_row + far));
    __m512 total = _mm512_setzero_ps();
    for (int i = 0; i < far; i += 16) {
      const __mmask16 some = i ? mask(i) : mask(i) & 0xFFFE;  // without the first tile, which is always read
      const __m512 one = _mm512_maskz_mov_ps(some, exp2(_mm512_sub_ps(_mm512_maskz_loadu_ps(some, of_row + i), best)));
      _mm512_mask_storeu_ps(weight + i, mask(i), one);
      total = _mm512_add_ps(total, one);
    }
    const __m512 factor = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(total));
    for (int i = 0; i < far; i += 16) {
      const __m512 sum = _mm512_maskz_loadu_ps(mask(i), share + i), one = _mm512_maskz_loadu_ps(mask(i), weight + i);
      _mm512_mask_storeu_ps(share + i, mask(i), _mm512_fmadd_ps(one, factor, sum));
    }
  }
  share[0] = 1e30f;  // always read: attention sinks (Xiao et al., 2023)
  // Finds the smallest share to read, bit by bit: non-negative floats are ordered like their bit patterns.
  const auto bits = [&](int i) { return _mm512_maskz_loadu_epi32(mask(i), share + i); };
  int32_t least = 0;
  for (int32_t bit = 1 << 30; bit; bit >>= 1) {
    int found = 0;
    for (int i = 0; i < far; i += 16)
      found += __builtin_popcount(_mm512_cmpge_epi32_mask(bits(i), _mm512_set1_epi32(least | bit)));
    if (found >= count) least |= bit;
  }
  int ties = count;
  for (int i = 0; i < far; i += 16) ties -= __builtin_popcount(_mm512_cmpgt_epi32_mask(bits(i), _mm512_set1_epi32(least)));
  const __m512i in_order = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int i = 0; i < far; i += 16) {
    unsigned taken = _mm512_cmpgt_epi32_mask(bits(i), _mm512_set1_epi32(least));
    for (unsigned tied = _mm512_mask_cmpeq_epi32_mask(mask(i), bits(i), _mm512_set1_epi32(least)); tied && ties; --ties) {
      taken |= tied & -tied;
      tied &= tied - 1;
    }
    _mm512_mask_compressstoreu_epi32(to, static_cast<__mmask16>(taken), _mm512_add_epi32(in_order, _mm512_set1_epi32(i)));
    to += __builtin_popcount(taken);
  }
}

}  // namespace flightloop
