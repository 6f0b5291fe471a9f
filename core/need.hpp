// SPDX-License-Identifier: Apache-2.0
// What of a Need decides its kernels: no number of heads but their ratio, and of what is per head only that it is
// there.
#pragma once

#include "sale/sale.hpp"

#include <string>

namespace sale {

/// A model in one way of serving.
struct NamedNeed {
  std::string name;
  Need need;
};

/// Which per-head arrays a Policy brings, whatever is in them.
struct HeadArrays {
  bool channels = false;   ///< Policy::channels: not found by energy in each call.
  bool projection = false; ///< Policy::projection.
};

HeadArrays head_arrays(const Policy &policy);

/// The smallest Need of the same kernels: one KV head, nothing per head but those arrays, with any content. Throws
/// Error(invalid_argument) when the problem is none; the policy and serving are checked with the kernels.
Need smallest_need(const Problem &problem, const Policy &policy, const Serving &serving, const HeadArrays &arrays);

} // namespace sale
