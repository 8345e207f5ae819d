// Attention of a few queries of one sequence over its keys and values in the paged cache, for the query heads that
// share one key/value head.
//
// Keys and values are int8 with one scale per head and token, in tiles of 16 tokens laid out for VPDPBUSD (four numbers
// of 16 columns at a time): keys as [width / 4][token][4], values as [token / 4][width][4]. The other factor has 16
// bits (factors512.h, factors256.h), and sums are exact integers.
//
// Softmax is computed block by block with a running maximum (Milakov and Gimelshein, 2018; the blocking of
// FlashAttention, Dao et al., 2022). Spans of blocks are independent, so that threads can share a long context. Blocks
// and spans begin at fixed positions, so a query's result doesn't depend on the rest of the batch: it goes through the
// same blocks in the same order, and a block of which it sees nothing has no effect.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>

#include "tiles.h"
#include "vector.h"
#ifdef FLIGHTLOOP_AVX512
#include "factors512.h"
#else
#include "factors256.h"
#endif

namespace flightloop::inline FLIGHTLOOP_KIND {

constexpr int kTokens = 16;      // per tile of the cache
constexpr int kTiles = 4;        // per block
constexpr int kKeys = kTiles * kTokens;
constexpr int kSpan = 16 * kKeys;
constexpr int kQueryRows = 64;   // maximum number of (query, head) pairs per task
constexpr int kBand = 16;        // rows processed together per block, so that intermediate values stay in the cache
constexpr int kMostWidth = 128;  // maximum head width
constexpr float kNone = -1e30f;  // below any score
// Values whose weight is less than 2^-16 of the largest so far are skipped: 16 bits would round the weight to 0.
constexpr float kNegligible = 16;

// Keys and values of one layer: one tile per 16 slots and key/value head; scales and sums in the same order.
struct Cache {
  int8_t *keys, *values;
  float *key_scale, *value_scale;
  int32_t* key_sum;  // sum of a key's codes
  int heads, width;

  size_t tile(size_t slot, int head) const { return slot / kTokens * heads + head; }

  // Quantises one head's key or value of a token and stores it in its slot.
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
  int position;          // of the first query; the others are consecutive

  int newest() const { return position + queries - 1; }
};

// The queries of a task, and the positions that they may attend to.
struct Queries {
  const uint8_t* codes[kQueryRows];  // as ``round16`` stores them
  float scale[kQueryRows];
  int position[kQueryRows];
  int rows, window, sinks;

  // Whether any query sees a key of the block that begins at ``first``. The first query has the lowest position.
  bool see(int first) const {
    return window == 0 || first < sinks || first + kKeys > position[0] - window + 1;
  }

  // Whether all queries see all keys of the block.
  bool see_all(int first) const {
    if (first + kKeys > position[0] + 1) return false;
    return window == 0 || first + kKeys <= sinks || first > position[rows - 1] - window;
  }
};

// Weighted sums of values of one or several spans, scaled by exp2(-largest).
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
      const Floats mine = exp2(spread(largest[r] - most)), theirs = exp2(spread(other.largest[r] - most));
      for (int i = 0; i < width; i += 16) {
        float* to = sums + r * width + i;
        store(to, plus_product(load(other.sums + r * width + i) * theirs, load(to), mine));
      }
      total[r] = total[r] * first_of(mine) + other.total[r] * first_of(theirs);
      largest[r] = most;
    }
  }
};

class AttentionScratch {
 public:
  // For a band of rows and a block of keys:
  alignas(64) int32_t sums_of[kBand * kKeys];                   // products of queries and keys
  alignas(64) uint8_t weights[kBand * 2 * kKeys];               // [row], as ``put_weights`` stores them
  float back[kBand];                                            // scale of the sums of weighted values

  // For the tile registers, whose sums of products with high and with low bytes are stored apart:
  alignas(64) int32_t high[kBand * kKeys], low[kBand * kKeys];
  alignas(64) uint8_t queries[kQueryRows * 2 * kMostWidth];     // [row][high or low byte][number]
  alignas(64) int8_t values[kMostWidth * kKeys];                // one block: [width / 16][key / 4][16][4]

