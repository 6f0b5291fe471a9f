// SPDX-License-Identifier: Apache-2.0
// What RunArgs must be, checked before anything is enqueued. Pure: needs no driver, looks at no device memory.
#pragma once

#include "sale/sale.hpp"

#include <cstddef>

namespace sale {

enum class RunMode {
  sparse, ///< Plan::run and profile.
  dense,  ///< Plan::run_dense: no workspace, no mask.
  select  ///< Plan::select: no V, no output.
};

/// Throws Error(invalid_argument) with one sentence. Shapes without work (batch or q_len 0) need no pointers.
void validate(const RunArgs &args, const Problem &problem, const Policy &policy, std::size_t workspace_bytes,
              RunMode mode, const Serving &serving = {});

/// The same of MergeArgs.
void validate(const MergeArgs &args, const Problem &problem, const Serving &serving);

/// What RunArgs say of how sequences are handed over: what the Plan's Serving asks for is there, and nothing else.
void validate_serving(const RunArgs &args, const Policy &policy, const Serving &serving);

} // namespace sale
