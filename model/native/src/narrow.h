// Products of narrow rows: int8 by the weights' codes. For few rows: reading weights dominates.
#pragma once

#include <algorithm>
#include <cstdint>

#include "matrix.h"
#include "rows.h"
#ifdef FLIGHTLOOP_AVX512
#include "narrow512.h"
#else
#include "narrow256.h"
#endif

namespace flightloop::inline FLIGHTLOOP_KIND {

template <int R>
void tile_of(const Matrix& matrix, int tile, const Rows& rows, int row, float* out, int stride) {
  if (matrix.scale) {
    tile8<R>(matrix.tile(tile), matrix.scale + tile * kTile, rows, row, out, stride);
  } else {
    with_format(matrix, [&]<int kBits, bool kMinimum>() {
      tile_grouped<kBits, kMinimum, R>(matrix.tile(tile), rows, row, out, stride);
    });
  }
}

// As `product`, for narrow rows, ``begin`` a multiple of 8.
inline void narrow_product(const Matrix& matrix, int first, int last, const Rows& rows, int begin, int end, float* out,
                           int stride) {
  for (int tile = first; tile < last; ++tile) {
    for (int row = begin; row < end; row += kRows) {
      float* to = out + static_cast<size_t>(row - begin) * stride + (tile - first) * kTile;
      switch (std::min(kRows, end - row)) {
        case 1: tile_of<1>(matrix, tile, rows, row, to, stride); break;
        case 2: tile_of<2>(matrix, tile, rows, row, to, stride); break;
        case 3: tile_of<3>(matrix, tile, rows, row, to, stride); break;
        case 4: tile_of<4>(matrix, tile, rows, row, to, stride); break;
        case 5: tile_of<5>(matrix, tile, rows, row, to, stride); break;
        case 6: tile_of<6>(matrix, tile, rows, row, to, stride); break;
        case 7: tile_of<7>(matrix, tile, rows, row, to, stride); break;
        default: tile_of<8>(matrix, tile, rows, row, to, stride);
      }
    }
  }
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