  alignas(64) float totals[kQueryRows * kTokens];               // of each row's weights, per token index in a tile
  alignas(64) float sums[kQueryRows * kMostWidth], all_sums[kQueryRows * kMostWidth];
  float largest[kQueryRows], total[kQueryRows], all_largest[kQueryRows], all_total[kQueryRows];

  Mixed span() { return {sums, largest, total}; }
  Mixed all() { return {all_sums, all_largest, all_total}; }
};

// The tile of the token at a position.
inline size_t place(const Cache& cache, const AttentionTask& task, int head, int position) {
  const size_t block = task.table[position / task.block_size];
  return cache.tile(block * task.block_size + position % task.block_size, head);
}

// The tiles of a block.
struct Places {
  size_t tile[kTiles];

  Places(const Cache& cache, const AttentionTask& task, int head, int first) {
    for (int i = 0; i < kTiles; ++i)  // beyond the newest token: its own tile, masked later
      tile[i] = place(cache, task, head, std::min(first + i * kTokens, task.newest()));
  }

  // Any tiles, by their indices in the context.
  Places(const Cache& cache, const AttentionTask& task, int head, const int32_t* chosen) {
    for (int i = 0; i < kTiles; ++i) tile[i] = place(cache, task, head, chosen[i] * kTokens);
  }
};

// W: head width in vectors of 16 numbers.
template <int W>
class Attention {
 public:
  static constexpr int kWidth = W * 16;

  Attention(const Cache& cache, AttentionScratch& scratch, const Queries& queries)
      : cache_(cache), s_(scratch), queries_(queries) {
    if (!has_tiles() || queries.rows < kTileRows || kWidth % kTileBytes) return;
    tiles_.emplace();
    most_ = kTileRows;
    for (int r = 0; r < queries.rows; ++r) std::memcpy(s_.queries + r * 2 * kWidth, queries.codes[r], 2 * kWidth);
  }

  // Attends to all that the queries see, by spans; result in ``scratch.all()``. ``next``: tiles to prefetch at the end.
  void run(const AttentionTask& task, int head, const Places& next) {
    Mixed all = s_.all();
    all.clear(queries_.rows, kWidth);
    for (int first = 0; first <= task.newest(); first += kSpan) {
      const bool last = first + kSpan > task.newest();
      span(task, head, first, last ? next : Places(cache_, task, head, first + kSpan));
      all.add(s_.span(), queries_.rows, kWidth);
    }
  }

  // Attends to the span that begins at ``begin``; result in ``scratch.span()``.
  void span(const AttentionTask& task, int head, int begin, const Places& next) {
    clear();
    const int end = std::min(task.newest() + 1, begin + kSpan);
    const auto seen = [&](int first) {
      while (first < end && !queries_.see(first)) first += kKeys;
      return first;
    };
    int first = seen(begin);
    if (first >= end) return;
    // A context's first tokens tend to have the largest scores. Relative to these, most distant keys have negligible
    // weights, so that their values need not be read.
    if (begin > 0 && queries_.see(0)) measure(Places(cache_, task, head, 0));
    Places places(cache_, task, head, first);
    bool needed = true;
    while (first < end) {
      const int after = seen(first + kKeys);
      const Places ahead = after < end ? Places(cache_, task, head, after) : next;
      needed = block(first, places, ahead, needed);
      places = ahead;
      first = after;
    }
    total();
  }

  // Attends to the chosen tiles [first, last), multiples of 4, and to all keys from position ``rest`` on; result in
  // ``scratch.span()``.
  void some(const AttentionTask& task, int head, const int32_t* chosen, int first, int last, int rest) {
    clear();
    const auto position = [&](int i) { return i < last ? 0 : rest + (i - last) / kTiles * kKeys; };  // 0: all is seen
    const auto places = [&](int i) {
      return i < last ? Places(cache_, task, head, chosen + i) : Places(cache_, task, head, position(i));
    };
    bool needed = true;
    for (int i = first; position(i) <= task.newest(); i += kTiles)
      needed = block(position(i), places(i), places(i + kTiles), needed);
    total();
  }

