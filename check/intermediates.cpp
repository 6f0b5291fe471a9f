// SPDX-License-Identifier: Apache-2.0
#include "check/intermediates.hpp"

#include "generator/generate.hpp"
#include "reference/element.hpp"

#include <algorithm>
#include <array>

namespace sale::check {

namespace {

class Reader {
public:
  Reader(const GuardedMemory &workspace, const WorkspaceLayout &layout, const WorkspacePlaces &places,
         const DeviceRun &run, const KernelSpec &select, const Shape &shape)
      : workspace_(workspace), layout_(layout), places_(places), run_(run), spec_(select), shape_(shape) {}

  void read(DeviceResult &result) const {
    const Problem &problem = run_.problem;
    result.threshold = rows_of(layout_.threshold);
    result.kbar = kbar();
    result.qbar = means(layout_.qbar, problem.num_q_heads);
    if (run_.policy.estimator == Estimator::exact) {
      return;
    }
    result.keys.codes = codes(layout_.k_codes, problem.num_kv_heads, shape_.kv_len, places_.keys);
    if (run_.policy.estimator == Estimator::fp8) {
      result.keys.scales = fp8_scales();
      result.channels = channels();
    } else {
      result.keys.scales = scales(run_.policy.estimator == Estimator::int4 ? 4 : 1);
    }
    result.queries.codes = run_.policy.prune_queries
                               ? pruned_codes()
                               : codes(layout_.q_codes, problem.num_q_heads, shape_.q_len, places_.queries);
    result.queries.scales = rows_of(layout_.q_scales);
  }

private:
  std::size_t heads(int per_batch) const { return static_cast<std::size_t>(shape_.batch) * per_batch; }

  // `count` values of each head from its first on, an array's `each` of them at a row.
  template <class T>
  std::vector<T> values_of(const WorkspacePiece &piece, int per_batch, const HeadRows &rows, std::size_t count,
                           std::size_t each = 1) const {
    const auto all = workspace_.read_as<T>(piece.offset, piece.bytes / sizeof(T));
    std::vector<T> values;
    for (std::size_t head = 0; head < heads(per_batch); ++head) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(rows.of(head) * each);
      values.insert(values.end(), begin, begin + static_cast<std::ptrdiff_t>(count * each));
    }
    return values;
  }

  // One value per query row, without the rows that pad a head.
  std::vector<float> rows_of(const WorkspacePiece &piece) const {
    return values_of<float>(piece, run_.problem.num_q_heads, places_.queries, static_cast<std::size_t>(shape_.q_len));
  }

  std::size_t key_groups() const { return static_cast<std::size_t>(reference::ceil_div(shape_.kv_len, 32)); }

  std::vector<float> scales(std::size_t per_group) const {
    return values_of<float>(layout_.k_scales, run_.problem.num_kv_heads, places_.groups, key_groups(), per_group);
  }

  // A word is twice the same f16; the words that pad a head are left out.
  std::vector<float> fp8_scales() const {
    std::vector<float> values;
    for (const std::uint32_t word :
         values_of<std::uint32_t>(layout_.k_scales, run_.problem.num_kv_heads, places_.groups, key_groups())) {
      values.push_back(reference::f16_to_float(static_cast<std::uint16_t>(word)));
    }
    return values;
  }

  // The policy's is copied there for a plain batch alone.
  std::vector<float> kbar() const {
    if (!run_.kbar.empty()) {
      return run_.kbar;
    }
    const bool in_workspace = run_.policy.kbar.empty() || shape_.batch > 1;
    return in_workspace ? means(layout_.kbar, run_.problem.num_kv_heads) : run_.policy.kbar;
  }

  // `count` values of every head, [batch, heads, count].
  template <class T>
  std::vector<T> of_sequences(const WorkspacePiece &piece, int per_batch, std::size_t count) const {
    const std::size_t first = places_.first_sequence * static_cast<std::size_t>(per_batch) * count;
    return workspace_.read_as<T>(piece.offset + first * sizeof(T), heads(per_batch) * count);
  }

  std::vector<float> means(const WorkspacePiece &piece, int per_batch) const {
    return piece.bytes == 0 ? std::vector<float>()
                            : of_sequences<float>(piece, per_batch, static_cast<std::size_t>(run_.problem.head_dim));
  }

