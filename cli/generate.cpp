// SPDX-License-Identifier: Apache-2.0
// sale generate: the readable source of one kernel.
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "generator/generate.hpp"
#include "io/names.hpp"

#include <memory>

namespace sale::cli {

namespace {

struct GenerateOptions {
  std::string stage;
  std::string arch = "sm_90";
  std::string dtype = "bf16";
  std::string estimator = "int8";
  int head_dim = 128;
  int v_head_dim = 0;
  int gqa = 1;
  int block_q = 64;
  int block_k = 32;
  bool dense = false;
  int estimate_dim = 0;
  bool prune_queries = false;
  bool fp8_attend = false;
  bool second_filter = false;
  std::string output;
};

int run_generate(const GenerateOptions &options) {
  KernelSpec spec;
  spec.stage = parse_stage(options.stage);
  spec.arch = parse_arch(options.arch);
  spec.dtype = io::parse_dtype(options.dtype);
  spec.estimator = io::parse_estimator(options.estimator);
  spec.head_dim = options.head_dim;
  spec.v_head_dim = options.v_head_dim;
  spec.gqa = options.gqa;
  spec.block_q = options.block_q;
  spec.block_k = options.block_k;
  spec.dense = options.dense;
  spec.estimate_dim = options.estimate_dim;
  const bool fewer = options.estimate_dim != 0 && options.estimate_dim < options.head_dim;
  spec.basis = fewer ? EstimateBasis::channels : EstimateBasis::all;
  spec.prune_queries = options.prune_queries;
  spec.fp8_attend = options.fp8_attend;
  spec.second_filter = options.second_filter;
  spec.tile = default_tile(spec);
  validate(spec);
  write_text(options.output, generate(spec));
  return exit_ok;
}

} // namespace

void add_generate(CLI::App &app, Command &command) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App *sub = app.add_subcommand("generate", "Print the CUDA source of one kernel");
  sub->add_option("--stage", options->stage, "mean, channels, quantize, amax, values, prepare, select or attend")
      ->required();
  sub->add_option("--arch", options->arch, "Architecture")->capture_default_str();
  sub->add_option("--head-dim", options->head_dim, "64, 96, 128, 192 or 256")->capture_default_str();
  sub->add_option("--v-head-dim", options->v_head_dim, "Of V and the output: 128 with head_dim 192 (default head_dim)");
  sub->add_option("--gqa", options->gqa, "Query heads per KV head")->check(CLI::Range(1, 65535))->capture_default_str();
  sub->add_option("--dtype", options->dtype, "bf16 or f16")->capture_default_str();
  sub->add_option("--estimator", options->estimator, "exact, int8, int4, or fp8 (sm_90a)")->capture_default_str();
  sub->add_option("--block-q", options->block_q, "Rows of a mask block")->capture_default_str();
  sub->add_option("--block-k", options->block_k, "Keys of a mask block")->capture_default_str();
  sub->add_flag("--dense", options->dense, "attend: every visible key, no mask");
  sub->add_option("--estimate-dim", options->estimate_dim, "fp8: channels of the estimate (default all)");
  sub->add_flag("--prune-queries", options->prune_queries, "fp8: estimate with 2 of every 4 channels of a query");
  sub->add_flag("--fp8-attend", options->fp8_attend, "attend in e4m3 (sm_90a)");
  sub->add_flag("--second-filter", options->second_filter, "attend with the second filter (sm_90a)");
  sub->add_option("-o,--output", options->output, "File to write instead of standard output");
  sub->callback([&command, options] { command = [options] { return run_generate(*options); }; });
}

} // namespace sale::cli
