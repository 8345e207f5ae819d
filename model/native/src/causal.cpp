#include "causal.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

#include "buffer.h"
#include "tiles.h"
#include "vector.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

#ifdef FLIGHTLOOP_TILES

namespace {

constexpr int kBlock = 32;          // queries and keys per block: two by two tiles
constexpr int kTileNumbers = 512;  // bfloat16 numbers per tile

constexpr float kNever = 1e30f;    // as a log-sum: all weights become 0

int padded(int length) { return (length + kBlock - 1) / kBlock * kBlock; }

__m512 exp2(__m512 x) { return exp2(Floats{x}).v; }

__m512i two_bfloat16(__m512 low, __m512 high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)); }

// Addresses of 16 rows that are ``stride`` numbers apart.
__m512i steps(int stride) {
  const __m512i row = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_mullo_epi32(row, _mm512_set1_epi32(stride));
}

// Interleaves 32 numbers of two rows as [number][row]: the first 16 at ``to``, the others at ``to + far``.
void put_paired(const uint16_t* even, const uint16_t* odd, uint16_t* to, size_t far) {
  alignas(64) static const auto places = [] {
    struct {
      uint16_t low[32], high[32];
    } made;
    for (int i = 0; i < 16; ++i)
      for (int row = 0; row < 2; ++row) {
        made.low[2 * i + row] = static_cast<uint16_t>(i + 32 * row);
        made.high[2 * i + row] = static_cast<uint16_t>(i + 16 + 32 * row);
      }
    return made;
  }();
  const __m512i a = _mm512_loadu_si512(even), b = _mm512_loadu_si512(odd);
  _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, _mm512_loadu_si512(places.low), b));
  _mm512_storeu_si512(to + far, _mm512_permutex2var_epi16(a, _mm512_loadu_si512(places.high), b));
}

// One head's rows in all layouts that tiles need, padded with zeros to a whole block.
//
//   rows     [token][width]
//   columns  the rows' transpose, in tiles [16 tokens][32 numbers]: pairs of numbers, [pair][token][2]
//   paired   the rows, in tiles [32 tokens][16 numbers]: pairs of tokens, [pair][number][2]
struct Head {
  Buffer<uint16_t> rows_buffer, columns_buffer, paired_buffer;
  uint16_t *rows, *columns, *paired;

  void take(const uint16_t* from, size_t stride, int length, int width) {
    const int whole = padded(length);
    const size_t numbers = static_cast<size_t>(whole) * width;
    rows = rows_buffer.need(numbers);
    for (int t = 0; t < length; ++t)
      std::memcpy(rows + static_cast<size_t>(t) * width, from + t * stride, width * sizeof(uint16_t));
    const size_t taken = static_cast<size_t>(length) * width;
    std::memset(rows + taken, 0, (numbers - taken) * sizeof(uint16_t));
  }

  void take_columns(int length, int width) {
    const int whole = padded(length);
    columns = columns_buffer.need(static_cast<size_t>(whole) * width);
    const __m512i step = steps(width / 2);
    uint16_t* to = columns;
    for (int t = 0; t < whole; t += kTileRows) {
      const uint16_t* from = rows + static_cast<size_t>(t) * width;
      for (int pair = 0; pair < width / 2; ++pair, to += 2 * kTileRows)
        _mm512_store_si512(to, _mm512_i32gather_epi32(step, from + 2 * pair, 4));
    }
  }

  void take_paired(int length, int width) {
    const int whole = padded(length);
    paired = paired_buffer.need(static_cast<size_t>(whole) * width);
    for (int t = 0; t < whole; t += 2) {
      const uint16_t* from = rows + static_cast<size_t>(t) * width;
      uint16_t* to = paired + static_cast<size_t>(t / kBlock) * kBlock * width + t % kBlock * kTileRows;
      for (int i = 0; i < width; i += 32)
        put_paired(from + i, from + width + i, to + i / 16 * kTileNumbers, kTileNumbers);
    }
  }

  const uint16_t* columns_of(int token, int width) const { return columns + static_cast<size_t>(token) * width; }
  const uint16_t* paired_of(int token, int width) const { return paired + static_cast<size_t>(token) * width; }
};

