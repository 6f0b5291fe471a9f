// SPDX-License-Identifier: Apache-2.0
// libsale's sequences kernel against a model of it (RaggedBatch); and with lengths that promise more than there is.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/ragged_batch.hpp"

#include "args/sequences_args.cuh"
#include "generator/generate.hpp"

#include <algorithm>
#include <climits>
#include <random>

namespace sale::test {
namespace {

class Sequences : public KernelTest {
protected:
  // What the kernel is to write to, and the capacity of a batch.
  SequencesArgs args_for(const RaggedBatch &batch, int sequences, const BatchLayout &layout) {
    const Device &device = Device::get();
    entries_ = device.allocate(static_cast<std::size_t>(sequences) * sizeof(SequenceEntry));
    counts_ = device.allocate(sizeof(SequenceCounts));
    row_units_ = device.allocate(static_cast<std::size_t>(batch.arg().slots) * 4);
    key_units_ = device.allocate(batch.key_units.size() * 4);
    SequencesArgs args{};
    args.sequences = entries_->as<SequenceEntry>();
    args.counts = counts_->as<SequenceCounts>();
    args.row_units = row_units_->as<unsigned>();
    args.key_units = key_units_->as<unsigned>();
    args.batch = sequences;
    args.q_len = batch.max_q_len;
    args.kv_len = batch.max_kv_len;
    args.total_q = layout.packed_q ? batch.total_q : 0;
    args.total_kv = layout.packed_kv ? batch.total_kv : 0;
    args.num_q_heads = layout.num_q_heads;
    args.block_q = layout.block_q;
    args.q_rows = batch.arg().q_rows;
    args.kv_rows = batch.arg().kv_rows;
    args.slots = batch.arg().slots;
    args.causal = layout.causal ? 1 : 0;
    args.sliding_window = layout.sliding_window;
    return args;
  }

  const int *upload(const std::vector<int> &values) {
    lengths_.push_back(Device::get().upload(values));
    return lengths_.back()->as<const int>();
  }

  static void run(SequencesArgs &args) {
    KernelSpec spec;
    spec.stage = Stage::sequences;
    spec.ragged = true;
    spec.tile = default_tile(spec);
    Device::get().run(generate(spec), spec.entry_name().c_str(), {}, static_cast<unsigned>(spec.threads()),
                      static_cast<unsigned>(spec.shared_memory()), {&args});
  }

  void expect_equal(const std::vector<SequenceLengths> &sequences, const BatchLayout &layout) {
    const RaggedBatch batch(sequences, layout);
    SequencesArgs args = args_for(batch, static_cast<int>(sequences.size()), layout);
    std::vector<int> cu_q = {0};
    std::vector<int> cu_kv = {0};
    std::vector<int> q_lens, kv_lens, positions, offsets, coded;
    for (const SequenceLengths &sequence : sequences) {
      cu_q.push_back(cu_q.back() + sequence.q_len);
      cu_kv.push_back(cu_kv.back() + sequence.kv_len);
      q_lens.push_back(sequence.q_len);
      kv_lens.push_back(sequence.kv_len);
      positions.push_back(sequence.position.value_or(sequence.kv_len - sequence.q_len));
      offsets.push_back(sequence.key_offset);
      coded.push_back(sequence.coded_len);
    }
    args.cu_q = layout.packed_q ? upload(cu_q) : nullptr;
    args.cu_kv = layout.packed_kv ? upload(cu_kv) : nullptr;
    args.q_lens = layout.packed_q ? nullptr : upload(q_lens);
    args.kv_lens = layout.packed_kv ? nullptr : upload(kv_lens);
    args.q_positions = upload(positions);
    args.key_offsets = upload(offsets);
    args.coded_lens = upload(coded);
    run(args);

    const auto entries = entries_->read<SequenceEntry>();
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      const SequenceEntry &got = entries[b];
      const SequenceEntry &expected = batch.entries[b];
      const auto fields = [](const SequenceEntry &e) {
        return std::vector<long long>{e.q_len, e.kv_len, e.position, e.key_offset, e.q_start,  e.kv_start,
                                      e.q_row, e.kv_row, e.lse_row,  e.mask_row,   e.coded_len};
      };
      EXPECT_EQ(fields(got), fields(expected)) << "sequence " << b;
    }
    const SequenceCounts counts = counts_->read<SequenceCounts>()[0];
    EXPECT_EQ(counts.row_units, batch.counts.row_units);
    EXPECT_EQ(counts.kv_tokens, batch.counts.kv_tokens);
    auto row_units = row_units_->read<unsigned>();
    row_units.resize(static_cast<std::size_t>(counts.row_units));
    EXPECT_EQ(row_units, std::vector(batch.row_units.begin(), batch.row_units.begin() + counts.row_units));
    EXPECT_EQ(key_units_->read<unsigned>(), batch.key_units);
  }

