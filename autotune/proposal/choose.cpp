// SPDX-License-Identifier: Apache-2.0
#include "autotune/proposal/choose.hpp"

#include "autotune/search/decide.hpp"
#include "autotune/search/noise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace sale::autotune {

namespace {

constexpr double band_floor = SearchSettings{}.band_floor;
constexpr int crossover_step = 128; // keys

bool is_timed(const Measurement &measurement) {
  return measurement.outcome == Outcome::good && !measurement.ms.empty();
}

std::string quality_problem(const PolicyQuality &quality, const PolicyQuality &given,
                            const QualityTolerance &tolerance) {
  if (quality.recall < given.recall - tolerance.recall) {
    return "keeps less attention";
  }
  if (!(quality.rel_l1 <= tolerance.rel_l1_ratio * given.rel_l1 + tolerance.rel_l1)) {
    return "its outputs differ more";
  }
  return "";
}

PolicyVerdict verdict_of(const PolicyStudy &study, const PolicyFinding &finding, const QualityTolerance &tolerance) {
  PolicyVerdict verdict;
  const PolicyFinding &given = study.findings.front();
  if (!finding.refused.empty()) {
    verdict.why_not = finding.refused;
    return verdict;
  }
  double logarithms = 0;
  int lengths = 0;
  for (std::size_t i = 0; i < study.lengths.size(); ++i) {
    if (!is_timed(given.times[i])) {
      continue;
    }
    if (!is_timed(finding.times[i])) {
      verdict.why_not = finding.times[i].why;
      return verdict;
    }
    const Comparison comparison = compare(finding.times[i].ms, given.times[i].ms, band_floor);
    logarithms += std::log(comparison.ratio);
    verdict.band = std::max(verdict.band, comparison.band);
    ++lengths;
  }
  verdict.ratio = lengths == 0 ? 1 : std::exp(logarithms / lengths);
  verdict.why_not = quality_problem(finding.quality, given.quality, tolerance);
  if (verdict.why_not.empty() && verdict.ratio >= 1 - 2 * verdict.band) {
    verdict.why_not = "not faster";
  }
  return verdict;
}

} // namespace

std::vector<PolicyVerdict> judge_candidates(const PolicyStudy &study, const QualityTolerance &tolerance) {
  std::vector<PolicyVerdict> verdicts(1);
  std::transform(study.findings.begin() + 1, study.findings.end(), std::back_inserter(verdicts),
                 [&](const PolicyFinding &finding) { return verdict_of(study, finding, tolerance); });
  return verdicts;
}

std::size_t fastest(const std::vector<PolicyVerdict> &verdicts) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < verdicts.size(); ++i) {
    if (verdicts[i].is_acceptable() && verdicts[i].ratio < verdicts[best].ratio) {
      best = i;
    }
  }
  return best;
}

std::vector<PolicyCandidate> best_changes(const PolicyStudy &study, const std::vector<PolicyVerdict> &verdicts) {
  std::map<PolicyCandidate::Change, std::size_t> best;
  for (std::size_t i = 1; i < verdicts.size(); ++i) {
    if (verdicts[i].is_acceptable()) {
      const auto [found, is_new] = best.try_emplace(study.findings[i].candidate.change, i);
      if (!is_new && verdicts[i].ratio < verdicts[found->second].ratio) {
        found->second = i;
      }
    }
  }
  std::vector<PolicyCandidate> changes;
  std::transform(best.begin(), best.end(), std::back_inserter(changes),
                 [&](const auto &each) { return study.findings[each.second].candidate; });
  return changes;
}

int dense_below(const PolicyStudy &study, std::size_t finding) {
  int below = 0;
  int last_length = 0; // and the ratio of sparse to dense there
  double last_ratio = 1;
  for (std::size_t i = 0; i < study.lengths.size(); ++i) {
    const Measurement &sparse = study.findings[finding].times[i];
    if (!is_timed(sparse) || !is_timed(study.dense[i])) {
      continue;
    }
    const double ratio = compare(sparse.ms, study.dense[i].ms, band_floor).ratio;
    if (ratio >= 1) {
      below = study.lengths[i] + 1;
    } else if (last_length != 0 && last_ratio >= 1) {
      const double part = (last_ratio - 1) / (last_ratio - ratio);
      const double crossing = last_length * std::pow(static_cast<double>(study.lengths[i]) / last_length, part);
      below = static_cast<int>(std::ceil(crossing / crossover_step)) * crossover_step;
    }
    last_length = study.lengths[i];
    last_ratio = ratio;
  }
  return below;
}

} // namespace sale::autotune
