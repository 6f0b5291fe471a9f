// SPDX-License-Identifier: Apache-2.0
#include "kernel_files.hpp"

#include "generator/generate.hpp"
#include "tests/kernels/golden_kernels.hpp"

#include <algorithm>
#include <fstream>
#include <set>

namespace sale {

std::vector<KernelSpec> kernels_to_lint(const std::vector<Arch> &archs) {
  std::vector<KernelSpec> kernels;
  std::set<std::string> seen;
  for (const Arch &arch : archs) {
    for (const KernelSpec &spec : golden_kernels(arch)) {
      const std::string source = generate(spec);
      if (seen.insert(source.substr(source.find('\n'))).second) { // the first line says for which architecture
        kernels.push_back(spec);
      }
    }
  }
  return kernels;
}

std::filesystem::path write_kernel(const KernelSpec &spec, const std::string &test) {
  const auto folder = std::filesystem::path(SALE_BINARY_DIR) / "linted-kernels" / test / spec.arch.name();
  std::filesystem::create_directories(folder);
  std::string name = kernel_name(spec) + ".cu";
  std::replace(name.begin(), name.end(), ' ', '_');
  std::ofstream(folder / name) << generate(spec);
  return folder / name;
}

std::string clang_flags() {
  std::ifstream file(std::filesystem::path(SALE_SOURCE_DIR) / "templates" / "compile_flags.txt");
  std::string flags;
  for (std::string flag; std::getline(file, flag);) {
    flags += flag + " ";
  }
  return flags;
}

} // namespace sale
