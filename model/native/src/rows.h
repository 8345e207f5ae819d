// Activations: the rows that products read, rounded when they are computed.
//
// The first rows, called narrow, are int8 in groups of 32 inputs with one scale per group (dynamic quantisation), so
// sums within a group are exact integers. The others, called wide, are bfloat16. Both are stored as
// [tile][group][row of the tile][input].
#pragma once

#include <cstdint>
#include <cstring>

#include "buffer.h"
#include "simd.h"
#include "tiles.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

constexpr int kGroup = 32;     // inputs that share a scale
constexpr int kRows = 8;       // narrow rows per tile
constexpr int kWideRows = 16;  // wide rows per tile

class Rows {
 public:
  // ``narrow``: number of narrow rows.
  void shape(int rows, int narrow, int groups) {
    groups_ = groups;
    narrow_ = narrow;
    const size_t count = tiles(narrow, kRows) * groups * kRows;
    codes_.need(count * kGroup);
    scale_.need(count);
    sum_.need(count);
    offset_.need(count);
    wide_.need(tiles(rows - narrow, kWideRows) * groups * kWideRows * kGroup);
  }
  int groups() const { return groups_; }
  int narrow() const { return narrow_; }

  // Rounds 32 numbers, given as two vectors, and stores them as group ``group`` of row ``row``.
  void put(int row, int group, Floats low, Floats high) {
#ifdef FLIGHTLOOP_TILES
    if (row >= narrow_) {
      _mm512_store_si512(wide_.get() + place_wide(row, group) * kGroup,
                         reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v)));
      return;
    }
#endif
    put_narrow(place(row, group), low, high);
  }

  // Copies one row from other rows with the same number of groups. Both are narrow or both wide.
  void copy(int row, const Rows& other, int from) {
    for (int group = 0; group < groups_; ++group) {
      if (row >= narrow_) {
        store_bytes(wide_.get() + place_wide(row, group) * kGroup,
                    load_bytes(other.wide_.get() + other.place_wide(from, group) * kGroup));
        continue;
      }
      const size_t to = place(row, group), of = other.place(from, group);
      std::memcpy(codes_.get() + to * kGroup, other.codes_.get() + of * kGroup, kGroup);
      scale_.get()[to] = other.scale_.get()[of];
      sum_.get()[to] = other.sum_.get()[of];
      offset_.get()[to] = other.offset_.get()[of];
    }
  }

  // The tile that begins at narrow row ``row``: codes, scales, scales times sums of codes, -128 times sums.
  const int8_t* codes(int row) const { return codes_.get() + place(row, 0) * kGroup; }
  const float* scale(int row) const { return scale_.get() + place(row, 0); }
  const float* sum(int row) const { return sum_.get() + place(row, 0); }
  const int32_t* offset(int row) const { return offset_.get() + place(row, 0); }

  // The tile that begins at wide row ``row``.
  const uint16_t* wide(int row) const { return wide_.get() + place_wide(row, 0) * kGroup; }

 private:
  static size_t tiles(int rows, int of) { return (rows + of - 1) / of; }

  size_t place(int row, int group) const {
    return (static_cast<size_t>(row / kRows) * groups_ + group) * kRows + row % kRows;
  }
  size_t place_wide(int row, int group) const {
    row -= narrow_;
    return (static_cast<size_t>(row / kWideRows) * groups_ + group) * kWideRows + row % kWideRows;
  }

  void put_narrow(size_t at, Floats low, Floats high) {
    const float largest = largest_of(max(absolute(low), absolute(high)));
    const Floats factor = spread(largest > 1e-30f ? 127.0f / largest : 0.0f);
    const Ints first = nearest(low * factor), second = nearest(high * factor);
    int8_t* codes = codes_.get() + at * kGroup;
    store_narrow(codes, first);
    store_narrow(codes + 16, second);
    const int sum = sum_of(first + second);
    const float scale = largest / 127.0f;
    scale_.get()[at] = scale;
    sum_.get()[at] = scale * static_cast<float>(sum);
    offset_.get()[at] = -128 * sum;
  }

  int groups_ = 0, narrow_ = 0;
  Buffer<int8_t> codes_;
  Buffer<float> scale_, sum_;
  Buffer<int32_t> offset_;
  Buffer<uint16_t> wide_;
};

}  // namespace flightloop::inline FLIGHTLOOP_KIND
