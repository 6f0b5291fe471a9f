// SPDX-License-Identifier: Apache-2.0
#include "check/ragged_call.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

namespace sale::check {

namespace {

constexpr int tile_rows = 128; // sequences begin at multiples of it in the workspace
constexpr std::uint32_t poison = ~0U;

RowOrder order_of(bool heads_first) { return heads_first ? RowOrder::heads_first : RowOrder::tokens_first; }

Placement query_place(const RaggedRun &run, int head_dim) {
  const Shape &shape = run.shape;
  const bool packed = shape.total_q != 0;
  return place(packed ? 1 : shape.batch, run.run.problem.num_q_heads, packed ? shape.total_q : shape.q_len, head_dim,
               order_of(!run.run.strided), run.run.strided);
}

int pages_of_a_sequence(const RaggedRun &run) {
  return run.serving.page_size == 0 ? 0 : reference::ceil_div(run.shape.kv_len, run.serving.page_size);
}

// With one page that no sequence can ever have.
int count_pages(const RaggedRun &run) { return run.shape.batch * pages_of_a_sequence(run) + 1; }

// Rows of the table have one entry that no sequence can ever use.
int table_stride(const RaggedRun &run) { return pages_of_a_sequence(run) + 1; }

Placement key_place(const RaggedRun &run, int head_dim) {
  const Shape &shape = run.shape;
  const int heads = run.run.problem.num_kv_heads;
  if (run.serving.page_size != 0) {
    return place(count_pages(run), heads, run.serving.page_size, head_dim, order_of(run.pages_by_head),
                 run.run.strided);
  }
  const bool packed = shape.total_kv != 0;
  return place(packed ? 1 : shape.batch, heads, packed ? shape.total_kv : shape.kv_len, head_dim,
               order_of(!run.run.strided), run.run.strided);
}

std::size_t lse_rows(const RaggedRun &run) {
  const Shape &shape = run.shape;
  return static_cast<std::size_t>(run.run.problem.num_q_heads) *
         static_cast<std::size_t>(shape.total_q != 0 ? shape.total_q : shape.batch * shape.q_len);
}

std::vector<int> starts_of(const std::vector<Shape> &shapes, int Shape::*length, int rows_between) {
  std::vector<int> starts = {0};
  for (const Shape &shape : shapes) {
    starts.push_back(starts.back() + shape.*length + rows_between);
  }
  return starts;
}

template <class T>
const T *write_all(const GuardedMemory &memory, const std::vector<T> &values) {
  memory.write(values.data(), values.size() * sizeof(T));
  return values.empty() ? nullptr : static_cast<const T *>(memory.data());
}

} // namespace

DeviceRun run_of(const RaggedRun &run, std::size_t sequence) {
  DeviceRun result = run.run;
  if (!result.kbar.empty() && !run.kbar_shared) {
    const std::size_t size = result.kbar.size() / static_cast<std::size_t>(run.shape.batch);
    const auto begin = run.run.kbar.begin() + static_cast<std::ptrdiff_t>(sequence * size);
    result.kbar.assign(begin, begin + static_cast<std::ptrdiff_t>(size));
  }
  return result;
}

std::vector<DeviceResult> run_batch_on_device(const RaggedRun &run, const std::vector<reference::Tensors> &sequences,
                                              const std::vector<reference::Mask> &masks,
                                              const std::shared_ptr<const Device> &device, const Options &options,
                                              unsigned seed) {
  const CurrentContext current(*device);
  Options with = options;
  with.cuda_driver = device->driver().file();
  const Engine engine(-1, with);
  const Plan plan = engine.prepare(run.run.problem, run.run.policy, run.serving);
  RaggedCall call(device, plan, parse_arch(engine.arch()), run);
  call.upload(sequences, masks, seed);
  call.launch(nullptr);
  device->driver().check(device->driver().api.stream_synchronize(nullptr), "cuStreamSynchronize");
  return call.download();
}

RaggedCall::RaggedCall(const std::shared_ptr<const Device> &device, const Plan &plan, const Arch &arch, RaggedRun run)
    : device_(device), plan_(plan), run_(std::move(run)), select_(select_spec(run_.run, run_.serving, arch)),
      layout_(workspace_layout(plan_.problem(), plan_.policy(), run_.shape, select_.code_row_bytes(), run_.serving)),
      q_place_(query_place(run_, plan_.problem().head_dim)), k_place_(key_place(run_, plan_.problem().head_dim)),
      v_place_(key_place(run_, effective_v_head_dim(plan_.problem()))),
      out_place_(query_place(run_, effective_v_head_dim(plan_.problem()))), q_(device, q_place_.elements * 2),
      k_(device, k_place_.elements * 2), v_(device, v_place_.elements * 2), out_(device, out_place_.elements * 2),
      lse_(device, lse_rows(run_) * 4), mask_(device, mask_words(plan_.problem(), plan_.policy(), run_.shape) * 4),
      workspace_(device, plan_.workspace_bytes(run_.shape)),
      cu_q_(device, static_cast<std::size_t>(run_.shape.batch + 1) * 4),
      cu_kv_(device, static_cast<std::size_t>(run_.shape.batch + 1) * 4),
      q_lens_(device, static_cast<std::size_t>(run_.shape.batch) * 4),
      kv_lens_(device, static_cast<std::size_t>(run_.shape.batch) * 4),
      table_(device, static_cast<std::size_t>(run_.shape.batch) * static_cast<std::size_t>(table_stride(run_)) * 4),
      tau_(device, run_.run.tau.size() * 4), shift_(device, run_.run.shift.size() * 4),
      kbar_(device, run_.run.kbar.size() * 4),
      sink_logits_(device, static_cast<std::size_t>(plan_.problem().num_q_heads) * 4) {
  const auto ints = [](const GuardedMemory &memory, bool given) {
    return given ? static_cast<const std::int32_t *>(memory.data()) : nullptr;
  };
  args_.shape = run_.shape;
  args_.q = q_place_.view(q_);
  args_.k = k_place_.view(k_);
  args_.v = v_place_.view(v_);
  args_.out = out_place_.view(out_);
  args_.lse = static_cast<float *>(lse_.data());
  args_.workspace = workspace_.data();
  args_.workspace_bytes = workspace_.bytes();
  auto *mask = static_cast<std::uint32_t *>(mask_.data());
  args_.mask_in = run_.mask_given ? mask : nullptr;
  args_.mask_out = run_.mask_given || run_.run.dense ? nullptr : mask;
  args_.tau = write_all(tau_, run_.run.tau);
  args_.shift = write_all(shift_, run_.run.shift);
  args_.kbar = write_all(kbar_, run_.run.kbar);
  args_.kbar_shared = run_.kbar_shared;
  args_.sink_logits = plan_.problem().sink_logits ? static_cast<const float *>(sink_logits_.data()) : nullptr;
  // Where rows lie between packed sequences, those that begin do not say how long they are.
  const bool gaps = run_.rows_between != 0;
  args_.cu_seqlens_q = ints(cu_q_, packed());
  args_.cu_seqlens_kv = ints(cu_kv_, packed_keys());
  args_.q_lens = ints(q_lens_, packed() ? gaps : !run_.uniform);
  args_.kv_lens = ints(kv_lens_, packed_keys() ? gaps : !run_.uniform);
  if (paged()) {
    args_.block_table = ints(table_, true);
    args_.block_table_stride = table_stride(run_);
    args_.num_pages = count_pages(run_);
  }
}

void RaggedCall::upload(const std::vector<reference::Tensors> &sequences, const std::vector<reference::Mask> &masks,
                        unsigned seed) {
  shapes_.clear();
  for (const reference::Tensors &sequence : sequences) {
    shapes_.push_back(sequence.shape);
  }
  q_starts_ = starts_of(shapes_, &Shape::q_len, run_.rows_between);
  kv_starts_ = starts_of(shapes_, &Shape::kv_len, run_.rows_between);
  for (const GuardedMemory *memory : {&out_, &lse_, &mask_, &workspace_}) {
    memory->poison();
  }
  choose_pages(seed);
  write_lengths();
  write_queries(sequences);
  write_keys(sequences);
  if (run_.mask_given) {
    write_masks(masks);
  }
  write_all(sink_logits_, sequences.front().sink_logits);
}

void RaggedCall::launch(CUstream_st *stream) const {
  if (run_.run.dense) {
    plan_.run_dense(args_, stream);
  } else {
    plan_.run(args_, stream);
  }
}

// Shuffled, so that no two neighbours are neighbours in memory but by chance.
void RaggedCall::choose_pages(unsigned seed) {
  std::vector<int> ids(static_cast<std::size_t>(count_pages(run_)));
  std::iota(ids.begin(), ids.end(), 0);
  std::mt19937 random(seed);
  std::shuffle(ids.begin(), ids.end(), random);
  table_entries_.assign(static_cast<std::size_t>(run_.shape.batch) * static_cast<std::size_t>(table_stride(run_)), -1);
  if (!paged()) {
    return;
  }
  for (std::size_t b = 0; b < shapes_.size(); ++b) {
    const int pages = reference::ceil_div(shapes_[b].kv_len, run_.serving.page_size);
    for (int page = 0; page < pages; ++page) {
      table_entries_[b * static_cast<std::size_t>(table_stride(run_)) + static_cast<std::size_t>(page)] = ids.back();
      ids.pop_back();
    }
  }
}

void RaggedCall::write_lengths() const {
  std::vector<int> q_lens;
  std::vector<int> kv_lens;
  for (const Shape &shape : shapes_) {
    q_lens.push_back(shape.q_len);
    kv_lens.push_back(shape.kv_len);
  }
  write_all(q_lens_, q_lens);
  write_all(kv_lens_, kv_lens);
  write_all(cu_q_, q_starts_);
  write_all(cu_kv_, kv_starts_);
  write_all(table_, table_entries_);
}

void RaggedCall::write_queries(const std::vector<reference::Tensors> &sequences) const {
  ElementImage image(q_place_, plan_.problem().dtype);
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    for (int h = 0; h < q_place_.heads; ++h) {
      for (int i = 0; i < shapes_[b].q_len; ++i) {
        image.put_row(packed() ? 0 : static_cast<int>(b), h, (packed() ? q_starts_[b] : 0) + i,
                      sequences[b].query(0, h, i));
      }
    }
  }
  image.write_to(q_);
}

