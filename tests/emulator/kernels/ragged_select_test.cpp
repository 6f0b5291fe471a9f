// SPDX-License-Identifier: Apache-2.0
// libsale's select kernels of both families on ragged batches: the mask of every sequence has the bits of its own plain
// call.
#include "tests/emulator/kernels/kernel_test.hpp"
#include "tests/emulator/kernels/plain_attention.hpp"
#include "tests/emulator/kernels/ragged_batch.hpp"
#include "tests/emulator/kernels/ragged_tensor.hpp"

#include "args/select_args.cuh"
#include "args/select_wgmma_args.cuh"
#include "generator/generate.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

namespace sale::test {
namespace {

constexpr int heads = 2; // of keys
constexpr int head_dim = 64;
constexpr int max_q_len = 600;
constexpr int max_kv_len = 700;

using Bytes = std::vector<std::uint8_t>;

struct Case {
  const char *name;
  Estimator estimator = Estimator::int8;
  Arch arch{9, 0, true};
  int gqa = 2;
  int block_q = 64;
  int block_k = 32;
  bool pruned = false;
  bool causal = true;
  int sliding_window = 0;
  int dense_below = 0;
  Placement placement{};
  bool coded_pages = false; ///< Of the placement.
};

void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

// An array of the workspace that has `heads` times some rows for every sequence: each sequence's own, and that of the
// ragged batch, poison where no sequence is.
class Rows {
public:
  Rows(int of_heads, std::size_t row_bytes) : heads_(of_heads), row_bytes_(row_bytes) {}

  void add(int first_row, int rows, const std::function<void(Bytes &)> &fill) {
    first_.push_back(first_row);
    alone_.emplace_back(static_cast<std::size_t>(heads_) * rows * row_bytes_);
    fill(alone_.back());
  }
  const Bytes &bytes(std::size_t b) const { return alone_[b]; }
  std::unique_ptr<DeviceBuffer> alone(std::size_t b) const {
    Bytes bytes = alone_[b];
    bytes.resize((bytes.size() + 19) / 4 * 4, 0xff);
    return Device::get().upload(bytes);
  }
  std::unique_ptr<DeviceBuffer> ragged(int rows_of_head) const {
    Bytes all((static_cast<std::size_t>(heads_) * rows_of_head * row_bytes_ + 19) / 4 * 4, 0xff);
    for (std::size_t b = 0; b < alone_.size(); ++b) {
      const std::size_t own = alone_[b].size() / heads_;
      for (int head = 0; head < heads_; ++head) {
        const std::size_t to = (static_cast<std::size_t>(head) * rows_of_head + first_[b]) * row_bytes_;
        std::copy_n(alone_[b].begin() + static_cast<std::ptrdiff_t>(head * own), own,
                    all.begin() + static_cast<std::ptrdiff_t>(to));
      }
    }
    return Device::get().upload(all);
  }

private:
  int heads_;
  std::size_t row_bytes_;
  std::vector<int> first_;
  std::vector<Bytes> alone_;
};

class RaggedSelect : public KernelTest, public ::testing::WithParamInterface<Case> {
protected:
  void SetUp() override;

  KernelSpec spec_of(bool ragged) const;
  void run(const KernelSpec &spec, const Grid &grid, void *args) const {
    Device::get().run(generate(spec), spec.entry_name().c_str(), grid, static_cast<unsigned>(spec.threads()),
                      static_cast<unsigned>(spec.shared_memory()), {args});
  }
  // Of sequence b alone, or of the batch.
  std::vector<std::uint32_t> mask_of(std::optional<std::size_t> b) const;
  template <class Args>
  void set_common(Args &args, std::optional<std::size_t> b) const;

  std::unique_ptr<DeviceBuffer> code_pages() const;

  int row_bytes() const { return GetParam().estimator == Estimator::exact ? 2 * head_dim : head_dim; }
  int mask_words() const { return 4 * ((max_kv_len / GetParam().block_k + 128) / 128); }

