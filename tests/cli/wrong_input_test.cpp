// SPDX-License-Identifier: Apache-2.0
// Every kind of wrong input ends with its exit code and one sentence, never with a crash. Prints the table.
#include "cache/store.hpp"
#include "tests/cache/sample_entry.hpp"
#include "tests/cli/command_line.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace sale::cli_test {
namespace {

struct WrongInput {
  const char *name;
  std::string command; ///< Words separated by spaces; @ stands for the test's folder.
  int exit_code;
  const char *message; ///< Part of what standard error says.
};

const std::vector<WrongInput> wrong_inputs = {
    // Usage
    {"no subcommand", "", 2, "say what to do: info, generate, prewarm, run, calibrate, check, "},
    {"unknown subcommand", "levitate", 2, "was not expected: levitate"},
    {"unknown cache command", "cache shrink", 2, "A subcommand is required"},
    {"unknown option", "run --qkv @/good --frobnicate", 2, "--frobnicate"},
    {"missing required option", "run", 2, "--qkv is required"},
    {"number that is none", "run --qkv @/good --tau much", 2, "--tau"},
    {"unknown device", "run --qkv @/good --device gpu0", 2, "unknown device \"gpu0\""},
    {"tau and tau file", "run --qkv @/good --tau 1 --tau-file @/tau.yaml", 2, "--tau excludes --policy-file"},
    {"layer without tau file", "run --qkv @/good --layer 3", 2, "--layer requires --policy-file"},
    {"unknown serving", "prewarm --arch sm_90 --model qwen3-8b --serving paged:x", 2, "unknown way of serving"},
    {"odd pages", "prewarm --arch sm_90 --model qwen3-8b --serving paged:24 --cache-dir @/cache", 2, "page_size 24"},
    {"negative jobs", "prewarm --arch sm_90 --model qwen3-8b --jobs -1", 2, "--jobs"},
    // Input tensors
    {"missing file", "run --qkv @/none", 2, "there is no such file"},
    {"folder instead of a file", "run --qkv @", 2, "this is not a regular file"},
    {"empty file", "run --qkv @/empty", 2, "too short for a safetensors file"},
    {"truncated header", "run --qkv @/truncated-header", 2, "claims a header of"},
    {"truncated data", "run --qkv @/truncated-data", 2, "it is truncated or its header is wrong"},
    {"header length 2^64-1", "run --qkv @/huge-length", 2, "claims a header of 18446744073709551615 bytes"},
    {"header nested 100000 deep", "run --qkv @/deep", 2, "nests more than 3 levels deep"},
    {"overlapping tensors", "run --qkv @/overlap", 2, "overlap"},
    {"shape that overflows", "run --qkv @/overflow", 2, "more bytes than any file holds"},
    {"no tensor v", "run --qkv @/no-v", 2, "there is no tensor \"v\""},
    {"fp32 tensors", "run --qkv @/f32", 2, "is F32; supported are BF16 and F16"},
    {"three-dimensional q", "run --qkv @/rank-3", 2, "it must be [batch, num_q_heads, q_len, head_dim]"},
    {"head_dim 80", "run --qkv @/head-dim-80", 2,
     "head_dim 80 is not supported; supported are 64, 96, 128, 192 and 256"},
    {"q_len > kv_len", "run --qkv @/long-q", 2, "q_len 65 is greater than kv_len 64"},
    {"heads that do not divide", "run --qkv @/heads", 2, "num_q_heads 5 is not a multiple of num_kv_heads 2"},
    // Policy
    {"NaN tau", "run --qkv @/good --tau nan", 2, "tau nan must be a finite number >= 0"},
    {"negative tau", "run --qkv @/good --tau -0.5", 2, "tau -0.5 must be a finite number >= 0"},
    {"block_q 96", "run --qkv @/good --block-q 96", 2, "block_q 96 is not supported; supported are 64 and 128"},
    {"block_k 16", "run --qkv @/good --block-k 16", 2, "block_k 16 is not supported"},
    {"negative sink", "run --qkv @/good --sink -1", 2, "sink -1 must be between 0 and"},
    {"unknown estimator", "run --qkv @/good --estimator int2", 2, "unknown estimator \"int2\""},
    {"NaN softmax scale", "run --qkv @/good --softmax-scale nan", 2, "softmax_scale nan must be a positive"},
    {"tau file with a wrong key", "run --qkv @/good --tau-file @/tau-key.yaml", 2, "unknown key \"taus\""},
    {"tau file of other heads", "run --qkv @/good --tau-file @/tau.yaml --layer 0", 2, "for 2 query heads"},
    {"tau file without that layer", "run --qkv @/good --tau-file @/tau.yaml --layer 9", 2, "there is no layer 9"},
    {"tau file with NaN", "run --qkv @/good --tau-file @/tau-nan.yaml", 2, "tau[0][1] is nan"},
    // Outputs and checks
    {"unwritable output", "run --qkv @/good --device cpu --out @/no/out", 2, "there is no folder @/no"},
    {"unwritable picture", "run --qkv @/good --device cpu --mask @/no/m.png", 2, "there is no folder @/no"},
    {"unwritable report", "run --qkv @/good --device cpu --json=@/no/r.json", 2, "there is no folder @/no"},
    {"folder in the place of a file", "run --qkv @/good --device cpu --out @", 2, "it is a folder"},
    {"source into a missing folder", "generate --stage attend -o @/no/a.cu", 2, "there is no folder @/no"},
    {"head that is not there", "run --qkv @/good --mask @/m.png --mask-head 4", 2, "must be between 0 and 3"},
    {"error above the limit", "run --qkv @/good --device cpu --max-rel-l1 0", 3, "is above --max-rel-l1"},
    {"NaN limit", "run --qkv @/good --max-rel-l1 nan", 2, "--max-rel-l1 nan must be a number >= 0"},
    // Machine
    {"no GPU driver", "run --qkv @/good --device 0 --cuda-driver @/libcuda.so.1", 1,
     "the driver that was named cannot be opened: @/libcuda.so.1"},
    {"GPU that is not there", "run --qkv @/good --device 7 --cuda-driver " FAKE_CUDA, 1,
     "there is no GPU 7; this machine has 1"},
    {"GPU without NVRTC", "run --qkv @/good --device 0 --nvrtc /nonexistent --cuda-driver " FAKE_CUDA, 1,
     "is not a usable NVRTC"},
    {"no NVRTC", "prewarm --arch sm_90 --model qwen3-8b --cache-dir @/cache --nvrtc /nonexistent", 1, "NVRTC"},
    {"NVRTC that is no library", "prewarm --arch sm_90 --model qwen3-8b --cache-dir @/cache --nvrtc @/good", 1,
     "NVRTC"},
    {"unwritable cache", "prewarm --arch sm_90 --model qwen3-8b --cache-dir @/good/cache", 1, "cannot be filled"},
    {"truncated kernel in the cache", "cache verify --cache-dir @/damaged-cache", 3, "kernels/"},
    // Benchmarks
    {"benchmark of no device", "bench --device cpu", 2, "sale bench needs a device"},
    {"benchmark without a driver", "bench --cuda-driver @/libcuda.so.1", 1,
     "the driver that was named cannot be opened: @/libcuda.so.1"},
    {"length that is none", "bench --lengths 32k", 2, "unknown length \"32k\"; give a number of tokens"},
    {"unknown estimate", "bench --estimators fp8/wide", 2, "unknown estimate \"fp8/wide\""},
    {"channels of an integer estimate", "bench --estimators int8/64", 2, "estimate_dim"},
    {"unknown mask", "bench --masks random:2", 2, "unknown mask \"random:2\"; give exact, or random:DENSITY"},
    {"unknown part", "bench --only everything", 2, "--only"},
    {"no rounds", "bench --rounds 0", 2, "--rounds"},
    {"lengths of a file", "bench --qkv @/good --lengths 32K", 2, "--qkv excludes --lengths"},
    {"policy file that is not there", "bench --estimators @/none.yaml", 2, "@/none.yaml"},
    {"unwritable benchmark", "bench --json=@/no/b.json", 2, "there is no folder @/no"},
    {"charts into a file", "bench --svg @/good", 2, "there is no folder @/good"},
    // Models and kernels
    {"cache that is a file: verify", "cache verify --cache-dir @/good", 1, "cannot be read: Not a directory"},
    {"cache that is a file: list", "cache list --cache-dir @/good", 1, "cannot be read: Not a directory"},
    {"cache that is a file: clear", "cache clear --cache-dir @/good", 1, "cannot be read: Not a directory"},
    {"cache file that cannot be removed", "cache clear --cache-dir @/stuck-cache", 1, "could not remove"},
    {"info compiles nothing", "info --jobs 2", 2, "--jobs"},
    {"prewarm needs no driver", "prewarm --arch sm_90 --model qwen3-8b --cuda-driver x", 2, "--cuda-driver"},
    {"unknown arch on the CPU", "run --qkv @/good --device cpu --arch sm_999", 2, "'sm_999' is not supported"},
    {"unknown arch", "prewarm --arch sm_75 --model qwen3-8b", 2, "sm_75"},
    {"PTX of one GPU only", "prewarm --arch compute_90a --model qwen3-8b", 2,
     "PTX of compute_90a runs on no other GPU"},
    {"PTX of no arch", "prewarm --arch compute_75 --model qwen3-8b", 2, "'sm_75' is not supported"},
    {"arch that is no word", "generate --stage attend --arch hopper", 2, "hopper"},
    {"unknown model", "prewarm --arch sm_90 --model gpt-9", 2, "unknown model \"gpt-9\"; known are"},
    {"no model", "prewarm --arch sm_90", 2, "say what to compile for"},
    {"no architecture", "prewarm --model qwen3-8b", 2, "--arch is required"},
    {"two ways to say a model", "prewarm --arch sm_90 --all-models --problem @/problem.yaml", 2, "in one way"},
    {"half a shape", "prewarm --arch sm_90 --heads 8 --head-dim 64", 2, "needs all of --heads, --kv-heads and"},
    {"shape of heads that do not divide", "prewarm --arch sm_90 --heads 8 --kv-heads 3 --head-dim 64", 2,
     "num_q_heads 8 is not a multiple of num_kv_heads 3"},
    {"fixed channels of a whole estimate", "prewarm --arch sm_90a --model qwen3-8b --fixed-channels", 2,
     "--fixed-channels needs an estimate of fewer channels"},
    {"projection of integers", "prewarm --arch sm_90a --model qwen3-8b --projection", 2, "belong to estimator fp8"},
    {"check and dry run", "prewarm --arch sm_90 --model qwen3-8b --check --dry-run", 2, "--check excludes --dry-run"},
    {"negative deadline", "prewarm --arch sm_90 --model qwen3-8b --deadline -1", 2, "--deadline"},
    {"manifest that is none", "prewarm --manifest @/problem.yaml", 2, "unknown key \"dtype\""},
    {"manifest that is not there", "prewarm --manifest @/none.yaml", 2, "there is no such file"},
    {"manifest beside a model", "prewarm --manifest @/problem.yaml --model qwen3-8b", 2, "--model excludes --manifest"},
    {"unwritable manifest", "prewarm --arch sm_90 --model qwen3-8b --dry-run --write-manifest @/no/m.yaml", 2,
     "there is no folder @/no"},
    {"config.json that is no JSON", "prewarm --arch sm_90 --model @/bad.json", 2, "not valid JSON at its byte"},
    {"config.json nested 1000000 deep", "prewarm --arch sm_90 --model @/deep.json", 2,
     "this JSON nests more than 32 levels deep"},
    {"config.json without heads", "prewarm --arch sm_90 --model @/no-heads.json", 2,
     "\"num_attention_heads\" is missing"},
    {"config.json with head_dim 80", "prewarm --arch sm_90 --model @/phi-2.json", 2, "head_dim 80 is not supported"},
    {"problem file with a wrong type", "prewarm --arch sm_90 --problem @/problem.yaml", 2, "must be a whole number"},
    {"unknown stage", "generate --stage sort", 2, "sort"},
    {"kernel of head_dim 80", "generate --stage attend --head-dim 80", 2, "80"},
    {"kernel of GQA ratio 0", "generate --stage attend --gqa 0", 2, "--gqa: Value 0 not in range"},
    {"unknown dtype", "generate --stage attend --dtype fp64", 2, "unknown dtype \"fp64\""},
};

std::string with_length(std::uint64_t length, const std::string &rest) {
  std::string file;
  for (int i = 0; i < 8; ++i) {
    file += static_cast<char>((length >> (8 * i)) & 0xFF);
  }
  return file + rest;
}

void write_header(const std::filesystem::path &path, const std::string &json, std::size_t data_bytes) {
  write_file(path, with_length(json.size(), json + std::string(data_bytes, '\0')));
}

void write_damaged_cache(const std::filesystem::path &folder) {
  const Store store({.root = folder}, [](const std::string &) {});
  store.publish(sample_entry());
  for (const auto &file : store.list()) {
    std::filesystem::resize_file(file.path, file.bytes - 10);
  }
}

void write_files(const std::filesystem::path &folder) {
  write_input(folder / "good", {});
  const std::string good = read_file(folder / "good");
  write_file(folder / "empty", "");
  write_file(folder / "truncated-header", good.substr(0, 20));
  write_file(folder / "truncated-data", good.substr(0, good.size() - 1));
  write_file(folder / "huge-length", with_length(UINT64_MAX, "{}"));
  write_header(folder / "deep", std::string(100000, '['), 0);
  write_header(
      folder / "overlap",
      R"({"q":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"k":{"dtype":"U8","shape":[8],"data_offsets":[4,12]}})",
      16);
  write_header(folder / "overflow", R"({"q":{"dtype":"BF16","shape":[4294967296,4294967296],"data_offsets":[0,2]}})",
               2);
  write_header(
      folder / "no-v",
      R"({"q":{"dtype":"BF16","shape":[1,1,1,64],"data_offsets":[0,128]},"k":{"dtype":"BF16","shape":[1,1,1,64],"data_offsets":[128,256]}})",
      256);
  write_header(folder / "f32", R"({"q":{"dtype":"F32","shape":[1,1,1,64],"data_offsets":[0,256]}})", 256);
  write_header(folder / "rank-3", R"({"q":{"dtype":"BF16","shape":[1,1,64],"data_offsets":[0,128]}})", 128);
  write_input(folder / "head-dim-80", {.head_dim = 80});
  write_input(folder / "long-q", {.q_len = 65, .kv_len = 64});
  write_input(folder / "heads", {.num_q_heads = 5});
  write_file(folder / "tau.yaml", "schema: 1\ntau: [[0.1, 0.2], [0.1, 0.2]]\n");
  write_file(folder / "tau-key.yaml", "schema: 1\ntaus: [[0.1]]\n");
  write_file(folder / "tau-nan.yaml", "schema: 1\ntau: [[0.1, .nan]]\n");
  write_file(folder / "bad.json", "{\"num_attention_heads\": ");
  write_file(folder / "deep.json",
             R"({"text_config":{},"a":)" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}");
  write_file(folder / "no-heads.json", "{\"hidden_size\": 64}");
  write_file(folder / "phi-2.json", "{\"hidden_size\": 2560, \"num_attention_heads\": 32}");
  write_file(folder / "problem.yaml", "dtype: bf16\nhead_dim: wide\nnum_q_heads: 4\nnum_kv_heads: 4\n");
  write_damaged_cache(folder / "damaged-cache");
  // A folder that is not empty in the place of a kernel: no user, not even root, can remove it as a file.
  std::filesystem::create_directories(folder / "stuck-cache" / "kernels" / "a.kernel" / "b");
}

std::vector<std::string> words_of(const std::string &command, const std::string &folder) {
  std::vector<std::string> words;
  std::string word;
  for (const char letter : command + " ") {
    if (letter == ' ') {
      if (!word.empty()) {
        words.push_back(word);
      }
      word.clear();
    } else {
      word += letter == '@' ? folder : std::string(1, letter);
    }
  }
  return words;
}

std::string replace_all(std::string text, const std::string &from, const std::string &to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

TEST(WrongInput, every_case_ends_with_its_exit_code_and_one_sentence) {
  const TemporaryFolder folder;
  write_files(folder.path());
  std::printf("| input | command | exit code | message |\n|---|---|---|---|\n");
  for (const WrongInput &wrong : wrong_inputs) {
    SCOPED_TRACE(wrong.name);
    const CommandResult result =
        run_sale(words_of(wrong.command, folder.path()), {{"SALE_CACHE_DIR", (folder.path() / "cache").string()}});
    const std::string message = replace_all(result.err, folder.path().string(), "@");
    std::printf("| %s | `%s` | %d | `%s` |\n", wrong.name,
                replace_all("sale " + wrong.command, FAKE_CUDA, "libcuda.so.1").c_str(), result.exit_code,
                message.substr(0, message.find('\n')).c_str());
    EXPECT_EQ(result.exit_code, wrong.exit_code) << result.err;
    EXPECT_NE(message.find(wrong.message), std::string::npos) << message;
    // With --device auto a line about the CPU may come first; the error itself is one line of its own.
    const auto lines = std::count(message.begin(), message.end(), '\n');
    EXPECT_LE(lines, message.rfind("sale: running on the CPU", 0) == 0 ? 2 : 1) << message;
    EXPECT_EQ(message.rfind("sale: ", 0), 0U) << message;
  }
}

} // namespace
} // namespace sale::cli_test
