// The processor's tile registers (AMX), each 16 rows of 64 bytes. Unused on processors without them.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kind.h"

#if defined(FLIGHTLOOP_AVX512) && defined(__AVX512BF16__) && defined(__AMX_BF16__) && defined(__AMX_INT8__)
#define FLIGHTLOOP_TILES
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace flightloop::inline FLIGHTLOOP_KIND {

constexpr int kTileRows = 16;
constexpr int kTileBytes = 64;  // per row

#ifdef FLIGHTLOOP_TILES

// Whether this process may use tiles: Linux grants the registers on request.
inline bool has_tiles() {
  constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  return granted;
}

// Configures the registers at full size, and releases them on destruction.
class Tiles {
 public:
  Tiles() {
    alignas(64) static const Shape shape;
    _tile_loadconfig(&shape);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;

 private:
  struct Shape {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
};

// Multiplies 16 rows of unsigned 16-bit numbers, given as high and low bytes, with 16 columns of signed bytes. Writes
// the sums of both halves as [row][column]. ``parts``: number of parts of 64 numbers, adjacent within a row and
// consecutive in the columns.
inline void multiply_halves(const uint8_t* high, const uint8_t* low, size_t row_bytes, const int8_t* columns, int parts,
                            int32_t* high_sums, int32_t* low_sums, size_t sum_bytes) {
  asm volatile("" ::: "memory");  // g++ doesn't know what tile instructions read
  _tile_zero(0);
  _tile_zero(1);
  for (int part = 0; part < parts; ++part, high += kTileBytes, low += kTileBytes, columns += kTileRows * kTileBytes) {
    _tile_loadd(6, columns, kTileBytes);
    _tile_loadd(4, high, row_bytes);
    _tile_dpbusd(0, 4, 6);
    _tile_loadd(5, low, row_bytes);
    _tile_dpbusd(1, 5, 6);
  }
  _tile_stored(0, high_sums, sum_bytes);
  _tile_stored(1, low_sums, sum_bytes);
}

#else

inline bool has_tiles() { return false; }
struct Tiles {};
inline void multiply_halves(const uint8_t*, const uint8_t*, size_t, const int8_t*, int, int32_t*, int32_t*, size_t) {}

#endif

}  // namespace flightloop::inline FLIGHTLOOP_KIND
