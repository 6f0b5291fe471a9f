// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/task.hpp"

#include <fmt/format.h>

namespace sale::autotune {

std::string Task::describe() const {
  const std::string length = fmt::format("{}, {} tokens", kernel.class_name(), tokens);
  return density > 0 ? fmt::format("{}, density {:g}", length, density) : length;
}

} // namespace sale::autotune
