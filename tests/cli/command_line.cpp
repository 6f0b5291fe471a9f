// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/command_line.hpp"

#include "io/safetensors.hpp"
#include "reference/element.hpp"

#include <cstdlib>
#include <fstream>
#include <random>
#include <span>
#include <sstream>
#include <stdexcept>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

namespace sale::cli_test {

namespace {

std::vector<char *> pointers(std::vector<std::string> &texts) {
  std::vector<char *> result;
  result.reserve(texts.size() + 1);
  for (std::string &text : texts) {
    result.push_back(text.data());
  }
  result.push_back(nullptr);
  return result;
}

// Tests depend on no tuning record of whoever runs them, nor on those that are shipped.
std::vector<std::string> merged_environment(std::map<std::string, std::string> added) {
  added.insert({{"SALE_TUNING", "none"},
                {"SALE_TUNING_DIR", "/nonexistent/user"},
                {"SALE_SYSTEM_TUNING_DIR", "/nonexistent/system"}});
  std::vector<std::string> result;
  for (char **entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!added.contains(text.substr(0, text.find('=')))) {
      result.push_back(text);
    }
  }
  for (const auto &[name, value] : added) {
    result.push_back(std::string(name).append("=").append(value));
  }
  return result;
}

std::vector<std::uint16_t> random_tensor(std::size_t count, bool bf16, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> values(count);
  for (std::uint16_t &value : values) {
    value = reference::float_to_element(normal(random), bf16 ? DType::bf16 : DType::f16);
  }
  return values;
}

} // namespace

CommandResult run_sale(const std::vector<std::string> &arguments, const std::map<std::string, std::string> &environment,
                       const std::string &output,
                       const std::function<void(pid_t, const std::filesystem::path &)> &meanwhile) {
  const TemporaryFolder folder;
  const std::string out = output.empty() ? (folder.path() / "out").string() : output;
  const std::string err = folder.path() / "err";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT, 0600);

  std::vector<std::string> words = {SALE_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = merged_environment(environment);
  pid_t process = 0;
  const int problem =
      posix_spawn(&process, SALE_COMMAND, &actions, nullptr, pointers(words).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  if (problem != 0) {
    throw std::runtime_error("cannot start " SALE_COMMAND);
  }
  if (meanwhile) {
    meanwhile(process, err);
  }
  int status = 0;
  waitpid(process, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), output.empty() ? read_file(out) : "",
          read_file(err)};
}

std::string read_file(const std::filesystem::path &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

void write_file(const std::filesystem::path &path, const std::string &text) {
  std::ofstream(path, std::ios::binary) << text;
}

void write_input(const std::filesystem::path &path, const Input &input) {
  const auto shape = [&](int heads, int tokens) {
    return std::vector<std::uint64_t>{static_cast<std::uint64_t>(input.batch), static_cast<std::uint64_t>(heads),
                                      static_cast<std::uint64_t>(tokens), static_cast<std::uint64_t>(input.head_dim)};
  };
  const auto count = [](const std::vector<std::uint64_t> &extents) {
    return extents[0] * extents[1] * extents[2] * extents[3];
  };
  const auto q_shape = shape(input.num_q_heads, input.q_len);
  const auto kv_shape = shape(input.num_kv_heads, input.kv_len);
  const bool bf16 = input.dtype == "BF16";
  const auto q = random_tensor(count(q_shape), bf16, 1);
  const auto k = random_tensor(count(kv_shape), bf16, 2);
  const auto v = random_tensor(count(kv_shape), bf16, 3);
  io::write_safetensors(path,
                        {{"q", input.dtype, q_shape, std::as_bytes(std::span(q))},
                         {"k", input.dtype, kv_shape, std::as_bytes(std::span(k))},
                         {"v", input.dtype, kv_shape, std::as_bytes(std::span(v))}},
                        input.metadata);
}

bool has_nvrtc() { return run_sale({"info"}).out.find("NVRTC       none") == std::string::npos; }

} // namespace sale::cli_test
