// Attention of a few queries of one sequence over its keys and values in the paged cache, for the query heads that
// share one key/value head.
//
// Keys and values are int8, each head of a token with a scale of its own, in tiles of 16 tokens that are laid out for
// VPDPBUSD (four numbers of 16 columns at a time): keys as [width / 4][token][4], values as [token / 4][width][4]. The
// other factor is a number of 16 bits without a sign, its two bytes multiplied apart, so that sums are exact integers.
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
#include <optional>

#include "tiles.h"
#include "vector.h"

namespace flightloop {

constexpr int kTokens = 16;      // of one tile of the cache
constexpr int kTiles = 4;        // of one block
constexpr int kKeys = kTiles * kTokens;
constexpr int kSpan = 16 * kKeys;
constexpr int kQueryRows = 64;   // most (query, head) pairs of one task
constexpr int kMostWidth = 128;  // of a head
constexpr float kNone = -1e30f;  // below any score
// Values of keys whose weight is less than 2^-16 of the largest so far are left out, as 16 bits would round them.
constexpr float kNegligible = 16;

// Keys and values of one layer: tiles for each key/value head of 16 slots, and in the same order for each slot ...
struct Cache {
  int8_t *keys, *values;
  float *key_scale, *value_scale;
  int32_t* key_sum;  // ... what a key's numbers add up to
  int heads, width;

  size_t tile(size_t slot, int head) const { return slot / kTokens * heads + head; }

  // Rounds one head's key or value of a token and puts it into its slot.
  void put_key(size_t slot, int head, const float* values_of) const {
    alignas(64) int8_t codes[kMostWidth];
    const size_t at = tile(slot, head), lane = slot % kTokens;
    key_scale[at * kTokens + lane] = round8(values_of, width, codes);
    int sum = 0;
    for (int i = 0; i < width; ++i) sum += codes[i];
    key_sum[at * kTokens + lane] = sum;
    for (int i = 0; i < width; i += 4) std::memcpy(keys + (at * width + i) * kTokens + 4 * lane, codes + i, 4);
  }

  void put_value(size_t slot, int head, const float* values_of) const {
    alignas(64) int8_t codes[kMostWidth];
    const size_t at = tile(slot, head), lane = slot % kTokens;
    value_scale[at * kTokens + lane] = round8(values_of, width, codes);
    int8_t* to = values + at * width * kTokens + lane / 4 * width * 4 + lane % 4;
    for (int i = 0; i < width; ++i) to[4 * i] = codes[i];
  }
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
  const uint8_t* codes[kQueryRows];  // [high or low byte][width], 32768 added
  float scale[kQueryRows];
  int position[kQueryRows];
  int rows, window, sinks;

  // Whether any may see a key of the block that begins at ``first``; the first query is the one furthest back.
  bool see(int first) const {
    return window == 0 || first < sinks || first + kKeys > position[0] - window + 1;
  }

  // Whether all see all of them.
  bool see_all(int first) const {
    if (first + kKeys > position[0] + 1) return false;
    return window == 0 || first + kKeys <= sinks || first > position[rows - 1] - window;
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
  alignas(64) uint8_t queries[kQueryRows * 2 * kMostWidth];  // [row][high or low byte][number], for tiles
  alignas(64) int8_t values[kMostWidth * kKeys];             // of a block: [width / 16][key / 4][16][4], for tiles
  // Sums of products, of high and of low bytes: of scores, then of values.
  alignas(64) int32_t high[kQueryRows * kKeys], low[kQueryRows * kKeys];
  alignas(64) uint8_t weights[kQueryRows * 2 * kKeys];       // [row][high or low byte][key]
  float factor[kQueryRows];                                  // of each row's sums of values
  alignas(64) float totals[kQueryRows * kTokens];            // of each row's weights, by the token's place in its tile
  alignas(64) float sums[kQueryRows * kMostWidth], all_sums[kQueryRows * kMostWidth];
  float largest[kQueryRows], total[kQueryRows], all_largest[kQueryRows], all_total[kQueryRows];

  Mixed span() { return {sums, largest, total}; }
  Mixed all() { return {all_sums, all_largest, all_total}; }
};

// The tiles of a block.
struct Places {
  size_t tile[kTiles];

  Places(const Cache& cache, const AttentionTask& task, int head, int first) {
    for (int i = 0; i < kTiles; ++i) {
      const int at = std::min(first + i * kTokens, task.newest());  // beyond the newest: its tile, which is masked
      const size_t block = task.table[at / task.block_size];
      tile[i] = cache.tile(block * task.block_size + at % task.block_size, head);
    }
  }
};

// W is the head width in vectors of 16.
template <int W>
class Attention {
 public:
  static constexpr int kWidth = W * 16;