// Tiles 0 to 3 hold 32 rows of 32 sums, 4 and 5 the row factor, 6 and 7 the column factor.
void clear_tiles() {
  asm volatile("" ::: "memory");  // g++ doesn't know what tile instructions read
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

void multiply_tiles() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

void store_tiles(float* sums, size_t stride) {
  const size_t bytes = stride * sizeof(float);
  _tile_stored(0, sums, bytes);
  _tile_stored(1, sums + 16, bytes);
  _tile_stored(2, sums + 16 * stride, bytes);
  _tile_stored(3, sums + 16 * stride + 16, bytes);
}

// sums[32][32] = 32 rows times the transpose of 32 others. Rows of ``sums`` are ``stride`` apart.
void multiply_rows(const uint16_t* rows, const uint16_t* columns, int width, float* sums, size_t stride = kBlock) {
  clear_tiles();
  const size_t bytes = width * sizeof(uint16_t);
  for (int i = 0; i < width; i += 32) {
    _tile_loadd(4, rows + i, bytes);
    _tile_loadd(5, rows + i + kTileRows * width, bytes);
    _tile_loadd(6, columns + i * kTileRows, kTileBytes);
    _tile_loadd(7, columns + i * kTileRows + kTileRows * width, kTileBytes);
    multiply_tiles();
  }
  store_tiles(sums, stride);
}

// sums[32 rows][32 columns] += rows [32][32] times paired columns, two tiles.
void add_product(const uint16_t* rows, size_t row_bytes, const uint16_t* columns, float* sums, size_t stride) {
  const size_t bytes = stride * sizeof(float);
  asm volatile("" ::: "memory");
  _tile_loadd(0, sums, bytes);
  _tile_loadd(1, sums + 16, bytes);
  _tile_loadd(2, sums + 16 * stride, bytes);
  _tile_loadd(3, sums + 16 * stride + 16, bytes);
  _tile_loadd(4, rows, row_bytes);
  _tile_loadd(5, reinterpret_cast<const uint8_t*>(rows) + 16 * row_bytes, row_bytes);
  _tile_loadd(6, columns, kTileBytes);
  _tile_loadd(7, columns + kTileNumbers, kTileBytes);
  multiply_tiles();
  store_tiles(sums, stride);
}

// A block's weights and the gradients of its scores as [key][query], the latter also in pairs of keys.
struct Block {
  alignas(64) float scores[kBlock * kBlock], d_weights[kBlock * kBlock];
  alignas(64) uint16_t weights[kBlock * kBlock], d_scores[kBlock * kBlock], paired[2 * kTileNumbers];

  // ``sums`` (log2) and ``common``: one per query. On the diagonal, a query doesn't see later keys.
  void weigh(const float* sums, const float* common, float scale, bool diagonal) {
    const __m512 power = _mm512_set1_ps(scale * kLog2E), factor = _mm512_set1_ps(scale);
    for (int k = 0; k < kBlock; ++k) {
      __m512 weight[2], d_score[2];
      for (int half = 0; half < 2; ++half) {
        const int at = k * kBlock + 16 * half;
        const __m512 exponent = _mm512_fmsub_ps(_mm512_load_ps(scores + at), power, _mm512_loadu_ps(sums + 16 * half));
        weight[half] = exp2(exponent);
        if (diagonal) {
          const int first = std::clamp(k - 16 * half, 0, 16);  // first query that sees this key
          weight[half] = _mm512_maskz_mov_ps(static_cast<__mmask16>(0xFFFFu << first), weight[half]);
        }
        const __m512 apart = _mm512_sub_ps(_mm512_load_ps(d_weights + at), _mm512_loadu_ps(common + 16 * half));
        d_score[half] = _mm512_mul_ps(_mm512_mul_ps(weight[half], factor), apart);
      }
      _mm512_store_si512(weights + k * kBlock, two_bfloat16(weight[0], weight[1]));
      _mm512_store_si512(d_scores + k * kBlock, two_bfloat16(d_score[0], d_score[1]));
    }
    for (int k = 0; k < kBlock; k += 2)
      put_paired(d_scores + k * kBlock, d_scores + (k + 1) * kBlock, paired + k * kTileRows, kTileNumbers);
  }
};

// One thread's buffers for a unit.
struct Work {
  Head key, value, query, d_mixed;
  Buffer<uint16_t> turned_buffer, weights_buffer;
  Buffer<float> scores_buffer, d_key_buffer, d_value_buffer, d_query_buffer, sums_buffer, common_buffer;
  Block block;
};

// Converts a query's scores to weights: those of keys up to its own sum to 1, later ones up to ``whole`` become 0.
// Returns the base-2 logarithm of the sum.
float soften(const float* scores, int seen, int whole, float scale, uint16_t* weights) {
  const __m512 power = _mm512_set1_ps(scale * kLog2E), never = _mm512_set1_ps(-kNever);
  const auto power_of = [&](int i) {
    const int count = std::clamp(seen - i, 0, 16);
    const auto there = static_cast<__mmask16>((1u << count) - 1);
    return _mm512_mask_mul_ps(never, there, _mm512_load_ps(scores + i), power);
  };
  __m512 most = never;
  for (int i = 0; i < whole; i += 16) most = _mm512_max_ps(most, power_of(i));
  const __m512 largest = _mm512_set1_ps(_mm512_reduce_max_ps(most));
  __m512 total = _mm512_setzero_ps();
  for (int i = 0; i < whole; i += 16) total = _mm512_add_ps(total, exp2(_mm512_sub_ps(power_of(i), largest)));
  const float sum = _mm512_cvtss_f32(largest) + std::log2(_mm512_reduce_add_ps(total));
  const __m512 whole_sum = _mm512_set1_ps(sum);
  for (int i = 0; i < whole; i += 32) {
    const auto weight = [&](int at) { return exp2(_mm512_sub_ps(power_of(at), whole_sum)); };
    _mm512_store_si512(weights + i, two_bfloat16(weight(i), weight(i + 16)));
  }
  return sum;
}

// sums[32 rows][32 columns] = rows [32][count] times paired columns, whose blocks of 32 are ``far`` apart.
void multiply_paired(const uint16_t* rows, int count, const uint16_t* columns, size_t far, float* sums) {
  const size_t row_bytes = count * sizeof(uint16_t);
  clear_tiles();
  for (int i = 0; i < count; i += kBlock, columns += far) {
    _tile_loadd(4, rows + i, row_bytes);
    _tile_loadd(5, rows + i + static_cast<size_t>(16) * count, row_bytes);
    _tile_loadd(6, columns, kTileBytes);
    _tile_loadd(7, columns + kTileNumbers, kTileBytes);
    multiply_tiles();
  }
  store_tiles(sums, kBlock);
}

void put_rows(const float* from, int width, int length, uint16_t* to, size_t stride) {
  for (int t = 0; t < length; ++t)
    for (int i = 0; i < width; i += 32) {
      const float* numbers = from + static_cast<size_t>(t) * width + i;
      _mm512_storeu_si512(to + t * stride + i, two_bfloat16(_mm512_loadu_ps(numbers), _mm512_loadu_ps(numbers + 16)));
    }
}

// Transposes [width][32], of which only ``count`` columns exist.
void put_columns(const float* from, int width, int count, uint16_t* to, size_t stride) {
  const __m512i step = steps(kBlock);
  for (int t = 0; t < count; ++t)
    for (int i = 0; i < width; i += 32) {
      const __m512 low = _mm512_i32gather_ps(step, from + i * kBlock + t, 4);
      const __m512 high = _mm512_i32gather_ps(step, from + (i + 16) * kBlock + t, 4);
      _mm512_storeu_si512(to + t * stride + i, two_bfloat16(low, high));
    }
}

// Dot product of attention's output and its gradient: the term common to all weights' gradients of a query and head.
float product_sum(const uint16_t* a, const uint16_t* b, int width) {
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < width; i += 16) sum = _mm512_fmadd_ps(load_bfloat16(a + i).v, load_bfloat16(b + i).v, sum);
  return _mm512_reduce_add_ps(sum);
}

