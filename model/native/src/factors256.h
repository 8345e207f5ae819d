// Factors of 16 bits by signed bytes, with AVX2 and maybe AVX-VNNI: queries by keys, and softmax weights by values.
//
// AVX2 multiplies signed words of 16 bits as fast as bytes. So factors are whole signed words, weights have 15 bits,
// and keys and values are widened to words: half the products of two bytes each, without the queries' offset.
#pragma once

#include "products256.h"
#include "vector.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

constexpr float kMostWeight = 32767;  // the largest weight after rounding

inline __m256i words(Ints x) { return _mm256_permute4x64_epi64(_mm256_packs_epi32(x.low, x.high), 0b11011000); }

// Quantises a query to 16 bits; returns the scale of the codes.
inline float round16(const float* x, int width, uint8_t* to) {
  const float most = largest(x, width);
  const Floats factor = spread(most > 1e-30f ? 32767.0f / most : 0.0f);
  for (int i = 0; i < width; i += 16) store_half(to + 2 * i, words(nearest(load(x + i) * factor)));
  return most / 32767.0f;
}

// A query's number divided by 256 and rounded down.
inline int high_byte(const uint8_t* query, int i) { return static_cast<int8_t>(query[2 * i + 1]); }

// What an offset of the queries adds to their products with keys: they have none.
inline Ints excess(Ints) { return spread(0); }

// Stores the weights of 64 keys.
inline void put_weights(const Ints (&weight)[4], uint8_t* to) {
  for (int i = 0; i < 4; ++i) store_half(to + 32 * i, words(weight[i]));
}

// sum[r][n]: products of factors ``factor(r)``, ``count`` fours, with the 16 columns of lines ``line(i, n)``. Calls
// ``touch(i, n)`` once for each line. Half a line at a time: the sums of four rows then fit the registers.
template <int R, int N, class Factor, class Line, class Touch>
inline void multiply(int count, const Factor& factor, int, const Line& line, const Touch& touch, Ints (&sum)[R][N]) {
  for (int n = 0; n < N; ++n)
    for (int half = 0; half < 2; ++half) {
      __m256i even[R], odd[R];  // of columns 0 to 3 and 4 to 7, two sums each
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) even[r] = odd[r] = _mm256_setzero_si256();
      for (int i = 0; i < count; ++i) {
        const auto* bytes = reinterpret_cast<const __m128i*>(line(i, n) + 32 * half);
        const __m256i first = _mm256_cvtepi8_epi16(_mm_load_si128(bytes));
        const __m256i second = _mm256_cvtepi8_epi16(_mm_load_si128(bytes + 1));
        if (half == 0) touch(i, n);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          int64_t four;
          std::memcpy(&four, factor(r) + 8 * i, 8);
          dot_words(even[r], first, _mm256_set1_epi64x(four));
          dot_words(odd[r], second, _mm256_set1_epi64x(four));
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const __m256i added = _mm256_permute4x64_epi64(_mm256_hadd_epi32(even[r], odd[r]), 0b11011000);
        (half ? sum[r][n].high : sum[r][n].low) = added;
      }
    }
}

// For the choice of keys by single bytes of queries: keys as they are, which adds nothing, ...
inline Bytes as_factor(Bytes keys) { return keys; }
inline int excess_of(int) { return 0; }
// ... and sum += products of the query's four signed bytes with those of each key. A query's byte may be -128, of which
// only the size fits a byte.
inline void dot(Ints& sum, Bytes keys, int32_t four_bytes) {
  const __m256i signs = _mm256_set1_epi32(four_bytes), sizes = _mm256_abs_epi8(signs);
  dot_bytes(sum.low, sizes, _mm256_sign_epi8(keys.low, signs));
  dot_bytes(sum.high, sizes, _mm256_sign_epi8(keys.high, signs));
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
