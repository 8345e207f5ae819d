// Attention of a few queries of one sequence over its keys and values in the paged cache, for the query heads that
// share one key/value head. Keys and values are int8, each head of a token with a scale of its own; queries and weights
// are rounded to 16 bits, so that sums are exact integers (VPDPWSSD).
//
// Softmax is taken block by block with a running maximum (Milakov and Gimelshein, 2018; the blocking of FlashAttention,
// Dao et al., 2022), within spans of blocks that know nothing of each other, so that threads can share a long context.
// Blocks and spans begin at fixed positions: a query meets the same ones in the same order whatever runs beside it, and
// one that it sees nothing of changes nothing.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "vector.h"

namespace flightloop {

constexpr int kKeys = 64;        // keys of one block
constexpr int kSpan = 16 * kKeys;
constexpr int kQueryRows = 64;   // most (query, head) pairs of one task
constexpr int kMostWidth = 128;  // of a head
constexpr float kNone = -1e30f;  // below any score
// Values of keys whose weight is less than 2^-15 of the largest so far are left out, as 16 bits would round them.
constexpr float kNegligible = 15;

// Keys and values of one layer: [slot][key/value head][width], with a scale for each head of a slot.
struct Cache {
  const int8_t *keys, *values;
  const float *key_scale, *value_scale;
  int heads, width;
};

struct AttentionTask {
  const int32_t* table;  // blocks of the sequence
  int block_size;
  int begin, queries;    // rows of the step
  int position;          // of the first query; the others follow

  int newest() const { return position + queries - 1; }
};

// The queries' side of a task, and what they may see.
struct Queries {
  const int16_t* codes[kQueryRows];
  float scale[kQueryRows];
  int position[kQueryRows];
  int rows, window, sinks;

  // Whether any may see a key of the block that begins at ``first``; the first query is the one furthest back.
  bool see(int first) const {
    return window == 0 || first < sinks || first + kKeys > position[0] - window + 1;
  }
};

// Weighted sums of values, relative to exp2(-largest): of a span, or of several.
struct Mixed {
  float* sums;     // [row][width]
  float *largest;  // [row]
  float *total;    // [row]

  void clear(int rows, int width) {
    std::fill_n(largest, rows, kNone);
    std::fill_n(total, rows, 0.0f);
    std::memset(sums, 0, sizeof(float) * rows * width);
  }

  void add(const Mixed& other, int rows, int width) {
    for (int r = 0; r < rows; ++r) {
      const float most = std::max(largest[r], other.largest[r]);
      const __m512 mine = exp2(_mm512_set1_ps(largest[r] - most)), theirs = exp2(_mm512_set1_ps(other.largest[r] - most));
      for (int i = 0; i < width; i += 16) {
        const __m512 there = _mm512_mul_ps(_mm512_loadu_ps(other.sums + r * width + i), theirs);
        float* to = sums + r * width + i;
        _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_loadu_ps(to), mine, there));
      }
      total[r] = total[r] * _mm512_cvtss_f32(mine) + other.total[r] * _mm512_cvtss_f32(theirs);
      largest[r] = most;
    }
  }
};

class AttentionScratch {
 public:
  alignas(64) uint32_t keys[kMostWidth / 2 * kKeys];    // pairs of inputs: [width / 2][key]
  alignas(64) uint32_t values[kKeys / 2 * kMostWidth];  // pairs of keys: [key / 2][width]
  alignas(64) int16_t weights[kQueryRows * kKeys];
  alignas(64) int32_t scores[kQueryRows * kKeys];
  alignas(64) float key_scale[kKeys], value_scale[kKeys];
  float factor[kQueryRows];                             // of each row's weights
  alignas(64) float sums[kQueryRows * kMostWidth], all_sums[kQueryRows * kMostWidth];
  float largest[kQueryRows], total[kQueryRows], all_largest[kQueryRows], all_total[kQueryRows];

  Mixed span() { return {sums, largest, total}; }
  Mixed all() { return {all_sums, all_largest, all_total}; }
};

