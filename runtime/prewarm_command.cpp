// SPDX-License-Identifier: Apache-2.0
#include "runtime/prewarm_command.hpp"

#include "core/serving_words.hpp"
#include "runtime/need_words.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sale {

std::string prewarm_command(const std::vector<std::string> &archs, const Problem &problem, const Policy &policy,
                            const Serving &serving) {
  return fmt::format("sale prewarm --arch {} {} {} --serving {}", fmt::join(archs, ","),
                     fmt::join(problem_words(problem), " "), fmt::join(policy_words(policy), " "),
                     serving_word(serving));
}

} // namespace sale
