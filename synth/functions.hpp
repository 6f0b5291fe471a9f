// SPDX-License-Identifier: Apache-2.0
// exp2, cosine and sine by polynomials: libm's differ between systems in the last bit, these do not.
#pragma once

#include <cstdint>

namespace sale::synth {

/// 2^x to about 1e-14, |x| < 1000.
double power_of_two(double x);

/// Turns are fractions of 2^64: phases add without rounding, modulo a whole turn.
using Phase = std::uint64_t;

/// The phase that one step adds when a turn takes `wavelength` > 1 steps.
Phase phase_step(double wavelength);

struct Rotation {
  float cosine;
  float sine;
};

/// To about 1e-7.
Rotation rotation(Phase phase);

} // namespace sale::synth
