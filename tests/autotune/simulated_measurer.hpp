// SPDX-License-Identifier: Apache-2.0
// A Measurer without a GPU: each tile has a true time, and rounds have the noise that real ones have.
#pragma once

#include "autotune/measure/measurer.hpp"
#include "autotune/space/candidate.hpp"
#include "sale/error.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace sale::autotune {

class SimulatedMeasurer : public Measurer {
public:
  explicit SimulatedMeasurer(std::uint64_t seed) : random_(seed) {}

  GpuId gpu() override { return {"Simulated GPU", parse_arch("sm_90a"), 132}; }
  TuningFacts facts() override { return {{"driver", "simulated"}}; }
  GpuParameters parameters() override { return {}; }
  Rounds measure(const Task &task, const std::vector<Tile> &tiles, int rounds) override {
    ++calls;
    if (on_measure) {
      on_measure(task);
    }
    Rounds out;
    out.of.resize(tiles.size());
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      if (const auto found = fails.find(name(tiles[i])); found != fails.end()) {
        out.of[i].outcome = found->second;
        out.of[i].why = "as the test wants it";
      }
    }
    for (int round = 0; round < rounds; ++round) {
      drift_ += std::normal_distribution<double>(0, drift)(random_);
      for (std::size_t i = 0; i < tiles.size(); ++i) {
        double ms = true_ms(task, tiles[i]) * (1 + drift_) * (1 + std::normal_distribution<double>(0, noise)(random_));
        if (std::uniform_real_distribution<double>(0, 1)(random_) < outliers) {
          ms *= 2;
        }
        if (out.of[i].outcome == Outcome::good) {
          out.of[i].ms.push_back(ms);
        }
        spent_ms += ms;
      }
    }
    return out;
  }
  Measurement check(const Task &, const Tile &tile) override {
    checked.push_back(tile);
    Measurement out;
    if (wrong.count(name(tile)) != 0) {
      out.outcome = Outcome::wrong;
      out.why = "3 mask bits differ";
    }
    return out;
  }

  PolicyRounds time_policies(const PolicyCalls &asked, int rounds) override {
    PolicyRounds out;
    for (const Policy &policy : asked.policies) {
      const double ms = policy_ms(policy, asked.tokens);
      Measurement &of = out.rounds.of.emplace_back();
      if (ms <= 0) {
        of = {Outcome::hung, "as the test wants it", {}};
      }
      for (int round = 0; round < rounds && ms > 0; ++round) {
        of.ms.push_back(ms * (1 + std::normal_distribution<double>(0, noise)(random_)));
      }
      out.density.push_back(ms > 0 ? 0.5 : 0);
    }
    return out;
  }

  static std::string name(const Tile &tile) {
    return std::to_string(tile.rows_per_warp) + "x" + std::to_string(tile.warps) + "/" +
           std::to_string(tile.keys_per_step) + "/" + std::to_string(tile.stages);
  }

  std::function<double(const Task &, const Tile &)> true_ms = [](const Task &, const Tile &) { return 1.0; };
  /// 0: it hangs.
  std::function<double(const Policy &, int tokens)> policy_ms = [](const Policy &, int) { return 1.0; };
  std::function<void(const Task &)> on_measure;
  double noise = 0.005; ///< Of a sample, relative.
  double drift = 0.003; ///< Of a round, which all tiles share, added up.
  double outliers = 0.02;
  std::map<std::string, Outcome> fails;
  std::set<std::string> wrong;
  int calls = 0;
  double spent_ms = 0;
  std::vector<Tile> checked;

private:
  std::mt19937_64 random_;
  double drift_ = 0;
};

inline Candidate candidate(int keys, int stages, double model_ms = 0) {
  Candidate out;
  out.tile = {.rows_per_warp = 16, .warps = 8, .keys_per_step = keys, .stages = stages, .min_ctas = 1};
  out.model_ms = model_ms;
  return out;
}

} // namespace sale::autotune
