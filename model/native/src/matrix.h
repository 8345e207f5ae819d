// Layout of the kernels' weights.
//
// Weights are stored in tiles of 16 outputs, and within a tile in groups of 32 inputs, so that one instruction
// (VPDPBUSD) multiplies 4 inputs of 16 outputs with AVX-512, of 8 with AVX2.
//
//   grouped  a group is its codes, 16 scales and maybe 16 minima in float16: weight = code * scale + minimum (GGUF's
//            Q4_1). Without minima, the middle code means zero (GGUF's Q5_0). Codes of 4 bits are 256 bytes (inputs
//            0..15 in the low, 16..31 in the high halves); those of 5 and 6 bits have 64 bytes per further bit after
//            them, a bit per code in the order of the bytes; those of 8 bits are 512 bytes.
//   int8     a group is 512 bytes, each a weight plus 128; one float32 scale per output.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simd.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

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

// One output's codes in a group, with its scale unless whole rows have scales. Slow: for single rows.
struct Line {
  int codes[32];
  float scale, minimum;
};

inline Line line_of(const Matrix& matrix, const uint8_t* group, int output) {
  Line line{};
  for (int i = 0; i < 32; ++i) {
    const int at = i / 4 * 4 * kTile + output * 4 + i % 4;
    int code = matrix.bits == 8 ? group[at] : at < 256 ? group[at] & 15 : group[at - 256] >> 4;
    for (int bit = 4; bit < matrix.bits && matrix.bits < 8; ++bit)
      code |= (group[256 + 64 * (bit - 4) + at / 8] >> at % 8 & 1) << bit;
    line.codes[i] = code;
  }
  const int middle = 1 << (matrix.bits - 1);
  if (!matrix.scale) {
    const uint8_t* factors = group + 64 * matrix.bits;
    float both[2 * kTile];
    store(both, load_float16(factors));
    line.scale = both[output];
    if (matrix.minimum) {
      store(both + kTile, load_float16(factors + 32));
      line.minimum = both[kTile + output];
      return line;
    }
  }
  for (int& code : line.codes) code -= middle;
  return line;
}

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

// A group's scales, of 16 outputs.
template <int kBits>
Floats scales(const uint8_t* weight) {
  return load_float16(weight + 64 * kBits);
}

// A group's minima.
template <int kBits>
Floats minima(const uint8_t* weight) {
  return load_float16(weight + 64 * kBits + 32);
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
