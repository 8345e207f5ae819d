// Vectors of 16 floats, 16 integers or 64 bytes, in the words that the kernels use.
//
// With AVX-512, each function is one instruction or a few. With AVX2, a vector is two halves. Loops that take most of a
// step's time don't use these words but have a form for each: narrow512.h and factors512.h, narrow256.h and
// factors256.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kind.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

using Mask = uint16_t;  // bit i stands for number i

constexpr Mask kAll = 0xFFFF;

// A mask of the first ``count`` numbers.
inline Mask first_lanes(int count) { return count < 16 ? static_cast<Mask>((1 << count) - 1) : kAll; }

}  // namespace flightloop::inline FLIGHTLOOP_KIND

#ifdef FLIGHTLOOP_AVX512
#include "simd512.h"
#else
#include "simd256.h"
#endif
