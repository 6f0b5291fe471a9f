// SPDX-License-Identifier: Apache-2.0
#include "bench/serving.hpp"

#include "bench/results.hpp"
#include "reference/element.hpp"
#include "reference/mask.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <list>
#include <numeric>
#include <random>
#include <utility>

namespace sale::bench {

namespace {

constexpr unsigned page_seed = 1;
constexpr int coded_page = 64; // keys of a page beside which codes are kept

[[noreturn]] void refuse(const std::string &sentence) { throw Error(ErrorKind::invalid_argument, sentence); }

// Half of the tokens, half of the rest, and so on to the last two, which are alike.
std::vector<int> halves(int tokens) {
  constexpr int shortest = 512;
  std::vector<int> lengths;
  while (tokens / 2 >= shortest) {
    lengths.push_back(tokens - tokens / 2);
    tokens /= 2;
  }
  lengths.push_back(tokens);
  return lengths;
}

// Rows from token `first` on.
TensorView from_token(TensorView view, int first) {
  view.data = static_cast<std::uint16_t *>(view.data) + first * view.stride_token;
  return view;
}

} // namespace

class ServingCalls::Maker {
public:
  Maker(std::shared_ptr<const Device> device, const Engine &engine, const Policy &policy, const io::Qkv &qkv,
        const DeviceCall &call)
      : device_(std::move(device)), engine_(engine), policy_(policy), qkv_(qkv), call_(call),
        tokens_(qkv.shape.kv_len) {
    if (qkv.shape.batch != 1 || qkv.shape.q_len != tokens_) {
      refuse("--serving cuts up one sequence of as many queries as keys; leave --batch at 1");
    }
  }

  ServingPair make(const ServingRequest &request) {
    switch (request.kind) {
    case ServingKind::packed: return packed_equal(request);
    case ServingKind::halves: return packed_halves(request);
    case ServingKind::paged: return paged(request);
    case ServingKind::chunks:
    case ServingKind::coded_chunks: return chunks(request);
    }
    return {};
  }

private:
  const Plan &plan(const Serving &serving) {
    return plans_.emplace_back(engine_.prepare(qkv_.problem, policy_, serving));
  }

  template <class T>
  T *upload(const std::vector<T> &values) {
    DeviceArray &array = arrays_.emplace_back(device_, values.size() * sizeof(T));
    array.upload(values.data());
    return static_cast<T *>(array.data());
  }

  RunArgs args(const Plan &plan, const Shape &shape) {
    RunArgs args = call_.args();
    args.shape = shape;
    DeviceArray &workspace = arrays_.emplace_back(device_, plan.workspace_bytes(shape));
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.bytes();
    return args;
  }

  RunArgs packed_args(const Plan &plan, const std::vector<int> &lengths) {
    std::vector<std::int32_t> starts(lengths.size() + 1);
    std::partial_sum(lengths.begin(), lengths.end(), starts.begin() + 1);
    const int longest = *std::max_element(lengths.begin(), lengths.end());
    RunArgs a = args(plan, {.batch = static_cast<int>(lengths.size()),
                            .q_len = longest,
                            .kv_len = longest,
                            .total_q = tokens_,
                            .total_kv = tokens_});
    a.cu_seqlens_q = upload(starts);
    a.cu_seqlens_kv = a.cu_seqlens_q;
    return a;
  }

  static ServingPair pair_of_calls(const std::string &name, const std::string &plain_name, const Plan &serving,
                                   const RunArgs &args, const Plan &plain, const RunArgs &plain_args) {
    return {name,
            plain_name,
            [=, &serving] { serving.run(args, nullptr); },
            [=, &plain] { plain.run(plain_args, nullptr); },
            nullptr,
            [=, &serving] { return serving.profile(args, nullptr); },
            [=, &plain] { return plain.profile(plain_args, nullptr); }};
  }

  ServingPair packed_equal(const ServingRequest &request) {
    if (tokens_ % request.number != 0) {
      refuse(fmt::format("{} does not cut {} tokens into equal sequences", request.name, tokens_));
    }
    const int length = tokens_ / request.number;
    const Plan &plain = plan({});
    RunArgs batch = args(plain, {.batch = request.number, .q_len = length, .kv_len = length});
    for (TensorView *view : {&batch.q, &batch.k, &batch.v, &batch.out}) {
      view->stride_batch = length * view->stride_token;
    }
    const Plan &ragged = plan({.ragged = true});
    const RunArgs packed = packed_args(ragged, std::vector<int>(static_cast<std::size_t>(request.number), length));
    return pair_of_calls(request.name, fmt::format("a batch of {}", request.number), ragged, packed, plain, batch);
  }

