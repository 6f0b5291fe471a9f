// SPDX-License-Identifier: Apache-2.0
#include "bench/charts.hpp"

#include "bench/svg_chart.hpp"
#include "bench/variant.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace sale::bench {

namespace {

// Sections by length: one chart has one line for each input and row.
std::vector<const Section *> by_length(const std::vector<Section> &sections) {
  std::vector<const Section *> sorted;
  sorted.reserve(sections.size());
  for (const Section &section : sections) {
    sorted.push_back(&section);
  }
  std::sort(sorted.begin(), sorted.end(), [](const Section *a, const Section *b) {
    return std::pair(a->shape.kv_len, a) < std::pair(b->shape.kv_len, b);
  });
  return sorted;
}

// A row's name, with its input where two sections have one length.
std::string line_name(const Section &section, const Row &row, const std::vector<Section> &sections) {
  const auto alike = std::count_if(sections.begin(), sections.end(),
                                   [&](const Section &s) { return s.shape.kv_len == section.shape.kv_len; });
  return row.name() + (alike > 1 ? ", " + section.input : "");
}

LineChart chart_over_lengths(const std::vector<Section> &sections,
                             const std::function<std::optional<double>(const Section &, const Row &)> &value) {
  LineChart chart;
  chart.x_label = "tokens";
  for (const Section *section : by_length(sections)) {
    const double length = section->shape.kv_len;
    bool drawn = false;
    for (const Row &row : section->rows) {
      const auto y = value(*section, row);
      if (!y || *y <= 0) {
        continue;
      }
      const std::string name = line_name(*section, row, sections);
      auto line =
          std::find_if(chart.lines.begin(), chart.lines.end(), [&](const Line &known) { return known.name == name; });
      if (line == chart.lines.end()) {
        line = chart.lines.insert(chart.lines.end(), {name, {}});
      }
      line->points.emplace_back(length, *y);
      drawn = true;
    }
    if (drawn && (chart.x_ticks.empty() || chart.x_ticks.back().first != length)) {
      chart.x_ticks.emplace_back(length, length_name(section->shape.kv_len));
    }
  }
  return chart;
}

StackedChart stage_chart(const std::vector<Section> &sections) {
  StackedChart chart;
  const bool shares = std::all_of(sections.begin(), sections.end(),
                                  [](const Section &s) { return s.rows.empty() || s.dense() != nullptr; });
  chart.y_label = shares ? "% of dense attention's time" : "ms";
  if (shares) {
    chart.level = 100;
  }
  for (const auto &[name, member] : stages) {
    chart.parts.emplace_back(name);
  }
  for (const Section *section : by_length(sections)) {
    for (const Row &row : section->rows) {
      if (row.stage_total_ms.values().empty()) {
        continue;
      }
      Bar bar;
      const double unit = shares ? section->dense()->ms.median() / 100 : 1;
      for (const Samples &samples : row.stage_ms) {
        bar.parts.push_back(samples.median() / unit);
      }
      bar.label = fmt::format("{}\n{}{}", length_name(section->shape.kv_len), row.estimate,
                              row.fp8_attend ? "\nfp8 attend" : "");
      bar.top = fmt::format("{:.3g} ms", row.stage_total_ms.median());
      chart.bars.push_back(std::move(bar));
    }
  }
  return chart;
}

} // namespace

std::vector<ChartFile> draw_charts(const std::vector<Section> &sections, const std::string &device) {
  std::vector<ChartFile> files;
  LineChart time = chart_over_lengths(sections, [](const Section &, const Row &row) {
    return row.ms.values().empty() ? std::nullopt : std::optional(row.ms.median());
  });
  time.title = "Time of one call, " + device;
  time.y_label = "ms, median";
  time.log_y = true;
  LineChart speedup = chart_over_lengths(sections, [](const Section &section, const Row &row) {
    return row.work == Work::dense && !row.fp8_attend ? std::nullopt : section.speedup(row);
  });
  speedup.title = "Times as fast as dense attention, " + device;
  speedup.y_label = "dense time / time";
  speedup.level = 1;
  StackedChart stacked = stage_chart(sections);
  stacked.title = "Stages of SALE, " + device;

  const auto add = [&](const char *name, const auto &chart, bool has_data) {
    if (has_data) {
      files.push_back({name, chart.svg()});
    }
  };
  add("time.svg", time, !time.lines.empty());
  add("speedup.svg", speedup, !speedup.lines.empty());
  add("stages.svg", stacked, !stacked.bars.empty());
  return files;
}

} // namespace sale::bench
