// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/measurer.hpp"

namespace sale::autotune {

const char *to_string(Outcome outcome) {
  switch (outcome) {
  case Outcome::good: return "good";
  case Outcome::wrong: return "wrong";
  case Outcome::failed: return "failed";
  case Outcome::hung: return "hung";
  }
  return "?";
}

} // namespace sale::autotune
