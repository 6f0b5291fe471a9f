// SPDX-License-Identifier: Apache-2.0
#include "golden_file.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <sstream>

namespace sale {

namespace {

constexpr std::string_view version_label = "# NVRTC ";
constexpr std::string_view separator = "  ";
constexpr std::string_view source_label = "  source ";

std::string fields_of(const KernelCost &cost) {
  return fmt::format(
      "tile {tile:<14}  registers {registers:<3}  spill {spill}  local {local}  shared {fixed}+{dynamic:<6}  "
      "parameters {parameters:<3}  tensor {tensor}",
      fmt::arg("tile", cost.tile), fmt::arg("registers", cost.registers), fmt::arg("spill", cost.spill_bytes),
      fmt::arg("local", cost.local_bytes), fmt::arg("fixed", cost.static_shared_bytes),
      fmt::arg("dynamic", cost.dynamic_shared_bytes), fmt::arg("parameters", cost.parameter_bytes),
      fmt::arg("tensor", cost.tensor_core_instructions));
}

// The parts of a line, which two or more spaces separate.
std::vector<std::string> split(const std::string &line) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < line.size();) {
    const std::size_t end = std::min(line.find(separator, begin), line.size());
    parts.push_back(line.substr(begin, end - begin));
    begin = std::min(line.find_first_not_of(' ', end), line.size());
  }
  return parts;
}

// "registers 250 -> 255, spill 0 -> 8".
std::string change(const std::string &before, const std::string &after) {
  const std::vector<std::string> old_fields = split(before);
  const std::vector<std::string> new_fields = split(after);
  std::vector<std::string> changes;
  for (std::size_t i = 0; i < std::max(old_fields.size(), new_fields.size()); ++i) {
    const std::string was = i < old_fields.size() ? old_fields[i] : "nothing";
    const std::string is = i < new_fields.size() ? new_fields[i] : "nothing";
    if (was != is) {
      const std::size_t value = is.find(' ') + 1;
      const bool same_label = was.substr(0, value) == is.substr(0, value);
      changes.push_back(fmt::format("{} -> {}", was, same_label ? is.substr(value) : is));
    }
  }
  return fmt::format("{}", fmt::join(changes, ", "));
}

} // namespace

std::filesystem::path golden_path(const std::string &arch) {
  return std::filesystem::path(SALE_SOURCE_DIR) / "tests" / "kernels" / "goldens" / (arch + ".txt");
}

std::string write_goldens(const std::string &arch, const std::string &nvrtc, const std::vector<KernelCost> &costs) {
  std::string text =
      fmt::format("# What the kernels with default tiles take on {}. Written by scripts/update-goldens.\n"
                  "{}{}\n"
                  "# tile: rows per warp x warps / keys per step x stages / CTAs per SM that registers are "
                  "budgeted for\n"
                  "# registers, spill and local memory (bytes) are per thread; shared memory: static + "
                  "dynamic bytes of a CTA\n"
                  "# parameters: bytes; tensor: tensor-core instructions in the code; source: digest of what was "
                  "compiled\n",
                  arch, version_label, nvrtc);
  for (const KernelCost &cost : costs) {
    text += fmt::format("{:<40}  {}{}{}\n", cost.name, fields_of(cost), source_label, cost.source);
  }
  return text;
}

GoldenFile parse_goldens(const std::string &text) {
  GoldenFile golden;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.substr(0, version_label.size()) == version_label) {
      golden.nvrtc = line.substr(version_label.size());
    } else if (line.substr(0, 1) != "#") {
      const std::size_t source = std::min(line.find(source_label), line.size());
      const std::string digest = line.substr(std::min(source + source_label.size(), line.size()));
      line.resize(source);
      const std::size_t end = line.find(separator);
      const std::size_t fields = line.find_first_not_of(' ', std::min(end, line.size()));
      if (end == 0 || fields == std::string::npos || digest.empty() ||
          !golden.kernels.emplace(line.substr(0, end), line.substr(fields)).second) {
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("line {} is not one kernel's costs, or a kernel's second line: {}", number, line));
      }
      golden.sources.emplace(line.substr(0, end), digest);
    }
  }
  if (golden.nvrtc.empty()) {
    throw Error(
        ErrorKind::invalid_argument,
        fmt::format("no line says \"{}13.0\" or the like; scripts/update-goldens writes such files", version_label));
  }
  return golden;
}

std::vector<std::string> compare_goldens(const GoldenFile &golden, const std::vector<KernelCost> &costs) {
  std::vector<std::string> differences;
  std::set<std::string> measured;
  for (const KernelCost &cost : costs) {
    measured.insert(cost.name);
    const std::string fields = fields_of(cost);
    const auto line = golden.kernels.find(cost.name);
    if (line == golden.kernels.end()) {
      differences.push_back(fmt::format("{}: new", cost.name));
    } else if (line->second != fields) {
      differences.push_back(fmt::format("{}: {}", cost.name, change(line->second, fields)));
    }
  }
  for (const auto &[name, fields] : golden.kernels) {
    if (measured.count(name) == 0) {
      differences.push_back(fmt::format("{}: gone", name));
    }
  }
  return differences;
}

} // namespace sale
