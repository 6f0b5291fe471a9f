// SPDX-License-Identifier: Apache-2.0
// sale tune --propose-policy: the table, and the policy file that nothing uses by itself.
#pragma once

#include "autotune/proposal/propose.hpp"
#include "cli/tune_options.hpp"

#include <string>

namespace sale::cli {

/// Throws Error(invalid_argument) where the options do not name one model, Error(io) where the file cannot be written.
void require_proposal_possible(const TuneOptions &options, const Arch &arch);

autotune::ProposalRequest proposal_request(const TuneOptions &options, const Arch &arch);

std::string proposal_text(const autotune::Proposal &proposal);

/// Writes --propose-policy's file: one row of thresholds that any layer takes, and how it was found as a comment.
void write_proposal(const TuneOptions &options, const autotune::Proposal &proposal, const autotune::GpuId &gpu);

} // namespace sale::cli