void RaggedCall::write_keys(const std::vector<reference::Tensors> &sequences) const {
  ElementImage keys(k_place_, plan_.problem().dtype);
  ElementImage values(v_place_, plan_.problem().dtype);
  const int page_size = run_.serving.page_size;
  for (std::size_t b = 0; b < sequences.size(); ++b) {
    for (int j = 0; j < shapes_[b].kv_len; ++j) {
      int entry = packed_keys() ? 0 : static_cast<int>(b);
      int token = packed_keys() ? kv_starts_[b] + j : j;
      if (paged()) {
        entry =
            table_entries_[b * static_cast<std::size_t>(table_stride(run_)) + static_cast<std::size_t>(j / page_size)];
        token = j % page_size;
      }
      for (int g = 0; g < k_place_.heads; ++g) {
        keys.put_row(entry, g, token, sequences[b].key(0, g, j));
        values.put_row(entry, g, token, sequences[b].value(0, g, j));
      }
    }
  }
  keys.write_to(k_);
  values.write_to(v_);
}

std::size_t RaggedCall::lse_row(std::size_t sequence, int head) const {
  const auto h = static_cast<std::size_t>(head);
  if (packed()) {
    return h * static_cast<std::size_t>(run_.shape.total_q) + static_cast<std::size_t>(q_starts_[sequence]);
  }
  const auto heads = static_cast<std::size_t>(plan_.problem().num_q_heads);
  return (sequence * heads + h) * static_cast<std::size_t>(run_.shape.q_len);
}

