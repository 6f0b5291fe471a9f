// SPDX-License-Identifier: Apache-2.0
// Runs the `sale` binary as a user would, and makes small inputs for it.
#pragma once

#include "tests/support/temporary_folder.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <sys/types.h>

namespace sale::cli_test {

struct CommandResult {
  int exit_code = -1; ///< 128 + signal when it crashed.
  std::string out;
  std::string err;
};

/// Runs `sale` with these arguments; `environment` adds to this process's own, in which there is no tuning record.
/// `output` = where standard output goes, if not into the result. `meanwhile` is called once it runs, with its process
/// and the file that its standard error goes to.
CommandResult run_sale(const std::vector<std::string> &arguments,
                       const std::map<std::string, std::string> &environment = {}, const std::string &output = "",
                       const std::function<void(pid_t, const std::filesystem::path &)> &meanwhile = {});

std::string read_file(const std::filesystem::path &path);
void write_file(const std::filesystem::path &path, const std::string &text);

/// Q, K and V of `num_q_heads` over `num_kv_heads` heads, the same numbers every time.
struct Input {
  std::string dtype = "BF16";
  int batch = 1;
  int num_q_heads = 4;
  int num_kv_heads = 2;
  int q_len = 256;
  int kv_len = 700;
  int head_dim = 64;
  std::map<std::string, std::string> metadata = {};
};
void write_input(const std::filesystem::path &path, const Input &input);

/// True when this machine has an NVRTC that the binary finds.
bool has_nvrtc();

} // namespace sale::cli_test
