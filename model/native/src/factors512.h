// Factors of 16 bits by signed bytes, with AVX-512 VNNI: queries by keys, and softmax weights by values.
//
// Factors are unsigned, queries offset by 32768. They are stored as the high bytes of all numbers, then the low bytes,
// which are multiplied separately: sums are exact integers, the same ones that tile registers give.
#pragma once

#include "vector.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

constexpr float kMostWeight = 65535;  // the largest weight after rounding

// sum += dot products of four unsigned and four signed bytes, for 16 columns. In assembly, since g++ 12 spends as many
// instructions on moving the sums between registers as on adding to them.
inline void dot(__m512i& sum, __m512i bytes, __m512i signed_bytes) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(signed_bytes));
}

// Quantises a query to 16 bits; returns the scale of the codes.
inline float round16(const float* x, int width, uint8_t* to) {
  const float most = largest(x, width);
  const Floats factor = spread(most > 1e-30f ? 32767.0f / most : 0.0f);
  for (int i = 0; i < width; i += 16) {
    const __m512i raised = (nearest(load(x + i) * factor) + spread(32768)).v;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(raised, 8)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + width + i), _mm512_cvtepi32_epi8(raised));
  }
  return most / 32767.0f;
}

// A query's number divided by 256 and rounded down.
inline int high_byte(const uint8_t* query, int i) { return query[i] - 128; }

// What the queries' offset adds to their products with keys.
inline Ints excess(Ints key_sum) { return key_sum << 15; }

// Stores the weights of 64 keys.
inline void put_weights(const Ints (&weight)[4], uint8_t* to) {
  struct Bytes {
    alignas(64) uint8_t of[64];
    constexpr Bytes() : of() {
      for (int i = 0; i < 32; ++i) {
        of[i] = static_cast<uint8_t>(i / 16 * 64 + i % 16 * 4);
        of[32 + i] = static_cast<uint8_t>(of[i] + 1);
      }
    }
  };
  static constexpr Bytes kBytes{};
  // Low bytes of two vectors, then their high bytes.
  const __m512i bytes = _mm512_load_si512(kBytes.of);
  const __m512i left = _mm512_permutex2var_epi8(weight[0].v, bytes, weight[1].v);
  const __m512i right = _mm512_permutex2var_epi8(weight[2].v, bytes, weight[3].v);
  _mm512_store_si512(to, _mm512_shuffle_i64x2(left, right, 0b11101110));
  _mm512_store_si512(to + 64, _mm512_shuffle_i64x2(left, right, 0b01000100));
}

inline __m512i four(const uint8_t* from) {
  int32_t word;
  std::memcpy(&word, from, 4);
  return _mm512_set1_epi32(word);
}

// sum[r][n]: products of factors ``factor(r)``, ``count`` fours of which the low bytes are ``apart`` from the high
// ones, with the 16 columns of lines ``line(i, n)``. Calls ``touch(i, n)`` once for each line.
template <int R, int N, class Factor, class Line, class Touch>
inline void multiply(int count, const Factor& factor, int apart, const Line& line, const Touch& touch,
                     Ints (&sum)[R][N]) {
  __m512i high[R][N], low[R][N];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) high[r][n] = low[r][n] = _mm512_setzero_si512();
  for (int i = 0; i < count; ++i) {
    __m512i bytes[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      bytes[n] = _mm512_load_si512(line(i, n));
      touch(i, n);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const uint8_t* from = factor(r) + 4 * i;
      const __m512i upper = four(from), lower = four(from + apart);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        dot(high[r][n], upper, bytes[n]);
        dot(low[r][n], lower, bytes[n]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) sum[r][n] = (Ints{high[r][n]} << 8) + Ints{low[r][n]};
}

// For the choice of keys by single bytes of queries: keys as unsigned bytes, ...
inline Bytes as_factor(Bytes keys) {
  return {_mm512_xor_si512(keys.v, _mm512_set1_epi8(static_cast<char>(0x80)))};
}
// ... what their offset adds, by the sum of the query's bytes, ...
inline int excess_of(int sum) { return 128 * sum; }
// ... and sum += products of the query's four signed bytes with those of each key.
inline void dot(Ints& sum, Bytes keys, int32_t four_bytes) { dot(sum.v, keys.v, _mm512_set1_epi32(four_bytes)); }

}  // namespace flightloop::inline FLIGHTLOOP_KIND
