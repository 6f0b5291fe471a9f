// SPDX-License-Identifier: Apache-2.0
// The narrow float formats of tensor cores: e4m3, e5m2 (8 bits) and tf32 (19 bits in a 32-bit word), to floats (exact)
// and back as PTX's cvt does it.
#pragma once

#include <array>
#include <cstdint>

namespace sale::reference {

/// e4m3 has no infinity; its greatest value is 448 and 0x7f, 0xff are NaN. e5m2 is the upper byte of an f16.
float e4m3_to_float(std::uint8_t bits);
float e5m2_to_float(std::uint8_t bits);

/// cvt.rn.satfinite: nearest, ties to even; beyond the greatest finite value, and for infinities, that value; a NaN
/// gives 0x7f.
std::uint8_t float_to_e4m3(float value);
std::uint8_t float_to_e5m2(float value);

/// cvt.rna.tf32 (nearest, ties away from zero) and cvt.rn.tf32 (ties to even). A NaN gives 0x7fffffff.
float round_to_tf32_ties_away(float value);
float round_to_tf32(float value);

/// Every code's value.
const std::array<float, 256> &e4m3_values();
const std::array<float, 256> &e5m2_values();

} // namespace sale::reference
