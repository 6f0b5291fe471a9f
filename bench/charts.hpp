// SPDX-License-Identifier: Apache-2.0
// The charts of a benchmark.
#pragma once

#include "bench/results.hpp"

#include <string>
#include <vector>

namespace sale::bench {

struct ChartFile {
  std::string name; ///< "time.svg"
  std::string svg;
};

/// Of the sections that were measured: time.svg and speedup.svg over lengths, stages.svg; those that there are numbers
/// for. `device` goes into the titles.
std::vector<ChartFile> draw_charts(const std::vector<Section> &sections, const std::string &device);

} // namespace sale::bench
