// SPDX-License-Identifier: Apache-2.0
#include "io/names.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

namespace sale::io {

DType parse_dtype(const std::string &name) {
  if (name == "bf16" || name == "bfloat16") {
    return DType::bf16;
  }
  if (name == "f16" || name == "fp16" || name == "float16") {
    return DType::f16;
  }
  throw Error(ErrorKind::invalid_argument, fmt::format("unknown dtype {:?}; supported are bf16 and f16", name));
}

Estimator parse_estimator(const std::string &name) {
  for (const Estimator estimator : {Estimator::exact, Estimator::int8, Estimator::int4, Estimator::fp8}) {
    if (name == to_string(estimator)) {
      return estimator;
    }
  }
  throw Error(ErrorKind::invalid_argument,
              fmt::format("unknown estimator {:?}; supported are exact, int8, int4 and fp8", name));
}

} // namespace sale::io
