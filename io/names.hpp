// SPDX-License-Identifier: Apache-2.0
// The words that files and the command line use for dtypes and estimators.
#pragma once

#include "sale/types.hpp"

#include <string>

namespace sale::io {

/// "bf16", "bfloat16", "f16", "fp16", "float16"; throws Error(invalid_argument).
DType parse_dtype(const std::string &name);

/// "exact", "int8", "int4", "fp8"; throws Error(invalid_argument).
Estimator parse_estimator(const std::string &name);

} // namespace sale::io
