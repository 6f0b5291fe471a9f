// SPDX-License-Identifier: Apache-2.0
// Two kinds of charts as SVG files: lines over a logarithmic x axis, and stacked bars.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sale::bench {

struct Line {
  std::string name;
  std::vector<std::pair<double, double>> points; ///< x > 0, ascending; y > 0
};

struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<std::pair<double, std::string>> x_ticks; ///< Where and what is written there.
  bool log_y = false;                                  ///< Else from 0.
  std::optional<double> level;                         ///< A dashed horizontal line.
  std::vector<Line> lines;

  std::string svg() const;
};

struct Bar {
  std::string label;         ///< Under the bar; lines are separated by \n.
  std::vector<double> parts; ///< From the bottom up, as many as StackedChart::parts.
  std::string top;           ///< Over the bar.
};

struct StackedChart {
  std::string title;
  std::string y_label;
  std::vector<std::string> parts;
  std::optional<double> level;
  std::vector<Bar> bars;

  std::string svg() const;
};

/// Round numbers from 0 to at least `most`, about five.
std::vector<double> linear_ticks(double most);
/// 1, 2 and 5 times powers of ten, (or powers of ten alone where those are many) from at most `low` to at least `high`.
std::vector<double> log_ticks(double low, double high);

} // namespace sale::bench
