// SPDX-License-Identifier: Apache-2.0
// What `sale run` says about one run: a short text for people, JSON for programs.
#pragma once

#include "cli/backend.hpp"
#include "reference/metrics.hpp"

#include <optional>
#include <string>
#include <vector>

namespace sale::cli {

/// How close to dense attention the result is (docs/numerics.md, section 10).
struct Quality {
  std::string dense_by;
  double dense_milliseconds = 0;
  double rel_l1 = 0;
  double cosine = 0;
  reference::Recall recall;
  std::vector<double> hit_mass; ///< [num_q_heads]
};

struct Report {
  std::string input;
  Problem problem;
  Shape shape;
  Policy policy;
  std::string device;
  std::string arch;
  reference::Density density;
  StageTimes times;
  std::vector<KernelInfo> kernels;
  std::optional<Quality> quality;
  std::optional<double> max_rel_l1;

  /// False when the check --max-rel-l1 is not met; NaN does not meet it.
  bool check_met() const { return !max_rel_l1 || (quality && quality->rel_l1 <= *max_rel_l1); }
};

Report make_report(const std::string &input, const io::Qkv &qkv, const Policy &policy, const Outcome &outcome);

std::string report_text(const Report &report);
std::string report_json(const Report &report);

} // namespace sale::cli
