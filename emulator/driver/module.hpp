// SPDX-License-Identifier: Apache-2.0
// Loaded kernels: source in, functions out, launches checked as the driver checks them and then executed at once.
#pragma once

#include "emulator/jit/program.hpp"
#include "runtime/driver_api.hpp"

#include <map>
#include <memory>
#include <string>

struct CUfunc_st {
  std::string name;
  sale::emulator::KernelEntry entry = nullptr;
  int device = 0;
  unsigned max_dynamic_shared = 48 << 10; ///< What a kernel may use without the driver's consent.
};

struct CUmod_st {
  std::shared_ptr<const sale::emulator::Program> program;
  int device = 0;
  std::map<std::string, CUfunc_st> functions;
};

namespace sale::emulator {

// All throw Failure.
cu::Module load_module(const char *source);
cu::Function find_function(cu::Module module, const char *name);
void set_max_dynamic_shared(cu::Function function, int bytes);
void launch_function(cu::Function function, const LaunchShape &shape, void **params);

/// What launches use and add to.
void set_launch_seed(u64 seed);
void set_launch_workers(int workers);
Statistics statistics();

} // namespace sale::emulator