// Where the keys and values of a block lie: slot * heads + head.
struct Places {
  size_t at[kKeys];

  Places(const Cache& cache, const AttentionTask& task, int head, int first) {
    const int newest = task.newest();
    int block = first / task.block_size, inside = first % task.block_size;
    for (int j = 0; j < kKeys; ++j) {
      at[j] = (static_cast<size_t>(task.table[block]) * task.block_size + inside) * cache.heads + head;
      if (first + j < newest && ++inside == task.block_size) {  // beyond the newest: that one again, it is masked
        ++block;
        inside = 0;
      }
    }
  }
};

inline void transpose(__m512i row[16]) {
  __m512i a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_epi32(row[2 * i], row[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_epi32(row[2 * i], row[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
    b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
    b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
    b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i x = _mm512_shuffle_i32x4(b[i], b[4 + i], 0x88), y = _mm512_shuffle_i32x4(b[i], b[4 + i], 0xdd);
    const __m512i z = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0x88),
                  w = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0xdd);
    row[i] = _mm512_shuffle_i32x4(x, z, 0x88);
    row[8 + i] = _mm512_shuffle_i32x4(x, z, 0xdd);
    row[4 + i] = _mm512_shuffle_i32x4(y, w, 0x88);
    row[12 + i] = _mm512_shuffle_i32x4(y, w, 0xdd);
  }
}

// W is the head width in vectors of 32 numbers of 16 bits.
template <int W>
class Attention {
 public:
  static constexpr int kWidth = W * 32;

  Attention(const Cache& cache, AttentionScratch& scratch) : cache_(cache), s_(scratch) {}

  // All that the queries see, one span after the other, to ``scratch.all()``. ``next`` is what will be read after that.
  void run(const AttentionTask& task, int head, const Queries& queries, const Places& next) {
    Mixed all = s_.all();
    all.clear(queries.rows, kWidth);
    for (int first = 0; first <= task.newest(); first += kSpan) {
      const bool last = first + kSpan > task.newest();
      span(task, head, queries, first, last ? next : Places(cache_, task, head, first + kSpan));
      all.add(s_.span(), queries.rows, kWidth);
    }
  }

  // The span that begins at ``begin``, to ``scratch.span()``.
  void span(const AttentionTask& task, int head, const Queries& queries, int begin, const Places& next) {
    s_.span().clear(queries.rows, kWidth);
    const int end = std::min(task.newest() + 1, begin + kSpan);
    const auto seen = [&](int first) {
      while (first < end && !queries.see(first)) first += kKeys;
      return first;
    };
    int first = seen(begin);
    if (first >= end) return;
    // A context's first tokens tend to have the largest scores: measured from them, most far-away keys weigh nothing, and
    // their values need not be read.
    if (begin > 0 && queries.see(0)) measure(Places(cache_, task, head, 0), queries);
    Places places(cache_, task, head, first);
    bool needed = true;
    while (first < end) {
      const int after = seen(first + kKeys);
      const Places ahead = after < end ? Places(cache_, task, head, after) : next;
      load_keys(places);
      score(queries, &ahead);
      load_scales(places);
      bool any = false;
      for (int r = 0; r < queries.rows; ++r) any |= soften(r, first, queries);
      if (any) {
        load_values(places);
        mix(queries.rows, needed ? &ahead : nullptr);
      }
      needed = any;
      places = ahead;
      first = after;
    }
  }

 private:
  // Asks for a few of the next block's lines ahead of their use: they lie scattered, where no processor guesses them. A
  // few at a time, since the processor stands still once too many are on their way.
  void ask(const int8_t* codes, const float* scale, const Places& places, int from, int count) const {
    for (int j = from; j < from + count; ++j) {
      const int8_t* at = codes + places.at[j] * kWidth;
      for (int i = 0; i < kWidth; i += 64) _mm_prefetch(reinterpret_cast<const char*>(at + i), _MM_HINT_T0);
      if (j % 4 == 0) _mm_prefetch(reinterpret_cast<const char*>(scale + places.at[j]), _MM_HINT_T0);
    }
  }

  static __m512i widened(const int8_t* from) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }

  void load_keys(const Places& places) {
    for (int j = 0; j < kKeys; j += 16) {
      for (int w = 0; w < W; ++w) {
        __m512i row[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) row[i] = widened(cache_.keys + places.at[j + i] * kWidth + 32 * w);
        transpose(row);
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) _mm512_store_si512(s_.keys + (16 * w + i) * kKeys + j, row[i]);
      }
    }
  }

  void load_scales(const Places& places) {
    for (int j = 0; j < kKeys; ++j) {
      s_.key_scale[j] = cache_.key_scale[places.at[j]];
      s_.value_scale[j] = cache_.value_scale[places.at[j]];
    }
  }

  void load_values(const Places& places) {
    const __m512i low = pairs(0), high = pairs(16);
    for (int j = 0; j < kKeys; j += 2) {
      for (int w = 0; w < W; ++w) {
        const __m512i a = widened(cache_.values + places.at[j] * kWidth + 32 * w);
        const __m512i b = widened(cache_.values + places.at[j + 1] * kWidth + 32 * w);
        uint32_t* to = s_.values + (j / 2) * kWidth + 32 * w;
        _mm512_store_si512(to, _mm512_permutex2var_epi16(a, low, b));
        _mm512_store_si512(to + 16, _mm512_permutex2var_epi16(a, high, b));
      }
    }
  }

  static __m512i pairs(int from) {
    alignas(64) uint16_t index[32];
    for (int i = 0; i < 16; ++i) {
      index[2 * i] = static_cast<uint16_t>(from + i);
      index[2 * i + 1] = static_cast<uint16_t>(32 + from + i);
    }
    return _mm512_load_si512(index);
  }

  static __m512i pair(const int16_t* from) {
    int32_t word;
    std::memcpy(&word, from, 4);
    return _mm512_set1_epi32(word);
  }

  void score(const Queries& queries, const Places* ahead) {
    int row = 0;
    for (; row + 4 <= queries.rows; row += 4, ahead = nullptr) score<4>(queries, row, ahead);
    switch (queries.rows - row) {
      case 3: score<3>(queries, row, ahead); break;
      case 2: score<2>(queries, row, ahead); break;
      case 1: score<1>(queries, row, ahead); break;
    }
  }

  template <int R>
  void score(const Queries& queries, int row, const Places* ahead) {
    __m512i total[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) total[r][i] = _mm512_setzero_si512();
    for (int h = 0; h < W * 16; ++h) {
      constexpr int kCount = kKeys / (W * 16);
      if (ahead) ask(cache_.keys, cache_.key_scale, *ahead, h * kCount, kCount);
      __m512i key[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) key[i] = _mm512_load_si512(s_.keys + h * kKeys + 16 * i);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const __m512i both = pair(queries.codes[row + r] + 2 * h);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) total[r][i] = _mm512_dpwssd_epi32(total[r][i], both, key[i]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) _mm512_store_si512(s_.scores + (row + r) * kKeys + 16 * i, total[r][i]);
  }

  // A row's scores of a block, in powers of two, and which of them count.
  struct Scores {
    __m512 score[4];
    __mmask16 seen[4];
    float largest;
  };

  Scores scores(int row, int first, const Queries& queries) const {
    const __m512 scale = _mm512_set1_ps(queries.scale[row] * kLog2E / std::sqrt(static_cast<float>(kWidth)));
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const int position = queries.position[row];
    Scores found;
    __m512 most = _mm512_set1_ps(kNone);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i at = _mm512_add_epi32(count, _mm512_set1_epi32(first + 16 * i));
      found.seen[i] = _mm512_cmple_epi32_mask(at, _mm512_set1_epi32(position));
      if (queries.window) {
        found.seen[i] &= _mm512_cmpgt_epi32_mask(at, _mm512_set1_epi32(position - queries.window)) |
                         _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32(queries.sinks));
      }
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512(s_.scores + row * kKeys + 16 * i));
      found.score[i] = _mm512_mul_ps(_mm512_mul_ps(dot, _mm512_load_ps(s_.key_scale + 16 * i)), scale);
      most = _mm512_mask_max_ps(most, found.seen[i], most, found.score[i]);
    }
    found.largest = _mm512_reduce_max_ps(most);
    return found;
  }

  // Takes the first block's largest scores as those to measure from.
  void measure(const Places& places, const Queries& queries) {
    load_keys(places);
    load_scales(places);
    score(queries, nullptr);
    for (int r = 0; r < queries.rows; ++r) s_.largest[r] = scores(r, 0, queries).largest;
  }

  // Turns a row's scores into weights, relative to the largest score so far, and rescales what was summed before. Tells
  // whether the block has any weight worth its values.
  bool soften(int row, int first, const Queries& queries) {
    const Scores found = scores(row, first, queries);
    const float before = s_.largest[row], largest = std::max(before, found.largest);
    __m512 weight[4], sum = _mm512_setzero_ps(), most = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512 x = _mm512_sub_ps(found.score[i], _mm512_set1_ps(largest));
      weight[i] = _mm512_maskz_mov_ps(found.seen[i], exp2(x));
      sum = _mm512_add_ps(sum, weight[i]);
      weight[i] = _mm512_mul_ps(weight[i], _mm512_load_ps(s_.value_scale + 16 * i));
      most = _mm512_max_ps(most, weight[i]);
    }
    float shrink = 1;
    if (largest != before) {
      shrink = _mm512_cvtss_f32(exp2(_mm512_set1_ps(before - largest)));
      s_.largest[row] = largest;
      for (int i = 0; i < kWidth; i += 16) {
        float* at = s_.sums + row * kWidth + i;
        _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), _mm512_set1_ps(shrink)));
      }
    }
    s_.total[row] = s_.total[row] * shrink + _mm512_reduce_add_ps(sum);
    const float top = found.largest < largest - kNegligible ? 0.0f : _mm512_reduce_max_ps(most);
    const __m512 factor = _mm512_set1_ps(top > 1e-30f ? 32767.0f / top : 0.0f);
    s_.factor[row] = top / 32767.0f;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(weight[i], factor));
      _mm256_store_si256(reinterpret_cast<__m256i*>(s_.weights + row * kKeys + 16 * i), _mm512_cvtsepi32_epi16(code));
    }
    return top > 1e-30f;
  }

  void mix(int rows, const Places* ahead) {
    int row = 0;
    for (; row + 4 <= rows; row += 4, ahead = nullptr) mix<4>(row, ahead);
    switch (rows - row) {
      case 3: mix<3>(row, ahead); break;
      case 2: mix<2>(row, ahead); break;
      case 1: mix<1>(row, ahead); break;
    }
  }

  template <int R>
  void mix(int row, const Places* ahead) {
    constexpr int kParts = W == 1 ? 2 : 4;
    for (int part = 0; part < W * 2; part += kParts) {
      __m512i total[R][kParts];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) total[r][i] = _mm512_setzero_si512();
      for (int j = 0; j < kKeys / 2; ++j) {
        if (ahead && part == 0) ask(cache_.values, cache_.value_scale, *ahead, 2 * j, 2);
        __m512i value[kParts];
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) value[i] = _mm512_load_si512(s_.values + j * kWidth + 16 * (part + i));
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const __m512i both = pair(s_.weights + (row + r) * kKeys + 2 * j);
#pragma GCC unroll 4
          for (int i = 0; i < kParts; ++i) total[r][i] = _mm512_dpwssd_epi32(total[r][i], both, value[i]);
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) {
          float* at = s_.sums + (row + r) * kWidth + 16 * (part + i);
          const __m512 factor = _mm512_set1_ps(s_.factor[row + r]);
          _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[r][i]), factor, _mm512_load_ps(at)));
        }
    }
  }

  const Cache& cache_;
  AttentionScratch& s_;
};

}  // namespace flightloop
