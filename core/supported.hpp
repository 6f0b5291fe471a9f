// SPDX-License-Identifier: Apache-2.0
// What validate accepts and `sale info` lists.
#pragma once

#include "sale/types.hpp"

#include <array>
#include <utility>

namespace sale {

inline constexpr std::array supported_dtypes = {DType::bf16, DType::f16};
inline constexpr std::array supported_head_dims = {64, 96, 128, 192, 256}; ///< Of Q, K and V alike.
/// Of Q and K, and of V.
inline constexpr std::array supported_unequal_head_dims = {std::pair(192, 128)};
inline constexpr std::array supported_estimators = {Estimator::exact, Estimator::int8, Estimator::int4, Estimator::fp8};
inline constexpr std::array supported_block_q = {64, 128};
inline constexpr std::array supported_block_k = {32, 64, 128};

} // namespace sale
