// SPDX-License-Identifier: Apache-2.0
// Which policies are proposed, and which never: on a simulated GPU, with the real oracle.
#include "autotune/proposal/propose.hpp"
#include "sale/error.hpp"
#include "tests/autotune/simulated_measurer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace sale::autotune {
namespace {

using Change = PolicyCandidate::Change;

const Problem small{.head_dim = 64, .num_q_heads = 2, .num_kv_heads = 1};

std::set<std::string> names_on(const char *arch, const Policy &base = {}) {
  std::set<std::string> names;
  for (const PolicyCandidate &candidate : policy_candidates({}, base, parse_arch(arch))) {
    EXPECT_TRUE(is_possible({}, candidate.policy, parse_arch(arch))) << candidate.name;
    EXPECT_EQ(candidate.policy.dense_below, 0) << candidate.name;
    EXPECT_TRUE(names.insert(candidate.name).second) << candidate.name << " twice";
  }
  return names;
}

TEST(PolicyCandidates, are_those_that_the_architecture_has) {
  EXPECT_EQ(names_on("sm_90a"),
            (std::set<std::string>{"as given", "fp8", "fp8/64", "fp8/2:4", "blocks 64x64", "blocks 128x64",
                                   "blocks 128x128", "second filter", "fp8 attend"}));
  const std::set<std::string> older = names_on("sm_80");
  EXPECT_EQ(older.count("fp8") + older.count("fp8 attend") + older.count("second filter"), 0U);
  EXPECT_EQ(older.count("blocks 128x64"), 1U);
}

TEST(PolicyCandidates, leave_out_what_is_given) {
  Policy base;
  base.estimator = Estimator::fp8;
  base.block_q = 128;
  base.block_k = 64;
  base.second_filter = true;
  base.dense_below = 4096;
  const std::set<std::string> names = names_on("sm_90a", base);
  EXPECT_EQ(names.count("fp8") + names.count("blocks 128x64") + names.count("second filter"), 0U);
  EXPECT_EQ(names.count("int8") + names.count("blocks 64x32"), 2U);
}

TEST(PolicyCandidates, combine_what_each_of_them_changes) {
  Policy base;
  base.tau = 0.01F;
  const std::vector<PolicyCandidate> all = policy_candidates({}, base, parse_arch("sm_90a"));
  std::vector<PolicyCandidate> changes;
  std::copy_if(all.begin(), all.end(), std::back_inserter(changes), [](const PolicyCandidate &candidate) {
    return candidate.name == "fp8/64" || candidate.name == "blocks 128x64" || candidate.name == "second filter";
  });
  const PolicyCandidate combined = combine(all.front(), changes);
  EXPECT_EQ(combined.name, "fp8/64, blocks 128x64, second filter");
  EXPECT_EQ(combined.policy.estimator, Estimator::fp8);
  EXPECT_EQ(combined.policy.estimate_dim, 64);
  EXPECT_EQ(combined.policy.block_q, 128);
  EXPECT_TRUE(combined.policy.second_filter);
  EXPECT_FALSE(combined.policy.fp8_attend);
  EXPECT_EQ(combined.policy.tau, 0.01F);
}

// A finding with so many milliseconds at each length.
PolicyFinding finding(const std::string &name, const std::vector<double> &ms, PolicyQuality quality = {1, 0.01},
                      Change change = Change::estimate) {
  PolicyFinding found{{name, change, {}}, quality, {}, {}, ""};
  for (const double each : ms) {
    found.times.push_back({Outcome::good, "", std::vector<double>(5, each)});
    found.density.push_back(0.5);
  }
  return found;
}

std::size_t fastest_of(const std::vector<PolicyFinding> &findings) {
  PolicyStudy study;
  study.lengths.resize(findings.front().times.size(), 1024);
  study.findings = findings;
  return fastest(judge_candidates(study));
}

TEST(PolicyChoice, is_what_was_given_unless_something_is_faster_beyond_noise) {
  EXPECT_EQ(fastest_of({finding("given", {10, 20}), finding("a", {9.97, 19.94})}), 0U);
  EXPECT_EQ(fastest_of({finding("given", {10, 20}), finding("a", {9, 19}), finding("b", {8, 19})}), 2U);
  EXPECT_EQ(fastest_of({finding("given", {10, 20}), finding("a", {5, 44})}), 0U) << "slower on the whole";
}

TEST(PolicyChoice, is_never_worse) {
  EXPECT_EQ(fastest_of({finding("given", {10}), finding("keeps less", {5}, {0.999, 0.01})}), 0U);
  EXPECT_EQ(fastest_of({finding("given", {10}), finding("differs more", {5}, {1, 0.012})}), 0U);
  EXPECT_EQ(fastest_of({finding("given", {10}), finding("as good", {5}, {0.9999, 0.0105})}), 1U);
}

TEST(PolicyChoice, leaves_out_what_was_not_measured_at_every_length) {
  PolicyFinding broken = finding("broken", {5, 5});
  broken.times[1] = {Outcome::hung, "it hangs", {}};
  PolicyFinding refused = finding("refused", {5, 5});
  refused.refused = "too few tokens";
  PolicyStudy study{{1024, 2048}, {finding("given", {10, 10}), broken, refused}, {}};
  const std::vector<PolicyVerdict> verdicts = judge_candidates(study);
  EXPECT_EQ(fastest(verdicts), 0U);
  EXPECT_EQ(verdicts[1].why_not, "it hangs");
  EXPECT_EQ(verdicts[2].why_not, "too few tokens");
  EXPECT_EQ(verdicts[0].why_not, "");
}

TEST(PolicyChoice, takes_the_best_of_each_kind_of_change) {
  const PolicyQuality good = {1, 0.01};
  const PolicyStudy study{{1024},
                          {finding("given", {10}), finding("fp8", {8}), finding("fp8/64", {7}),
                           finding("blocks", {9}, good, Change::blocks),
                           finding("filter", {11}, good, Change::second_filter)},
                          {}};
  std::vector<std::string> names;
  for (const PolicyCandidate &change : best_changes(study, judge_candidates(study))) {
    names.push_back(change.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"fp8/64", "blocks"}));
}