// The first block of queries of which some are wanted.
int first_block(const Causal& g, int sequence) { return g.begun[sequence] / kBlock * kBlock; }

// Adds to the gradients of keys and values. ``turned``: transpose of the keys. Queries before ``first`` are left out.
void one_query_head(const Causal& g, Work& work, int start, int length, int first, int head, const uint16_t* turned,
                    float* d_key, float* d_value) {
  const int width = g.head_width, whole = padded(length);
  const size_t stride = static_cast<size_t>(g.heads) * width, at = start * stride + static_cast<size_t>(head) * width;
  work.query.take(g.query + at, stride, length, width);
  work.query.take_columns(length, width);
  work.query.take_paired(length, width);
  work.d_mixed.take(g.d_mixed + at, stride, length, width);
  work.d_mixed.take_columns(length, width);
  work.d_mixed.take_paired(length, width);
  float *sums = work.sums_buffer.need(whole), *common = work.common_buffer.need(whole);
  for (int t = first; t < whole; ++t) {
    const bool exists = t < length;
    sums[t] = exists ? g.sums[static_cast<size_t>(head) * g.tokens + start + t] : kNever;
    common[t] = exists ? product_sum(g.mixed + at + t * stride, g.d_mixed + at + t * stride, width) : 0.0f;
  }
  float* d_query = work.d_query_buffer.need(static_cast<size_t>(width) * kBlock);  // [width][query]
  Block& block = work.block;
  for (int q = first; q < whole; q += kBlock) {
    std::memset(d_query, 0, static_cast<size_t>(width) * kBlock * sizeof(float));
    const uint16_t *query = work.query.paired_of(q, width), *d_mixed = work.d_mixed.paired_of(q, width);
    for (int k = 0; k <= q; k += kBlock) {
      const size_t row = static_cast<size_t>(k) * width;
      multiply_rows(work.key.rows + row, work.query.columns_of(q, width), width, block.scores);
      multiply_rows(work.value.rows + row, work.d_mixed.columns_of(q, width), width, block.d_weights);
      block.weigh(sums + q, common + q, g.scale, k == q);
      for (int i = 0; i < width; i += 32) {
        const size_t tile = static_cast<size_t>(i / 16) * kTileNumbers;
        const uint16_t* key = turned + static_cast<size_t>(i) * whole + k;
        add_product(block.weights, kTileBytes, d_mixed + tile, d_value + row + i, width);
        add_product(block.d_scores, kTileBytes, query + tile, d_key + row + i, width);
        add_product(key, whole * sizeof(uint16_t), block.paired, d_query + i * kBlock, kBlock);
      }
    }
    put_columns(d_query, width, std::min(kBlock, length - q), g.d_query + at + q * stride, stride);
  }
}

