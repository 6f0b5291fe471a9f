// SPDX-License-Identifier: Apache-2.0
#include "tests/support/any_nvrtc.hpp"

#include "runtime/nvrtc_search.hpp"

#include <algorithm>

namespace sale {

std::shared_ptr<const Nvrtc> any_nvrtc() {
  const NvrtcSearchResult found = find_nvrtc(nvrtc_places({}, SearchEnvironment::of_process()));
  return found.files ? Nvrtc::open(*found.files) : nullptr;
}

bool compiles_for(const Nvrtc &nvrtc, const Arch &arch) {
  return std::find(nvrtc.archs().begin(), nvrtc.archs().end(), 10 * arch.major + arch.minor) != nvrtc.archs().end();
}

} // namespace sale