  std::vector<int> q_lens_ = {0, 600, 64, 1, 33, 0, 129};
  std::vector<int> kv_lens_ = {40, 700, 500, 300, 33, 0, 70};
  std::unique_ptr<RaggedBatch> batch_;
  std::unique_ptr<RaggedTensor> q_, k_; // exact
  std::unique_ptr<Rows> q_codes_, q_metadata_, q_scale_, theta_, k_codes_, k_scales_, bias_;
  std::unique_ptr<DeviceBuffer> tau_;
};

void RaggedSelect::SetUp() {
  KernelTest::SetUp();
  if (IsSkipped()) {
    return;
  }
  const Case &c = GetParam();
  const bool packed = c.placement.kind == Placement::Kind::packed;
  std::vector<SequenceLengths> lengths(q_lens_.size());
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    lengths[b].q_len = q_lens_[b];
    lengths[b].kv_len = kv_lens_[b];
  }
  BatchLayout layout;
  layout.num_q_heads = heads * c.gqa;
  layout.block_q = c.block_q;
  layout.packed_q = packed;
  layout.packed_kv = packed;
  layout.causal = c.causal;
  layout.max_q_len = max_q_len;
  layout.max_kv_len = max_kv_len;
  layout.dense_below = c.dense_below;
  batch_ = std::make_unique<RaggedBatch>(lengths, layout);
  q_ = std::make_unique<RaggedTensor>(q_lens_, heads * c.gqa, head_dim, max_q_len,
                                      packed ? Placement{} : Placement{.kind = Placement::Kind::padded}, 1);
  k_ = std::make_unique<RaggedTensor>(kv_lens_, heads, head_dim, max_kv_len, c.placement, 2);

  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const bool fp8 = c.estimator == Estimator::fp8;
  const auto codes = [&](Bytes &to) {
    for (std::uint8_t &code : to) { // of about normal values
      code = fp8 ? static_cast<std::uint8_t>(random() % 24 + 0x28 + random() % 2 * 0x80)
                 : static_cast<std::uint8_t>(static_cast<int>(std::clamp(normal(random), -3.0F, 3.0F) * 20));
    }
  };
  const auto words = [&](Bytes &to, const std::function<std::uint32_t()> &next) {
    for (std::size_t i = 0; i < to.size(); i += 4) {
      const std::uint32_t word = next();
      std::copy_n(reinterpret_cast<const std::uint8_t *>(&word), 4, to.begin() + static_cast<std::ptrdiff_t>(i));
    }
  };
  const auto floats = [&](Bytes &to, const std::function<float()> &next) {
    words(to, [&] { return std::bit_cast<std::uint32_t>(next()); });
  };
  const int groups_bytes = c.estimator == Estimator::int4 ? 16 : 4;
  const int q_bytes = c.pruned ? head_dim / 2 : row_bytes();
  q_codes_ = std::make_unique<Rows>(heads * c.gqa, q_bytes);
  q_metadata_ = std::make_unique<Rows>(heads * c.gqa, head_dim / 64 * 512);
  q_scale_ = std::make_unique<Rows>(heads * c.gqa, 4);
  theta_ = std::make_unique<Rows>(heads * c.gqa, 4);
  k_codes_ = std::make_unique<Rows>(heads, row_bytes());
  k_scales_ = std::make_unique<Rows>(heads, groups_bytes);
  bias_ = std::make_unique<Rows>(heads * c.gqa, 4);
  // About what an estimate deviates by.
  const float deviation = c.estimator == Estimator::exact ? 8.0F : fp8 ? 4.0F : 8.0F * 400;
  for (const ::SequenceEntry &entry : batch_->entries) {
    const int q_padded = (entry.q_len + 127) / 128 * 128;
    const int groups = (entry.kv_len + 31) / 32;
    q_codes_->add(entry.q_row, q_padded, codes);
    // The first two of every four.
    q_metadata_->add(entry.q_row / 64, q_padded / 64, [&](Bytes &to) { words(to, [] { return 0x44444444U; }); });
    q_scale_->add(entry.q_row, q_padded, [&](Bytes &to) { floats(to, [&] { return 0.5F + 0.1F * normal(random); }); });
    int row = 0;
    theta_->add(entry.q_row, q_padded, [&](Bytes &to) {
      floats(to, [&] {
        const bool decides = row++ % std::max(q_padded, 1) < entry.q_len && random() % 8 == 0;
        return decides ? deviation * (2.9F + 0.2F * normal(random)) : std::numeric_limits<float>::infinity();
      });
    });
    k_codes_->add(entry.kv_row, entry.kv_len, codes);
    k_scales_->add(entry.kv_row / 32, fp8 ? (groups + 3) / 4 * 4 : groups, [&](Bytes &to) {
      if (fp8) {
        words(to, [&] { return (random() % 2 + 14) << 10 | (random() % 2 + 14) << 26; });
      } else {
        floats(to, [&] { return 1.0F + 0.1F * normal(random); });
      }
    });
    bias_->add(entry.kv_row, groups * 32, [&](Bytes &to) { floats(to, [&] { return 50 * normal(random); }); });
  }
  std::vector<float> tau(static_cast<std::size_t>(heads) * c.gqa, 0.01F);
  tau[1] = 0; // keeps all
  tau_ = Device::get().upload(tau);
}

KernelSpec RaggedSelect::spec_of(bool ragged) const {
  const Case &c = GetParam();
  KernelSpec spec;
  spec.stage = Stage::select;
  spec.arch = c.arch;
  spec.head_dim = head_dim;
  spec.gqa = c.gqa;
  spec.estimator = c.estimator;
  spec.block_q = c.block_q;
  spec.block_k = c.block_k;
  spec.prune_queries = c.pruned;
  spec.causal = c.causal;
  spec.sliding = c.sliding_window != 0;
  spec.ragged = ragged;
  spec.page_rows = ragged ? c.placement.page_rows() : 0;
  spec.coded_pages = ragged && c.coded_pages;
  spec.tile = default_tile(spec);
  return spec;
}

// Poison where no key is.
std::unique_ptr<DeviceBuffer> RaggedSelect::code_pages() const {
  const ::PagedArg paged = k_->paged();
  const auto size = static_cast<std::size_t>(paged.page_size);
  const auto width = static_cast<std::size_t>(row_bytes());
  Bytes pages(static_cast<std::size_t>(paged.num_pages) * heads * size * width, 0xff);
  for (std::size_t b = 0; b < kv_lens_.size(); ++b) {
    for (int key = 0; key < kv_lens_[b]; ++key) {
      for (int head = 0; head < heads; ++head) {
        const std::size_t to = (static_cast<std::size_t>(k_->page_of(b, key)) * heads + head) * size + key % size;
        std::copy_n(k_codes_->bytes(b).begin() + (static_cast<std::ptrdiff_t>(head) * kv_lens_[b] + key) * row_bytes(),
                    width, pages.begin() + static_cast<std::ptrdiff_t>(to * width));
      }
    }
  }
  return Device::get().upload(pages);
}

template <class Args>
void RaggedSelect::set_common(Args &args, std::optional<std::size_t> b) const {
  const Case &c = GetParam();
  args.tau = tau_->as<float>();
  args.num_q_heads = heads * c.gqa;
  args.q_len = b ? q_lens_[*b] : max_q_len;
  args.kv_len = b ? kv_lens_[*b] : max_kv_len;
  args.sink = 32;
  args.window = 64;
  args.mask_words = mask_words();
  args.sliding_window = c.sliding_window;
  if (!b) {
    args.ragged = batch_->arg();
    args.paged = k_->paged();
  }
}

std::vector<std::uint32_t> RaggedSelect::mask_of(std::optional<std::size_t> b) const {
  const Case &c = GetParam();
  const Device &device = Device::get();
  const KernelSpec spec = spec_of(!b);
  const ::RaggedArg &ragged = batch_->arg();
  const auto upload = [&](const Rows &rows, int ragged_rows) { return b ? rows.alone(*b) : rows.ragged(ragged_rows); };
  const auto q_codes = upload(*q_codes_, ragged.q_rows);
  const auto q_metadata = upload(*q_metadata_, ragged.q_rows / 64);
  const auto q_scale = upload(*q_scale_, ragged.q_rows);
  const auto theta = upload(*theta_, ragged.q_rows);
  const bool in_pages = !b && c.coded_pages;
  const auto k_codes = in_pages ? code_pages() : upload(*k_codes_, ragged.kv_rows);
  const ::PagedArg paged = k_->paged();
  const int box_rows = paged.page_size % 128 == 0 ? 128 : paged.page_size % 64 == 0 ? 64 : 32;
  const auto k_scales = upload(*k_scales_, ragged.kv_rows / 32);
  const auto bias = upload(*bias_, ragged.kv_rows);
  const int q_blocks = b ? (q_lens_[*b] + c.block_q - 1) / c.block_q : 0;
  const int rows = b ? heads * c.gqa * q_blocks : batch_->mask_rows;
  const auto mask = device.allocate(static_cast<std::size_t>(rows) * mask_words() * 4);
  if (spec.family() == KernelFamily::wgmma) {
    const auto next = device.upload(std::vector<unsigned>(1, 0));
    const TensorMap map = device.tensor_map(*k_codes, {.heads = b || in_pages ? heads : 1,
                                                       .rows = b          ? kv_lens_[*b]
                                                               : in_pages ? paged.page_size
                                                                          : heads * ragged.kv_rows,
                                                       .channels = row_bytes(),
                                                       .element_bytes = 1,
                                                       .box_channels = row_bytes(),
                                                       .box_rows = in_pages ? box_rows : spec.tile.keys_per_step,
                                                       .pages = in_pages ? paged.num_pages : 0});
    SelectWgmmaArgs args{};
    std::memcpy(&args.k_codes, &map, sizeof map);
    args.q_codes = q_codes->as<unsigned char>();
    args.q_metadata = q_metadata->as<unsigned>();
    args.k_scales = k_scales->as<unsigned>();
    args.theta = theta->as<float>();
    args.mask = mask->as<unsigned>();
    args.next_item = next->as<unsigned>();
    args.batch = b ? 1 : static_cast<int>(q_lens_.size());
    set_common(args, b);
    args.paged.rows_per_box = box_rows;
    run(spec, {3}, &args);
  } else {
    SelectArgs args{};
    args.q = b ? q_->alone(*b) : q_->arg();
    args.k = b ? k_->alone(*b) : k_->arg();
    args.q_codes = q_codes->as<unsigned char>();
    args.k_codes = k_codes->as<unsigned char>();
    args.k_scales = k_scales->as<float>();
    args.q_scale = q_scale->as<float>();
    args.bias = bias->as<float>();
    args.theta = theta->as<float>();
    args.mask = mask->as<unsigned>();
    set_common(args, b);
    args.paged.codes = in_pages ? k_codes->as<unsigned char>() : nullptr;
    const int tiles =
        b ? (q_lens_[*b] + spec.tile.rows() - 1) / spec.tile.rows() : ragged.slots * 512 / spec.tile.rows();
    run(spec, {static_cast<unsigned>(tiles), static_cast<unsigned>(heads * c.gqa)}, &args);
  }
  return mask->read<std::uint32_t>();
}

TEST_P(RaggedSelect, MaskOfEverySequenceIsThatOfItsOwnPlainCall) {
  const Case &c = GetParam();
  const std::vector<std::uint32_t> got = mask_of(std::nullopt);
  std::vector<bool> written(got.size(), false);
  std::size_t kept = 0;
  std::size_t visible = 0;
  for (std::size_t b = 0; b < q_lens_.size(); ++b) {
    const ::SequenceEntry &entry = batch_->entries[b];
    const int q_blocks = (entry.q_len + c.block_q - 1) / c.block_q;
    if (q_blocks == 0) {
      continue;
    }
    std::vector<std::uint32_t> expected(static_cast<std::size_t>(heads) * c.gqa * q_blocks * mask_words(), 0);
    if (entry.kv_len != 0) {
      expected = mask_of(b);
    }
    for (int head = 0; head < heads * c.gqa; ++head) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(q_blocks) * mask_words(); ++i) {
        const std::size_t at =
            static_cast<std::size_t>(head * batch_->arg().mask_stride + entry.mask_row) * mask_words() + i;
        const std::uint32_t own = expected[static_cast<std::size_t>(head) * q_blocks * mask_words() + i];
        const int block = static_cast<int>(i) / mask_words();
        if (head != 1 && entry.kv_len < c.dense_below) {
          // As the head that keeps all.
          const std::size_t all =
              static_cast<std::size_t>(batch_->arg().mask_stride + entry.mask_row) * mask_words() + i;
          ASSERT_EQ(got[at], got[all]) << "sequence " << b << " head " << head << " block " << block;
        } else {
          ASSERT_EQ(got[at], own) << "sequence " << b << " head " << head << " block " << block;
        }
        written[at] = true;
        kept += static_cast<std::size_t>(std::popcount(own)) * (head != 1);
        const std::uint32_t full = expected[static_cast<std::size_t>(q_blocks) * mask_words() + i];
        visible += static_cast<std::size_t>(std::popcount(full)) * (head != 1);
      }
    }
  }
  EXPECT_LT(kept, visible) << "something is dropped";
  for (std::size_t at = 0; at < got.size(); ++at) {
    ASSERT_TRUE(written[at] || got[at] == ~0U) << "word " << at;
  }
}

