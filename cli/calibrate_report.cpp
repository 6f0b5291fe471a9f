// SPDX-License-Identifier: Apache-2.0
#include "cli/calibrate_report.hpp"

#include "cli/text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace sale::cli {

namespace {

/// The largest mean L1 and rel-L1 of a head's judging sequences.
ErrorBound worst_of(const HeadTau &head) {
  ErrorBound worst{0, 0};
  for (const SequenceError &sequence : head.judged) {
    worst.l1 = std::max(worst.l1, sequence.error.l1());
    worst.rel_l1 = std::max(worst.rel_l1, sequence.error.rel_l1());
  }
  return worst;
}

nlohmann::ordered_json error_json(const OutputError &error) {
  return {{"l1", error.l1()},
          {"rel_l1", error.rel_l1()},
          {"density", error.density()},
          {"recall", error.recall()},
          {"least_recall", error.least_recall}};
}

} // namespace

std::string bound_text(const ErrorBound &bound) {
  std::vector<std::string> parts;
  if (std::isfinite(bound.l1)) {
    parts.push_back(fmt::format("mean L1 <= {}", bound.l1));
  }
  if (std::isfinite(bound.rel_l1)) {
    parts.push_back(fmt::format("rel-L1 <= {}", bound.rel_l1));
  }
  return fmt::format("{}", fmt::join(parts, " and "));
}

std::string tau_table(const TauLayer &layer, const ErrorBound &bound) {
  Table table({"layer", "head", "tau", "violated", "worst L1", "worst rel-L1", "density", "recall", "least recall"});
  for (std::size_t h = 0; h < layer.calibration.heads.size(); ++h) {
    const HeadTau &head = layer.calibration.heads[h];
    const ErrorBound worst = worst_of(head);
    const OutputError total = head.total();
    table.add({std::to_string(layer.layer), std::to_string(h),
               head.tau > 0.0F ? fmt::format("{:.4g}", head.tau) : "dense",
               fmt::format("{} of {}", head.violations(bound), head.judged.size()), fmt::format("{:.4f}", worst.l1),
               fmt::format("{:.4f}", worst.rel_l1), fmt::format("{:.4f}", total.density()),
               fmt::format("{:.4f}", total.recall()), fmt::format("{:.4f}", total.least_recall)});
  }
  return table.text();
}

std::string tau_summary(const std::vector<TauLayer> &layers, const ErrorBound &bound) {
  OutputError all;
  std::size_t heads = 0;
  std::size_t dense = 0;
  std::size_t sequences = 0;
  int violations = 0;
  for (const TauLayer &layer : layers) {
    for (const HeadTau &head : layer.calibration.heads) {
      all += head.total();
      ++heads;
      dense += head.tau == 0.0F ? 1 : 0;
      sequences += head.judged.size();
      violations += head.violations(bound);
    }
  }
  return fmt::format("density {:.4f}; recall {:.4f}, least {:.4f}; rel-L1 {:.4f}\n"
                     "{} of {} heads are dense\n"
                     "{} of {} (head, sequence) pairs are above {}\n",
                     all.density(), all.recall(), all.least_recall, all.rel_l1(), dense, heads, violations, sequences,
                     bound_text(bound));
}

nlohmann::ordered_json tau_json(const std::vector<TauLayer> &layers, const ErrorBound &bound) {
  nlohmann::ordered_json limits = nlohmann::ordered_json::object();
  if (std::isfinite(bound.l1)) {
    limits["l1"] = bound.l1;
  }
  if (std::isfinite(bound.rel_l1)) {
    limits["rel_l1"] = bound.rel_l1;
  }
  nlohmann::ordered_json json = {{"schema", 1}, {"bound", limits}, {"layers", nlohmann::ordered_json::array()}};
  for (const TauLayer &layer : layers) {
    nlohmann::ordered_json heads = nlohmann::ordered_json::array();
    for (const HeadTau &head : layer.calibration.heads) {
      nlohmann::ordered_json entry = {{"tau", head.tau}, {"violations", head.violations(bound)}};
      entry.update(error_json(head.total()));
      entry["sequences"] = nlohmann::ordered_json::array();
      for (const SequenceError &sequence : head.judged) {
        nlohmann::ordered_json figures = {{"sample", sequence.sample}, {"length", sequence.length}};
        figures.update(error_json(sequence.error));
        entry["sequences"].push_back(std::move(figures));
      }
      heads.push_back(std::move(entry));
    }
    json["layers"].push_back({{"layer", layer.layer}, {"heads", std::move(heads)}});
  }
  return json;
}

} // namespace sale::cli
