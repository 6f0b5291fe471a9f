// SPDX-License-Identifier: Apache-2.0
// What a softcap makes of q . k, and back (docs/numerics.md, section 15). Nothing where the tensors have none.
#pragma once

#include "reference/tensors.hpp"

#include <cmath>
#include <limits>

namespace sale::reference {

inline double softcapped(const Tensors &tensors, double scale, double x) {
  if (tensors.softcap == 0.0F) {
    return x;
  }
  return tensors.softcap / scale * std::tanh(scale * x / tensors.softcap);
}

/// The x of which softcapped is y. Above all that softcapped gives: +infinity; below: -infinity.
inline double before_softcap(const Tensors &tensors, double scale, double y) {
  if (tensors.softcap == 0.0F) {
    return y;
  }
  const double u = scale * y / tensors.softcap;
  if (u >= 1.0 || u <= -1.0) {
    return u > 0.0 ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  }
  return tensors.softcap / scale * std::atanh(u);
}

} // namespace sale::reference
