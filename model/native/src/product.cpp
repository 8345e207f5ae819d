#include "product.h"

#include "narrow.h"
#include "wide.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

void product(const Matrix& matrix, int first, int last, const Rows& rows, int begin, int end, float* out, int stride) {
  if (begin < rows.narrow()) {
    narrow_product(matrix, first, last, rows, begin, end, out, stride);
  } else {
    wide_product(matrix, first, last, rows, begin, end, out, stride);
  }
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
