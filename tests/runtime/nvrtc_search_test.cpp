// SPDX-License-Identifier: Apache-2.0
#include "runtime/nvrtc.hpp"
#include "tests/runtime/fakes.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

namespace sale {
namespace {

namespace fs = std::filesystem;

/// A file system of our own, with files named like NVRTC's.
class NvrtcSearch : public testing::Test {
protected:
  void library(const std::string &folder, const std::string &name = "libnvrtc.so.13") { file(folder, name); }
  void builtins(const std::string &folder, const std::string &version = "13.0") {
    file(folder, "libnvrtc-builtins.so." + version);
  }
  void both(const std::string &folder) {
    library(folder);
    builtins(folder);
  }
  void file(const std::string &folder, const std::string &name) {
    fs::create_directories(root() / folder);
    std::ofstream(root() / folder / name) << name;
  }
  fs::path root() const { return folder_.path(); }

  SearchEnvironment environment() const {
    return {[this](const char *name) {
              const auto found = variables_.find(name);
              return found == variables_.end() ? std::string() : found->second;
            },
            root(),
            [this](const char *name) {
              const fs::path file = loader_folder_ / name;
              return !loader_folder_.empty() && fs::exists(file) ? file : fs::path();
            }};
  }
  NvrtcSearchResult search(const fs::path &requested = {}) const {
    return find_nvrtc(nvrtc_places(requested, environment()));
  }
  /// The folder, below the root, of what was found.
  std::string found() const {
    const NvrtcSearchResult result = search();
    return result.files ? fs::relative(result.files->library.parent_path(), root()).string() : "nothing";
  }

