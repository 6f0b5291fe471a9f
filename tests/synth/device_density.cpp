// SPDX-License-Identifier: Apache-2.0
#include "tests/synth/device_density.hpp"

#include "reference/mask.hpp"
#include "reference/region.hpp"
#include "runtime/device.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

namespace sale::synth {

namespace {

Policy exact_policy() {
  Policy policy;
  policy.estimator = Estimator::exact;
  policy.tau = 0.004F;
  return policy;
}

} // namespace

struct DeviceDensity::State {
  State(int length, const Options &options)
      : shape{1, length, length}, device(std::make_shared<const Device>(Driver::open({}), 0)), current(*device),
        engine(0, options), plan(engine.prepare(problem, policy)), data(make(problem, shape, structure_for(length))),
        q(device, 2 * data.q.size()), k(device, 2 * data.k.size()), v(device, 2 * data.v.size()),
        out(device, 2 * data.q.size()), workspace(device, plan.workspace_bytes(shape)),
        mask(device, 4 * mask_words(problem, policy, shape)) {
    q.upload(data.q.data());
    v.upload(data.v.data());
  }

  // Only the rows of the sink depend on its strength.
  void replace_sink(const Structure &structure) {
    const int rows = std::min(structure.sink_keys, shape.kv_len);
    const Qkv sink = make(problem, {1, 1, rows}, structure);
    const auto row_size = static_cast<std::ptrdiff_t>(problem.head_dim);
    for (int g = 0; g < problem.num_kv_heads; ++g) {
      std::copy_n(sink.k.begin() + g * rows * row_size, rows * row_size,
                  data.k.begin() + static_cast<std::ptrdiff_t>(g) * shape.kv_len * row_size);
    }
    k.upload(data.k.data());
  }

  std::vector<std::uint32_t> run() const {
    const auto view = [&](const DeviceArray &array, int heads) {
      return packed_view(array.data(), heads, shape.kv_len, problem.head_dim);
    };
    RunArgs args;
    args.shape = shape;
    args.q = view(q, problem.num_q_heads);
    args.k = view(k, problem.num_kv_heads);
    args.v = view(v, problem.num_kv_heads);
    args.out = view(out, problem.num_q_heads);
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.bytes();
    args.mask_out = static_cast<std::uint32_t *>(mask.data());
    plan.run(args, nullptr);
    std::vector<std::uint32_t> words(mask.bytes() / sizeof(std::uint32_t));
    mask.download(words.data()); // waits for the default stream
    return words;
  }

  Problem problem; // Llama-3.1-8B
  Policy policy = exact_policy();
  Shape shape;
  std::shared_ptr<const Device> device;
  CurrentContext current;
  Engine engine;
  Plan plan;
  Qkv data;
  DeviceArray q, k, v, out, workspace, mask;
};

DeviceDensity::DeviceDensity(int length, const Options &options) : state_(std::make_unique<State>(length, options)) {}
DeviceDensity::~DeviceDensity() = default;

std::vector<double> DeviceDensity::measure(const Structure &structure) {
  state_->replace_sink(structure);
  const std::vector<std::uint32_t> words = state_->run();
  const int q_blocks = (state_->shape.q_len + state_->policy.block_q - 1) / state_->policy.block_q;
  std::int64_t visible = 0;
  for (int block = 0; block < q_blocks; ++block) {
    visible += reference::region_of(state_->policy, state_->shape, block).visible_blocks;
  }
  const std::size_t heads = state_->problem.num_q_heads;
  std::vector<double> densities(heads);
  for (std::size_t h = 0; h < heads; ++h) {
    std::int64_t kept = 0;
    for (std::size_t i = h * (words.size() / heads); i < (h + 1) * (words.size() / heads); ++i) {
      kept += std::popcount(words[i]);
    }
    densities[h] = static_cast<double>(kept) / static_cast<double>(visible);
  }
  return densities;
}

double mean(const std::vector<double> &values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

} // namespace sale::synth
