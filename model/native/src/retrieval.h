// Selects the keys of a long context that one token of an answer reads (SparQ attention: Ribar et al., 2024).
//
// Scores differ mostly by the columns in which the query is large and keys vary. All keys are scored by a few such
// columns, a fraction of their bytes. Then only the tiles with the largest estimated weights are read whole, besides
// the first tile and the newest ones.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "attention.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

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
        Floats sum = spread(0.0f), squares = sum;
        for (const size_t tile : near.tile) {
          const Ints code = signed_byte(load_bytes(cache.keys + (tile * lines + h) * 64), i);
          const Floats number = floats(code) * load(cache.key_scale + tile * kTokens);
          sum = sum + number;
          squares = plus_product(squares, number, number);
        }
        const float mean = sum_of(sum) / kKeys;
        const float deviation = std::sqrt(std::max(0.0f, sum_of(squares) / kKeys - mean * mean));
        for (int r = 0; r < rows_; ++r)
          size[h] += std::abs(high_byte(queries.codes[r], 4 * h + i)) * queries.scale[r] * deviation;
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
          const int number = high_byte(queries.codes[r], 4 * line_[l] + i);
          number_[r][l][i] = static_cast<int8_t>(number);
          sum += number;
        }
      }
      excess_[r] = excess_of(sum);
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
    Bytes keys[kLooked];
    for (int l = 0; l < kLooked; ++l) keys[l] = as_factor(load_bytes(cache.keys + (tile * width_ / 4 + line_[l]) * 64));
    const Floats key_scale = load(cache.key_scale + tile * kTokens);
    for (int r = 0; r < rows_; ++r) {
      Ints sum = spread(-excess_[r]);
      for (int l = 0; l < kLooked; ++l) {
        int32_t four;
        std::memcpy(&four, number_[r][l], 4);
        dot(sum, keys[l], four);
      }
      to[r * stride] = largest_of(floats(sum) * key_scale) * scale_[r];
    }
  }

 private:
  int rows_, width_;
  int line_[kLooked];
  int8_t number_[kQueryRows][kLooked][4];
  int excess_[kQueryRows];
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
  const auto mask = [far](int i) { return first_lanes(far - i); };
  scratch.assign(static_cast<size_t>(2) * far, 0.0f);
  float *share = scratch.data(), *weight = share + far;
  // Ranks each tile by its share of each row's estimated weights.
  for (int r = 0; r < rows; ++r) {
    const float* of_row = scores + static_cast<size_t>(r) * far;
    const Floats best = spread(*std::max_element(of_row + 1, of_row + far));
    Floats total = spread(0.0f);
    for (int i = 0; i < far; i += 16) {
      const Mask some = i ? mask(i) : mask(i) & 0xFFFE;  // without the first tile, which is always read
      const Floats one = only(some, exp2(load_some(some, of_row + i) - best));
      store_some(mask(i), weight + i, one);
      total = total + one;
    }
    const Floats factor = spread(1.0f / sum_of(total));
    for (int i = 0; i < far; i += 16) {
      const Floats sum = load_some(mask(i), share + i), one = load_some(mask(i), weight + i);
      store_some(mask(i), share + i, plus_product(sum, one, factor));
    }
  }
  share[0] = 1e30f;  // always read: attention sinks (Xiao et al., 2023)
  // Finds the smallest share to read, bit by bit: non-negative floats are ordered like their bit patterns.
  const auto bits = [&](int i) { return pattern(load_some(mask(i), share + i)); };
  int32_t least = 0;
  for (int32_t bit = 1 << 30; bit; bit >>= 1) {
    int found = 0;
    for (int i = 0; i < far; i += 16) found += __builtin_popcount(at_most(spread(least | bit), bits(i)));
    if (found >= count) least |= bit;
  }
  int ties = count;
  for (int i = 0; i < far; i += 16) ties -= __builtin_popcount(greater(bits(i), spread(least)));
  for (int i = 0; i < far; i += 16) {
    unsigned taken = greater(bits(i), spread(least));
    for (unsigned tied = mask(i) & equal(bits(i), spread(least)); tied && ties; --ties) {
      taken |= tied & -tied;
      tied &= tied - 1;
    }
    store_packed(static_cast<Mask>(taken), to, counting() + spread(i));
    to += __builtin_popcount(taken);
  }
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