  ServingPair packed_halves(const ServingRequest &request) {
    const std::vector<int> lengths = halves(tokens_);
    const Plan &plain = plan({});
    std::vector<RunArgs> calls;
    int first = 0;
    for (const int length : lengths) {
      RunArgs &a = calls.emplace_back(args(plain, {.batch = 1, .q_len = length, .kv_len = length}));
      for (TensorView *view : {&a.q, &a.k, &a.v, &a.out}) {
        *view = from_token(*view, first);
      }
      first += length;
    }
    const Plan &ragged = plan({.ragged = true});
    const RunArgs packed = packed_args(ragged, lengths);
    return {request.name,
            fmt::format("{} calls", lengths.size()),
            [=, &ragged] { ragged.run(packed, nullptr); },
            [=, &plain] {
              for (const RunArgs &call : calls) {
                plain.run(call, nullptr);
              }
            },
            nullptr,
            [=, &ragged] { return ragged.profile(packed, nullptr); },
            [=, &plain] { return profile_of(plain, calls); }};
  }

  // [num_pages, page_size, heads, head_dim], in an order that means nothing.
  TensorView upload_pages(const std::vector<std::uint16_t> &values, const std::vector<std::int32_t> &table, int size) {
    const auto heads = static_cast<std::size_t>(qkv_.problem.num_kv_heads);
    const std::size_t dim = values.size() / heads / static_cast<std::size_t>(tokens_);
    std::vector<std::uint16_t> pages(table.size() * static_cast<std::size_t>(size) * heads * dim);
    for (std::size_t token = 0; token < static_cast<std::size_t>(tokens_); ++token) {
      const auto page = static_cast<std::size_t>(table[token / static_cast<std::size_t>(size)]);
      const std::size_t row = page * static_cast<std::size_t>(size) + token % static_cast<std::size_t>(size);
      for (std::size_t head = 0; head < heads; ++head) {
        std::memcpy(&pages[(row * heads + head) * dim],
                    &values[(head * static_cast<std::size_t>(tokens_) + token) * dim], dim * sizeof(values[0]));
      }
    }
    const auto stride = static_cast<std::int64_t>(heads * dim);
    return {upload(pages), stride * size, static_cast<std::int64_t>(dim), stride};
  }

  RunArgs paged_args(const Plan &plan, int size) {
    std::vector<std::int32_t> table(static_cast<std::size_t>((tokens_ + size - 1) / size));
    std::iota(table.begin(), table.end(), 0);
    std::shuffle(table.begin(), table.end(), std::mt19937(page_seed));
    RunArgs a = args(plan, qkv_.shape);
    a.k = upload_pages(qkv_.k, table, size);
    a.v = upload_pages(qkv_.v, table, size);
    a.block_table = upload(table);
    a.block_table_stride = static_cast<int>(table.size());
    a.num_pages = a.block_table_stride;
    return a;
  }

  ServingPair paged(const ServingRequest &request) {
    const Plan &plain = plan({});
    const Plan &paged = plan({.page_size = request.number});
    return pair_of_calls(request.name, "one call", paged, paged_args(paged, request.number), plain,
                         args(plain, qkv_.shape));
  }

  // What chunks and the whole smooth K by.
  std::vector<float> mean_of_keys() const {
    const auto heads = static_cast<std::size_t>(qkv_.problem.num_kv_heads);
    const std::size_t head_size = qkv_.k.size() / heads;
    const std::size_t dim = head_size / static_cast<std::size_t>(tokens_);
    std::vector<double> sums(heads * dim);
    for (std::size_t i = 0; i < qkv_.k.size(); ++i) {
      sums[i / head_size * dim + i % dim] += reference::element_to_float(qkv_.k[i], qkv_.problem.dtype);
    }
    std::vector<float> mean(sums.size());
    std::transform(sums.begin(), sums.end(), mean.begin(),
                   [&](double sum) { return static_cast<float>(sum / tokens_); });
    return mean;
  }

