// SPDX-License-Identifier: Apache-2.0
// A manifest: what models need of the kernel cache, as `sale prewarm --write-manifest` writes it. YAML: schema,
// library, archs[], needs[]{name, problem, policy, serving}, kernels[]{name, arch, key}.
#pragma once

#include "core/need.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace sale::io {

struct ManifestKernel {
  std::string name;
  std::string arch; ///< one of Manifest::archs
  std::string key;  ///< 64 hexadecimal digits
  int line = 0;     ///< of the file
};

struct Manifest {
  std::string file_name;
  std::string library; ///< version of libsale that wrote it
  std::vector<std::string> archs;
  std::vector<NamedNeed> needs; ///< as smallest_need makes them
  std::vector<ManifestKernel> kernels;
};

/// Any text is either a manifest with valid needs, or Error(invalid_argument) "FILE:LINE: ..."; bounded in time and
/// memory whatever it says.
Manifest parse_manifest(const std::string &text, const std::string &file_name);
Manifest load_manifest(const std::filesystem::path &path);

/// What parse_manifest reads.
std::string manifest_text(const Manifest &manifest);

} // namespace sale::io