 private:
  void clear() {
    s_.span().clear(queries_.rows, kWidth);
    std::fill_n(s_.totals, queries_.rows * kTokens, 0.0f);
  }

  void total() {
    for (int r = 0; r < queries_.rows; ++r) s_.total[r] = sum_of(load(s_.totals + r * kTokens));
  }

  struct Band {
    int first, rows;
  };

  // Attends to a block, band by band. Returns whether values were read; ``values``: whether to prefetch the next ones.
  bool block(int first, const Places& places, const Places& ahead, bool values) {
    const bool all = queries_.see_all(first);
    const Rounding shared = all ? rounding(places, kEvery) : Rounding();
    bool read = false;
    for (Band band{0, 0}; band.first < queries_.rows; band.first += band.rows) {
      band.rows = std::min(most_, queries_.rows - band.first);
      score(band, places, band.first ? nullptr : &ahead);
      bool worth = false;
      for (int r = 0; r < band.rows; ++r)
        worth |= all ? soften<true>(band, r, first, places, shared) : soften<false>(band, r, first, places, shared);
      if (!worth) continue;
      if (tiles_ && !read) take_values(places, values ? &ahead : nullptr);
      mix(band, places, values && !read ? &ahead : nullptr);
      read = true;
    }
    return read;
  }

  // Prefetches a line of the next block's tile: tiles are scattered, so the hardware prefetcher can't predict them.
  static void ask(const void* tiles, size_t at) {
    _mm_prefetch(static_cast<const char*>(tiles) + at * 64, _MM_HINT_T0);
  }

  // Combines the tiles' sums of high and low bytes.
  Ints sum(int at) const { return (load(s_.high + at) << 8) + load(s_.low + at); }

  void score_tiles(const Band& band, const Places& places, const Places* ahead) {
    const uint8_t* query = s_.queries + band.first * 2 * kWidth;
    for (int i = 0; i < kTiles; ++i) {
      if (ahead) {
        for (int h = 0; h < kWidth / 4; ++h) ask(cache_.keys, ahead->tile[i] * (kWidth / 4) + h);
        ask(cache_.key_scale, ahead->tile[i]);
        ask(cache_.key_sum, ahead->tile[i]);
        ask(cache_.value_scale, ahead->tile[i]);
      }
      multiply_halves(query, query + kWidth, 2 * kWidth, cache_.keys + places.tile[i] * kWidth * kTokens,
                      kWidth / kTileBytes, s_.high + i * kTokens, s_.low + i * kTokens, kKeys * sizeof(int32_t));
    }
  }

  // Copies a block's values to the layout of the tile registers.
  void take_values(const Places& places, const Places* ahead) {
    for (int quad = 0; quad < kKeys / 4; ++quad) {
      const size_t line = places.tile[quad / 4] * (kWidth / 4) + quad % 4 * W;
      for (int i = 0; i < W; ++i) {
        store_bytes(s_.values + (i * (kKeys / 4) + quad) * 64, load_bytes(cache_.values + (line + i) * 64));
        if (ahead) ask(cache_.values, ahead->tile[quad / 4] * (kWidth / 4) + quad % 4 * W + i);
      }
    }
  }

  void mix_tiles(const Band& band) {
    for (int i = 0; i < W; ++i) {
      multiply_halves(s_.weights, s_.weights + kKeys, 2 * kKeys, s_.values + i * kKeys * 16, kKeys / kTileBytes, s_.high,
                      s_.low, kTileBytes);
      for (int r = 0; r < band.rows; ++r) add(band, r, i, sum(r * kTokens));
    }
  }

  // Adds the weighted sums of 16 columns to a row.
  void add(const Band& band, int row, int column, Ints sum) {
    float* at = s_.sums + (band.first + row) * kWidth + 16 * column;
    store(at, plus_product(load(at), floats(sum), spread(s_.back[row])));
  }

