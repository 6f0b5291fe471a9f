// SPDX-License-Identifier: Apache-2.0
#include "cache/pack.hpp"
#include "cache/signature.hpp"
#include "cache/store.hpp"
#include "tests/cache/sample_entry.hpp"
#include "tests/cli/command_line.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>

namespace sale::cli_test {
namespace {

namespace fs = std::filesystem;

// The third example of RFC 8032, section 7.1, so nobody's secret.
constexpr const char *private_pem = "-----BEGIN PRIVATE KEY-----\n"
                                    "MC4CAQAwBQYDK2VwBCIEIMWqjfQ/n4N77bdELzHct7Fm04U1B28JS4XOOi4LRFj3\n"
                                    "-----END PRIVATE KEY-----\n";
constexpr const char *public_pem = "-----BEGIN PUBLIC KEY-----\n"
                                   "MCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=\n"
                                   "-----END PUBLIC KEY-----\n";

Entry entry_of(char key, const std::string &target = "sm_90", const std::string &version = "13.0") {
  Entry entry = sample_entry(std::string(64, key));
  entry.target = target;
  entry.compiler_version = version;
  return entry;
}

class CachePack : public testing::Test {
protected:
  std::string path(const std::string &name) const { return (folder_.path() / name).string(); }
  std::string pack() const { return path("kernels.pack"); }

  void fill(const std::string &root, const std::vector<Entry> &entries) const {
    const Store store({.root = path(root)}, [](const std::string &) {});
    for (const Entry &entry : entries) {
      store.publish(entry);
    }
  }

  CommandResult sale(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "cache");
    const std::map<std::string, std::string> environment = {{"SALE_CACHE_DIR", path("user")},
                                                            {"SALE_SYSTEM_CACHE_DIR", path("system")},
                                                            {"SALE_CACHE_PACKS", packs_},
                                                            {"SALE_PACK_KEY", ""}};
    return run_sale(arguments, environment);
  }

  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    const Pack opened = Pack::open(pack());
    for (const PackEntryInfo &info : opened.entries()) {
      keys.push_back(info.key.substr(0, 1) + " " + info.target + " " + info.compiler.version);
    }
    return keys;
  }

  // Flips a bit in the last entry of the pack.
  void damage_last_entry() const {
    std::fstream file(pack(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-1, std::ios::end);
    const int last = file.get();
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(last ^ 1));
  }

  std::string packs_;

private:
  TemporaryFolder folder_;
};

using Keys = std::vector<std::string>;