  Attention(const Cache& cache, AttentionScratch& scratch, const Queries& queries)
      : cache_(cache), s_(scratch), queries_(queries) {
    if (!has_tiles() || queries.rows < kTileRows || kWidth % kTileBytes) return;
    tiles_.emplace();
    for (int r = 0; r < queries.rows; ++r) std::memcpy(s_.queries + r * 2 * kWidth, queries.codes[r], 2 * kWidth);
  }

  // All that the queries see, one span after the other, to ``scratch.all()``. ``next`` is what will be read after that.
  void run(const AttentionTask& task, int head, const Places& next) {
    Mixed all = s_.all();
    all.clear(queries_.rows, kWidth);
    for (int first = 0; first <= task.newest(); first += kSpan) {
      const bool last = first + kSpan > task.newest();
      span(task, head, first, last ? next : Places(cache_, task, head, first + kSpan));
      all.add(s_.span(), queries_.rows, kWidth);
    }
  }

  // The span that begins at ``begin``, to ``scratch.span()``.
  void span(const AttentionTask& task, int head, int begin, const Places& next) {
    s_.span().clear(queries_.rows, kWidth);
    std::fill_n(s_.totals, queries_.rows * kTokens, 0.0f);
    const int end = std::min(task.newest() + 1, begin + kSpan);
    const auto seen = [&](int first) {
      while (first < end && !queries_.see(first)) first += kKeys;
      return first;
    };
    int first = seen(begin);
    if (first >= end) return;
    // A context's first tokens tend to have the largest scores: measured from them, most far-away keys weigh nothing, and
    // their values need not be read.
    if (begin > 0 && queries_.see(0)) measure(Places(cache_, task, head, 0));
    Places places(cache_, task, head, first);
    bool needed = true;
    while (first < end) {
      const int after = seen(first + kKeys);
      const Places ahead = after < end ? Places(cache_, task, head, after) : next;
      score(places, &ahead);
      const bool any = soften(first, places);
      if (any) mix(queries_.rows, places, needed ? &ahead : nullptr);
      needed = any;
      places = ahead;
      first = after;
    }
    for (int r = 0; r < queries_.rows; ++r) s_.total[r] = _mm512_reduce_add_ps(_mm512_load_ps(s_.totals + r * kTokens));
  }

 private:
  // Asks for a line of the next block's tile ahead of its use: tiles lie scattered, where no processor guesses them.
  static void ask(const void* tiles, size_t at) {
    _mm_prefetch(static_cast<const char*>(tiles) + at * 64, _MM_HINT_T0);
  }

  static __m512i four(const uint8_t* from) {
    int32_t word;
    std::memcpy(&word, from, 4);
    return _mm512_set1_epi32(word);
  }

  // The sums of both halves.
  __m512i sum(int at) const {
    return _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(s_.high + at), 8), _mm512_load_si512(s_.low + at));
  }

  void score_tiles(const Places& places, const Places* ahead) {
    for (int i = 0; i < kTiles; ++i) {
      if (ahead) {
        for (int h = 0; h < kWidth / 4; ++h) ask(cache_.keys, ahead->tile[i] * (kWidth / 4) + h);
        ask(cache_.key_scale, ahead->tile[i]);
        ask(cache_.key_sum, ahead->tile[i]);
        ask(cache_.value_scale, ahead->tile[i]);
      }
      for (int row = 0; row < queries_.rows; row += kTileRows) {
        const uint8_t* query = s_.queries + row * 2 * kWidth;
        const int at = row * kKeys + i * kTokens;
        multiply_halves(query, query + kWidth, 2 * kWidth, cache_.keys + places.tile[i] * kWidth * kTokens,
                        kWidth / kTileBytes, s_.high + at, s_.low + at, kKeys * sizeof(int32_t));
      }
    }
  }

  void mix_tiles(const Places& places, const Places* ahead) {
    for (int quad = 0; quad < kKeys / 4; ++quad) {
      const int line = quad % 4 * W;
      for (int i = 0; i < W; ++i) {
        const int8_t* from = cache_.values + (places.tile[quad / 4] * (kWidth / 4) + line + i) * 64;
        _mm512_store_si512(s_.values + (i * (kKeys / 4) + quad) * 64, _mm512_load_si512(from));
        if (ahead) ask(cache_.values, ahead->tile[quad / 4] * (kWidth / 4) + line + i);
      }
    }
    for (int row = 0; row < queries_.rows; row += kTileRows) {
      const uint8_t* weights = s_.weights + row * 2 * kKeys;
      for (int i = 0; i < W; ++i) {
        multiply_halves(weights, weights + kKeys, 2 * kKeys, s_.values + i * kKeys * 16, kKeys / kTileBytes, s_.high,
                        s_.low, kTileBytes);
        const int rows = std::min(kTileRows, queries_.rows - row);
        for (int r = 0; r < rows; ++r) add(row + r, i, sum(r * kTokens));
      }
    }
  }

