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
#include <string_view>

namespace {

std::string text_of(const std::filesystem::path &path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Numbers of two compilers cannot be told from a change of the kernels.
void require_version_of_goldens(const std::string &nvrtc) {
  for (const sale::Arch &arch : sale::golden_archs()) {
    const std::string text = text_of(sale::golden_path(arch.name()));
    const std::string golden = text.empty() ? nvrtc : sale::parse_goldens(text).nvrtc;
    if (golden != nvrtc) {
      throw sale::Error(sale::ErrorKind::invalid_argument,
                        fmt::format("the goldens of {} are of NVRTC {}, this is {}: name one of their version in "
                                    "SALE_NVRTC (PyPI has nvidia-cuda-nvrtc=={}.*), or give --new-nvrtc to write all "
                                    "of them with this one",
                                    arch.name(), golden, nvrtc, golden));
    }
  }
}

void update(const sale::Arch &arch, const std::string &nvrtc, const sale::Options &options) {
  const std::vector<sale::KernelCost> costs = sale::measure_kernels(sale::golden_kernels(arch), options);
  const std::filesystem::path path = sale::golden_path(arch.name());
  std::vector<std::string> differences;
  if (const std::string text = text_of(path); !text.empty()) {
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

int main(int argc, char **argv) {
  try {
    sale::Options options;
    options.cache_dir = std::filesystem::path(SALE_BINARY_DIR) / "test-cache";
    const std::string nvrtc = sale::Nvrtc::open(sale::locate_nvrtc({}))->version();
    if (argc < 2 || std::string_view(argv[1]) != "--new-nvrtc") {
      require_version_of_goldens(nvrtc);
    }
    for (const sale::Arch &arch : sale::golden_archs()) {
      update(arch, nvrtc, options);
    }
  } catch (const std::exception &error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
