// Products of rows with weights. A row's result never depends on other rows: every sum runs over the groups in
// order.
#pragma once

#include "matrix.h"
#include "rows.h"
#include "tiles.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

// Computes outputs [first * 16, last * 16), an even number of tiles, of rows [begin, end), which are all narrow or all
// wide and begin at a tile. Result in out[row - begin][output - first * 16].
void product(const Matrix& matrix, int first, int last, const Rows& rows, int begin, int end, float* out, int stride);

}  // namespace flightloop::inline FLIGHTLOOP_KIND
