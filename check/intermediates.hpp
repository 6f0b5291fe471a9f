// SPDX-License-Identifier: Apache-2.0
// What selection left in the workspace, read back and brought to the oracle's layout.
#pragma once

#include "check/device_run.hpp"
#include "check/guarded_memory.hpp"
#include "generator/kernel_spec.hpp"
#include "runtime/workspace.hpp"

namespace sale::check {

/// Where the rows of consecutive heads begin in an array of the workspace.
struct HeadRows {
  std::size_t first = 0;  ///< Of head 0.
  std::size_t stride = 0; ///< From head to head.

  std::size_t of(std::size_t head) const { return first + head * stride; }
};

/// Where what belongs to one batch lies: a whole plain one, or one sequence of a ragged one.
struct WorkspacePlaces {
  std::size_t first_sequence = 0; ///< In arrays of sequences.
  HeadRows queries;
  HeadRows keys;
  HeadRows groups; ///< Of 32 keys.
};

/// A plain batch's.
WorkspacePlaces plain_places(const Shape &shape, Estimator estimator);

/// The plan's select.
KernelSpec select_spec(const DeviceRun &run, const Serving &serving, const Arch &arch);

/// `select`: the plan's spec of that stage. `shape` is of what is read.
void read_intermediates(const GuardedMemory &workspace, const WorkspaceLayout &layout, const WorkspacePlaces &places,
                        const DeviceRun &run, const KernelSpec &select, const Shape &shape, DeviceResult &result);

} // namespace sale::check