  std::unique_ptr<DeviceBuffer> entries_, counts_, row_units_, key_units_;
  std::vector<std::unique_ptr<DeviceBuffer>> lengths_;
};

TEST_F(Sequences, OfAnyLengthsAreThoseOfTheModel) {
  std::mt19937 random(7);
  const auto below = [&](int end) { return static_cast<int>(random() % static_cast<unsigned>(end)); };
  for (int round = 0; round < 24; ++round) {
    const int most = round % 3 == 0 ? 300 : 5000;
    std::vector<SequenceLengths> sequences(static_cast<std::size_t>(round == 0 ? 1100 : 1 + below(40)));
    for (SequenceLengths &sequence : sequences) {
      sequence.kv_len = below(4) == 0 ? 128 * below(4) : below(most);
      sequence.q_len = below(4) == 0 ? 512 * below(3) : below(most);
      sequence.key_offset = below(1000);
      sequence.coded_len = below(sequence.kv_len + 1);
      if (round % 4 == 3) {
        sequence.position = below(2 * most) - most;
      }
    }
    sequences.front().kv_len = std::max(1, sequences.front().kv_len);
    sequences.back().q_len = std::max(1, sequences.back().q_len);
    BatchLayout layout;
    layout.num_q_heads = 1 + below(8);
    layout.block_q = round % 2 == 0 ? 64 : 128;
    layout.packed_q = below(2) == 0;
    layout.packed_kv = below(2) == 0;
    layout.causal = below(3) != 0;
    layout.max_q_len = layout.packed_q ? 0 : 5120;
    layout.sliding_window = layout.causal && below(2) == 0 ? 700 : 0;
    SCOPED_TRACE(round);
    Device::get().set_schedule(schedules[round % 3]);
    expect_equal(sequences, layout);
  }
}

TEST_F(Sequences, WithoutLengthsAreUniform) {
  const BatchLayout layout = {.packed_q = false, .packed_kv = false};
  const RaggedBatch batch({{600, 900}, {600, 900}, {600, 900}}, layout);
  SequencesArgs args = args_for(batch, 3, layout);
  run(args);
  for (const SequenceEntry &entry : entries_->read<SequenceEntry>()) {
    EXPECT_EQ(entry.q_len, 600);
    EXPECT_EQ(entry.kv_len, 900);
    EXPECT_EQ(entry.position, 300);
    EXPECT_EQ(entry.key_offset, 0);
    EXPECT_EQ(entry.coded_len, 300);
  }
  EXPECT_EQ(row_units_->read<unsigned>(), (std::vector<unsigned>{1, 0x10001, 0x20001, 0, 0x10000, 0x20000}));
}

TEST_F(Sequences, ThatPromiseTooMuchStayWithinTheirArrays) {
  std::mt19937 random(3);
  for (int round = 0; round < 8; ++round) {
    BatchLayout layout;
    layout.packed_q = round % 2 == 0;
    layout.packed_kv = round % 4 < 2;
    const RaggedBatch batch({{700, 900}, {2000, 100}, {0, 0}, {1, 3000}}, layout);
    SequencesArgs args = args_for(batch, 4, layout);
    const auto anything = [&](std::size_t count) {
      std::vector<int> values(count);
      for (int &value : values) {
        const int kind = static_cast<int>(random() % 4);
        value = kind == 0 ? INT_MAX : kind == 1 ? INT_MIN : static_cast<int>(random() % 4000);
      }
      return upload(values);
    };
    args.cu_q = layout.packed_q ? anything(5) : nullptr;
    args.cu_kv = layout.packed_kv ? anything(5) : nullptr;
    args.q_lens = round < 6 ? anything(4) : nullptr;
    args.kv_lens = round < 6 ? anything(4) : nullptr;
    args.q_positions = anything(4);
    args.key_offsets = anything(4);
    args.coded_lens = anything(4);
    run(args);
    for (const SequenceEntry &entry : entries_->read<SequenceEntry>()) {
      EXPECT_GE(std::min({entry.q_len, entry.kv_len, entry.q_start, entry.kv_start, entry.key_offset}), 0);
      EXPECT_LE(entry.q_len, args.q_len);
      EXPECT_LE(entry.kv_len, args.kv_len);
      EXPECT_LE(entry.q_start + entry.q_len, layout.packed_q ? args.total_q : args.q_len);
      EXPECT_LE(entry.kv_start + entry.kv_len, layout.packed_kv ? args.total_kv : args.kv_len);
      EXPECT_LE(entry.q_row + (entry.q_len + 127) / 128 * 128, args.q_rows);
      EXPECT_LE(entry.kv_row + (entry.kv_len + 127) / 128 * 128, args.kv_rows);
      EXPECT_LE(entry.coded_len, entry.kv_len);
    }
    const int units = counts_->read<SequenceCounts>()[0].row_units;
    ASSERT_LE(units, args.slots);
    std::vector<unsigned> row_units = row_units_->read<unsigned>();
    row_units.resize(static_cast<std::size_t>(units));
    std::sort(row_units.begin(), row_units.end());
    EXPECT_EQ(std::adjacent_find(row_units.begin(), row_units.end()), row_units.end());
    for (const unsigned unit : row_units) {
      EXPECT_LT(unit >> 16, 4U);
    }
    for (const unsigned owner : key_units_->read<unsigned>()) {
      EXPECT_TRUE(owner < 4 || owner == ~0U);
    }
  }
}

TEST_F(Sequences, IsGoodOnHopper) {
  KernelSpec spec;
  spec.stage = Stage::sequences;
  spec.arch = {9, 0, true};
  spec.ragged = true;
  spec.tile = default_tile(spec);
  expect_good_hopper_code(generate(spec));
}

} // namespace
} // namespace sale::test
