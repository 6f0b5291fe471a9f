// SPDX-License-Identifier: Apache-2.0
#include "autotune/proposal/propose.hpp"

#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace sale::autotune {

namespace {

class Proposing {
public:
  Proposing(const ProposalRequest &request, Measurer &measurer, const std::function<void(const std::string &)> &told,
            const std::function<bool()> &cancelled)
      : request_(request), measurer_(measurer), told_(told), cancelled_(cancelled), arch_(measurer.gpu().arch),
        lengths_(request.lengths) {
    std::sort(lengths_.begin(), lengths_.end());
    lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
    step("data for the oracle");
    judge_.emplace(request.input, request.problem, lengths_.back());
    proposal_.judged_tokens = judge_->tokens();
  }

  Proposal run() {
    proposal_.first = study(policy_candidates(request_.problem, request_.given, arch_));
    proposal_.first_verdicts = judge_candidates(proposal_.first);
    const PolicyCandidate &given = proposal_.first.findings.front().candidate;
    std::vector<PolicyCandidate> changes = best_changes(proposal_.first, proposal_.first_verdicts);
    const PolicyStudy *study_of_chosen = &proposal_.first;
    std::size_t chosen = 0;
    if (!changes.empty()) {
      if (changes.size() > 1) {
        const PolicyCandidate all = combine(given, changes);
        if (is_possible(request_.problem, all.policy, arch_)) {
          changes.push_back(all);
        }
      }
      changes.insert(changes.begin(), given);
      proposal_.second = study(changes);
      proposal_.second_verdicts = judge_candidates(proposal_.second);
      study_of_chosen = &proposal_.second;
      chosen = fastest(proposal_.second_verdicts);
      proposal_.ratio = proposal_.second_verdicts[chosen].ratio;
    }
    proposal_.chosen = study_of_chosen->findings[chosen].candidate;
    proposal_.chosen.policy.dense_below = dense_below(*study_of_chosen, chosen);
    return std::move(proposal_);
  }

private:
  void step(const std::string &text) const {
    if (cancelled_ && cancelled_()) {
      throw Error(ErrorKind::cancelled, "the proposal was cancelled");
    }
    if (told_) {
      told_(text);
    }
  }

  PolicyStudy study(const std::vector<PolicyCandidate> &candidates) {
    PolicyStudy study;
    for (const PolicyCandidate &candidate : candidates) {
      PolicyFinding &finding = study.findings.emplace_back();
      finding.candidate = candidate;
      if (const auto known = qualities_.find(candidate.name); known != qualities_.end()) {
        finding.quality = known->second;
        continue;
      }
      step(fmt::format("judging \"{}\"", candidate.name));
      try {
        finding.quality = judge_->judge(finding.candidate.policy);
        qualities_.emplace(candidate.name, finding.quality);
      } catch (const Error &error) {
        if (study.findings.size() == 1) {
          throw;
        }
        finding.refused = error.what();
      }
    }
    std::optional<Error> refusal;
    for (const int tokens : lengths_) {
      step(fmt::format("measuring calls of {} tokens", tokens));
      try {
        time(tokens, study);
      } catch (const Error &error) {
        if (error.kind() == ErrorKind::cancelled) {
          throw;
        }
        refusal = error;
        const std::string why = fmt::format("{} tokens: {}", tokens, error.what());
        if (std::find(proposal_.left_out.begin(), proposal_.left_out.end(), why) == proposal_.left_out.end()) {
          proposal_.left_out.push_back(why);
        }
      }
    }
    if (study.lengths.empty()) {
      throw Error(*refusal);
    }
    return study;
  }

  void time(int tokens, PolicyStudy &study) {
    PolicyCalls calls{request_.problem, {}, tokens};
    std::vector<PolicyFinding *> timed;
    for (PolicyFinding &finding : study.findings) {
      if (finding.refused.empty()) {
        timed.push_back(&finding);
        calls.policies.push_back(finding.candidate.policy);
      }
    }
    calls.policies.push_back(dense_policy(study.findings.front().candidate.policy));
    const PolicyRounds measured = measurer_.time_policies(calls, request_.rounds);
    study.lengths.push_back(tokens);
    for (PolicyFinding &finding : study.findings) {
      finding.times.emplace_back();
      finding.density.push_back(0);
    }
    for (std::size_t i = 0; i < timed.size(); ++i) {
      timed[i]->times.back() = measured.rounds.of[i];
      timed[i]->density.back() = measured.density[i];
    }
    study.dense.push_back(measured.rounds.of.back());
  }

  const ProposalRequest &request_;
  Measurer &measurer_;
  const std::function<void(const std::string &)> &told_;
  const std::function<bool()> &cancelled_;
  Arch arch_;
  std::vector<int> lengths_;
  std::optional<PolicyJudge> judge_;
  std::map<std::string, PolicyQuality> qualities_; ///< By the candidate's name.
  Proposal proposal_;
};

} // namespace

Proposal propose_policy(const ProposalRequest &request, Measurer &measurer,
                        const std::function<void(const std::string &step)> &told,
                        const std::function<bool()> &cancelled) {
  if (request.lengths.empty()) {
    throw Error(ErrorKind::invalid_argument, "a policy is proposed from calls of at least one length");
  }
  return Proposing(request, measurer, told, cancelled).run();
}

} // namespace sale::autotune
