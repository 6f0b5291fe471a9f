// SPDX-License-Identifier: Apache-2.0
// e4m3 codes and power-of-two scales of K and Q (docs/numerics.md, section 12), bit for bit what the kernels compute.
#pragma once

#include "reference/channels.hpp"
#include "reference/quantize.hpp"
#include "reference/tensors.hpp"

#include <vector>

namespace sale::reference {

/// Codes are bytes of e4m3, d' a row. Scales of keys are 2^xk: what a threshold is multiplied with.
QuantizedKeys quantize_keys_fp8(const Tensors &tensors, const Policy &policy, const std::vector<float> &kbar,
                                const Channels &channels);
/// Scales of queries are sq = 2^-xq.
QuantizedQueries quantize_queries_fp8(const Tensors &tensors, const Policy &policy, const Channels &channels);

} // namespace sale::reference