void attend(const Causal& g, Work& work, int sequence, int kv_head) {
  const int width = g.head_width, start = g.start[sequence], length = g.length[sequence], whole = padded(length);
  const size_t kv_stride = static_cast<size_t>(g.kv_heads) * width, stride = static_cast<size_t>(g.heads) * width;
  const size_t kv_at = start * kv_stride + static_cast<size_t>(kv_head) * width;
  work.key.take(g.key + kv_at, kv_stride, length, width);
  work.key.take_columns(length, width);
  work.value.take(g.value + kv_at, kv_stride, length, width);
  work.value.take_paired(length, width);
  float* scores = work.scores_buffer.need(static_cast<size_t>(kBlock) * whole);
  uint16_t* weights = work.weights_buffer.need(static_cast<size_t>(kBlock) * whole);
  const int group = g.heads / g.kv_heads;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const size_t at = start * stride + static_cast<size_t>(head) * width;
    float* sums = g.sums + static_cast<size_t>(head) * g.tokens + start;
    work.query.take(g.query + at, stride, length, width);
    for (int q = first_block(g, sequence); q < whole; q += kBlock) {
      const int seen = q + kBlock, rows = std::min(kBlock, length - q);
      for (int k = 0; k < seen; k += kBlock)
        multiply_rows(work.query.rows + q * static_cast<size_t>(width), work.key.columns_of(k, width), width, scores + k,
                      seen);
      for (int row = 0; row < kBlock; ++row) {
        const size_t of_row = static_cast<size_t>(row) * seen;
        const float sum = soften(scores + of_row, q + row + 1, seen, g.scale, weights + of_row);
        if (row < rows) sums[q + row] = sum;
      }
      for (int i = 0; i < width; i += 32) {
        const uint16_t* values = work.value.paired_of(0, width) + static_cast<size_t>(i / 16) * kTileNumbers;
        multiply_paired(weights, seen, values, static_cast<size_t>(kBlock) * width, work.block.scores);
        put_rows(work.block.scores, kBlock, rows, g.mixed + at + q * stride + i, stride);
      }
    }
  }
}

void differentiate(const Causal& g, Work& work, int sequence, int kv_head) {
  const int width = g.head_width, start = g.start[sequence], length = g.length[sequence], whole = padded(length);
  const size_t stride = static_cast<size_t>(g.kv_heads) * width, numbers = static_cast<size_t>(whole) * width;
  const size_t at = start * stride + static_cast<size_t>(kv_head) * width;
  work.key.take(g.key + at, stride, length, width);
  work.value.take(g.value + at, stride, length, width);
  uint16_t* turned = work.turned_buffer.need(numbers);  // keys, [width][token]
  for (int t = 0; t < whole; ++t)
    for (int i = 0; i < width; ++i)
      turned[static_cast<size_t>(i) * whole + t] = work.key.rows[static_cast<size_t>(t) * width + i];
  float *d_key = work.d_key_buffer.need(numbers), *d_value = work.d_value_buffer.need(numbers);
  std::memset(d_key, 0, numbers * sizeof(float));
  std::memset(d_value, 0, numbers * sizeof(float));
  const int group = g.heads / g.kv_heads;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    one_query_head(g, work, start, length, first_block(g, sequence), head, turned, d_key, d_value);
  put_rows(d_key, width, length, g.d_key + at, stride);
  put_rows(d_value, width, length, g.d_value + at, stride);
}

template <class Unit>
void share(Causal& causal, const Unit& unit) {
  static thread_local Work work;
  if (!has_tiles()) return;
  const Tiles tiles;
  for (;;) {
    const int32_t number = causal.next.fetch_add(1, std::memory_order_relaxed);
    if (number >= causal.sequences * causal.kv_heads) return;
    unit(causal, work, number / causal.kv_heads, number % causal.kv_heads);
  }
}

}  // namespace

void attend_share(Causal& causal) { share(causal, attend); }
void differentiate_share(Causal& causal) { share(causal, differentiate); }

#else

void attend_share(Causal&) {}
void differentiate_share(Causal&) {}

#endif

}  // namespace flightloop::inline FLIGHTLOOP_KIND
