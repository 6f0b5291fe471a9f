// SPDX-License-Identifier: Apache-2.0
#include "bench/results.hpp"

#include <algorithm>
#include <cmath>

namespace sale::bench {

const char *to_string(Work work) {
  switch (work) {
  case Work::dense: return "dense";
  case Work::sale: return "sale";
  case Work::attend: break;
  }
  return "attend";
}

std::string Row::name() const {
  const std::string &detail = work == Work::sale ? estimate : mask;
  return std::string(to_string(work)) + (detail.empty() ? "" : " " + detail) + (fp8_attend ? ", fp8 attend" : "");
}

double Section::flops() const {
  // Bottom-right causal: on average a query sees kv_len - q_len / 2 keys.
  const double keys = shape.kv_len - shape.q_len / 2.0;
  const int channels = problem.head_dim + effective_v_head_dim(problem);
  return 2.0 * shape.batch * shape.q_len * keys * channels * problem.num_q_heads;
}

const Row *Section::dense() const {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [](const Row &r) { return r.work == Work::dense && !r.fp8_attend; });
  return found == rows.end() || found->ms.values().empty() ? nullptr : &*found;
}

std::optional<double> Section::tflops(const Row &row) const {
  const double ms = row.ms.median();
  if (row.work == Work::sale || ms <= 0) {
    return std::nullopt;
  }
  return row.density.value_or(1.0) * flops() / ms / 1e9;
}

std::optional<double> Section::speedup(const Row &row) const {
  const double ms = row.ms.median();
  if (dense() == nullptr || ms <= 0) {
    return std::nullopt;
  }
  return dense()->ms.median() / ms;
}

namespace {

struct Point {
  double length;
  double speedup;
};

std::optional<double> crossing(std::vector<Point> points) {
  std::sort(points.begin(), points.end(), [](const Point &a, const Point &b) { return a.length < b.length; });
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (points[i].speedup >= 1) {
      if (i == 0) {
        return 0;
      }
      const double below = std::log(points[i - 1].speedup);
      const double above = std::log(points[i].speedup);
      return points[i - 1].length * std::pow(points[i].length / points[i - 1].length, -below / (above - below));
    }
  }
  return std::nullopt;
}

} // namespace

std::vector<Crossover> crossovers(const std::vector<Section> &sections) {
  std::vector<Crossover> found;
  std::vector<std::vector<Point>> points;
  for (const Section &section : sections) {
    for (const Row &row : section.rows) {
      const auto speedup = section.speedup(row);
      if (row.work != Work::sale || !speedup) {
        continue;
      }
      const auto known = std::find_if(found.begin(), found.end(), [&](const Crossover &c) {
        return c.estimate == row.estimate && c.fp8_attend == row.fp8_attend;
      });
      const auto index = static_cast<std::size_t>(known - found.begin());
      if (known == found.end()) {
        found.push_back({row.estimate, row.fp8_attend, std::nullopt});
        points.emplace_back();
      }
      points[index].push_back({static_cast<double>(section.shape.kv_len), *speedup});
    }
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    found[i].length = crossing(points[i]);
  }
  return found;
}

} // namespace sale::bench
