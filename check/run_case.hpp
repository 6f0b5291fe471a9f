// SPDX-License-Identifier: Apache-2.0
// One case on one device, compared with the oracle.
#pragma once

#include "check/check_case.hpp"
#include "check/compare.hpp"
#include "runtime/driver.hpp"

#include <memory>

namespace sale::check {

struct CaseResult {
  Problems problems;               ///< Empty: passed.
  std::vector<KernelInfo> kernels; ///< Of its plan.
};

/// Q, K and V of a case. Every sixth has no structure: nearly everything is kept, and no head looks alike.
reference::Tensors make_data(const CheckCase &check_case);

/// On GPU `ordinal`, or of an emulator on the device that is the case's architecture. A refusal, a fault or a report of
/// the emulator is a problem, not an exception.
CaseResult run_case(const CheckCase &check_case, const std::shared_ptr<const Driver> &driver, int ordinal,
                    const Options &options);

} // namespace sale::check
