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

Case shared_memory_case(const std::string &family, const std::string &name, std::vector<std::string> templates,
                        unsigned threads, std::size_t output_words, const std::string &body) {
  templates.insert(templates.end(), {"device/shared.cuh", "device/special.cuh"});
  Case test;
  test.family = family;
  test.name = name;
  test.source = kernel_source(templates, "SALE_KERNEL void SALE_LAUNCH_BOUNDS(" + std::to_string(threads) +
                                             ", 1) conformance(const u32 *in, u32 *out) {\n  u32 t = thread_index();\n"
                                             "  u32 s = dynamic_shared_address();\n  (void)in, (void)s;\n" +
                                             body + "}\n");
  test.threads = threads;
  test.shared_bytes = 16384;
  test.output_words = output_words;
  Random random(name);
  for (int i = 0; i < 4096; ++i) {
    test.input.push_back(random.bits());
  }
  return test;
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
