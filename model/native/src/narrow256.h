// Products of a tile with narrow rows, with AVX2 and maybe AVX-VNNI. Eight outputs at a time: a group of their codes
// then fits half of the registers, for all rows.
#pragma once

#include "matrix.h"
#include "products256.h"
#include "rows.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

// Whether codes of so many bits are multiplied as signed numbers: without VNNI, the products of two unsigned bytes of 8
// bits exceed 16 bits.
constexpr bool is_signed(int bits) { return bits == 8 && !kVnni; }

// Unpacks the codes of half a group's outputs into bytes, as [four inputs][output][input].
template <int kBits>
inline void unpack(const uint8_t* weight, int half, __m256i* codes) {
  weight += 32 * half;
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      codes[i] = load_half(weight + 64 * i);
      if (is_signed(8)) codes[i] = _mm256_xor_si256(codes[i], _mm256_set1_epi8(static_cast<char>(0x80)));
    }
  } else {
    const __m256i low = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256i both = load_half(weight + 64 * i);
      codes[i] = _mm256_and_si256(both, low);
      codes[i + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    }
    // Each byte of further bits goes to eight bytes, which keep one bit each.
    const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i own = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
#pragma GCC unroll 2
    for (int bit = 4; bit < kBits; ++bit) {
      const uint8_t* plane = weight - 32 * half + 64 * bit + 4 * half;
      const __m256i value = _mm256_set1_epi8(1 << bit);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        int32_t bits;
        std::memcpy(&bits, plane + 8 * i, 4);
        const __m256i mine = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), spread), own);
        codes[i] = _mm256_or_si256(codes[i], _mm256_and_si256(_mm256_cmpeq_epi8(mine, own), value));
      }
    }
  }
}

// Makes g++ read a row's numbers again for the other half. Else it would keep all of them on the stack.
inline void forget() { asm volatile("" ::: "memory"); }

inline __m256i four(const int8_t* from) {
  int32_t word;
  std::memcpy(&word, from, 4);
  return _mm256_set1_epi32(word);
}

// sum += products of 32 numbers of a row with the unpacked codes of eight outputs.
template <int kBits>
inline void dot32(__m256i& sum, const __m256i* codes, const int8_t* row) {
  if constexpr (is_signed(kBits)) {
    // The numbers' sizes are at most 128 and 127.
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      dot_bytes(sum, _mm256_abs_epi8(codes[i]), _mm256_sign_epi8(four(row + 4 * i), codes[i]));
  } else if constexpr (kVnni) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) dot_bytes(sum, codes[i], four(row + 4 * i));
  } else {
    // As many sums as surely fit 16 bits are added up there: a pair's is at most 2 * 127 times the largest code.
    constexpr int kRun = kBits == 4 ? 8 : kBits == 5 ? 4 : 2;
    static_assert(kRun * 2 * 127 * ((1 << kBits) - 1) < 32768);
#pragma GCC unroll 4
    for (int first = 0; first < 8; first += kRun) {
      __m256i pairs = _mm256_maddubs_epi16(codes[first], four(row + 4 * first));
#pragma GCC unroll 8
      for (int i = first + 1; i < first + kRun; ++i)
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes[i], four(row + 4 * i)));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
  }
}

// 16 outputs of R rows, grouped.
template <int kBits, bool kMinimum, int R>
void tile_grouped(const uint8_t* weight, const Rows& rows, int row, float* out, int stride) {
  constexpr int kBytes = grouped_bytes(kBits, kMinimum);
  const int groups = rows.groups();
  const int8_t* codes = rows.codes(row);
  const float *scale = rows.scale(row), *sums = rows.sum(row);
  const int32_t* offset = rows.offset(row);
  __m256 total[2][R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[0][r] = total[1][r] = _mm256_setzero_ps();
  for (int g = 0; g < groups;
       ++g, weight += kBytes, codes += kRows * kGroup, scale += kRows, sums += kRows, offset += kRows) {
    ask<kBytes>(weight);
    const Floats d = scales<kBits>(weight);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      forget();
      __m256i w[8];
      unpack<kBits>(weight, half, w);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        // The sum starts with the correction for the middle code, or for codes that were made signed.
        const int start = is_signed(kBits) ? (kMinimum ? -offset[r] : 0) : kMinimum ? 0 : offset[r] >> (8 - kBits);
        __m256i sum = _mm256_set1_epi32(start);
        dot32<kBits>(sum, w, codes + r * kGroup);
        const __m256 factor = _mm256_mul_ps(half ? d.high : d.low, _mm256_set1_ps(scale[r]));
        total[half][r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, total[half][r]);
        if constexpr (kMinimum) {
          const Floats m = minima<kBits>(weight);
          total[half][r] = _mm256_fmadd_ps(half ? m.high : m.low, _mm256_set1_ps(sums[r]), total[half][r]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) store(out + r * stride, Floats{total[0][r], total[1][r]});
}

// 16 outputs of R rows, int8.
template <int R>
void tile8(const uint8_t* weight, const float* output_scale, const Rows& rows, int row, float* out, int stride) {
  const int groups = rows.groups();
  const int8_t* codes = rows.codes(row);
  const float* scale = rows.scale(row);
  const int32_t* offset = rows.offset(row);
  __m256 total[2][R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[0][r] = total[1][r] = _mm256_setzero_ps();
  for (int g = 0; g < groups; ++g, weight += kBytes8, codes += kRows * kGroup, scale += kRows, offset += kRows) {
    ask<kBytes8>(weight);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      forget();
      __m256i w[8];
      unpack<8>(weight, half, w);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        // The codes are offset by 128: unless they were made signed, the sum starts with the correction.
        __m256i sum = _mm256_set1_epi32(is_signed(8) ? 0 : offset[r]);
        dot32<8>(sum, w, codes + r * kGroup);
        total[half][r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(scale[r]), total[half][r]);
      }
    }
  }
  const Floats factor = load(output_scale);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) store(out + r * stride, Floats{total[0][r], total[1][r]} * factor);
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
