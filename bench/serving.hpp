// SPDX-License-Identifier: Apache-2.0
// Calls in the shapes of serving on the input of a benchmark, each beside plain calls that do the same work.
#pragma once

#include "bench/device_call.hpp"
#include "bench/variant.hpp"
#include "io/qkv.hpp"
#include "runtime/device.hpp"
#include "sale/sale.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sale::bench {

/// The same attention in two ways; both write DeviceCall's output.
struct ServingPair {
  std::string name;       ///< "paged:64"
  std::string plain_name; ///< "one call", "a batch of 8", "16 calls"
  std::function<void()> serving;
  std::function<void()> plain;
  /// Bits of the masks that differ; empty where outputs alone are compared.
  std::function<std::size_t()> different_mask_bits;
  /// Stages of both.
  std::function<StageTimes()> profile;
  std::function<StageTimes()> plain_profile;
};

/// Owns the plans and the device memory of pairs, whose functions must not outlive it.
class ServingCalls {
public:
  /// The device's context must be current; `qkv` has one sequence, which `call` holds. Throws Error(invalid_argument)
  /// for requests that do not fit its length.
  ServingCalls(std::shared_ptr<const Device> device, const Engine &engine, const Policy &policy,
               const std::vector<ServingRequest> &requests, const io::Qkv &qkv, const DeviceCall &call);
  ~ServingCalls();
  ServingCalls(const ServingCalls &) = delete;
  ServingCalls &operator=(const ServingCalls &) = delete;

  const std::vector<ServingPair> &pairs() const { return pairs_; }

private:
  class Maker;
  std::unique_ptr<Maker> maker_;
  std::vector<ServingPair> pairs_;
};

} // namespace sale::bench
