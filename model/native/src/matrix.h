// Layout of the kernels' weights.
//
// Weights are stored in tiles of 16 outputs, and within a tile in groups of 32 inputs, so that one instruction
// (VPDPBUSD) multiplies 4 inputs of 16 outputs.
//
//   grouped  a group is its codes, 16 scales and maybe 16 minima in float16: weight = code * scale + minimum (GGUF's
//            Q4_1). Without minima, the middle code means zero (GGUF's Q5_0). Codes of 4 bits are 256 bytes (inputs
//            0..15 in the low, 16..31 in the high halves); those of 5 and 6 bits have 64 bytes per further bit after
//            them, a bit per code in the order of the bytes; those of 8 bits are 512 bytes.
//   int8     a group is 512 bytes, each a weight plus 128; one float32 scale per output.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace flightloop {

constexpr int kTile = 16;     // outputs side by side
constexpr int kBytes8 = 512;  // per group of an int8 tile
constexpr int kAhead = 4096;  // prefetch distance in bytes: the hardware prefetcher stops at page boundaries

// Bytes per group of a grouped tile.
constexpr int grouped_bytes(int bits, bool minimum) { return 64 * bits + (minimum ? 64 : 32); }

// One weight matrix, or one per expert, all of the same shape. Mirrored by `Matrix` in library.py.
struct Matrix {
  const uint8_t* codes;
  const float* scale;  // int8 only; null: grouped
  int32_t bits;        // of a code: 4, 5, 6 or 8; 0: absent
  int32_t minimum;     // whether groups have minima
  int32_t outputs;     // a multiple of 16
  int32_t groups;      // inputs / 32

  size_t tile_bytes() const {
    return static_cast<size_t>(groups) * (scale ? kBytes8 : grouped_bytes(bits, minimum));
  }
  const uint8_t* tile(int index) const { return codes + index * tile_bytes(); }
  Matrix expert(int index) const {
    Matrix one = *this;
    one.codes += static_cast<size_t>(index) * (outputs / kTile) * tile_bytes();
    if (scale) one.scale += static_cast<size_t>(index) * outputs;
    return one;
  }
};

// Prefetches a group's bytes.
template <int kBytes>
void ask(const uint8_t* weight) {
#pragma GCC unroll 8
  for (int i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(weight + kAhead + i), _MM_HINT_T0);
}

// Calls ``work.template operator()<bits, minimum>()`` for the format of a grouped matrix.
template <class Work>
void with_format(const Matrix& matrix, const Work& work) {
  switch (2 * matrix.bits + (matrix.minimum ? 1 : 0)) {
    case 9: work.template operator()<4, true>(); break;
    case 10: work.template operator()<5, false>(); break;
    case 11: work.template operator()<5, true>(); break;
    case 12: work.template operator()<6, false>(); break;
    case 16: work.template operator()<8, false>(); break;
    default: work.template operator()<8, true>();  // pack.py widens any other format to one of these
  }
}

// Unpacks a group's codes into bytes, as [four inputs][output][input].
template <int kBits>
inline void unpack(const uint8_t* weight, __m512i* codes) {
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) codes[i] = _mm512_loadu_si512(weight + 64 * i);
  } else {
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i both = _mm512_loadu_si512(weight + 64 * i);
      codes[i] = _mm512_and_si512(both, low);
      codes[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
#pragma GCC unroll 2
    for (int bit = 4; bit < kBits; ++bit) {
      const uint64_t* plane = reinterpret_cast<const uint64_t*>(weight + 64 * bit);
      const __m512i value = _mm512_set1_epi8(1 << bit);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) codes[i] = _mm512_mask_add_epi8(codes[i], plane[i], codes[i], value);
    }
  }
}

// A group's scales, of 16 outputs.
template <int kBits>
__m512 scales(const uint8_t* weight) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + 64 * kBits)));
}

// A group's minima.
template <int kBits>
__m512 minima(const uint8_t* weight) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + 64 * kBits + 32)));
}

}  // namespace flightloop
