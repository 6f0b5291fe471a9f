// SPDX-License-Identifier: Apache-2.0
#include "kernel_cost.hpp"

#include "cache/sha256.hpp"
#include "generator/generate.hpp"
#include "golden_kernels.hpp"
#include "inspect/cubin.hpp"
#include "runtime/kernel_factory.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <sstream>

namespace sale {

namespace {

KernelCost cost_of(const BuiltKernel &built) {
  const KernelSpec &spec = built.spec;
  const Cubin cubin = inspect_cubin(built.entry->binary);
  if (cubin.kernels.size() != 1 || cubin.kernels[0].name != spec.entry_name()) {
    throw Error(ErrorKind::load, fmt::format("the cubin of {} has {} kernels, not {} alone", spec.describe(),
                                             cubin.kernels.size(), spec.entry_name()));
  }
  const CubinKernel &kernel = cubin.kernels[0];
  if (kernel.registers != built.entry->registers || kernel.static_shared_bytes != built.entry->static_shared_memory) {
    throw Error(ErrorKind::load,
                fmt::format("{}: the cubin says {} registers and {} bytes of shared memory, the log of ptxas {} and {}",
                            spec.describe(), kernel.registers, kernel.static_shared_bytes, built.entry->registers,
                            built.entry->static_shared_memory));
  }
  const Tile &tile = spec.tile;
  KernelCost cost;
  cost.name = kernel_name(spec);
  cost.tile =
      fmt::format("{}x{}/{}x{}/{}", tile.rows_per_warp, tile.warps, tile.keys_per_step, tile.stages, tile.min_ctas);
  cost.registers = kernel.registers;
  cost.spill_bytes = built.entry->spill_bytes;
  cost.local_bytes = kernel.local_bytes;
  cost.static_shared_bytes = kernel.static_shared_bytes;
  cost.dynamic_shared_bytes = built.entry->dynamic_shared_memory;
  cost.parameter_bytes = kernel.parameter_bytes;
  cost.tensor_core_instructions = tensor_core_instructions(kernel.instructions);
  cost.source = source_digest(spec);
  return cost;
}

} // namespace

std::string source_digest(const KernelSpec &spec) {
  constexpr std::size_t digits = 16;
  Sha256 hash;
  const std::string options = compile_options_text(spec.arch, BinaryKind::cubin);
  hash.update(options.data(), options.size());
  std::istringstream source(generate(spec));
  for (std::string line; std::getline(source, line);) {
    if (!line.starts_with("//") && !line.starts_with("#line")) {
      line += '\n';
      hash.update(line.data(), line.size());
    }
  }
  return to_hex(hash.finish()).substr(0, digits);
}

std::vector<KernelCost> measure_kernels(const std::vector<KernelSpec> &specs, const Options &options) {
  std::vector<KernelRequest> requests;
  requests.reserve(specs.size());
  for (const KernelSpec &spec : specs) {
    requests.push_back({spec, BinaryKind::cubin});
  }
  std::vector<KernelCost> costs;
  costs.reserve(specs.size());
  for (const BuiltKernel &built : KernelFactory(options).build(requests)) {
    costs.push_back(cost_of(built));
  }
  return costs;
}

} // namespace sale
