// Products of quantised rows with quantised weights.
//
// Weights lie in tiles of 16 outputs, and within a tile in groups of 32 inputs, so that one instruction (VPDPBUSD)
// multiplies 4 inputs of 16 outputs. Activations are rounded to int8 in the same groups when they are made (dynamic
// quantisation), each group with a scale of its own: sums within a group are exact integers.
//
//   int4   a group is 256 bytes of codes (the codes of inputs 0..15 in the low, 16..31 in the high halves of the
//          bytes), then 16 scales and 16 minima in float16: weight = code * scale + minimum (GGUF's Q4_1).
//   int8   a group is 512 bytes, each a weight plus 128; one float32 scale per output.
//
// A row's result never depends on the rows beside it: every sum runs over the groups in order.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace flightloop {

constexpr int kGroup = 32;     // inputs that share a scale
constexpr int kTile = 16;      // outputs side by side
constexpr int kRows = 8;       // rows side by side
constexpr int kBytes4 = 320;   // of a group of a tile in int4
constexpr int kBytes8 = 512;   // ... and in int8
constexpr int kAhead = 4096;   // how far ahead weights are asked for: the processor's own guesses end with the page

// Memory that grows when a larger step comes, never shrinks, and is aligned for vectors.
template <class T>
class Buffer {
 public:
  T* need(size_t count) {
    if (count > count_) {
      data_.reset(static_cast<T*>(::operator new[](count * sizeof(T) + 64, std::align_val_t{64})));
      std::memset(data_.get(), 0, count * sizeof(T) + 64);
      count_ = count;
    }
    return data_.get();
  }
  T* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const { ::operator delete[](data, std::align_val_t{64}); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t count_ = 0;
};

// One weight matrix, or as many of one shape as there are experts. Mirrored by `Matrix` in library.py.
struct Matrix {
  const uint8_t* codes;
  const float* scale;  // int8 only
  int32_t bits;        // 4, 8, or 0: absent
  int32_t outputs;     // a multiple of 16
  int32_t groups;      // inputs / 32

  int tile_bytes() const { return groups * (bits == 4 ? kBytes4 : kBytes8); }
  Matrix expert(int index) const {
    Matrix one = *this;
    one.codes += static_cast<size_t>(index) * (outputs / kTile) * tile_bytes();
    if (scale) one.scale += static_cast<size_t>(index) * outputs;
    return one;
  }
};

// Rows rounded to int8, in tiles of 8 rows: tile, group, row, input.
class Rows {
 public:
  void shape(int rows, int groups) {
    const size_t tiles = (rows + kRows - 1) / kRows;
    groups_ = groups;
    codes_.need(tiles * groups * kRows * kGroup);
    scale_.need(tiles * groups * kRows);
    sum_.need(tiles * groups * kRows);
    offset_.need(tiles * groups * kRows);
  }
  int groups() const { return groups_; }

  // Rounds 32 numbers, given as two vectors, to group ``group`` of row ``row``.
  void put(int row, int group, __m512 low, __m512 high) {
    const size_t at = (static_cast<size_t>(row / kRows) * groups_ + group) * kRows + row % kRows;
    const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
    const __m512 factor = _mm512_set1_ps(largest > 1e-30f ? 127.0f / largest : 0.0f);
    const __m512i first = _mm512_cvtps_epi32(_mm512_mul_ps(low, factor));
    const __m512i second = _mm512_cvtps_epi32(_mm512_mul_ps(high, factor));
    int8_t* codes = codes_.get() + at * kGroup;
    _mm_store_si128(reinterpret_cast<__m128i*>(codes), _mm512_cvtsepi32_epi8(first));
    _mm_store_si128(reinterpret_cast<__m128i*>(codes + 16), _mm512_cvtsepi32_epi8(second));
    const int sum = _mm512_reduce_add_epi32(_mm512_add_epi32(first, second));
    const float scale = largest / 127.0f;
    scale_.get()[at] = scale;
    sum_.get()[at] = scale * static_cast<float>(sum);
    offset_.get()[at] = -128 * sum;
  }

