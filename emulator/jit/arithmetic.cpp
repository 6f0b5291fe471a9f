// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/arithmetic.hpp"

namespace sale::emulator {

bool emit_arithmetic(Emitter &emitter) {
  for (const EmissionTable *table :
       {&moves_and_comparisons(), &conversions(), &integer_arithmetic(), &float_arithmetic()}) {
    const auto found = table->find(emitter.statement.parts[0]);
    if (found != table->end() && found->second(emitter)) {
      return true;
    }
  }
  return false;
}

} // namespace sale::emulator