// docs/numerics.md, section 16
std::size_t RaggedCall::mask_row(std::size_t sequence, int head) const {
  const int block_q = plan_.policy().block_q;
  const auto h = static_cast<std::size_t>(head);
  if (packed()) {
    return h * static_cast<std::size_t>(run_.shape.total_q / block_q + run_.shape.batch) +
           static_cast<std::size_t>(q_starts_[sequence] / block_q) + sequence;
  }
  const auto heads = static_cast<std::size_t>(plan_.problem().num_q_heads);
  return (sequence * heads + h) * static_cast<std::size_t>(reference::ceil_div(run_.shape.q_len, block_q));
}

// Rows that no sequence has stay poisoned; blocks past a sequence's last are not kept.
void RaggedCall::write_masks(const std::vector<reference::Mask> &masks) const {
  const auto width = static_cast<std::size_t>(mask_row_words(plan_.policy(), run_.shape.kv_len));
  std::vector<std::uint32_t> words(mask_.bytes() / 4, poison);
  for (std::size_t b = 0; b < masks.size(); ++b) {
    const reference::Mask &mask = masks[b];
    auto from = mask.words().begin();
    for (int h = 0; h < mask.num_q_heads(); ++h) {
      for (int m = 0; m < mask.q_blocks(); ++m, from += mask.words_per_row()) {
        const std::size_t row = mask_row(b, h) + static_cast<std::size_t>(m);
        const auto to = words.begin() + static_cast<std::ptrdiff_t>(row * width);
        std::fill(std::copy_n(from, mask.words_per_row(), to), to + static_cast<std::ptrdiff_t>(width), 0U);
      }
    }
  }
  write_all(mask_, words);
}