  reference::Channels channels() const {
    const Policy &policy = run_.policy;
    const int kv_heads = run_.problem.num_kv_heads;
    const auto width = static_cast<std::size_t>(spec_.estimate_width());
    reference::Channels result;
    if (policy.projection.empty()) {
      if (policy.estimate_dim == 0) {
        for (std::size_t i = 0; i < heads(kv_heads) * width; ++i) {
          result.index.push_back(static_cast<int>(i) % run_.problem.head_dim);
        }
      } else if (policy.channels.empty()) {
        result.index = of_sequences<int>(layout_.channels, kv_heads, width);
      } else {
        for (int b = 0; b < shape_.batch; ++b) {
          result.index.insert(result.index.end(), policy.channels.begin(), policy.channels.end());
        }
      }
    }
    if (policy.prune_queries) {
      result.weights = of_sequences<float>(layout_.weights, kv_heads, width);
    }
    return result;
  }

  // A code is a byte, or on 8.x int4's is a nibble, the even channel low (templates/common/codes.cuh).
  std::vector<std::int8_t> codes(const WorkspacePiece &piece, int per_batch, int count, const HeadRows &rows) const {
    const auto row_bytes = static_cast<std::size_t>(spec_.code_row_bytes());
    const int channels_of_a_row =
        run_.policy.estimator == Estimator::fp8 ? spec_.estimate_width() : run_.problem.head_dim;
    const bool packed = run_.policy.estimator == Estimator::int4 && spec_.arch.has_int4_mma();
    const auto bytes = values_of<std::uint8_t>(piece, per_batch, rows, static_cast<std::size_t>(count), row_bytes);
    std::vector<std::int8_t> values;
    for (std::size_t row = 0; row < bytes.size(); row += row_bytes) {
      for (int d = 0; d < channels_of_a_row; ++d) {
        const std::uint8_t *at = bytes.data() + row;
        const int nibble = at[d / 2] >> (d % 2 * 4) & 15;
        values.push_back(static_cast<std::int8_t>(packed ? (nibble ^ 8) - 8 : at[d]));
      }
    }
    return values;
  }

  // Two of every four channels are there; the metadata say which (templates/prepare/prune.cuh).
  std::vector<std::int8_t> pruned_codes() const {
    const auto width = static_cast<std::size_t>(spec_.estimate_width());
    const auto bytes = workspace_.read(layout_.q_codes.offset, layout_.q_codes.bytes);
    const auto words = workspace_.read_as<std::uint32_t>(layout_.q_metadata.offset, layout_.q_metadata.bytes / 4);
    std::vector<std::int8_t> values;
    for (std::size_t head = 0; head < heads(run_.problem.num_q_heads); ++head) {
      for (std::size_t row = 0; row < static_cast<std::size_t>(shape_.q_len); ++row) {
        const std::size_t at = places_.queries.of(head) + row;
        for (std::size_t four = 0; four < width / 4; ++four) {
          const std::size_t thread = row % 64 / 16 * 32 + row % 8 * 4 + row % 16 / 8 + four % 16 / 8 * 2;
          const std::uint32_t word = words[(at / 64 * (width / 64) + four / 16) * 128 + thread];
          const std::uint32_t pattern = word >> (four % 8 * 4) & 15U;
          std::array<std::int8_t, 4> group{};
          group[pattern & 3U] = static_cast<std::int8_t>(bytes[at * width / 2 + four * 2]);
          group[pattern >> 2U] = static_cast<std::int8_t>(bytes[at * width / 2 + four * 2 + 1]);
          values.insert(values.end(), group.begin(), group.end());
        }
      }
    }
    return values;
  }

  const GuardedMemory &workspace_;
  const WorkspaceLayout &layout_;
  const WorkspacePlaces &places_;
  const DeviceRun &run_;
  const KernelSpec &spec_;
  const Shape &shape_;
};

} // namespace

WorkspacePlaces plain_places(const Shape &shape, Estimator estimator) {
  const auto keys = static_cast<std::size_t>(shape.kv_len);
  const std::size_t groups = (keys + 31) / 32;
  const std::size_t padded = estimator == Estimator::fp8 ? (groups + 3) / 4 * 4 : groups;
  return {0, {0, static_cast<std::size_t>(padded_q_len(shape.q_len))}, {0, keys}, {0, padded}};
}

KernelSpec select_spec(const DeviceRun &run, const Serving &serving, const Arch &arch) {
  const std::vector<KernelSpec> specs = plan_kernels(run.problem, run.policy, arch, serving);
  return *std::find_if(specs.begin(), specs.end(), [](const KernelSpec &spec) { return spec.stage == Stage::select; });
}

void read_intermediates(const GuardedMemory &workspace, const WorkspaceLayout &layout, const WorkspacePlaces &places,
                        const DeviceRun &run, const KernelSpec &select, const Shape &shape, DeviceResult &result) {
  Reader(workspace, layout, places, run, select, shape).read(result);
}

} // namespace sale::check
