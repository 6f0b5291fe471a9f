// SPDX-License-Identifier: Apache-2.0
// What a Plan owns.
#pragma once

#include "runtime/launch.hpp"
#include "sale/sale.hpp"

#include <vector>

namespace sale {

struct Plan::State {
  PlanKernels kernels;
  std::vector<KernelInfo> infos;
};

} // namespace sale
