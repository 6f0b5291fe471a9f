// SPDX-License-Identifier: Apache-2.0
// A call of a ragged Plan: sequences of host tensors are laid out in device memory, packed, padded or in pages, and
// each one's results are brought back. The memory stays where it is from batch to batch, so that graphs can be
// replayed.
#pragma once

#include "check/device_run.hpp"
#include "check/element_image.hpp"
#include "check/guarded_memory.hpp"
#include "check/intermediates.hpp"

#include <memory>
#include <vector>

namespace sale::check {

struct RaggedRun {
  DeviceRun run;   ///< Of the whole batch: kbar is [batch, num_kv_heads, head_dim], or without a batch if it is shared.
  Serving serving; ///< Of the Plan.
  Shape shape;     ///< Of the call: the most that it may hold.
  bool mask_given = false;    ///< RunArgs::mask_in
  bool uniform = false;       ///< All sequences are as the shape says, and no array says so.
  bool kbar_shared = false;   ///< RunArgs::kbar_shared
  bool pages_by_head = false; ///< A page is [heads, page_size, head_dim]; else [page_size, heads, head_dim].
  int rows_between = 0;       ///< Unused rows after each packed sequence.
};

/// The run of one sequence alone.
DeviceRun run_of(const RaggedRun &run, std::size_t sequence);

/// One call of a batch, as upload takes it.
std::vector<DeviceResult> run_batch_on_device(const RaggedRun &run, const std::vector<reference::Tensors> &sequences,
                                              const std::vector<reference::Mask> &masks,
                                              const std::shared_ptr<const Device> &device, const Options &options,
                                              unsigned seed = 1);

class RaggedCall {
public:
  /// `arch`: the Engine's. The device's context is current wherever one is used.
  RaggedCall(const std::shared_ptr<const Device> &device, const Plan &plan, const Arch &arch, RaggedRun run);

  /// A batch: a Tensors of batch 1 for each sequence, and a mask each where the run is given some. Everything else in
  /// memory is poisoned, in pages in another order for each `seed`.
  void upload(const std::vector<reference::Tensors> &sequences, const std::vector<reference::Mask> &masks = {},
              unsigned seed = 1);
  /// Enqueues the call.
  void launch(CUstream_st *stream) const;
  /// What launch hands over.
  const RunArgs &arguments() const { return args_; }
  /// One result per sequence, after the stream is done.
  std::vector<DeviceResult> download() const;

private:
  bool packed() const { return run_.shape.total_q != 0; }
  bool packed_keys() const { return run_.shape.total_kv != 0; }
  bool paged() const { return run_.serving.page_size != 0; }
  void choose_pages(unsigned seed);
  void write_lengths() const;
  void write_queries(const std::vector<reference::Tensors> &sequences) const;
  void write_keys(const std::vector<reference::Tensors> &sequences) const;
  void write_masks(const std::vector<reference::Mask> &masks) const;
  // Row 0 of a head in lse, and in the mask.
  std::size_t lse_row(std::size_t sequence, int head) const;
  std::size_t mask_row(std::size_t sequence, int head) const;
  WorkspacePlaces places(std::size_t sequence) const;
  reference::Mask take_mask(std::size_t sequence, const std::vector<std::uint32_t> &words) const;

  std::shared_ptr<const Device> device_;
  Plan plan_;
  RaggedRun run_;
  KernelSpec select_;
  WorkspaceLayout layout_;

  Placement q_place_, k_place_, v_place_, out_place_;
  GuardedMemory q_, k_, v_, out_, lse_, mask_, workspace_;
  GuardedMemory cu_q_, cu_kv_, q_lens_, kv_lens_, table_;
  GuardedMemory tau_, shift_, kbar_, sink_logits_;
  RunArgs args_;

  std::vector<Shape> shapes_;             ///< Of the sequences that are there.
  std::vector<int> q_starts_, kv_starts_; ///< [batch + 1], where packed.
  std::vector<int> table_entries_;        ///< -1 where there is no page.
};

} // namespace sale::check