TEST_F(CachePack, holds_the_kernels_of_every_layer_once) {
  fill("user", {entry_of('a')});
  ASSERT_EQ(sale({"pack", path("first.pack")}).exit_code, 0);
  fs::remove_all(path("user"));
  packs_ = path("first.pack");
  fill("system", {entry_of('a'), entry_of('b', "sm_80")});
  fill("user", {entry_of('b', "sm_80"), entry_of('c', "sm_90", "12.8")});
  const CommandResult result = sale({"pack", pack()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.rfind(pack() + ": 3 kernels for sm_80, sm_90 by NVRTC 12.8, 13.0, ", 0), 0U) << result.out;
  EXPECT_EQ(keys(), (Keys{"a sm_90 13.0", "b sm_80 13.0", "c sm_90 12.8"}));
}

TEST_F(CachePack, is_the_same_file_from_any_folder) {
  fill("user", {entry_of('a'), entry_of('b')});
  sale({"pack", pack()});
  const std::string first = read_file(pack());
  fill("other", {entry_of('b'), entry_of('a')});
  EXPECT_EQ(sale({"pack", pack(), "--cache-dir", path("other")}).exit_code, 0);
  EXPECT_EQ(read_file(pack()), first);
}

TEST_F(CachePack, takes_the_named_architectures_only) {
  fill("user", {entry_of('a', "sm_80"), entry_of('b', "sm_90a"), entry_of('c', "sm_90"), entry_of('d', "compute_80")});
  EXPECT_EQ(sale({"pack", pack(), "--arch", "sm_80,sm_90a"}).exit_code, 0);
  EXPECT_EQ(keys(), (Keys{"a sm_80 13.0", "b sm_90a 13.0", "d compute_80 13.0"}));
  EXPECT_EQ(sale({"pack", pack(), "--arch", "compute_80"}).exit_code, 0);
  EXPECT_EQ(keys(), (Keys{"d compute_80 13.0"}));
  EXPECT_EQ(sale({"pack", pack(), "--arch", "sm_1"}).exit_code, 2);
}

TEST_F(CachePack, holds_what_a_manifest_names_and_nothing_else) {
  const auto kernel = [](char key, const std::string &arch) {
    return "  - {name: attend, arch: " + arch + ", key: " + std::string(64, key) + "}\n";
  };
  const std::string manifest = path("manifest.yaml");
  write_file(manifest,
             "schema: 1\nlibrary: 0.1.0\narchs: [sm_80, sm_90, compute_80]\nneeds:\n"
             "  - {name: a, problem: {dtype: bf16, head_dim: 64, gqa: 1}, policy: {estimator: int8}, serving: plain}\n"
             "kernels:\n" +
                 kernel('a', "sm_90") + kernel('b', "sm_80") + kernel('d', "compute_80"));
  fill("user", {entry_of('a'), entry_of('c'), entry_of('d', "compute_80")});
  const CommandResult missing = sale({"pack", pack(), "--manifest", manifest});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_EQ(missing.err, "sale: \"attend\" (bbbbbbbbbbbb) is not in the cache\n"
                         "sale: 1 of the 3 kernels of " +
                             manifest + " are missing, so nothing is packed; sale prewarm --manifest " + manifest +
                             " compiles them\n");
  EXPECT_FALSE(fs::exists(pack()));
  EXPECT_EQ(sale({"pack", pack(), "--manifest", manifest, "--arch", "sm_90"}).exit_code, 0);
  EXPECT_EQ(keys(), (Keys{"a sm_90 13.0"}));
  fill("user", {entry_of('b', "sm_80")});
  EXPECT_EQ(sale({"pack", pack(), "--manifest", manifest}).exit_code, 0);
  EXPECT_EQ(keys(), (Keys{"a sm_90 13.0", "b sm_80 13.0", "d compute_80 13.0"}));
}

TEST_F(CachePack, does_without_a_folder_of_the_system_that_others_may_write_into) {
  fill("user", {entry_of('a')});
  fill("system", {entry_of('b')});
  fs::permissions(path("system") + "/kernels", fs::perms::others_write, fs::perm_options::add);
  const CommandResult result = sale({"pack", pack()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("others may write into it"), std::string::npos) << result.err;
  EXPECT_EQ(keys(), (Keys{"a sm_90 13.0"}));
}

TEST_F(CachePack, of_nothing_is_refused) {
  const CommandResult result = sale({"pack", pack()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err, "sale: there are no kernels to pack; sale prewarm compiles those that a model needs\n");
  EXPECT_FALSE(fs::exists(pack()));
}

TEST_F(CachePack, leaves_damaged_files_out_with_a_warning) {
  fill("user", {entry_of('a'), entry_of('b')});
  fs::resize_file(*fs::directory_iterator(path("user") + "/kernels"), 100);
  const CommandResult result = sale({"pack", pack()});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("is left out"), std::string::npos) << result.err;
  EXPECT_EQ(keys().size(), 1U);
}

TEST_F(CachePack, goes_where_a_file_can_be_written) {
  fill("user", {entry_of('a')});
  EXPECT_EQ(sale({"pack", path("none/x.pack")}).exit_code, 2);
  EXPECT_EQ(sale({"pack", "/dev/null"}).exit_code, 2);
  EXPECT_EQ(sale({"pack", "/dev/full"}).exit_code, 2);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(CachePack, unpacks_into_the_folder_of_the_user) {
  fill("user", {entry_of('a'), entry_of('b')});
  sale({"pack", pack()});
  const CommandResult first = sale({"unpack", pack(), "--cache-dir", path("other")});
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.out, "2 kernels unpacked into " + path("other") + ", 0 were there, 0 refused\n");
  const Store store({.root = path("other")}, [](const std::string &) {});
  EXPECT_EQ(serialize(*store.lookup(std::string(64, 'a'), std::nullopt)), serialize(entry_of('a')));
  const CommandResult second = sale({"unpack", pack(), "--cache-dir", path("other")});
  EXPECT_EQ(second.out, "0 kernels unpacked into " + path("other") + ", 2 were there, 0 refused\n");
}

TEST_F(CachePack, replaces_what_is_damaged_or_differs_in_the_folder) {
  fill("user", {entry_of('a'), entry_of('b')});
  sale({"pack", pack()});
  Entry other = entry_of('a');
  other.binary = {1};
  fill("user", {other});
  EXPECT_EQ(sale({"unpack", pack()}).out, "1 kernels unpacked into " + path("user") + ", 1 were there, 0 refused\n");
  fs::resize_file(*fs::directory_iterator(path("user") + "/kernels"), 100);
  EXPECT_EQ(sale({"unpack", pack()}).out, "1 kernels unpacked into " + path("user") + ", 1 were there, 0 refused\n");
  EXPECT_EQ(sale({"verify"}).exit_code, 0);
}

TEST_F(CachePack, refuses_damaged_entries_one_by_one) {
  fill("user", {entry_of('a'), entry_of('b')});
  sale({"pack", pack()});
  damage_last_entry();
  const std::string why = pack() + ": attend sm_90 bf16 d128 (bbbbbbbbbbbb): it does not have the digest that the "
                                   "pack's index states\n";
  const CommandResult unpack = sale({"unpack", pack(), "--cache-dir", path("other")});
  EXPECT_EQ(unpack.exit_code, 3);
  EXPECT_EQ(unpack.out, "1 kernels unpacked into " + path("other") + ", 0 were there, 1 refused\n");
  EXPECT_EQ(unpack.err, "sale: " + why);
  const CommandResult verify = sale({"verify", pack()});
  EXPECT_EQ(verify.exit_code, 3);
  EXPECT_EQ(verify.err, "sale: " + why);
  EXPECT_NE(verify.out.find("2 kernels checked, 1 damaged\n"), std::string::npos) << verify.out;
}

TEST_F(CachePack, refuses_what_is_no_pack) {
  write_file(pack(), "not a pack");
  const std::string sentence =
      "sale: " + pack() +
      " cannot be used as a pack: it is shorter than a pack's preamble; sale cache pack makes it anew\n";
  const CommandResult verify = sale({"verify", pack()});
  EXPECT_EQ(verify.exit_code, 3);
  EXPECT_EQ(verify.err, sentence);
  const CommandResult unpack = sale({"unpack", pack()});
  EXPECT_EQ(unpack.exit_code, 1);
  EXPECT_EQ(unpack.err, sentence);
  EXPECT_FALSE(fs::exists(path("user")));
}

TEST_F(CachePack, is_verified_with_its_facts) {
  fill("user", {entry_of('a')});
  sale({"pack", pack()});
  const CommandResult result = sale({"verify", pack()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.rfind(pack() + ": 1 kernels for sm_90 by NVRTC 13.0, ", 0), 0U) << result.out;
  EXPECT_NE(result.out.find("1 kernels checked, 0 damaged\n"), std::string::npos) << result.out;
}

TEST_F(CachePack, of_another_library_is_warned_about) {
  write_pack(pack(), std::vector{entry_of('a')}, {"0.0.1", "other"});
  const CommandResult result = sale({"verify", pack()});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.err.find("is of another libsale (0.0.1)"), std::string::npos) << result.err;
}

TEST_F(CachePack, is_signed_and_checked) {
  fill("user", {entry_of('a')});
  write_file(path("private.pem"), private_pem);
  write_file(path("public.pem"), public_pem);
  const CommandResult packed = sale({"pack", pack(), "--sign-with", path("private.pem")});
  EXPECT_EQ(packed.exit_code, 0) << packed.err;
  EXPECT_EQ(fs::file_size(signature_path(pack())), 64U);
  EXPECT_EQ(sale({"verify", pack(), "--key", path("public.pem")}).exit_code, 0);
  EXPECT_EQ(sale({"unpack", pack(), "--key", path("public.pem")}).exit_code, 0);

  damage_last_entry();
  const CommandResult verify = sale({"verify", pack(), "--key", path("public.pem")});
  EXPECT_EQ(verify.exit_code, 3);
  EXPECT_NE(verify.err.find("is not its signature by the key"), std::string::npos) << verify.err;
  EXPECT_EQ(sale({"unpack", pack(), "--key", path("public.pem")}).exit_code, 1);
}

TEST_F(CachePack, is_not_written_when_the_key_is_none) {
  fill("user", {entry_of('a')});
  write_file(path("public.pem"), public_pem);
  EXPECT_EQ(sale({"pack", pack(), "--sign-with", path("public.pem")}).exit_code, 1);
  EXPECT_FALSE(fs::exists(pack()));
}

} // namespace
} // namespace sale::cli_test
