// SPDX-License-Identifier: Apache-2.0
// Runs a tool and keeps what it says.
#pragma once

#include <string>

namespace sale {

struct CommandResult {
  bool succeeded = false;
  std::string output; ///< Standard output and error, together.
};

CommandResult run_command(const std::string &command);

} // namespace sale
