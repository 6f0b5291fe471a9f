// SPDX-License-Identifier: Apache-2.0
#include "emulator/driver/module.hpp"

#include "emulator/driver/device.hpp"
#include "emulator/driver/failure.hpp"
#include "emulator/driver/programs.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <mutex>

namespace sale::emulator {

namespace {

std::atomic<u64> launch_seed{0};
std::atomic<int> launch_workers{0};
std::mutex statistics_mutex;
Statistics total;

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; the same on every GPU.
constexpr u32 most_threads = 1024;
constexpr u32 most_grid_y_z = 65535;
constexpr u32 most_grid_x = 0x7fffffff;

void check_shape(const CUfunc_st &function, const LaunchShape &shape) {
  const Dim3 &grid = shape.grid;
  const Dim3 &block = shape.block;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > most_grid_x || grid.y > most_grid_y_z ||
      grid.z > most_grid_y_z) {
    throw Failure{invalid_value,
                  fmt::format("{} is launched with a grid of {} x {} x {}; it must be 1 to {} x {} x {}", function.name,
                              grid.x, grid.y, grid.z, most_grid_x, most_grid_y_z, most_grid_y_z)};
  }
  if (block.y != 1 || block.z != 1) {
    throw Failure{not_supported, fmt::format("{} is launched with blocks of {} x {} x {} threads; the emulator runs "
                                             "blocks with y and z of 1",
                                             function.name, block.x, block.y, block.z)};
  }
  if (block.x == 0 || block.x > most_threads) {
    throw Failure{invalid_value, fmt::format("{} is launched with blocks of {} threads; they must be 1 to {}",
                                             function.name, block.x, most_threads)};
  }
  if (shape.shared_bytes > function.max_dynamic_shared) {
    throw Failure{invalid_value, fmt::format("{} is launched with {} bytes of dynamic shared memory; it is allowed {}",
                                             function.name, shape.shared_bytes, function.max_dynamic_shared)};
  }
}

} // namespace

cu::Module load_module(const char *source) {
  const CUctx_st &context = require_context();
  if (std::strncmp(source,
                   "\x7f"
                   "ELF",
                   4) == 0) {
    throw Failure{invalid_image, "the binary is a cubin; the emulated device takes CUDA source"};
  }
  auto module = std::make_unique<CUmod_st>();
  module->device = context.device;
  try {
    module->program = program_of(source);
  } catch (const Error &error) {
    std::string text = error.what();
    if (!error.details().log.empty()) {
      text += '\n' + error.details().log;
    }
    throw Failure{invalid_source, text};
  }
  return module.release();
}

cu::Function find_function(cu::Module module, const char *name) {
  if (module == nullptr || name == nullptr) {
    throw Failure{invalid_value, "cuModuleGetFunction needs a module and a name"};
  }
  const auto [found, added] = module->functions.try_emplace(name);
  CUfunc_st &function = found->second;
  if (added) {
    function.name = name;
    function.entry = module->program->entry(name);
    function.device = module->device;
  }
  if (function.entry == nullptr) {
    throw Failure{name_not_found, fmt::format("the source has no kernel {}", name)};
  }
  return &function;
}

void set_max_dynamic_shared(cu::Function function, int bytes) {
  if (function == nullptr) {
    throw Failure{invalid_handle, "cuFuncSetAttribute needs a function"};
  }
  const DeviceFacts &facts = device(function->device);
  if (bytes < 0 || static_cast<unsigned>(bytes) > facts.max_dynamic_shared) {
    throw Failure{invalid_value, fmt::format("{} asks for {} bytes of dynamic shared memory; a block of {} has {}",
                                             function->name, bytes, facts.arch(), facts.max_dynamic_shared)};
  }
  function->max_dynamic_shared = static_cast<unsigned>(bytes);
}

void launch_function(cu::Function function, const LaunchShape &shape, void **params) {
  const CUctx_st &context = require_context();
  if (function == nullptr || function->device != context.device) {
    throw Failure{invalid_handle, "a launch needs a function of the current context's device"};
  }
  check_shape(*function, shape);
  Statistics of_launch;
  const auto report = launch(function->entry, params, shape, {launch_seed, launch_workers}, of_launch);
  {
    const std::scoped_lock lock(statistics_mutex);
    total.add(of_launch);
  }
  if (report) {
    throw Failure{launch_failed, report->text};
  }
}

void set_launch_seed(u64 seed) { launch_seed = seed; }
void set_launch_workers(int workers) { launch_workers = workers; }

Statistics statistics() {
  const std::scoped_lock lock(statistics_mutex);
  return total;
}

} // namespace sale::emulator
