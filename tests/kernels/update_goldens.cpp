// SPDX-License-Identifier: Apache-2.0
// Writes every file of tests/kernels/goldens anew and says what changed. scripts/update-goldens runs it.
#include "golden_file.hpp"
#include "golden_kernels.hpp"
#include "runtime/nvrtc.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iterator>

namespace {

void update(const sale::Arch &arch, const std::string &nvrtc, const sale::Options &options) {
  const std::vector<sale::KernelCost> costs = sale::measure_kernels(sale::golden_kernels(arch), options);
  const std::filesystem::path path = sale::golden_path(arch.name());
  std::vector<std::string> differences;
  if (std::ifstream file(path); file) {
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    differences = sale::compare_goldens(sale::parse_goldens(text), costs);
  }
  std::ofstream(path) << sale::write_goldens(arch.name(), nvrtc, costs);
  fmt::print("{}: {} kernels, {} changed\n", path.string(), costs.size(), differences.size());
  for (const std::string &difference : differences) {
    fmt::print("  {}\n", difference);
  }
  std::fflush(stdout); // minutes pass until the next one
}

} // namespace

int main() {
  try {
    sale::Options options;
    options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
    const std::string nvrtc = sale::Nvrtc::open(sale::locate_nvrtc({}))->version();
    for (const sale::Arch &arch : sale::golden_archs()) {
      update(arch, nvrtc, options);
    }
  } catch (const std::exception &error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
