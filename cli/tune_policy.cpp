// SPDX-License-Identifier: Apache-2.0
#include "cli/tune_policy.hpp"

#include "autotune/search/noise.hpp"
#include "bench/variant.hpp"
#include "cli/policy_output.hpp"
#include "cli/text.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace sale::cli {

namespace {

using autotune::PolicyFinding;
using autotune::PolicyStudy;
using autotune::PolicyVerdict;
using autotune::Proposal;

std::string ms_text(const autotune::Measurement &measurement) {
  return measurement.ms.empty() ? "-" : fmt::format("{:.3f}", autotune::median(measurement.ms));
}

std::string study_text(const PolicyStudy &study, const std::vector<PolicyVerdict> &verdicts) {
  std::vector<std::string> header = {"policy"};
  for (const int tokens : study.lengths) {
    header.push_back(fmt::format("ms {}", bench::length_name(tokens)));
    header.emplace_back("density");
  }
  header.insert(header.end(), {"ratio", "recall", "rel-L1", "why not"});
  Table table(header);
  for (std::size_t i = 0; i < study.findings.size(); ++i) {
    const PolicyFinding &finding = study.findings[i];
    std::vector<std::string> row = {finding.candidate.name};
    for (std::size_t l = 0; l < study.lengths.size(); ++l) {
      row.push_back(ms_text(finding.times[l]));
      row.push_back(fmt::format("{:.3f}", finding.density[l]));
    }
    row.insert(row.end(), {fmt::format("{:.3f}", verdicts[i].ratio), fmt::format("{:.4f}", finding.quality.recall),
                           fmt::format("{:.4f}", finding.quality.rel_l1), verdicts[i].why_not});
    table.add(row);
  }
  std::vector<std::string> dense = {"dense"};
  for (const autotune::Measurement &measurement : study.dense) {
    dense.insert(dense.end(), {ms_text(measurement), "1.000"});
  }
  dense.insert(dense.end(), {"", "1.0000", "0.0000", ""});
  table.add(dense);
  return table.text();
}

std::string chosen_text(const Proposal &proposal) {
  const std::string below =
      proposal.chosen.policy.dense_below == 0
          ? "no measured length is faster dense"
          : fmt::format("calls of fewer than {} keys run dense", proposal.chosen.policy.dense_below);
  return proposal.is_given()
             ? fmt::format("nothing that is as good is faster than the policy as given; {}", below)
             : fmt::format("proposed: {}, {:.3f} of the time; {}", proposal.chosen.name, proposal.ratio, below);
}

std::string tables_text(const Proposal &proposal) {
  std::string text = study_text(proposal.first, proposal.first_verdicts);
  if (!proposal.second.findings.empty()) {
    text += "\nThe best of them, and all of these together, once more:\n" +
            study_text(proposal.second, proposal.second_verdicts);
  }
  for (const std::string &why : proposal.left_out) {
    text += fmt::format("left out: {}\n", why);
  }
  return text;
}

} // namespace

void require_proposal_possible(const TuneOptions &options, const Arch &arch) {
  const std::vector<NamedNeed> needs = options.needs(arch);
  if (std::any_of(needs.begin(), needs.end(), [&](const NamedNeed &need) { return need.name != needs.front().name; })) {
    throw Error(ErrorKind::invalid_argument, "--propose-policy writes the policy of one model; name one with --model");
  }
  require_policy_path(options.propose_policy);
}

autotune::ProposalRequest proposal_request(const TuneOptions &options, const Arch &arch) {
  const Need need = options.needs(arch).front().need;
  autotune::ProposalRequest request;
  request.problem = need.problem;
  request.given = need.policy;
  request.input.file = options.input;
  request.lengths = options.tokens();
  request.rounds = options.search.block_rounds;
  return request;
}

std::string proposal_text(const Proposal &proposal) {
  return fmt::format("\nPolicies ({} tokens of a few heads were judged on the CPU)\n{}{}\n", proposal.judged_tokens,
                     tables_text(proposal), chosen_text(proposal));
}

void write_proposal(const TuneOptions &options, const Proposal &proposal, const autotune::GpuId &gpu) {
  const NamedNeed named = options.needs(gpu.arch).front();
  io::PolicyFile file;
  file.model = named.name;
  file.policy = proposal.chosen.policy;
  io::add_layer(file, 0, proposal.chosen.policy, named.need.problem.num_q_heads, named.need.problem.head_dim);
  const std::string data = options.input.empty() ? "structured synthetic data" : options.input;
  const std::string comment = fmt::format(
      "A proposal of sale tune, measured on {} ({}, {} SMs) with {}; {} tokens of a few heads were judged on the CPU.\n"
      "Nothing uses it until --policy-file names it. Judge it on your own model first: sale calibrate, sale run "
      "--compare.\n{}\n\n{}",
      gpu.name, gpu.arch.name(), gpu.multiprocessors, data, proposal.judged_tokens, chosen_text(proposal),
      tables_text(proposal));
  write_policy_file(options.propose_policy, std::move(file), comment);
}

} // namespace sale::cli
