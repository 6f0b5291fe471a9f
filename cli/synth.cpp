// SPDX-License-Identifier: Apache-2.0
// sale synth: synthetic Q, K and V with the structure of real heads, in a file that `sale run` reads.
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "io/names.hpp"
#include "io/safetensors.hpp"
#include "synth/make.hpp"

#include <fmt/format.h>

#include <memory>

namespace sale::cli {

namespace {

struct SynthOptions {
  int length = 32768;
  double density = 0.12;
  std::uint64_t seed = synth::fixed_seed;
  int batch = 1;
  Problem problem;
  std::string dtype = "bf16";
  int jobs = 0;
  std::string output;
};

std::vector<std::uint64_t> extents(std::initializer_list<int> values) { return {values.begin(), values.end()}; }

int run_synth(const SynthOptions &options) {
  Problem problem = options.problem;
  problem.dtype = io::parse_dtype(options.dtype);
  validate(problem);
  const Shape shape{options.batch, options.length, options.length};
  require_writable_path(options.output);
  const synth::Structure structure = synth::structure_for(options.length, options.density, problem.head_dim);
  const synth::Qkv qkv = synth::make(problem, shape, structure, options.seed, options.jobs);

  const char *dtype = problem.dtype == DType::bf16 ? "BF16" : "F16";
  const auto q_shape = extents({shape.batch, problem.num_q_heads, shape.q_len, problem.head_dim});
  const auto k_shape = extents({shape.batch, problem.num_kv_heads, shape.kv_len, problem.head_dim});
  const auto v_shape = extents({shape.batch, problem.num_kv_heads, shape.kv_len, effective_v_head_dim(problem)});
  write_whole(options.output, [&](const std::filesystem::path &path) {
    io::write_safetensors(path,
                          {{"q", dtype, q_shape, std::as_bytes(std::span(qkv.q))},
                           {"k", dtype, k_shape, std::as_bytes(std::span(qkv.k))},
                           {"v", dtype, v_shape, std::as_bytes(std::span(qkv.v))}},
                          {{"source", fmt::format("sale synth --length {} --density {} --seed {}", options.length,
                                                  options.density, options.seed)}});
  });
  write_text("", fmt::format("{}: {} q {}, k {}, v {}\n", options.output, dtype, io::shape_text(q_shape),
                             io::shape_text(k_shape), io::shape_text(v_shape)));
  return exit_ok;
}

} // namespace

void add_synth(CLI::App &app, Command &command) {
  auto options = std::make_shared<SynthOptions>();
  CLI::App *sub = app.add_subcommand("synth", "Write synthetic Q, K, V with the structure of real attention heads");
  sub->add_option("--length", options->length, "Tokens")->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_option("--density", options->density,
                  "Blocks that the exact mask at tau 0.004 keeps, in all (docs/synth.md); 0.08 to 0.3")
      ->capture_default_str();
  sub->add_option("--seed", options->seed, "Other seeds have about the density, the default has it exactly")
      ->capture_default_str();
  sub->add_option("--batch", options->batch, "Sequences")->check(CLI::Range(1, 65535))->capture_default_str();
  sub->add_option("--heads", options->problem.num_q_heads, "Query heads")->capture_default_str();
  sub->add_option("--kv-heads", options->problem.num_kv_heads, "KV heads")->capture_default_str();
  sub->add_option("--head-dim", options->problem.head_dim, "64, 96, 128, 192 or 256")->capture_default_str();
  sub->add_option("--v-head-dim", options->problem.v_head_dim, "Of v: 128 with head_dim 192 (default head_dim)");
  sub->add_option("--dtype", options->dtype, "bf16 or f16")->capture_default_str();
  sub->add_option("--jobs", options->jobs, "Threads (default: one per core)")->check(CLI::NonNegativeNumber);
  sub->add_option("-o,--output", options->output, "Safetensors to write")->required();
  sub->callback([&command, options] { command = [options] { return run_synth(*options); }; });
}

} // namespace sale::cli
