// SPDX-License-Identifier: Apache-2.0
// Measures attention on one input: everything once per round, in turns, so that clocks and heat hit all alike.
#pragma once

#include "bench/results.hpp"
#include "bench/variant.hpp"
#include "io/qkv.hpp"
#include "runtime/device.hpp"
#include "sale/sale.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sale::bench {

struct Settings {
  /// What to measure.
  bool dense = true;
  bool sale = true;   ///< The whole method between one pair of events.
  bool stages = true; ///< Its stages, in further calls.
  bool attend = true; ///< With the masks below.
  std::vector<MaskRequest> masks;
  std::vector<ServingRequest> serving; ///< With the first policy.

  int rounds = 20;
  int warmups = 3;             ///< Rounds before those, not counted.
  std::size_t flush_bytes = 0; ///< Written before each measurement, so that the L2 cache is cold; 0 = left warm.
  int calls_in_a_row = 0;      ///< How many to count a call's cost by; 0 = not at all.

  /// Called before each counted round; may be empty.
  std::function<void(const Section &, int round)> before_round;
};

/// `policies` are those that the whole method runs with, at least one; they share their block sizes and differ in
/// estimates and fp8_attend. When the device has not enough memory, Section::left_out says so. Uses the device's
/// context, which must be current.
Section measure(const std::shared_ptr<const Device> &device, const Engine &engine, const Settings &settings,
                const std::vector<Policy> &policies, const std::string &input, const io::Qkv &qkv);

} // namespace sale::bench