reference::Mask RaggedCall::take_mask(std::size_t sequence, const std::vector<std::uint32_t> &words) const {
  reference::Mask mask(shapes_[sequence], plan_.problem().num_q_heads, plan_.policy().block_q, plan_.policy().block_k);
  const auto width = static_cast<std::ptrdiff_t>(mask_row_words(plan_.policy(), run_.shape.kv_len));
  std::vector<std::uint32_t> own;
  for (int h = 0; h < mask.num_q_heads(); ++h) {
    for (int m = 0; m < mask.q_blocks(); ++m) {
      const auto row =
          words.begin() + static_cast<std::ptrdiff_t>(mask_row(sequence, h) + static_cast<std::size_t>(m)) * width;
      own.insert(own.end(), row, row + mask.words_per_row());
      if (std::any_of(row + mask.words_per_row(), row + width, [](std::uint32_t word) { return word != 0; })) {
        throw Error(ErrorKind::launch, "a row of the mask has a bit past the last key of its sequence");
      }
    }
  }
  mask.assign_words(std::move(own));
  return mask;
}

WorkspacePlaces RaggedCall::places(std::size_t sequence) const {
  const Shape &shape = run_.shape;
  const auto rows = [&](int total, int length, const std::vector<int> &starts) {
    const auto batch = static_cast<std::size_t>(shape.batch);
    const auto padded = static_cast<std::size_t>(reference::ceil_div(length, tile_rows));
    const HeadRows tiles = total == 0 ? HeadRows{sequence * padded, batch * padded}
                                      : HeadRows{static_cast<std::size_t>(starts[sequence] / tile_rows) + sequence,
                                                 static_cast<std::size_t>(total / tile_rows) + batch};
    return HeadRows{tiles.first * tile_rows, tiles.stride * tile_rows};
  };
  const HeadRows keys = rows(shape.total_kv, shape.kv_len, kv_starts_);
  return {sequence, rows(shape.total_q, shape.q_len, q_starts_), keys, {keys.first / 32, keys.stride / 32}};
}

std::vector<DeviceResult> RaggedCall::download() const {
  std::vector<DeviceResult> results(shapes_.size());
  ElementImage out(out_place_, plan_.problem().dtype, out_);
  auto lse = lse_.read_as<std::uint32_t>(0, lse_.bytes() / 4);
  const auto words = mask_.read_as<std::uint32_t>(0, mask_.bytes() / 4);
  for (std::size_t b = 0; b < shapes_.size(); ++b) {
    DeviceResult &result = results[b];
    const Shape &shape = shapes_[b];
    for (int h = 0; h < out_place_.heads; ++h) {
      for (int i = 0; i < shape.q_len; ++i) {
        out.take_row(packed() ? 0 : static_cast<int>(b), h, (packed() ? q_starts_[b] : 0) + i, result.out);
        std::uint32_t &bits = lse[lse_row(b, h) + static_cast<std::size_t>(i)];
        float value = 0;
        std::memcpy(&value, &bits, sizeof value);
        result.lse.push_back(value);
        bits = poison;
      }
    }
    if (args_.mask_out != nullptr && shape.q_len != 0 && shape.kv_len != 0) {
      result.mask = take_mask(b, words);
      read_intermediates(workspace_, layout_, places(b), run_of(run_, b), select_, shape, result);
    }
  }
  bool intact = out.is_untouched() && std::all_of(lse.begin(), lse.end(), [](auto bits) { return bits == poison; });
  for (const GuardedMemory *memory : {&q_, &k_, &v_, &out_, &lse_, &mask_, &workspace_}) {
    intact = intact && memory->guards_intact();
  }
  for (DeviceResult &result : results) {
    result.guards_intact = intact;
    result.kernels = plan_.kernels();
  }
  return results;
}

} // namespace sale::check