constexpr Arch ampere{8, 0};
INSTANTIATE_TEST_SUITE_P(
    Cases, RaggedSelect,
    ::testing::Values(Case{.name = "mma_int8", .arch = ampere},
                      Case{.name = "mma_exact", .estimator = Estimator::exact},
                      Case{.name = "mma_exact_pages_of_48",
                           .estimator = Estimator::exact,
                           .placement = {.kind = Placement::Kind::paged, .page_size = 48, .heads_inside = true}},
                      Case{.name = "mma_exact_pages_of_64",
                           .estimator = Estimator::exact,
                           .gqa = 1,
                           .placement = {.kind = Placement::Kind::paged, .page_size = 64}},
                      Case{.name = "mma_int8_code_pages_of_96",
                           .arch = ampere,
                           .placement = {.kind = Placement::Kind::paged, .page_size = 96},
                           .coded_pages = true},
                      Case{.name = "wgmma_int8_code_pages_of_32",
                           .placement = {.kind = Placement::Kind::paged, .page_size = 32},
                           .coded_pages = true},
                      Case{.name = "wgmma_fp8_code_pages_of_64",
                           .estimator = Estimator::fp8,
                           .placement = {.kind = Placement::Kind::paged, .page_size = 64},
                           .coded_pages = true},
                      Case{.name = "wgmma_fp8_code_pages_of_256",
                           .estimator = Estimator::fp8,
                           .gqa = 1,
                           .placement = {.kind = Placement::Kind::paged, .page_size = 256},
                           .coded_pages = true},
                      Case{.name = "mma_int4_padded",
                           .estimator = Estimator::int4,
                           .arch = Arch{9, 0},
                           .gqa = 1,
                           .block_q = 128,
                           .placement = {.kind = Placement::Kind::padded}},
                      Case{.name = "mma_int8_dense_below", .arch = ampere, .block_k = 64, .dense_below = 400},
                      Case{.name = "wgmma_int8"},
                      Case{.name = "wgmma_fp8", .estimator = Estimator::fp8, .gqa = 3, .block_q = 128},
                      Case{.name = "wgmma_fp8_pruned_padded",
                           .estimator = Estimator::fp8,
                           .pruned = true,
                           .placement = {.kind = Placement::Kind::padded}},
                      Case{.name = "wgmma_fp8_dense_below", .estimator = Estimator::fp8, .gqa = 4, .dense_below = 400},
                      Case{.name = "wgmma_int8_sliding", .block_k = 64, .sliding_window = 400},
                      Case{.name = "wgmma_fp8_all_keys", .estimator = Estimator::fp8, .causal = false}));

} // namespace
} // namespace sale::test
