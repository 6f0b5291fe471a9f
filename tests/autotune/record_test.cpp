// SPDX-License-Identifier: Apache-2.0
#include "autotune/record/record.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace sale::autotune {
namespace {

const std::string tile = "{rows_per_warp: 16, warps: 8, keys_per_step: 96, stages: 3, min_ctas: 1}";

// A record with these choices for one kernel, which begin on line 11.
std::string record_with(const std::string &choices) {
  return fmt::format("# of a test\n"
                     "schema: 1\n"
                     "library: 0.1.0\n"
                     "templates: 0123456789abcdef\n"
                     "gpus:\n"
                     "  - name: NVIDIA H100 80GB HBM3\n"
                     "    arch: sm_90a\n"
                     "    multiprocessors: 132\n"
                     "    kernels:\n"
                     "      - kernel: attend sm_90a bf16 d128 gqa4 q64 k32\n"
                     "        choices: {}\n",
                     choices);
}

std::string with(std::string text, const std::string &from, const std::string &to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string refusal(const std::string &text) {
  try {
    parse_record(text, "gpu.yaml");
  } catch (const Error &error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "accepted";
}

const std::string good = record_with("[{up_to_tokens: 8192, up_to_density: 0.25, tile: " + tile +
                                     "}, {up_to_tokens: 8192, up_to_density: null, tile: " + tile +
                                     "}, {tile: " + tile + ", facts: {milliseconds: 1.25}}]");

TEST(Record, ReadsWhatAFileSays) {
  const TuningRecord record = parse_record(good, "gpu.yaml");
  EXPECT_EQ(record.source, "gpu.yaml");
  EXPECT_EQ(record.library, "0.1.0");
  EXPECT_EQ(record.templates, "0123456789abcdef");
  ASSERT_EQ(record.gpus.size(), 1U);
  const GpuTuning &gpu = record.gpus[0];
  EXPECT_EQ(gpu.name, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(gpu.arch, (Arch{9, 0, true}));
  EXPECT_EQ(gpu.multiprocessors, 132);
  ASSERT_EQ(gpu.kernels.size(), 1U);
  EXPECT_EQ(gpu.kernels[0].kernel, "attend sm_90a bf16 d128 gqa4 q64 k32");
  const std::vector<TileChoice> &choices = gpu.kernels[0].choices;
  ASSERT_EQ(choices.size(), 3U);
  EXPECT_EQ(choices[0].up_to_tokens, 8192);
  EXPECT_EQ(choices[0].up_to_density, 0.25F);
  EXPECT_EQ(choices[0].tile, (Tile{.rows_per_warp = 16, .warps = 8, .keys_per_step = 96, .stages = 3, .min_ctas = 1}));
  EXPECT_EQ(choices[1].up_to_density, 1.0F);
  EXPECT_EQ(choices[2].up_to_tokens, TileChoice::all_tokens);
  EXPECT_EQ(choices[2].facts.at("milliseconds"), "1.25");
}

TEST(Record, WritesWhatItReads) {
  TuningRecord record = parse_record(good, "gpu.yaml");
  record.gpus[0].facts = {{"driver", "570.124"}, {"odd: name", "# \"quoted\", {all} of 'it'"}, {"null", "~"}};
  record.gpus[0].kernels[0].choices[0].up_to_density = 0.1F;
  const std::string text = record_text(record);
  const TuningRecord again = parse_record(text, "gpu.yaml");
  EXPECT_EQ(record_text(again), text);
  EXPECT_EQ(again.gpus[0].facts, record.gpus[0].facts);
  EXPECT_EQ(again.gpus[0].kernels[0].choices[0].up_to_density, 0.1F);
  EXPECT_EQ(again.gpus[0].kernels[0].choices[2].facts, record.gpus[0].kernels[0].choices[2].facts);
}

TEST(Record, WritesNothingThatItWouldNotRead) {
  TuningRecord record = parse_record(good, "gpu.yaml");
  record.gpus[0].facts["log"] = "two\nlines";
  EXPECT_THROW(record_text(record), Error);
  record = parse_record(good, "gpu.yaml");
  record.gpus[0].kernels[0].choices.pop_back();
  EXPECT_THROW(record_text(record), Error);
}

TEST(Record, RefusesInASentenceWithALine) {
  EXPECT_EQ(refusal(with(good, "schema: 1", "schema: 2")),
            "gpu.yaml:2: schema 2 is not known; this version reads schema 1");
  EXPECT_EQ(refusal(with(good, "templates", "template")),
            "gpu.yaml:4: unknown key \"template\"; known are schema, library, templates, gpus");
  EXPECT_EQ(refusal(with(good, "arch: sm_90a", "arch: sm_91")).find("gpu.yaml:7: "), 0U);
  EXPECT_EQ(refusal(with(good, "multiprocessors: 132", "multiprocessors: 0")),
            "gpu.yaml:8: multiprocessors is 0; it must be from 1 to 4096");
  EXPECT_EQ(refusal(with(good, "attend sm_90a", "attend sm_90")),
            "gpu.yaml:10: \"attend sm_90 bf16 d128 gqa4 q64 k32\" is no kernel of sm_90a whose tile can be chosen: "
            "prepare, select or attend");
  EXPECT_NE(refusal(with(good, "attend sm_90a", "mean sm_90a")).find("is no kernel of"), std::string::npos);
  EXPECT_EQ(refusal(with(good, "8192", "8000")), "gpu.yaml:11: up_to_tokens is 8000; it must be a power of two");
  EXPECT_EQ(refusal(with(good, "8192", "2097152")),
            "gpu.yaml:11: up_to_tokens is 2097152; it must be from 1 to 1048576");
  for (const char *density : {"0", "-1", "1.5", ".nan", ".inf"}) {
    EXPECT_NE(refusal(with(good, "0.25", density)).find("it must be above 0 and at most 1"), std::string::npos);
  }
  EXPECT_NE(refusal(with(good, "warps: 8", "warps: 99999")).find("warps is 99999; it must be from 1 to 4096"),
            std::string::npos);
  EXPECT_NE(refusal(with(good, "stages: 3, ", "")).find("the key \"stages\" is missing"), std::string::npos);
  EXPECT_EQ(refusal(with(good, "name: NVIDIA H100 80GB HBM3", "name: \"a\\nb\"")),
            "gpu.yaml:6: name must be 1 to 1024 printable ASCII characters");
  EXPECT_EQ(refusal(with(good, "0.1.0", "0.1\xc3\xa9")),
            "gpu.yaml:3: library must be 1 to 1024 printable ASCII characters");
  EXPECT_EQ(refusal("[1, 2"), "gpu.yaml:1: this is not valid YAML (end of sequence flow not found)");
  for (const char *nothing : {"", "1", "[]", "~", "- - - -"}) {
    EXPECT_EQ(refusal(nothing).find("gpu.yaml:"), 0U) << nothing;
  }
}

TEST(Record, RefusesChoicesThatLeaveACallWithoutOne) {
  const std::string all = "{tile: " + tile + "}";
  const std::string shorter = "{up_to_tokens: 1024, tile: " + tile + "}";
  const std::string sparse = "{up_to_tokens: 1024, up_to_density: 0.5, tile: " + tile + "}";
  EXPECT_EQ(refusal(record_with("[" + sparse + ", " + shorter + ", " + all + "]")), "accepted");
  EXPECT_NE(refusal(record_with("[" + shorter + "]")).find("the last choice must be for all"), std::string::npos);
  EXPECT_NE(refusal(record_with("[" + sparse + ", " + all + "]")).find("of the length before lack the last one"),
            std::string::npos);
  EXPECT_NE(refusal(record_with("[" + all + ", " + shorter + "]")).find("must ascend"), std::string::npos);
  EXPECT_NE(refusal(record_with("[" + shorter + ", " + shorter + ", " + all + "]")).find("must ascend"),
            std::string::npos);
  EXPECT_NE(refusal(record_with("[]")).find("choices must be a list that is not empty"), std::string::npos);
}

TEST(Record, RefusesWhatIsThereTwice) {
  const std::string gpu = good.substr(good.find("  - name"));
  EXPECT_NE(refusal(good + gpu).find("NVIDIA H100 80GB HBM3 (sm_90a, 132 multiprocessors) is there twice"),
            std::string::npos);
  const std::string kernel = good.substr(good.find("      - kernel"));
  EXPECT_NE(refusal(good + kernel).find("is there twice"), std::string::npos);
  EXPECT_EQ(refusal(good + with(gpu, "132", "114")), "accepted");
}

TEST(Record, IsBoundedWhateverAFileSays) {
  EXPECT_NE(refusal(std::string(5U << 20U, ' ')).find("a tuning record has at most 4194304"), std::string::npos);
  EXPECT_EQ(refusal(std::string(1U << 20U, '[')).find("gpu.yaml:"), 0U);
  EXPECT_EQ(refusal(std::string(1U << 20U, '{')).find("gpu.yaml:"), 0U);
  EXPECT_EQ(refusal(std::string(100000, '-')).find("gpu.yaml:"), 0U);

  EXPECT_NE(refusal(with(good, "arch: sm_90a", "arch: &arch sm_90a")).find("anchors and aliases"), std::string::npos);
  EXPECT_NE(refusal(with(good, "132", std::string(2000, '1'))).find("2000 bytes are too many"), std::string::npos);

  std::string facts = "facts: {";
  for (int i = 0; i < 65; ++i) {
    facts += fmt::format("f{}: 1, ", i);
  }
  EXPECT_NE(refusal(with(good, "facts: {", facts)).find("there are 66 facts; 64 are the most"), std::string::npos);

  std::string many = good;
  for (int i = 0; i < 30000; ++i) {
    many += fmt::format("      - {{kernel: attend sm_90a {}, choices: [{{tile: {}}}]}}\n", i, tile);
  }
  EXPECT_NE(refusal(many).find("this YAML has more than 524288 values"), std::string::npos);
}

} // namespace
} // namespace sale::autotune
