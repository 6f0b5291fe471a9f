// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/inputs.hpp"

#include "bench/input.hpp"
#include "reference/element.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sale::autotune {

namespace {

bool same_tensors(const Problem &a, const Problem &b) {
  return a.dtype == b.dtype && a.head_dim == b.head_dim && effective_v_head_dim(a) == effective_v_head_dim(b) &&
         a.num_q_heads == b.num_q_heads && a.num_kv_heads == b.num_kv_heads;
}

std::string tensors_of(const Problem &problem) {
  return fmt::format("{} d{}{} {}/{} heads", to_string(problem.dtype), problem.head_dim,
                     problem.v_head_dim == 0 ? "" : fmt::format("/{}", problem.v_head_dim), problem.num_q_heads,
                     problem.num_kv_heads);
}

// Without its sign an element's bits grow with its size, in both types.
float largest(const std::vector<std::uint16_t> &values, DType dtype) {
  constexpr std::uint16_t without_sign = 0x7FFF;
  std::uint16_t bits = 0;
  for (const std::uint16_t value : values) {
    bits = std::max<std::uint16_t>(bits, value & without_sign);
  }
  return reference::element_to_float(bits, dtype);
}

void require_suits(const io::Qkv &data, const std::filesystem::path &file, const Problem &problem) {
  if (!same_tensors(data.problem, problem)) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{} holds {}, but {} are to be tuned", file.string(),
                                                         tensors_of(data.problem), tensors_of(problem)));
  }
  if (data.shape.q_len != data.shape.kv_len) {
    throw Error(ErrorKind::invalid_argument, fmt::format("{} holds {} queries for {} keys; a whole prefill is needed",
                                                         file.string(), data.shape.q_len, data.shape.kv_len));
  }
}

void require_length(const io::Qkv &data, const std::filesystem::path &file, int tokens) {
  if (data.shape.kv_len < tokens) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} has {} tokens, fewer than {}", file.string(), data.shape.kv_len, tokens));
  }
}

// The first tokens of each head of the first batch element.
void shorten(std::vector<std::uint16_t> &values, const Shape &from, int heads, int tokens) {
  const std::size_t stored = values.size() / static_cast<std::size_t>(from.batch * heads);
  const std::size_t used = stored / static_cast<std::size_t>(from.kv_len) * static_cast<std::size_t>(tokens);
  for (std::size_t head = 1; head < static_cast<std::size_t>(heads); ++head) {
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(head * stored), used,
                values.begin() + static_cast<std::ptrdiff_t>(head * used));
  }
  values.resize(used * static_cast<std::size_t>(heads));
}

} // namespace

io::Qkv host_data(const InputSettings &settings, const Problem &problem, int tokens) {
  if (settings.file.empty()) {
    return bench::make_input(problem, {1, tokens, tokens}, settings.density);
  }
  io::Qkv data = io::load_qkv(settings.file);
  require_suits(data, settings.file, problem);
  require_length(data, settings.file, tokens);
  shorten(data.q, data.shape, problem.num_q_heads, tokens);
  shorten(data.k, data.shape, problem.num_kv_heads, tokens);
  shorten(data.v, data.shape, problem.num_kv_heads, tokens);
  data.shape = {1, tokens, tokens};
  data.problem = problem;
  return data;
}

std::string input_name(const Problem &problem, int tokens) {
  return fmt::format("{}{}, scale {}, {} tokens", tensors_of(problem), problem.sink_logits ? ", sinks" : "",
                     effective_softmax_scale(problem), tokens);
}

bool is_out_of_memory(const Error &error) { return error.details().where == "cuMemAlloc"; }

RunArgs Input::args() const {
  RunArgs args;
  args.shape = shape;
  args.q = packed_view(q.data(), problem.num_q_heads, shape.q_len, problem.head_dim);
  args.k = packed_view(k.data(), problem.num_kv_heads, shape.kv_len, problem.head_dim);
  args.v = packed_view(v.data(), problem.num_kv_heads, shape.kv_len, effective_v_head_dim(problem));
  args.sink_logits = static_cast<const float *>(sink_logits.data());
  return args;
}

Inputs::Inputs(std::shared_ptr<const Device> device, InputSettings settings)
    : device_(std::move(device)), settings_(std::move(settings)) {}

const Input &Inputs::get(const Problem &problem, int tokens) {
  const std::string name = input_name(problem, tokens);
  const auto known = std::find_if(inputs_.begin(), inputs_.end(), [&](const Input &i) { return i.name == name; });
  if (known != inputs_.end()) {
    return *known;
  }
  return inputs_.emplace_back(make(problem, tokens));
}

const io::Qkv &Inputs::file_of(const Problem &problem) {
  if (!file_) {
    file_ = io::load_qkv(settings_.file);
  }
  require_suits(*file_, settings_.file, problem);
  return *file_;
}

Input Inputs::make(const Problem &problem, int tokens) {
  Input input;
  input.name = input_name(problem, tokens);
  input.problem = problem;
  input.shape = {1, tokens, tokens};
  validate(input.shape);
  io::Qkv made;
  if (settings_.file.empty()) {
    made = bench::make_input(problem, input.shape, settings_.density);
  } else {
    require_length(file_of(problem), settings_.file, tokens);
  }
  const io::Qkv &from = settings_.file.empty() ? made : *file_;
  input.q = upload(from.q, from.shape, problem.num_q_heads, tokens);
  input.k = upload(from.k, from.shape, problem.num_kv_heads, tokens);
  input.v = upload(from.v, from.shape, problem.num_kv_heads, tokens);
  input.largest_value = largest(from.v, problem.dtype);
  if (problem.sink_logits) {
    const std::vector<float> zeros(static_cast<std::size_t>(problem.num_q_heads));
    input.sink_logits = DeviceArray(device_, zeros.size() * sizeof(float));
    input.sink_logits.upload(zeros.data());
  }
  return input;
}

DeviceArray Inputs::upload(const std::vector<std::uint16_t> &values, const Shape &from, int heads, int tokens) const {
  const std::size_t stored = values.size() / static_cast<std::size_t>(from.batch * heads); // of a head
  const std::size_t used = stored / static_cast<std::size_t>(from.kv_len) * static_cast<std::size_t>(tokens);
  DeviceArray array(device_, used * static_cast<std::size_t>(heads) * sizeof(values[0]));
  const Driver &driver = device_->driver();
  for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head) {
    const cu::Address to = reinterpret_cast<cu::Address>(array.data()) + head * used * sizeof(values[0]);
    driver.check(driver.api.copy_to_device(to, values.data() + head * stored, used * sizeof(values[0])), "cuMemcpyHtoD",
                 ErrorKind::load);
  }
  return array;
}

} // namespace sale::autotune