  std::map<std::string, std::string> variables_;
  fs::path loader_folder_; ///< What the loader knows besides.
  TemporaryFolder folder_;
};

TEST_F(NvrtcSearch, LooksAtCudaHomeFirstThenOnwards) {
  const char *wheel = "venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib";
  both("home/lib64");
  both("path/lib");
  both("loader");
  both("usr/local/cuda/lib64");
  both(wheel);
  variables_ = {{"CUDA_HOME", root() / "home"},
                {"CUDA_PATH", root() / "path"},
                {"LD_LIBRARY_PATH", "/nonexistent::" + (root() / "loader").string()},
                {"VIRTUAL_ENV", root() / "venv"}};
  EXPECT_EQ(found(), "home/lib64");
  variables_.erase("CUDA_HOME");
  EXPECT_EQ(found(), "path/lib");
  variables_.erase("CUDA_PATH");
  EXPECT_EQ(found(), "loader");
  variables_.erase("LD_LIBRARY_PATH");
  EXPECT_EQ(found(), "usr/local/cuda/lib64");
  fs::remove_all(root() / "usr");
  EXPECT_EQ(found(), wheel);
  variables_.erase("VIRTUAL_ENV");
  EXPECT_EQ(found(), "nothing");
}

TEST_F(NvrtcSearch, FindsEveryLayoutOfPipWheels) {
  for (const char *wheel :
       {"usr/local/lib/python3.11/dist-packages/nvidia/cuda_nvrtc/lib", "usr/lib/python3/dist-packages/nvidia/cu13/lib",
        "usr/local/lib/python3.13/site-packages/nvidia/cu13/lib"}) {
    both(wheel);
    EXPECT_EQ(found(), wheel);
    fs::remove_all(root() / wheel);
  }
  variables_["HOME"] = root() / "home/me";
  both("home/me/.local/lib/python3.10/site-packages/nvidia/cu13/lib");
  EXPECT_EQ(found(), "home/me/.local/lib/python3.10/site-packages/nvidia/cu13/lib");
}

TEST_F(NvrtcSearch, PrefersTheNewestOfOneFolder) {
  library("usr/local/cuda/lib64", "libnvrtc.so.12");
  library("usr/local/cuda/lib64", "libnvrtc.so.13");
  builtins("usr/local/cuda/lib64", "12.9");
  builtins("usr/local/cuda/lib64", "13.1");
  EXPECT_EQ(search().files->library.filename(), "libnvrtc.so.13");
  EXPECT_EQ(search().files->version, "13.1");
}

TEST_F(NvrtcSearch, PassesOverALibraryWithoutItsBuiltins) {
  library("usr/local/cuda/lib64", "libnvrtc.so.13");
  library("usr/local/cuda/lib64", "libnvrtc.so.12");
  builtins("usr/local/cuda/lib64", "12.4");
  EXPECT_EQ(search().files->library.filename(), "libnvrtc.so.12");
  fs::remove(root() / "usr/local/cuda/lib64/libnvrtc-builtins.so.12.4");
  const NvrtcSearchResult result = search();
  EXPECT_FALSE(result.files);
  EXPECT_NE(result.searched.at(0).find("has no libnvrtc-builtins.so beside it"), std::string::npos);
}

TEST_F(NvrtcSearch, IgnoresVersionsItCannotUse) {
  library("usr/local/cuda/lib64", "libnvrtc.so.11.2");
  builtins("usr/local/cuda/lib64", "11.8");
  EXPECT_EQ(found(), "nothing");
}

TEST_F(NvrtcSearch, TakesAPlainNameWhenItsBuiltinsSayWhatItIs) {
  library("usr/local/cuda/lib64", "libnvrtc.so");
  builtins("usr/local/cuda/lib64", "12.6");
  EXPECT_EQ(search().files->version, "12.6");
}

TEST_F(NvrtcSearch, FollowsALinkToTheRealLibrarysFolder) {
  both("opt/cuda/lib");
  fs::create_directories(root() / "usr/local/cuda/lib64");
  fs::create_symlink(root() / "opt/cuda/lib/libnvrtc.so.13", root() / "usr/local/cuda/lib64/libnvrtc.so.13");
  ASSERT_TRUE(search().files);
  EXPECT_EQ(search().files->builtins.parent_path().filename(), "lib");
}

TEST_F(NvrtcSearch, TakesARequestedFolderOrFileAndNothingElse) {
  both("usr/local/cuda/lib64");
  both("mine");
  EXPECT_EQ(search(root() / "mine").files->library, root() / "mine/libnvrtc.so.13");
  EXPECT_EQ(search(root() / "mine/libnvrtc.so.13").files->library, root() / "mine/libnvrtc.so.13");
  EXPECT_FALSE(search(root() / "absent").files);
}

TEST_F(NvrtcSearch, TakesWhatSaleNvrtcNamesUnlessOneIsRequested) {
  both("usr/local/cuda/lib64");
  both("named");
  both("mine");
  variables_["SALE_NVRTC"] = root() / "named";
  EXPECT_EQ(found(), "named");
  EXPECT_EQ(search(root() / "mine").files->library, root() / "mine/libnvrtc.so.13");
  variables_["SALE_NVRTC"] = root() / "absent";
  EXPECT_EQ(found(), "nothing");
}

TEST_F(NvrtcSearch, SaysWhereItLookedAndHowToGetOne) {
  const Error error = error_of([&] { locate_nvrtc({}, environment()); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  const std::string what = error.what();
  EXPECT_EQ(what.rfind("no NVRTC found: ", 0), 0U);
  EXPECT_NE(what.find((root() / "usr/local/cuda/lib64").string()), std::string::npos);
  EXPECT_NE(what.find("pip install nvidia-cuda-nvrtc"), std::string::npos);
}

TEST_F(NvrtcSearch, LooksIntoFoldersOfTheLoadersConfigurationWithoutOpeningAnything) {
  both("opt/cuda-13.0/lib");
  fs::create_directories(root() / "etc/ld.so.conf.d");
  std::ofstream(root() / "etc/ld.so.conf") << "include /etc/ld.so.conf.d/*.conf\n\n/absent\n";
  std::ofstream(root() / "etc/ld.so.conf.d/b.conf") << "# libraries\n/usr/local/lib # none\n/opt/cuda-13.0/lib\n";
  std::ofstream(root() / "etc/ld.so.conf.d/a.conf") << "include /etc/ld.so.conf.d/*.conf\nrelative\n";
  std::ofstream(root() / "etc/ld.so.conf.d/c.txt") << "/elsewhere\n";
  EXPECT_EQ(found(), "opt/cuda-13.0/lib");
  EXPECT_EQ(search().files->why, "ld.so.conf");
  both("usr/local/cuda/lib64");
  EXPECT_EQ(found(), "usr/local/cuda/lib64");
}

TEST_F(NvrtcSearch, AsksTheLoaderWhenNothingElseIsThere) {
  both("opt/cuda");
  loader_folder_ = root() / "opt/cuda";
  EXPECT_EQ(locate_nvrtc({}, environment()).library, root() / "opt/cuda/libnvrtc.so.13");
  EXPECT_THROW(locate_nvrtc(root() / "absent", environment()), Error);
  both("usr/local/cuda/lib64");
  EXPECT_EQ(locate_nvrtc({}, environment()).library, root() / "usr/local/cuda/lib64/libnvrtc.so.13");
}

TEST_F(NvrtcSearch, SaysWhatTheLoaderFoundThatIsNotUsable) {
  library("opt/cuda");
  loader_folder_ = root() / "opt/cuda";
  const Error error = error_of([&] { locate_nvrtc({}, environment()); });
  EXPECT_NE(std::string(error.what()).find("has no libnvrtc-builtins.so beside it (the loader's path)"),
            std::string::npos);
}

TEST(Loader, NamesTheFileBehindAName) {
  const SearchEnvironment environment = SearchEnvironment::of_process();
  EXPECT_TRUE(environment.loader("libc.so.6").is_absolute());
  EXPECT_TRUE(environment.loader("libsale-nothing.so.1").empty());
}

TEST_F(NvrtcSearch, OpensWhatItFoundAndReadsVersionAndArchitectures) {
  const auto nvrtc = Nvrtc::open(locate_nvrtc(FAKE_NVRTC));
  EXPECT_EQ(nvrtc->version(), "13.0");
  EXPECT_EQ(nvrtc->archs(), (std::vector{80, 89, 90}));
  EXPECT_FALSE(nvrtc->files().build.empty());
}

TEST_F(NvrtcSearch, RefusesALibraryWhoseBuiltinsAreOfAnotherVersion) {
  const Error error = error_of([] { Nvrtc::open(locate_nvrtc(FAKE_NVRTC_MISMATCHED)); });
  EXPECT_NE(std::string(error.what())
                .find("it is version 13.9, the builtins library beside it, "
                      "libnvrtc-builtins.so.13.0, is for 13.0"),
            std::string::npos);
}

TEST_F(NvrtcSearch, RefusesAFileThatIsNoLibrary) {
  both("usr/local/cuda/lib64");
  const Error error = error_of([&] { Nvrtc::open(*search().files); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_NE(std::string(error.what()).find("is not a usable NVRTC"), std::string::npos);
}

} // namespace
} // namespace sale
