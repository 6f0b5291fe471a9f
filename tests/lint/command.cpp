// SPDX-License-Identifier: Apache-2.0
#include "command.hpp"

#include <array>
#include <cstdio>

namespace sale {

CommandResult run_command(const std::string &command) {
  CommandResult result;
  std::FILE *pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) {
    return {false, "cannot start: " + command};
  }
  std::array<char, 4096> buffer{};
  while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.output.append(buffer.data(), count);
  }
  result.succeeded = pclose(pipe) == 0;
  return result;
}

} // namespace sale
