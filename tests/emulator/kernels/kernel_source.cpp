// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/kernels/kernel_source.hpp"

#include "generator/template_source.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

namespace sale::test {

namespace {

using Seen = std::set<std::string, std::less<>>;

// The folder of the kernels. The tests may have been built elsewhere: SALE_SOURCE_DIR then says where the tree is.
std::filesystem::path folder() {
  const char *root = std::getenv("SALE_SOURCE_DIR");
  return std::filesystem::path(root != nullptr ? root : SALE_SOURCE_DIR) / "tests/emulator/kernels";
}

// Templates are included by their path below templates/, files of this folder by their name.
struct Parts {
  std::string templates;
  std::string kernels;

  void add(const std::string &file, Seen &seen) {
    if (!seen.insert(file).second) {
      return;
    }
    std::ifstream in(folder() / file);
    if (!in) {
      throw Error(ErrorKind::io, fmt::format("{} cannot be read", (folder() / file).string()));
    }
    std::string body;
    std::string line;
    for (int number = 1; std::getline(in, line); ++number) {
      constexpr std::string_view include = "#include \"";
      if (line.starts_with(include)) {
        const std::string path = line.substr(include.size(), line.rfind('"') - include.size());
        if (path.find('/') == std::string::npos) {
          add(path, seen);
        } else {
          templates += flatten_template(path, seen);
        }
        line.clear();
      } else if (line == "#pragma once") {
        line.clear();
      }
      body += line + '\n';
    }
    kernels += line_directive(1, file) + body;
  }
};

} // namespace

std::string kernel_source(const std::string &file, const std::vector<WgmmaShape> &products, const std::string &config) {
  Parts parts;
  Seen seen;
  parts.add(file, seen);
  std::string source = parts.templates + line_directive(1, "products.cuh");
  for (const WgmmaShape &product : products) {
    source += wgmma_source(product);
  }
  return source + line_directive(1, "config.cuh") + config + parts.kernels;
}

} // namespace sale::test
