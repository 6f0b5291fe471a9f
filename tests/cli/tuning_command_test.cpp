// SPDX-License-Identifier: Apache-2.0
// sale tuning: records listed, shown, merged, compared and moved.
#include "autotune/record/record.hpp"
#include "sale/tuning.hpp"
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>

namespace sale::cli_test {
namespace {

constexpr const char *attend = "attend sm_90a bf16 d128 gqa4 q64 k32";
constexpr const char *select = "select sm_90a bf16 d128 gqa4 int8 q64 k32";

class TuningCommand : public testing::Test {
protected:
  TuningCommand() { std::filesystem::create_directories(folder_.path() / "system"); }

  static TuningRecord record(const std::string &kernel, int keys, const std::string &gpu = "Test GPU") {
    TuningRecord made = empty_record();
    TileChoice choice;
    choice.tile = {16, 8, keys, 3, 1};
    choice.facts = {{"8192 tokens", "default 1.5 ms, chosen 1." + std::to_string(keys) + " ms, ratio 1"}};
    made.gpus.push_back({gpu, parse_arch("sm_90a"), 132, {}, {{kernel, {choice}}}});
    return made;
  }
  std::string file(const std::string &name) const { return (folder_.path() / name).string(); }
  std::string put(const std::string &name, const TuningRecord &record) const {
    write_file(file(name), autotune::record_text(record));
    return file(name);
  }
  CommandResult tuning(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "tuning");
    return run_sale(arguments, {{"SALE_TUNING_DIR", file("user")}, {"SALE_SYSTEM_TUNING_DIR", file("system")}});
  }

  TemporaryFolder folder_;
};

TEST_F(TuningCommand, ListsWhatIsUsedAndWhyTheRestIsNot) {
  put("system/good.yaml", record(attend, 64));
  TuningRecord old = record(attend, 96);
  old.templates = "0123456789abcdef";
  put("system/old.yaml", old);
  write_file(file("system/bad.yaml"), "schema: [");
  const CommandResult list = tuning({"list"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  const auto line = [&](const std::string &name) {
    const std::size_t at = list.out.find(name);
    return at == std::string::npos ? "" : list.out.substr(at, list.out.find('\n', at) - at);
  };
  EXPECT_NE(line("good.yaml").find("Test GPU (sm_90a)"), std::string::npos) << list.out;
  EXPECT_NE(line("good.yaml").find("yes"), std::string::npos) << list.out;
  EXPECT_NE(line("old.yaml").find("no: measured with other kernels"), std::string::npos) << list.out;
  EXPECT_NE(line("bad.yaml").find("no: "), std::string::npos) << list.out;
  EXPECT_NE(list.out.find("user: " + file("user")), std::string::npos) << list.out;
}

TEST_F(TuningCommand, ShowsOneOrWhatAllComeTo) {
  const std::string a = put("a.yaml", record(attend, 64));
  const CommandResult one = tuning({"show", a});
  EXPECT_EQ(one.out, read_file(a)) << one.err;
  put("system/a.yaml", record(attend, 96));
  const CommandResult all = tuning({"show"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_NE(all.out.find("name: \"Test GPU\""), std::string::npos) << all.out;
  write_file(a, "schema: 7\n");
  EXPECT_EQ(tuning({"show", a}).exit_code, 2);
}

TEST_F(TuningCommand, MergesInOrder) {
  const std::string a = put("a.yaml", record(attend, 64));
  const std::string b = put("b.yaml", record(select, 128));
  const std::string c = put("c.yaml", record(attend, 96));
  ASSERT_EQ(tuning({"merge", a, b, c, "-o", file("all.yaml")}).exit_code, 0);
  const auto all = load_tuning(file("all.yaml"));
  ASSERT_EQ(all->gpus.size(), 1U);
  ASSERT_EQ(all->gpus[0].kernels.size(), 2U);
  EXPECT_EQ(all->gpus[0].kernels[0].choices[0].tile.keys_per_step, 96);

  TuningRecord other = record(attend, 32);
  other.library = "0.0.1";
  put("b.yaml", other);
  const CommandResult refused = tuning({"merge", a, b, "-o", file("more.yaml")});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("were measured with different kernels"), std::string::npos) << refused.err;
  EXPECT_FALSE(std::filesystem::exists(file("more.yaml")));
  const CommandResult dropped = tuning({"merge", a, b, "--drop-others", "-o", file("more.yaml")});
  EXPECT_EQ(dropped.exit_code, 0) << dropped.err;
  EXPECT_NE(dropped.err.find("b.yaml is left out"), std::string::npos) << dropped.err;
  EXPECT_EQ(read_file(file("more.yaml")), read_file(a));
}

TEST_F(TuningCommand, DiffsCallsAndTheirTimes) {
  const std::string a = put("a.yaml", record(attend, 64));
  const CommandResult same = tuning({"diff", a, a});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_EQ(same.out, "they choose the same tiles\n");
  const CommandResult found = tuning({"diff", a, put("b.yaml", record(attend, 96))});
  EXPECT_EQ(found.exit_code, 3) << found.err;
  for (const char *part : {attend, "16x8/64/3/1", "16x8/96/3/1", "8192 tokens: 1.64 -> 1.96 ms", "1 choices differ"}) {
    EXPECT_NE(found.out.find(part), std::string::npos) << found.out;
  }
}

TEST_F(TuningCommand, ExportsPartsOfTheLayersAndImportsThem) {
  put("system/a.yaml", record(attend, 64));
  put("system/b.yaml", record(attend, 32, "Another GPU"));
  ASSERT_EQ(tuning({"export", "--gpu", "Test GPU", "-o", file("out.yaml")}).exit_code, 0);
  EXPECT_EQ(read_file(file("out.yaml")), autotune::record_text(record(attend, 64)));
  const CommandResult nothing = tuning({"export", "--gpu", "Test GPU", "--arch", "sm_80", "-o", file("no.yaml")});
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_NE(nothing.err.find("have nothing of what is asked for"), std::string::npos) << nothing.err;

  const CommandResult first = tuning({"import", file("out.yaml")});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.out.find("1 kernels of Test GPU (sm_90a) are in " + file("user/tuned.yaml") + "; 0 of them"),
            std::string::npos)
      << first.out;
  const CommandResult second = tuning({"import", put("out.yaml", record(attend, 96))});
  EXPECT_NE(second.out.find("; 1 of them had other tiles there"), std::string::npos) << second.out;
  const CommandResult shown = tuning({"export", "--gpu", "Test GPU", "-o", "-"});
  EXPECT_EQ(shown.out, autotune::record_text(record(attend, 96))) << "the user's overrides the system's";
}

TEST_F(TuningCommand, ImportsNothingOfOtherKernels) {
  TuningRecord old = record(attend, 96);
  old.templates = "0123456789abcdef";
  const CommandResult refused = tuning({"import", put("old.yaml", old)});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("measure anew with sale tune"), std::string::npos) << refused.err;
  write_file(file("bad.yaml"), "schema: [");
  EXPECT_EQ(tuning({"import", file("bad.yaml")}).exit_code, 2);
  EXPECT_FALSE(std::filesystem::exists(file("user")));
}

} // namespace
} // namespace sale::cli_test
