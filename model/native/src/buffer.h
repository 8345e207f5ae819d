#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#include "kind.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

// Memory aligned for vectors. It grows for larger steps and never shrinks.
template <class T>
class Buffer {
 public:
  T* need(size_t count) {
    if (count > count_) {
      data_.reset(static_cast<T*>(::operator new[](count * sizeof(T) + 64, std::align_val_t{64})));
      std::memset(data_.get(), 0, count * sizeof(T) + 64);
      count_ = count;
    }
    return data_.get();
  }
  T* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const { ::operator delete[](data, std::align_val_t{64}); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t count_ = 0;
};

}  // namespace flightloop::inline FLIGHTLOOP_KIND
