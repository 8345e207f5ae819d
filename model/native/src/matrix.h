// Layout of the kernels' weights.
//
// Weights are stored in tiles of 16 outputs, and within a tile in groups of 32 inputs, so that one instruction
// (VPDPBUSD) multiplies 4 inputs of 16 outputs.
//
//   int4   a group is 256 bytes of codes (the codes of inputs 0..15 in the low, 16..31 in the high halves of the
//          bytes), then 16 scales and 16 minima in float16: weight = code * scale + minimum (GGUF's Q4_1).
//   int8   a group is 512 bytes, each a weight plus 128; one float32 scale per output.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace flightloop {

constexpr int kTile = 16;     // outputs side by side
constexpr int kBytes4 = 320;  // per group of an int4 tile
constexpr int kBytes8 = 512;  // per group of an int8 tile
constexpr int kAhead = 4096;  // prefetch distance in bytes: the hardware prefetcher stops at page boundaries

// One weight matrix, or one per expert, all of the same shape. Mirrored by `Matrix` in library.py.
struct Matrix {
  const uint8_t* codes;
  const float* scale;  // int8 only
  int32_t bits;        // 4, 8, or 0: absent
  int32_t outputs;     // a multiple of 16
  int32_t groups;      // inputs / 32

  size_t tile_bytes() const { return static_cast<size_t>(groups) * (bits == 4 ? kBytes4 : kBytes8); }
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

}  // namespace flightloop