  // Adds 16 columns' sums of weighted values to a row.
  void add(int row, int column, __m512i sum) {
    float* at = s_.sums + row * kWidth + 16 * column;
    const __m512 factor = _mm512_set1_ps(s_.factor[row]);
    _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), factor, _mm512_load_ps(at)));
  }

  void score(const Places& places, const Places* ahead) {
    if (tiles_) {
      score_tiles(places, ahead);
      return;
    }
    int row = 0;
    for (; row + 4 <= queries_.rows; row += 4, ahead = nullptr) score<4>(row, places, ahead);
    switch (queries_.rows - row) {
      case 3: score<3>(row, places, ahead); break;
      case 2: score<2>(row, places, ahead); break;
      case 1: score<1>(row, places, ahead); break;
    }
  }

  template <int R>
  void score(int row, const Places& places, const Places* ahead) {
    constexpr int kBeside = 2;  // tiles, so that a query's bytes are spread over a vector once for both
    for (int first = 0; first < kTiles; first += kBeside) {
      __m512i high[R][kBeside], low[R][kBeside];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int i = 0; i < kBeside; ++i) high[r][i] = low[r][i] = _mm512_setzero_si512();
      for (int h = 0; h < kWidth / 4; ++h) {
        __m512i key[kBeside];
#pragma GCC unroll 2
        for (int i = 0; i < kBeside; ++i) {
          key[i] = _mm512_load_si512(cache_.keys + (places.tile[first + i] * (kWidth / 4) + h) * 64);
          if (ahead) ask(cache_.keys, ahead->tile[first + i] * (kWidth / 4) + h);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const __m512i upper = four(queries_.codes[row + r] + 4 * h), lower = four(queries_.codes[row + r] + kWidth + 4 * h);
#pragma GCC unroll 2
          for (int i = 0; i < kBeside; ++i) {
            dot(high[r][i], upper, key[i]);
            dot(low[r][i], lower, key[i]);
          }
        }
      }
      for (int i = 0; i < kBeside; ++i) {
        if (ahead) {
          ask(cache_.key_scale, ahead->tile[first + i]);
          ask(cache_.key_sum, ahead->tile[first + i]);
          ask(cache_.value_scale, ahead->tile[first + i]);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          _mm512_store_si512(s_.high + (row + r) * kKeys + kTokens * (first + i), high[r][i]);
          _mm512_store_si512(s_.low + (row + r) * kKeys + kTokens * (first + i), low[r][i]);
        }
      }
    }
  }

  // A row's scores of a block, in powers of two, and which of them count.
  struct Scores {
    __m512 score[kTiles];
    __mmask16 seen[kTiles];

    float largest() const {
      __m512 most = _mm512_set1_ps(kNone);
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) most = _mm512_mask_max_ps(most, seen[i], most, score[i]);
      return _mm512_reduce_max_ps(most);
    }

    // Far cheaper than to compare with the largest.
    bool any_above(float bound) const {
      __mmask16 found = 0;
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i)
        found |= _mm512_mask_cmp_ps_mask(seen[i], score[i], _mm512_set1_ps(bound), _CMP_GT_OQ);
      return found != 0;
    }
  };

  Scores scores(int row, int first, const Places& places) const {
    const __m512 scale = _mm512_set1_ps(queries_.scale[row] * kLog2E / std::sqrt(static_cast<float>(kWidth)));
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const int position = queries_.position[row];
    Scores found;
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      const __m512i at = _mm512_add_epi32(count, _mm512_set1_epi32(first + kTokens * i));
      found.seen[i] = _mm512_cmple_epi32_mask(at, _mm512_set1_epi32(position));
      if (queries_.window) {
        found.seen[i] &= _mm512_cmpgt_epi32_mask(at, _mm512_set1_epi32(position - queries_.window)) |
                         _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32(queries_.sinks));
      }
      const __m512i added = _mm512_slli_epi32(_mm512_load_si512(cache_.key_sum + places.tile[i] * kTokens), 15);
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum(row * kKeys + kTokens * i), added));
      const __m512 key_scale = _mm512_load_ps(cache_.key_scale + places.tile[i] * kTokens);
      found.score[i] = _mm512_mul_ps(_mm512_mul_ps(dot, key_scale), scale);
    }
    return found;
  }

  // Takes the first block's largest scores as those to measure from.
  void measure(const Places& places) {
    score(places, nullptr);
    for (int r = 0; r < queries_.rows; ++r) s_.largest[r] = scores(r, 0, places).largest();
  }

  // Takes a new largest score; what was summed before shrinks in proportion.
  void raise(int row, float largest) {
    const __m512 shrink = exp2(_mm512_set1_ps(s_.largest[row] - largest));
    s_.largest[row] = largest;
    float* totals = s_.totals + row * kTokens;
    _mm512_store_ps(totals, _mm512_mul_ps(_mm512_load_ps(totals), shrink));
    for (int i = 0; i < kWidth; i += 16) {
      float* at = s_.sums + row * kWidth + i;
      _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), shrink));
    }
  }

  // How a block's weights are rounded to 16 bits, the values' scales included: they are at most 1 times the largest scale.
  struct Rounding {
    __m512 factor[kTiles];
    float back;
  };

  // By the keys that are seen: what lies in the others' places is anything.
  Rounding rounding(const Places& places, const __mmask16* seen) const {
    __m512 scale[kTiles], most = _mm512_set1_ps(1e-30f);
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      scale[i] = _mm512_maskz_load_ps(seen[i], cache_.value_scale + places.tile[i] * kTokens);
      most = _mm512_max_ps(most, scale[i]);
    }
    const float top = _mm512_reduce_max_ps(most);
    const __m512 factor = _mm512_set1_ps(65535.0f / top);
    Rounding found;
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) found.factor[i] = _mm512_mul_ps(scale[i], factor);
    found.back = top / 65535.0f;
    return found;
  }

  // Turns the rows' scores of a block into weights. Tells whether any is worth its value.
  bool soften(int first, const Places& places) {
    bool any = false;
    if (!queries_.see_all(first)) {
      for (int r = 0; r < queries_.rows; ++r) {
        const Scores found = scores(r, first, places);
        any |= soften(r, found, rounding(places, found.seen));
      }
      return any;
    }
    constexpr __mmask16 kAll[kTiles] = {0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF};
    const Rounding shared = rounding(places, kAll);
    for (int r = 0; r < queries_.rows; ++r) any |= soften(r, scores(r, first, places), shared);
    return any;
  }

  // ... of one row, relative to its largest score so far.
  bool soften(int row, const Scores& found, const Rounding& rounding) {
    if (found.any_above(s_.largest[row])) raise(row, found.largest());
    const __m512 largest = _mm512_set1_ps(s_.largest[row]);
    __m512 sum = _mm512_load_ps(s_.totals + row * kTokens);
    uint8_t* to = s_.weights + row * 2 * kKeys;
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      const __m512 weight = _mm512_maskz_mov_ps(found.seen[i], exp2(_mm512_sub_ps(found.score[i], largest)));
      sum = _mm512_add_ps(sum, weight);
      const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(weight, rounding.factor[i]));
      _mm_store_si128(reinterpret_cast<__m128i*>(to + 16 * i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(code, 8)));
      _mm_store_si128(reinterpret_cast<__m128i*>(to + kKeys + 16 * i), _mm512_cvtepi32_epi8(code));
    }
    _mm512_store_ps(s_.totals + row * kTokens, sum);
    s_.factor[row] = rounding.back;
    return found.any_above(s_.largest[row] - kNegligible);
  }

  void mix(int rows, const Places& places, const Places* ahead) {
    if (tiles_) {
      mix_tiles(places, ahead);
      return;
    }
    int row = 0;
    for (; row + 3 <= rows; row += 3, ahead = nullptr) mix<3>(row, places, ahead);
    switch (rows - row) {
      case 2: mix<2>(row, places, ahead); break;
      case 1: mix<1>(row, places, ahead); break;
    }
  }

  template <int R>
  void mix(int row, const Places& places, const Places* ahead) {
    constexpr int kParts = std::min(W, 4);
    for (int part = 0; part < W; part += kParts) {
      __m512i high[R][kParts], low[R][kParts];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) high[r][i] = low[r][i] = _mm512_setzero_si512();
      for (int quad = 0; quad < kKeys / 4; ++quad) {
        const size_t line = places.tile[quad / 4] * (kWidth / 4) + quad % 4 * W + part;
        __m512i value[kParts];
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) {
          value[i] = _mm512_load_si512(cache_.values + (line + i) * 64);
          if (ahead) ask(cache_.values, ahead->tile[quad / 4] * (kWidth / 4) + quad % 4 * W + part + i);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const uint8_t* weights = s_.weights + (row + r) * 2 * kKeys + 4 * quad;
          const __m512i upper = four(weights), lower = four(weights + kKeys);
#pragma GCC unroll 4
          for (int i = 0; i < kParts; ++i) {
            dot(high[r][i], upper, value[i]);
            dot(low[r][i], lower, value[i]);
          }
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) {
          add(row + r, part + i, _mm512_add_epi32(_mm512_slli_epi32(high[r][i], 8), low[r][i]));
        }
    }
  }

  const Cache& cache_;
  AttentionScratch& s_;
  const Queries& queries_;
  std::optional<Tiles> tiles_;  // where there are enough rows
};

}  // namespace flightloop