  void score(const Band& band, const Places& places, const Places* ahead) {
    if (tiles_) {
      score_tiles(band, places, ahead);
      return;
    }
    int row = 0;
    for (; row + 4 <= band.rows; row += 4, ahead = nullptr) score<4>(band, row, places, ahead);
    switch (band.rows - row) {
      case 3: score<3>(band, row, places, ahead); break;
      case 2: score<2>(band, row, places, ahead); break;
      case 1: score<1>(band, row, places, ahead); break;
    }
  }

  template <int R>
  void score(const Band& band, int row, const Places& places, const Places* ahead) {
    constexpr int kBeside = 2;  // tiles processed together, so that a query's bytes are broadcast once for both
    const auto query = [&](int r) { return queries_.codes[band.first + row + r]; };
    for (int first = 0; first < kTiles; first += kBeside) {
      const auto key = [&](int i, int n) {
        return cache_.keys + (places.tile[first + n] * (kWidth / 4) + i) * 64;
      };
      const auto touch = [&](int i, int n) {
        if (ahead) ask(cache_.keys, ahead->tile[first + n] * (kWidth / 4) + i);
      };
      Ints sum[R][kBeside];
      multiply<R, kBeside>(kWidth / 4, query, kWidth, key, touch, sum);
      for (int i = 0; i < kBeside; ++i) {
        if (ahead) {
          ask(cache_.key_scale, ahead->tile[first + i]);
          ask(cache_.key_sum, ahead->tile[first + i]);
          ask(cache_.value_scale, ahead->tile[first + i]);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) store(s_.sums_of + (row + r) * kKeys + kTokens * (first + i), sum[r][i]);
      }
    }
  }

  // A row's scores in a block, as exponents of 2, and masks of the keys that it sees.
  struct Scores {
    Floats score[kTiles];
    Mask seen[kTiles];

    float largest() const {
      Floats most = spread(kNone);
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) most = max_some(seen[i], most, score[i]);
      return largest_of(most);
    }

