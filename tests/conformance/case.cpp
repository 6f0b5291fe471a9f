// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/case.hpp"

#include "generator/template_source.hpp"

#include <iterator>
#include <set>

namespace sale::conformance {

std::string kernel_source(const std::vector<std::string> &templates, const std::string &body) {
  std::set<std::string, std::less<>> seen;
  std::string source;
  for (const std::string &path : templates) {
    source += flatten_template(path, seen);
  }
  return source + line_directive(1, "conformance.cuh") + body;
}

const std::vector<Case> &all_cases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> all;
    for (auto *family : {arithmetic_cases, element_cases, memory_cases, cp_async_cases, matrix_load_cases, mma_cases,
                         warp_cases, barrier_cases, mbarrier_cases, bulk_copy_cases, tensor_copy_cases, wgmma_cases}) {
      std::vector<Case> some = family();
      all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
    return all;
  }();
  return cases;
}

} // namespace sale::conformance
