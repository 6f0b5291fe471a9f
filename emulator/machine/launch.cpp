// SPDX-License-Identifier: Apache-2.0
#include "emulator/machine/launch.hpp"

#include "emulator/machine/launch_state.hpp"
#include "emulator/machine/sites.hpp"
#include "emulator/machine/stacks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

namespace sale::emulator {

namespace {

std::string refuse(const LaunchShape &shape) {
  if (shape.block.y != 1 || shape.block.z != 1 || shape.block.x < 1 || shape.block.x > 1024) {
    return fmt::format("A block of ({}, {}, {}) threads: the emulator runs (1 .. 1024, 1, 1)", shape.block.x,
                       shape.block.y, shape.block.z);
  }
  if (shape.grid.x < 1 || shape.grid.y < 1 || shape.grid.z < 1) {
    return fmt::format("A grid of ({}, {}, {}) CTAs is empty", shape.grid.x, shape.grid.y, shape.grid.z);
  }
  return {};
}

void run_ctas(LaunchState &launch, u64 seed, Statistics &statistics) {
  const std::unique_ptr<Stacks, void (*)(Stacks *)> stacks(
      Stacks::take().release(), [](Stacks *given) { Stacks::give_back(std::unique_ptr<Stacks>(given)); });
  if (!stacks->reserve(launch.shape.block.x)) {
    launch.fail("The host has no memory for the stacks of a CTA's threads");
    return;
  }
  Sites sites;
  Cta cta(launch, *stacks, sites);
  const Dim3 grid = launch.shape.grid;
  const u64 ctas = u64{grid.x} * grid.y * grid.z;
  for (u64 i = launch.next_cta++; i < ctas && !launch.stop; i = launch.next_cta++) {
    const Dim3 index{static_cast<u32>(i % grid.x), static_cast<u32>(i / grid.x % grid.y),
                     static_cast<u32>(i / grid.x / grid.y)};
    // Of its own, and never 0: whichever worker runs it, its schedule is the same.
    cta.run(index, seed == 0 ? 0 : (seed + i * 0x9e3779b97f4a7c15U) | 1U);
  }
  sites.add_to(statistics);
}

/// A worker's thread.
void work(LaunchState &launch, u64 seed, Statistics &statistics) {
  try {
    run_ctas(launch, seed, statistics);
  } catch (const std::exception &error) {
    launch.fail(fmt::format("The emulator failed: {}", error.what()));
  }
}

} // namespace

void Statistics::add(const Statistics &other) {
  for (const auto &[opcode, count] : other.warp_instructions) {
    warp_instructions[opcode] += count;
  }
  for (const auto &[site, counts] : other.bank_accesses) {
    auto &[accesses, conflicts] = bank_accesses[site];
    accesses += counts.first;
    conflicts += counts.second;
  }
}

std::optional<Report> launch(KernelEntry entry, void **params, const LaunchShape &shape, const LaunchOptions &options,
                             Statistics &statistics) {
  if (std::string text = refuse(shape); !text.empty()) {
    return Report{std::move(text)};
  }
  LaunchState state;
  state.entry = entry;
  state.params = params;
  state.shape = shape;
  const u64 ctas = u64{shape.grid.x} * shape.grid.y * shape.grid.z;
  const u64 wanted = options.workers > 0 ? static_cast<u64>(options.workers) : std::thread::hardware_concurrency();
  const std::size_t workers = std::clamp<u64>(wanted, 1, ctas);

  std::vector<Statistics> counted(workers);
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < workers; ++i) {
    others.emplace_back([&, i] { work(state, options.seed, counted[i]); });
  }
  work(state, options.seed, counted[0]);
  others.clear(); // joins
  for (const Statistics &each : counted) {
    statistics.add(each);
  }
  return state.report();
}

} // namespace sale::emulator
