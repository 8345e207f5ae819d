// Many short phases of different sizes, with more threads than cores: every unit has to run once, and a phase to end.
#include "team.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>

int main(int, char** arguments) {
  const int phases = std::atoi(arguments[1]), threads = std::atoi(arguments[2]);
  constexpr std::array<int, 4> kUnits{3, 5, 256, 100};
  constexpr int kMost = 256;
  flightloop::Team team(threads, 50);
  std::array<std::atomic<int>, kMost> runs{};
  for (int phase = 0; phase < phases; ++phase) {
    const int units = kUnits[phase % kUnits.size()];
    for (auto& run : runs) run.store(0, std::memory_order_relaxed);
    team.phase(units, [&](int unit, int) { runs[unit].fetch_add(1, std::memory_order_relaxed); }, units != kMost);
    for (int unit = 0; unit < kMost; ++unit) {
      if (const int count = runs[unit].load(); count != (unit < units)) {
        std::printf("phase %d of %d units: unit %d ran %d times\n", phase, units, unit, count);
        return 1;
      }
    }
  }
}