    // Much cheaper than computing the largest.
    bool any_above(float bound) const {
      Mask found = 0;
#pragma GCC unroll 4
      for (int i = 0; i < kTiles; ++i) found |= seen[i] & greater(score[i], spread(bound));
      return found != 0;
    }
  };

  // kAllSeen: nothing is masked.
  template <bool kAllSeen>
  Scores scores(const Band& band, int row, int first, const Places& places) const {
    const float of_row = queries_.scale[band.first + row] * kLog2E / std::sqrt(static_cast<float>(kWidth));
    const int position = queries_.position[band.first + row];
    Scores found;
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      found.seen[i] = kAll;
      if (!kAllSeen) {
        const Ints at = counting() + spread(first + kTokens * i);
        found.seen[i] = at_most(at, spread(position));
        if (queries_.window)
          found.seen[i] &= greater(at, spread(position - queries_.window)) | greater(spread(queries_.sinks), at);
      }
      const int at = row * kKeys + kTokens * i;
      const Ints products = tiles_ ? sum(at) : load(s_.sums_of + at);
      const Floats dot = floats(products - excess(load(cache_.key_sum + places.tile[i] * kTokens)));
      found.score[i] = dot * load(cache_.key_scale + places.tile[i] * kTokens) * spread(of_row);
    }
    return found;
  }

  // Initialises each row's largest score from a block whose keys are read anyway.
  void measure(const Places& places) {
    for (Band band{0, 0}; band.first < queries_.rows; band.first += band.rows) {
      band.rows = std::min(most_, queries_.rows - band.first);
      score(band, places, nullptr);
      for (int r = 0; r < band.rows; ++r)
        s_.largest[band.first + r] = scores<false>(band, r, 0, places).largest();
    }
  }

  // Sets a row's new largest score, and rescales the sums so far.
  void raise(int row, float largest) {
    const Floats shrink = exp2(spread(s_.largest[row] - largest));
    s_.largest[row] = largest;
    float* totals = s_.totals + row * kTokens;
    store(totals, load(totals) * shrink);
    for (int i = 0; i < kWidth; i += 16) {
      float* at = s_.sums + row * kWidth + i;
      store(at, load(at) * shrink);
    }
  }

  // Rounds a block's weights. A weight, at most 1, is multiplied by its value's scale; the largest possible product
  // becomes kMostWeight.
  struct Rounding {
    Floats factor[kTiles];
    float back;
  };

  static constexpr Mask kEvery[kTiles] = {kAll, kAll, kAll, kAll};

  // Uses only the keys that are seen: the other places may contain anything.
  Rounding rounding(const Places& places, const Mask* seen) const {
    Floats scale[kTiles], most = spread(1e-30f);
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      scale[i] = only(seen[i], load(cache_.value_scale + places.tile[i] * kTokens));
      most = max(most, scale[i]);
    }
    const float top = largest_of(most);
    const Floats factor = spread(kMostWeight / top);
    Rounding found;
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) found.factor[i] = scale[i] * factor;
    found.back = top / kMostWeight;
    return found;
  }

  // Converts a row's scores to weights, relative to its largest score so far. Returns whether any weight is not
  // negligible. If none is, all are 0, so the result is the same whether or not other rows have the values read.
  template <bool kAllSeen>
  bool soften(const Band& band, int row, int first, const Places& places, const Rounding& shared) {
    const Scores found = scores<kAllSeen>(band, row, first, places);
    const Rounding mine = kAllSeen ? shared : rounding(places, found.seen);
    float& most = s_.largest[band.first + row];
    if (found.any_above(most)) raise(band.first + row, found.largest());
    const bool worth = found.any_above(most - kNegligible);
    const Floats largest = spread(most);
    float* total = s_.totals + (band.first + row) * kTokens;
    Floats sum = load(total);
    Ints code[kTiles];
#pragma GCC unroll 4
    for (int i = 0; i < kTiles; ++i) {
      const Floats weight = only(found.seen[i], exp2(found.score[i] - largest));
      sum = sum + weight;
      code[i] = worth ? nearest(weight * mine.factor[i]) : spread(0);
    }
    store(total, sum);
    s_.back[row] = mine.back;
    put_weights(code, s_.weights + row * 2 * kKeys);
    return worth;
  }

  void mix(const Band& band, const Places& places, const Places* ahead) {
    if (tiles_) {
      mix_tiles(band);
      return;
    }
    int row = 0;
    for (; row + 3 <= band.rows; row += 3, ahead = nullptr) mix<3>(band, row, places, ahead);
    switch (band.rows - row) {
      case 2: mix<2>(band, row, places, ahead); break;
      case 1: mix<1>(band, row, places, ahead); break;
    }
  }

  template <int R>
  void mix(const Band& band, int row, const Places& places, const Places* ahead) {
    constexpr int kParts = std::min(W, 4);
    for (int part = 0; part < W; part += kParts) {
      const auto weights = [&](int r) { return s_.weights + (row + r) * 2 * kKeys; };
      const auto line = [&](const Places& of, int quad, int n) {
        return of.tile[quad / 4] * (kWidth / 4) + quad % 4 * W + part + n;
      };
      const auto value = [&](int quad, int n) { return cache_.values + line(places, quad, n) * 64; };
      const auto touch = [&](int quad, int n) {
        if (ahead) ask(cache_.values, line(*ahead, quad, n));
      };
      Ints sum[R][kParts];
      multiply<R, kParts>(kKeys / 4, weights, kKeys, value, touch, sum);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) add(band, row + r, part + i, sum[r][i]);
    }
  }

  const Cache& cache_;
  AttentionScratch& s_;
  const Queries& queries_;
  std::optional<Tiles> tiles_;  // set if there are enough rows
  int most_ = 12;               // rows per band: a multiple of the rows that are scored and mixed together
};

}  // namespace flightloop::inline FLIGHTLOOP_KIND
