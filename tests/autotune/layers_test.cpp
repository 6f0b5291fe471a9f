// SPDX-License-Identifier: Apache-2.0
#include "autotune/record/layers.hpp"
#include "autotune/record/edit.hpp"
#include "autotune/record/record.hpp"
#include "sale/error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>

#include <sys/stat.h>

namespace sale::autotune {
namespace {

constexpr const char *attend = "attend sm_90a bf16 d128 gqa4 q64 k32";
constexpr const char *select = "select sm_90a bf16 d128 gqa4 int8 q64 k32";

class LayersTest : public testing::Test {
protected:
  LayersTest() {
    layers_.shipped = false;
    layers_.system_dir = folder_.path() / "system";
    layers_.user_dir = folder_.path() / "user";
    layers_.warning = [this](const std::string &sentence) { warnings_.push_back(sentence); };
  }

  static TuningRecord record(const char *kernel, int keys) {
    TuningRecord made = empty_record();
    TileChoice choice;
    choice.tile = {16, 8, keys, 3, 1};
    made.gpus.push_back({"H100", parse_arch("sm_90a"), 132, {}, {{kernel, {choice}}}});
    return made;
  }
  static int keys_of(const TuningRecord &record, const char *kernel) {
    return only(record, "H100", "", kernel).gpus.at(0).kernels.at(0).choices.at(0).tile.keys_per_step;
  }
  static void write(const std::filesystem::path &file, const std::string &text) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  TemporaryFolder folder_;
  TuningLayers layers_;
  std::vector<std::string> warnings_;
};

TEST_F(LayersTest, WithoutAnyThereIsNoRecord) {
  EXPECT_EQ(load_tuning_layers(layers_), nullptr);
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(LayersTest, LaterOnesOverrideKernelByKernel) {
  write_record(layers_.system_dir / "a.yaml", record(attend, 64));
  write_record(layers_.system_dir / "b.yaml", record(select, 128));
  write_record(layers_.user_dir / "a.yaml", record(attend, 96));
  write(layers_.user_dir / "notes.txt", "no record");
  const auto all = load_tuning_layers(layers_);
  ASSERT_NE(all, nullptr);
  EXPECT_TRUE(all->optional);
  EXPECT_EQ(keys_of(*all, attend), 96);
  EXPECT_EQ(keys_of(*all, select), 128);
  write_record(layers_.user_dir / "b.yaml", record(attend, 32));
  EXPECT_EQ(keys_of(*load_tuning_layers(layers_), attend), 32) << "by name within a folder";
  EXPECT_TRUE(warnings_.empty());
}

TEST_F(LayersTest, WhatCannotBeUsedIsAWarning) {
  write_record(layers_.user_dir / "good.yaml", record(attend, 64));
  write(layers_.user_dir / "bad.yaml", "schema: [");
  TuningRecord old = record(attend, 96);
  old.library = "0.0.1";
  write(layers_.user_dir / "old.yaml", record_text(old));
  EXPECT_EQ(keys_of(*load_tuning_layers(layers_), attend), 64);
  ASSERT_EQ(warnings_.size(), 2U);
  EXPECT_NE(warnings_[0].find("bad.yaml"), std::string::npos) << warnings_[0];
  EXPECT_NE(warnings_[1].find("measured with other kernels (libsale 0.0.1"), std::string::npos) << warnings_[1];
  EXPECT_TRUE(warnings_[1].ends_with("; run sale tune again")) << warnings_[1];
  EXPECT_EQ(warnings_[0].find("sale tune again"), std::string::npos) << warnings_[0];
  const std::vector<LayerRecord> all = read_layers(layers_);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_FALSE(all[0].record.has_value());
  EXPECT_TRUE(all[2].record.has_value()) << "tuning may begin with its tiles";
}

TEST_F(LayersTest, ShippedOnesCanBeRead) {
  layers_.shipped = true;
  for (const LayerRecord &found : read_layers(layers_)) {
    EXPECT_EQ(found.layer, "shipped");
    ASSERT_TRUE(found.record.has_value()) << found.problem;
    if (found.problem.empty()) {
      for (const GpuTuning &gpu : found.record->gpus) {
        EXPECT_FALSE(gpu.kernels.empty());
      }
    }
  }
  load_tuning_layers(layers_);
  EXPECT_TRUE(warnings_.empty()) << "a library's own record may be older than its templates";
}

TEST_F(LayersTest, TheEnvironmentNamesTheFolders) {
  const TuningLayers none;
  ::setenv("SALE_TUNING_DIR", "/x/tuning", 1);
  ::setenv("SALE_SYSTEM_TUNING_DIR", "/y/tuning", 1);
  EXPECT_EQ(user_tuning_folder(none), "/x/tuning");
  EXPECT_EQ(user_tuning_file(none), "/x/tuning/tuned.yaml");
  EXPECT_EQ(system_tuning_folder(none), "/y/tuning");
  ::unsetenv("SALE_TUNING_DIR");
  ::unsetenv("SALE_SYSTEM_TUNING_DIR");
  ::setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(user_tuning_folder(none), "/data/sale/tuning");
  ::setenv("XDG_DATA_HOME", "relative", 1);
  ::setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(user_tuning_folder(none), "/home/somebody/.local/share/sale/tuning");
  EXPECT_EQ(system_tuning_folder(none), "/var/lib/sale/tuning");
  ::unsetenv("HOME");
  EXPECT_THROW(user_tuning_file(none), Error);
}

TEST_F(LayersTest, WhatIsAddedMergesAndWhatIsForeignIsKept) {
  const std::filesystem::path file = layers_.user_dir / "deep" / "tuned.yaml";
  EXPECT_FALSE(add_to_record(file, record(attend, 64)));
  EXPECT_FALSE(add_to_record(file, record(select, 128)));
  EXPECT_EQ(keys_of(*load_tuning(file), attend), 64);
  EXPECT_EQ(keys_of(*load_tuning(file), select), 128);
  TuningRecord old = record(attend, 96);
  old.templates = "0123456789ab";
  write(file, record_text(old));
  const auto kept = add_to_record(file, record(attend, 64));
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->filename(), "tuned-" + old.library + "-01234567.yaml");
  EXPECT_EQ(load_tuning(*kept)->templates, old.templates);
  EXPECT_EQ(keys_of(*load_tuning(file), attend), 64);
}

TEST_F(LayersTest, AFileAppearsWholeOrNotAtAll) {
  const std::filesystem::path file = layers_.user_dir / "tuned.yaml";
  write_record(file, record(attend, 64));
  std::size_t files = 0;
  for ([[maybe_unused]] const auto &entry : std::filesystem::directory_iterator(layers_.user_dir)) {
    ++files;
  }
  EXPECT_EQ(files, 1U) << "nothing temporary is left";
  write(folder_.path() / "blocked", "a file");
  EXPECT_THROW(write_record(folder_.path() / "blocked" / "tuned.yaml", record(attend, 64)), Error);
  std::filesystem::create_directories(folder_.path() / "taken.yaml" / "inside");
  EXPECT_THROW(write_record(folder_.path() / "taken.yaml", record(attend, 64)), Error);
  // Through a link, the file that it names is replaced.
  const std::filesystem::path link = folder_.path() / "link.yaml";
  std::filesystem::create_symlink(file, link);
  write_record(link, record(attend, 96));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(keys_of(*load_tuning(file), attend), 96);
}

} // namespace
} // namespace sale::autotune
