// SPDX-License-Identifier: Apache-2.0
// Q, K and V in device memory for the lengths that are measured: structured synthetic data, or a file's.
#pragma once

#include "io/qkv.hpp"
#include "runtime/device.hpp"
#include "sale/sale.hpp"

#include <filesystem>
#include <list>
#include <memory>
#include <optional>
#include <string>

namespace sale::autotune {

struct InputSettings {
  std::filesystem::path file; ///< Safetensors with q, k and v (io/qkv.hpp), whose first tokens serve shorter lengths.
  double density = 0.12;      ///< Of synthetic data, where there is no file.
};

/// One sequence's tensors.
struct Input {
  std::string name; ///< What tells inputs apart.
  Problem problem;
  Shape shape;
  DeviceArray q, k, v;
  DeviceArray sink_logits; ///< Empty unless the problem has them: all 0.
  float largest_value = 0; ///< The largest |v|.

  /// Without output and workspace.
  RunArgs args() const;
};

class Inputs {
public:
  /// The device's context is current wherever one is used.
  Inputs(std::shared_ptr<const Device> device, InputSettings settings);

  /// q_len = kv_len = tokens, batch 1. Made once for each length and kept as long as nobody calls forget(). Throws
  /// Error(invalid_argument) where the file does not suit the problem or is too short, is_out_of_memory()
  /// where the device's memory does not suffice.
  const Input &get(const Problem &problem, int tokens);

  /// Frees the device memory of all.
  void forget() { inputs_.clear(); }

private:
  const io::Qkv &file_of(const Problem &problem);
  Input make(const Problem &problem, int tokens);
  // The first tokens of each head of the first batch element.
  DeviceArray upload(const std::vector<std::uint16_t> &values, const Shape &from, int heads, int tokens) const;

  std::shared_ptr<const Device> device_;
  InputSettings settings_;
  std::optional<io::Qkv> file_;
  std::list<Input> inputs_;
};

/// The first `tokens` of what the settings name, on the host: synthetic data of that length, or a file's. Throws as
/// Inputs::get.
io::Qkv host_data(const InputSettings &settings, const Problem &problem, int tokens);

/// What of a problem changes its tensors, and the length.
std::string input_name(const Problem &problem, int tokens);

/// Whether it is the device's refusal of memory.
bool is_out_of_memory(const Error &error);

} // namespace sale::autotune
