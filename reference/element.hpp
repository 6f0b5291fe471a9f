// SPDX-License-Identifier: Apache-2.0
// bf16 and f16 bit patterns to floats (exact) and back (round to nearest, ties to even; NaN stays NaN).
#pragma once

#include "sale/types.hpp"

#include <cstdint>
#include <vector>

namespace sale::reference {

float bf16_to_float(std::uint16_t bits);
float f16_to_float(std::uint16_t bits);
std::uint16_t float_to_bf16(float value);
std::uint16_t float_to_f16(float value);
/// The greatest f16 that does not exceed the value; NaN stays NaN.
std::uint16_t float_to_f16_down(float value);

float element_to_float(std::uint16_t bits, DType dtype);
std::uint16_t float_to_element(float value, DType dtype);

std::vector<float> to_floats(const std::vector<std::uint16_t> &bits, DType dtype);
std::vector<std::uint16_t> to_elements(const std::vector<float> &values, DType dtype);

/// The nearest value that the element type holds.
float round_to_element(float value, DType dtype);

} // namespace sale::reference
