// SPDX-License-Identifier: Apache-2.0
// Any text either is a search space, whose tiles can be asked for, or throws sale::Error.
#include "autotune/space/search_space.hpp"
#include "sale/error.hpp"

#include <string>

namespace sale::autotune {

const std::vector<EmbeddedSpace> &embedded_spaces() {
  static const std::vector<EmbeddedSpace> none;
  return none;
}

} // namespace sale::autotune

extern "C" int LLVMFuzzerTestOneInput(const unsigned char *data, std::size_t size) {
  try {
    const auto space =
        sale::autotune::SearchSpace::parse(std::string(reinterpret_cast<const char *>(data), size), "fuzz");
    sale::KernelSpec spec;
    for (const sale::Stage stage : {sale::Stage::prepare, sale::Stage::select, sale::Stage::attend}) {
      spec.stage = stage;
      space.tiles(spec);
    }
  } catch (const sale::Error &) {
    return 0;
  }
  return 0;
}