  std::vector<std::uint32_t> mask_of(const Plan &plan, RunArgs args) {
    std::vector<std::uint32_t> words(mask_words(qkv_.problem, policy_, args.shape));
    DeviceArray mask(device_, words.size() * sizeof(words[0]));
    args.mask_out = static_cast<std::uint32_t *>(mask.data());
    plan.run(args, nullptr);
    mask.download(words.data());
    return words;
  }

  ServingPair chunks(const ServingRequest &request) {
    if (request.number % policy_.block_q != 0) {
      refuse(fmt::format("{} cuts query blocks in two; give a multiple of block_q {}", request.name, policy_.block_q));
    }
    const Plan &plain = plan({});
    RunArgs whole = args(plain, qkv_.shape);
    whole.kbar = upload(mean_of_keys());
    const bool coded = request.kind == ServingKind::coded_chunks;
    const Plan &chunked = coded ? plan({.page_size = coded_page, .code_cache = true}) : plain;
    RunArgs chunk = coded ? paged_args(chunked, coded_page) : whole;
    chunk.kbar = whole.kbar;
    if (coded) {
      chunk.code_cache = arrays_.emplace_back(device_, chunked.code_cache_bytes(chunk.num_pages)).data();
    }
    std::vector<RunArgs> calls;
    for (int first = 0; first < tokens_; first += request.number) {
      RunArgs &a = calls.emplace_back(chunk);
      const int rows = std::min(request.number, tokens_ - first);
      a.shape = {.batch = 1, .q_len = rows, .kv_len = first + rows};
      a.q = from_token(a.q, first);
      a.out = from_token(a.out, first);
    }
    return {request.name,
            "one call",
            [=, &chunked] {
              for (const RunArgs &call : calls) {
                chunked.run(call, nullptr);
              }
            },
            [=, &plain] { plain.run(whole, nullptr); },
            [=, &plain, &chunked, this] { return different_bits(mask_of(plain, whole), whole.shape, chunked, calls); },
            [=, &chunked] { return profile_of(chunked, calls); },
            [=, &plain] { return plain.profile(whole, nullptr); }};
  }

  static StageTimes profile_of(const Plan &plan, const std::vector<RunArgs> &calls) {
    StageTimes sum;
    for (const RunArgs &call : calls) {
      const StageTimes times = plan.profile(call, nullptr);
      for (const auto &[name, stage] : stages) {
        sum.*stage += times.*stage;
      }
    }
    return sum;
  }

  // Rows of the chunks' masks are as long as the keys that they have.
  std::size_t different_bits(const std::vector<std::uint32_t> &whole, const Shape &shape, const Plan &plan,
                             const std::vector<RunArgs> &chunks) {
    const auto rows_of = [&](const Shape &s) {
      return static_cast<std::size_t>((s.q_len + policy_.block_q - 1) / policy_.block_q);
    };
    const auto heads = static_cast<std::size_t>(qkv_.problem.num_q_heads);
    const std::size_t width = whole.size() / heads / rows_of(shape);
    std::size_t different = 0;
    std::size_t first_row = 0;
    for (const RunArgs &chunk : chunks) {
      const std::vector<std::uint32_t> part = mask_of(plan, chunk);
      const std::size_t rows = rows_of(chunk.shape);
      const std::size_t part_width = part.size() / heads / rows;
      for (std::size_t i = 0; i < heads * rows * width; ++i) {
        const std::size_t row = i / width;
        const std::size_t word = i % width;
        const std::uint32_t expected = whole[(row / rows * rows_of(shape) + first_row + row % rows) * width + word];
        const std::uint32_t actual = word < part_width ? part[row * part_width + word] : 0;
        different += static_cast<std::size_t>(std::popcount(expected ^ actual));
      }
      first_row += rows;
    }
    return different;
  }

  std::shared_ptr<const Device> device_;
  const Engine &engine_;
  Policy policy_;
  const io::Qkv &qkv_;
  const DeviceCall &call_;
  int tokens_;
  // Lists, so that what refers to an element stays right.
  std::list<Plan> plans_;
  std::list<DeviceArray> arrays_;
};

ServingCalls::ServingCalls(std::shared_ptr<const Device> device, const Engine &engine, const Policy &policy,
                           const std::vector<ServingRequest> &requests, const io::Qkv &qkv, const DeviceCall &call)
    : maker_(std::make_unique<Maker>(std::move(device), engine, policy, qkv, call)) {
  for (const ServingRequest &request : requests) {
    pairs_.push_back(maker_->make(request));
  }
}

ServingCalls::~ServingCalls() = default;

} // namespace sale::bench
