// SPDX-License-Identifier: Apache-2.0
// The two places where `sale run` can compute: the CPU oracle and a GPU, real or emulated. Both answer with the same
// Outcome.
#pragma once

#include "io/qkv.hpp"
#include "reference/mask.hpp"
#include "sale/sale.hpp"

#include <optional>
#include <string>
#include <vector>

namespace sale::cli {

/// What dense attention of the same input gave.
struct DenseOutcome {
  std::string by; ///< "oracle" (fp64) or "gpu" (the dense kernel).
  std::vector<float> out;
  std::vector<float> lse;
  double milliseconds = 0;
  std::vector<double> hit_mass; ///< [num_q_heads]
};

struct Outcome {
  std::string device; ///< "cpu" or the GPU's name.
  std::string arch;   ///< Empty on the CPU.
  std::vector<std::uint16_t> out;
  std::vector<float> lse;
  reference::Mask mask;
  StageTimes times;
  std::vector<KernelInfo> kernels;
  std::optional<DenseOutcome> dense;
};

Outcome run_on_cpu(const io::Qkv &qkv, const Policy &policy, bool compare);

/// `arch`: empty = the device's own.
Outcome run_on_gpu(const io::Qkv &qkv, const Policy &policy, bool compare, int device, const Options &options);

} // namespace sale::cli