  // Copies one whole row of another set of rows with as many groups.
  void copy(int row, const Rows& other, int from) {
    for (int group = 0; group < groups_; ++group) {
      const size_t to = (static_cast<size_t>(row / kRows) * groups_ + group) * kRows + row % kRows;
      const size_t of = (static_cast<size_t>(from / kRows) * groups_ + group) * kRows + from % kRows;
      std::memcpy(codes_.get() + to * kGroup, other.codes_.get() + of * kGroup, kGroup);
      scale_.get()[to] = other.scale_.get()[of];
      sum_.get()[to] = other.sum_.get()[of];
      offset_.get()[to] = other.offset_.get()[of];
    }
  }

  const int8_t* codes(int tile) const { return codes_.get() + static_cast<size_t>(tile) * groups_ * kRows * kGroup; }
  const float* scale(int tile) const { return scale_.get() + static_cast<size_t>(tile) * groups_ * kRows; }
  const float* sum(int tile) const { return sum_.get() + static_cast<size_t>(tile) * groups_ * kRows; }
  const int32_t* offset(int tile) const { return offset_.get() + static_cast<size_t>(tile) * groups_ * kRows; }

 private:
  int groups_ = 0;
  Buffer<int8_t> codes_;
  Buffer<float> scale_, sum_;
  Buffer<int32_t> offset_;
};

// sum += the products of four bytes with each column's four.
inline void dot4(__m512i& sum, __m512i bytes, const int8_t* four) {
  struct Four {
    int8_t bytes[4];
  };
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(bytes), "m"(*reinterpret_cast<const Four*>(four)));
}

template <int kBytes>
void ask(const uint8_t* weight) {
#pragma GCC unroll 8
  for (int i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(weight + kAhead + i), _MM_HINT_T0);
}

// 16 outputs of R rows, int4.
template <int R>
void tile4(const uint8_t* weight, const Rows& rows, int tile, float* out, int stride) {
  const int groups = rows.groups();
  const int8_t* codes = rows.codes(tile);
  const float *scale = rows.scale(tile), *sums = rows.sum(tile);
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
void tile8(const uint8_t* weight, const float* output_scale, const Rows& rows, int tile, float* out, int stride) {
  const int groups = rows.groups();
  const int8_t* codes = rows.codes(tile);
  const float* scale = rows.scale(tile);
  const int32_t* offset = rows.offset(tile);
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
      // The codes are 128 too large: the sum starts at what that adds.
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
void tile_of(const Matrix& matrix, int output_tile, const Rows& rows, int row_tile, float* out, int stride) {
  const uint8_t* codes = matrix.codes + static_cast<size_t>(output_tile) * matrix.tile_bytes();
  if (matrix.bits == 4) {
    tile4<R>(codes, rows, row_tile, out, stride);
  } else {
    tile8<R>(codes, matrix.scale + output_tile * kTile, rows, row_tile, out, stride);
  }
}

// Outputs [first * 16, last * 16) of rows [begin, end), begin a multiple of 8, to out[row - begin][output - first * 16].
inline void product(const Matrix& matrix, int first, int last, const Rows& rows, int begin, int end, float* out,
                    int stride) {
  for (int tile = first; tile < last; ++tile) {
    for (int row = begin; row < end; row += kRows) {
      float* to = out + static_cast<size_t>(row - begin) * stride + (tile - first) * kTile;
      switch (std::min(kRows, end - row)) {
        case 1: tile_of<1>(matrix, tile, rows, row / kRows, to, stride); break;
        case 2: tile_of<2>(matrix, tile, rows, row / kRows, to, stride); break;
        case 3: tile_of<3>(matrix, tile, rows, row / kRows, to, stride); break;
        case 4: tile_of<4>(matrix, tile, rows, row / kRows, to, stride); break;
        case 5: tile_of<5>(matrix, tile, rows, row / kRows, to, stride); break;
        case 6: tile_of<6>(matrix, tile, rows, row / kRows, to, stride); break;
        case 7: tile_of<7>(matrix, tile, rows, row / kRows, to, stride); break;
        default: tile_of<8>(matrix, tile, rows, row / kRows, to, stride);
      }
    }
  }
}

}  // namespace flightloop
