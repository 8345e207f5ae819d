// A leader thread and helper threads that work through the phases of a step.
//
// A phase consists of independent units, taken from one counter. The leader waits for units that were taken, never for
// threads: if the operating system has preempted a helper, the others do its work. A barrier would wait for that thread
// some two hundred times a step. A helper that is preempted within a unit does delay the leader; then the helpers rest
// for a while, and longer each time that this happens again. So on a busy machine a step takes about as long as on a
// single thread, without the time slices of other processes on top.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "kind.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

class Team {
 public:
  // ``spins``: number of polls after which a waiting thread sleeps in the kernel.
  Team(int threads, int spins) : size_(threads), spins_(spins) {
    for (int me = 1; me < threads; ++me) helpers_.emplace_back([this, me] { help(me); });
  }

  ~Team() {
    leaving_.store(true);
    publish(nullptr, nullptr, 0, 1);
    for (auto& helper : helpers_) helper.join();
  }

  int size() const { return size_; }

  // Called by the leader: runs ``unit(u, me)`` once for every u below ``units``; ``me`` is the thread's index. With
  // ``is_long``, units are taken one by one, so that all threads end at about the same time. Fewer than ``least`` units
  // are run by the leader alone.
  template <class Unit>
  void phase(int units, const Unit& unit, bool is_long = false, int least = 2) {
    if (size_ == 1 || units < least || resting()) {
      for (int u = 0; u < units; ++u) unit(u, 0);
      return;
    }
    const auto call = [](const void* closure, int u, int me) { (*static_cast<const Unit*>(closure))(u, me); };
    publish(call, &unit, units, is_long ? 1 : std::max(1, units / (4 * size_)));
    work(0);
    const auto& done = done_;
    await(done_, [&done, units] { return done.load(std::memory_order_acquire) == units; });
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::duration kHeldUp = std::chrono::milliseconds(1);  // longer than any unit takes
  static constexpr Clock::duration kShortRest = std::chrono::milliseconds(2), kLongRest = std::chrono::milliseconds(256);

  using Call = void (*)(const void*, int, int);
  struct Phase {
    std::atomic<uint32_t> number{0};  // 0 while the other fields are being written
    std::atomic<Call> call;
    std::atomic<const void*> closure;
    std::atomic<int> units, grain;
  };

  // Whether the helpers rest. The rest is halved after they worked for twice its length without a delay.
  bool resting() {
    if (rest_ == Clock::duration::zero()) return false;
    const auto now = Clock::now();
    if (now < rested_) return true;
    if (now > rested_ + 2 * rest_) {
      rest_ = rest_ > kShortRest ? rest_ / 2 : Clock::duration::zero();
      rested_ = now;
    }
    return false;
  }

  void rest() {
    rest_ = std::clamp(2 * rest_, kShortRest, kLongRest);
    rested_ = Clock::now() + rest_;
  }

  void publish(Call call, const void* closure, int units, int grain) {
    const uint32_t number = ++number_;
    Phase& phase = phases_[number % 2];
    // A thread with a ticket of the phase before the last one has no unit of it, since all are done. But it may be
    // about to read that phase's fields, and must notice that they were replaced.
    phase.number.store(0, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    phase.call.store(call, std::memory_order_relaxed);
    phase.closure.store(closure, std::memory_order_relaxed);
    phase.units.store(units, std::memory_order_relaxed);
    phase.grain.store(grain, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    phase.number.store(number, std::memory_order_release);
    next_.store(static_cast<uint64_t>(number) << 32, std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_seq_cst)) {
      alarm_.fetch_add(1, std::memory_order_seq_cst);
      alarm_.notify_all();
    }
  }

  // Runs units of the current phase until none is left; returns the phase's number.
  uint32_t work(int me) {
    for (;;) {
      const uint64_t ticket = next_.fetch_add(1, std::memory_order_acq_rel);
      const uint32_t number = static_cast<uint32_t>(ticket >> 32), turn = static_cast<uint32_t>(ticket);
      const Phase& phase = phases_[number % 2];
      if (number == 0 || phase.number.load(std::memory_order_acquire) != number) return number;
      const Call call = phase.call.load(std::memory_order_relaxed);
      const void* closure = phase.closure.load(std::memory_order_relaxed);
      const int units = phase.units.load(std::memory_order_relaxed), grain = phase.grain.load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (phase.number.load(std::memory_order_relaxed) != number) return number;  // the fields may be of two phases
      const int64_t first = static_cast<int64_t>(turn) * grain;
      if (first >= units) return number;
      const int last = static_cast<int>(std::min<int64_t>(units, first + grain));
      for (int u = static_cast<int>(first); u < last; ++u) call(closure, u, me);
      const int count = last - static_cast<int>(first);
      if (done_.fetch_add(count, std::memory_order_acq_rel) + count == units && leader_asleep_.load()) {
        done_.notify_all();
      }
    }
  }

  void help(int me) {
    for (uint32_t seen = 0;;) {
      int spin = 0;
      while (static_cast<uint32_t>(next_.load(std::memory_order_acquire) >> 32) == seen) {
        if (++spin < spins_) {
          _mm_pause();
          continue;
        }
        asleep_.fetch_add(1, std::memory_order_seq_cst);
        const int alarm = alarm_.load(std::memory_order_seq_cst);
        if (static_cast<uint32_t>(next_.load(std::memory_order_seq_cst) >> 32) == seen) alarm_.wait(alarm);
        asleep_.fetch_sub(1, std::memory_order_seq_cst);
        spin = 0;
      }
      if (leaving_.load()) return;
      seen = work(me);
    }
  }

  template <class Done>
  void await(std::atomic<int>& value, const Done& done) {
    for (int spin = 0; spin < spins_ / 4; ++spin) {
      if (done()) return;
      _mm_pause();
    }
    const auto began = Clock::now();
    leader_asleep_.store(true);  // so that a missing thread may have this core
    for (;;) {
      const int seen = value.load(std::memory_order_seq_cst);
      if (done()) break;
      value.wait(seen);
    }
    leader_asleep_.store(false);
    if (Clock::now() - began > kHeldUp) rest();
  }

  const int size_;
  const int spins_;
  uint32_t number_ = 0;
  Clock::duration rest_{};
  Clock::time_point rested_{};
  Phase phases_[2];
  std::vector<std::thread> helpers_;
  std::atomic<bool> leaving_{false};
  std::atomic<bool> leader_asleep_{false};
  alignas(64) std::atomic<uint64_t> next_{0};  // upper half: number of the phase; lower half: tickets taken
  alignas(64) std::atomic<int> done_{0};       // number of the phase's units that are done
  alignas(64) std::atomic<int> asleep_{0};
  std::atomic<int> alarm_{0};
};

}  // namespace flightloop::inline FLIGHTLOOP_KIND
