// SPDX-License-Identifier: Apache-2.0
// Masks in device memory that attend is measured with: what the policy keeps of the data, or what it keeps with other
// thresholds, so that a mask of any density has the data's structure.
#pragma once

#include "autotune/measure/inputs.hpp"

#include <list>
#include <memory>
#include <string>

namespace sale::autotune {

struct DeviceMask {
  std::string name; ///< What tells masks apart.
  DeviceArray words;
  DeviceArray tau; ///< The thresholds that make it, one per query head.
  double density = 0;
};

class Masks {
public:
  /// The device's context is current wherever one is used.
  explicit Masks(std::shared_ptr<const Device> device) : device_(std::move(device)) {}

  /// `density` 0: that of the plan's own policy. Others are met within a fiftieth; one that is less than the reference
  /// region's becomes that. `workspace` is the plan's, for this shape.
  const DeviceMask &get(const Plan &plan, const Input &input, const DeviceArray &workspace, float density);

  void forget() { masks_.clear(); }

private:
  DeviceMask make(const Plan &plan, const Input &input, const DeviceArray &workspace, float density) const;

  std::shared_ptr<const Device> device_;
  std::list<DeviceMask> masks_;
};

/// All of a policy in a line.
std::string policy_text(const Policy &policy);

} // namespace sale::autotune
