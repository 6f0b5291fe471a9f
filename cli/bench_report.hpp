// SPDX-License-Identifier: Apache-2.0
// What `sale bench` says: tables for people, JSON for programs (docs/bench.md).
#pragma once

#include "bench/results.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace sale::cli {

struct BenchReport {
  std::string device;
  std::string arch;
  bool emulated = false;    ///< Then times say nothing about a GPU.
  std::string cuda_version; ///< The driver's.
  std::string nvrtc;        ///< Version; empty where there is none.
  std::size_t memory_bytes = 0;
  std::size_t l2_bytes = 0; ///< 0 = not known
  std::size_t flush_bytes = 0;
  int rounds = 0;
  int warmups = 0;
  Policy policy; ///< What all rows share: tau and the blocks.
  bool crossover = false;
  std::vector<bench::Section> sections;
};

std::string bench_text(const BenchReport &report);
std::string bench_json(const BenchReport &report);

} // namespace sale::cli
