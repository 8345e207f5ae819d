// Attention of a few queries of one sequence over its keys and values in the paged cache, for the query heads that
// share one key/value head. Softmax is taken block by block with a running maximum (Milakov and Gimelshein, 2018; the
// blocking of FlashAttention, Dao et al., 2022).
//
// Blocks begin at multiples of 64 positions, so that a query meets the same blocks in the same order whatever runs
// beside it: a block that it sees nothing of changes nothing.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "product.h"
#include "vector.h"

namespace flightloop {

constexpr int kKeys = 64;          // keys of one block
constexpr int kQueryRows = 64;     // most (query, head) pairs of one task

// Keys and values of one layer, bfloat16: slot, key/value head, head width.
struct Cache {
  const uint16_t* keys;
  const uint16_t* values;
  int heads;
  int width;
};

struct AttentionTask {
  const int32_t* table;   // blocks of the sequence
  int block_size;
  int begin, queries;     // rows of the step
  int position;           // of the first query; the others follow
};

class AttentionScratch {
 public:
  alignas(64) uint32_t keys[64 * kKeys];       // pairs of inputs: [width / 2][key]
  alignas(64) uint32_t values[kKeys / 2 * 128];  // pairs of keys: [key / 2][width]
  alignas(64) uint16_t weights[kQueryRows * kKeys];
  alignas(64) float scores[kQueryRows * kKeys];
  alignas(64) float sums[kQueryRows * 128];
  float largest[kQueryRows], total[kQueryRows];
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

// W is the head width in vectors of 32 bfloat16.
template <int W>
class Attention {
 public:
  Attention(const Cache& cache, int head, AttentionScratch& scratch) : cache_(cache), head_(head), s_(scratch) {}

  // Attends ``rows`` queries; query[r] has width W * 32, position[r] is where it stands. Leaves s.sums and s.total.
  // ``next`` is the task that comes after this one, for the head ``next_head``.
  void run(const AttentionTask& task, const uint16_t* const* query, const int* position, int rows, int window,
           int sinks, const AttentionTask& next, int next_head) {
    const int newest = task.position + task.queries - 1;
    const auto seen = [&](int first) {
      return window == 0 || first < sinks || first + kKeys > task.position - window + 1;
    };
    for (int r = 0; r < rows; ++r) {
      s_.largest[r] = -1e30f;
      s_.total[r] = 0;
    }
    std::memset(s_.sums, 0, sizeof(float) * rows * W * 32);
    int first = 0;
    while (!seen(first)) first += kKeys;
    Lines lines = find(task, head_, first);
    while (first <= newest) {
      int after = first + kKeys;
      while (after <= newest && !seen(after)) after += kKeys;
      const Lines ahead = after <= newest ? find(task, head_, after) : find(next, next_head, 0);
      load(lines);
      int r = 0;
      for (; r + 4 <= rows; r += 4) score<4>(query + r, r, r == 0 ? ahead.key : nullptr);
      for (; r < rows; ++r) score<1>(query + r, r, r == 0 ? ahead.key : nullptr);
      for (r = 0; r < rows; ++r) soften(r, position[r], first, window, sinks);
      for (r = 0; r + 4 <= rows; r += 4) mix<4>(r, r == 0 ? ahead.value : nullptr);
      for (; r < rows; ++r) mix<1>(r, r == 0 ? ahead.value : nullptr);
      lines = ahead;
      first = after;
    }
  }

 private:
  // Where the keys and values of a block lie.
  struct Lines {
    const uint16_t *key[kKeys], *value[kKeys];
  };

  Lines find(const AttentionTask& task, int head, int first) const {
    Lines lines;
    const int size = task.block_size, stride = cache_.heads * cache_.width;
    const int newest = task.position + task.queries - 1;
    int block = first / size, inside = first % size;
    for (int j = 0; j < kKeys; ++j) {
      const size_t slot = static_cast<size_t>(task.table[block]) * size + inside;
      lines.key[j] = cache_.keys + slot * stride + head * cache_.width;
      lines.value[j] = cache_.values + slot * stride + head * cache_.width;
      if (first + j < newest && ++inside == size) {  // beyond the newest: that one again, it is masked
        ++block;
        inside = 0;
      }
    }
    return lines;
  }

  // Asks for a few lines of the next block ahead of their use: they lie scattered, where no processor guesses them. A
  // few at a time, since the processor stands still once too many are on their way.
  static void ask(const uint16_t* const* lines, int from, int count) {
    for (int j = from; j < from + count; ++j)
      for (int w = 0; w < W; ++w) _mm_prefetch(reinterpret_cast<const char*>(lines[j] + 32 * w), _MM_HINT_T0);
  }

