// SPDX-License-Identifier: Apache-2.0
#include "cli/policy_output.hpp"

#include "cli/output.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <filesystem>

namespace sale::cli {

namespace {

// policy.yaml -> policy.safetensors
std::filesystem::path tensors_path(const std::string &policy_path) {
  return std::filesystem::path(policy_path).replace_extension(".safetensors");
}

} // namespace

void require_policy_path(const std::string &path) {
  require_writable_path(path);
  if (tensors_path(path) == path) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} is YAML and may have tensors in a .safetensors file beside it; name it .yaml", path));
  }
}

void write_policy_file(const std::string &path, io::PolicyFile file, const std::string &comment) {
  if (!file.arrays.empty()) {
    const std::filesystem::path tensors = tensors_path(path);
    file.tensors = tensors.filename().string();
    io::write_policy_tensors(tensors, file.layers, file.arrays); // before the file that names it
  }
  write_text(path, io::policy_file_text(file, comment));
}

} // namespace sale::cli