int crossover(const std::vector<double> &sparse, const std::vector<double> &dense) {
  PolicyStudy study{{1024, 4096, 16384}, {finding("given", sparse)}, {}};
  study.dense = finding("dense", dense).times;
  return dense_below(study, 0);
}

TEST(DenseBelow, is_where_dense_calls_stop_being_faster) {
  EXPECT_EQ(crossover({1, 2, 3}, {2, 3, 4}), 0);
  EXPECT_EQ(crossover({3, 4, 5}, {2, 3, 4}), 16385);
  EXPECT_EQ(crossover({2, 2, 2}, {1, 2.5, 9}), 3328) << "1024 * 4^(1 / 1.2), in steps of 128";
  EXPECT_EQ(crossover({1.5, 1, 1}, {1, 2, 2}), 2048);
  EXPECT_EQ(crossover({1, 3, 1}, {2, 2, 2}), 8192) << "the last crossing counts";
}

Proposal propose(SimulatedMeasurer &measurer, const std::function<bool()> &cancelled = {}) {
  ProposalRequest request;
  request.problem = small;
  request.lengths = {512, 512, 256};
  request.rounds = 5;
  return propose_policy(request, measurer, {}, cancelled);
}

TEST(PolicyProposal, combines_what_is_faster_and_as_good) {
  SimulatedMeasurer measurer(1);
  measurer.policy_ms = [](const Policy &policy, int tokens) {
    if (policy.dense_below > tokens) {
      return tokens == 256 ? 0.5 : 5.0;
    }
    return (policy.block_q == 128 && policy.block_k == 64 ? 0.8 : 1) * (policy.second_filter ? 0.9 : 1) *
           (policy.fp8_attend ? 0.5 : 1);
  };
  const Proposal proposal = propose(measurer);
  EXPECT_EQ(proposal.first.lengths, (std::vector<int>{256, 512}));
  EXPECT_EQ(proposal.chosen.name, "blocks 128x64, second filter");
  EXPECT_NEAR(proposal.ratio, 0.72, 0.01);
  EXPECT_TRUE(proposal.chosen.policy.second_filter);
  EXPECT_FALSE(proposal.chosen.policy.fp8_attend) << "the oracle knows that it differs more";
  EXPECT_GT(proposal.chosen.policy.dense_below, 256);
  EXPECT_LT(proposal.chosen.policy.dense_below, 512);
}

TEST(PolicyProposal, calibrates_a_shift_for_estimates_that_need_one) {
  SimulatedMeasurer measurer(2);
  measurer.policy_ms = [](const Policy &policy, int) { return policy.prune_queries ? 0.6 : 1; };
  const Proposal proposal = propose(measurer);
  const auto pruned = std::find_if(proposal.first.findings.begin(), proposal.first.findings.end(),
                                   [](const PolicyFinding &f) { return f.candidate.policy.prune_queries; });
  ASSERT_NE(pruned, proposal.first.findings.end());
  EXPECT_EQ(pruned->refused, "");
  EXPECT_EQ(pruned->candidate.policy.shift_per_head, std::vector<float>(2, pruned->quality.shift));
}

TEST(PolicyProposal, is_what_was_given_where_nothing_is_faster) {
  SimulatedMeasurer measurer(3);
  measurer.policy_ms = [](const Policy &policy, int tokens) { return policy.dense_below > tokens ? 2.0 : 1.0; };
  const Proposal proposal = propose(measurer);
  EXPECT_TRUE(proposal.is_given());
  EXPECT_EQ(proposal.ratio, 1);
  EXPECT_EQ(proposal.chosen.policy.dense_below, 0);
  EXPECT_TRUE(proposal.second.findings.empty());
}

TEST(PolicyProposal, goes_on_without_a_policy_that_hangs) {
  SimulatedMeasurer measurer(4);
  measurer.policy_ms = [](const Policy &policy, int) {
    return policy.block_q == 128 ? (policy.block_k == 64 ? 0.0 : 0.7) : 1.0;
  };
  EXPECT_EQ(propose(measurer).chosen.name, "blocks 128x128");
}

TEST(PolicyProposal, is_cancelled_between_steps) {
  SimulatedMeasurer measurer(5);
  int asked = 0;
  try {
    propose(measurer, [&] { return ++asked > 4; });
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
  EXPECT_EQ(asked, 5);
}

} // namespace
} // namespace sale::autotune