  void load(const Lines& lines) {
    const uint16_t* const* key = lines.key;
    const uint16_t* const* value = lines.value;
    for (int j = 0; j < kKeys; j += 16) {
      for (int w = 0; w < W; ++w) {
        __m512i row[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) row[i] = _mm512_loadu_si512(key[j + i] + 32 * w);
        transpose(row);
#pragma GCC unroll 16
        for (int i = 0; i < 16; ++i) _mm512_store_si512(s_.keys + (16 * w + i) * kKeys + j, row[i]);
      }
    }
    const __m512i low = pairs(0), high = pairs(16);
    for (int j = 0; j < kKeys; j += 2) {
      for (int w = 0; w < W; ++w) {
        const __m512i a = _mm512_loadu_si512(value[j] + 32 * w), b = _mm512_loadu_si512(value[j + 1] + 32 * w);
        uint32_t* to = s_.values + (j / 2) * W * 32 + 32 * w;
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

  static __m512bh pair(const void* from) {
    int32_t word;
    std::memcpy(&word, from, 4);
    return (__m512bh)_mm512_set1_epi32(word);
  }

  template <int R>
  void score(const uint16_t* const* query, int row, const uint16_t* const* ahead) {
    __m512 total[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) total[r][i] = _mm512_setzero_ps();
    for (int h = 0; h < W * 16; ++h) {
      if (ahead) ask(ahead, h * kKeys / (W * 16), kKeys / (W * 16));
      __m512bh key[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) key[i] = (__m512bh)_mm512_load_si512(s_.keys + h * kKeys + 16 * i);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const __m512bh both = pair(query[r] + 2 * h);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) total[r][i] = _mm512_dpbf16_ps(total[r][i], both, key[i]);
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) _mm512_store_ps(s_.scores + (row + r) * kKeys + 16 * i, total[r][i]);
  }

  // Turns a row's scores into weights, relative to the largest score so far, and rescales what was summed before.
  void soften(int row, int position, int first, int window, int sinks) {
    const __m512 scale = _mm512_set1_ps(kLog2E / std::sqrt(static_cast<float>(cache_.width)));
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512 score[4];
    __mmask16 seen[4];
    __m512 most = _mm512_set1_ps(-1e30f);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i at = _mm512_add_epi32(count, _mm512_set1_epi32(first + 16 * i));
      seen[i] = _mm512_cmple_epi32_mask(at, _mm512_set1_epi32(position));
      if (window) {
        seen[i] &= _mm512_cmpgt_epi32_mask(at, _mm512_set1_epi32(position - window)) |
                   _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32(sinks));
      }
      score[i] = _mm512_mul_ps(_mm512_load_ps(s_.scores + row * kKeys + 16 * i), scale);
      most = _mm512_mask_max_ps(most, seen[i], most, score[i]);
    }
    const float before = s_.largest[row], largest = std::max(before, _mm512_reduce_max_ps(most));
    const __m512 top = _mm512_set1_ps(largest);
    __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      score[i] = _mm512_maskz_mov_ps(seen[i], exp2(_mm512_sub_ps(score[i], top)));
      sum = _mm512_add_ps(sum, score[i]);
      store_bfloat16(s_.weights + row * kKeys + 16 * i, score[i]);
    }
    const float added = _mm512_reduce_add_ps(sum);
    if (largest == before) {
      s_.total[row] += added;
      return;
    }
    const float shrink = _mm512_cvtss_f32(exp2(_mm512_set1_ps(before - largest)));
    s_.total[row] = s_.total[row] * shrink + added;
    s_.largest[row] = largest;
    for (int i = 0; i < W * 32; i += 16) {
      float* at = s_.sums + row * W * 32 + i;
      _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), _mm512_set1_ps(shrink)));
    }
  }

  template <int R>
  void mix(int row, const uint16_t* const* ahead) {
    for (int part = 0; part < W * 2; part += 4) {
      constexpr int kParts = W == 1 ? 2 : 4;
      __m512 total[R][kParts];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) total[r][i] = _mm512_load_ps(at(row + r, part + i));
      for (int j = 0; j < kKeys / 2; ++j) {
        if (ahead && part == 0) ask(ahead, 2 * j, 2);
        __m512bh value[kParts];
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i)
          value[i] = (__m512bh)_mm512_load_si512(s_.values + j * W * 32 + 16 * (part + i));
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          const __m512bh both = pair(s_.weights + (row + r) * kKeys + 2 * j);
#pragma GCC unroll 4
          for (int i = 0; i < kParts; ++i) total[r][i] = _mm512_dpbf16_ps(total[r][i], both, value[i]);
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int i = 0; i < kParts; ++i) _mm512_store_ps(at(row + r, part + i), total[r][i]);
    }
  }

  float* at(int row, int part) { return s_.sums + row * W * 32 + 16 * part; }

  const Cache& cache_;
  const int head_;
  AttentionScratch& s_;
};

}  // namespace flightloop
