// SPDX-License-Identifier: Apache-2.0
// Every system call that the cache makes fails once, in every way, at every place: the calls return, what they return
// is right, and the next ones work.
#include "cache/build_lock.hpp"
#include "cache/file_names.hpp"
#include "cache/history.hpp"
#include "cache/pack.hpp"
#include "cache/store.hpp"
#include "sale/error.hpp"
#include "tests/cache/sample_entry.hpp"
#include "tests/cache/wrapped_calls.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <thread>

namespace sale {
namespace {

namespace fs = std::filesystem;

const CompilerId compiler{"13.0", "65be0db3"};
constexpr std::uint64_t max_files = 4;

std::string key_of(char letter) { return std::string(64, letter); }

Entry entry_of(char letter) {
  Entry entry = sample_entry(key_of(letter));
  entry.binary.assign(500, static_cast<unsigned char>(letter));
  return entry;
}

void set_age(const fs::path &path, std::chrono::seconds age) {
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now() - age, ignored);
}

/// What callers saw of one run.
struct Seen {
  std::vector<std::string> found; ///< "a:hit", in order: what a fault may turn into misses.
  int thrown = 0;                 ///< By calls that never may.
  int wrong = 0;                  ///< Entries that are not what was published.
  std::size_t noticed = 0;        ///< Disk errors counted, and errors thrown where that is the contract.
  std::size_t noticed_by_store = 0;
};

/// Everything that a cache folder, a pack and a lock are used for, once.
class Scenario {
public:
  explicit Scenario(const std::string &failing_call = "") : stamps_fail_(failing_call == "futimens") {}

  Seen run(const fs::path &folder) {
    folder_ = folder;
    use_store();
    use_new_folder();
    seen_.noticed_by_store = seen_.noticed;
    use_pack();
    return seen_;
  }

private:
  fs::path root() const { return folder_ / "a" / "cache"; }
  fs::path file_of(char letter) const { return root() / kernels_folder / kernel_file_name(key_of(letter), compiler); }

  template <class Call>
  void never_throws(const Call &call) {
    try {
      call();
    } catch (...) {
      ++seen_.thrown;
    }
  }

  // What the commands use says by Error(cache) or Error(io) what is wrong with the disk.
  template <class Call>
  void may_refuse(const std::string &name, const Call &call) {
    try {
      call();
      seen_.found.push_back(name + ":done");
    } catch (const Error &error) {
      seen_.thrown += error.kind() == ErrorKind::cache || error.kind() == ErrorKind::io ? 0 : 1;
      ++seen_.noticed;
      seen_.found.push_back(name + ":refused");
    } catch (...) {
      ++seen_.thrown;
    }
  }

  void look(const std::string &where, char letter, const std::optional<Entry> &entry) {
    seen_.found.push_back(fmt::format("{} {}:{}", where, letter, entry ? "hit" : "miss"));
    seen_.wrong += entry && serialize(*entry) != serialize(entry_of(letter)) ? 1 : 0;
  }

  void look_up(const Store &store, char letter, const std::optional<CompilerId> &by) {
    never_throws([&] { look(store.options().writable ? "user" : "system", letter, store.lookup(key_of(letter), by)); });
  }

  void prepare_files() {
    const FaultsPaused paused;
    set_age(file_of('a'), std::chrono::hours(3)); // Worth a stamp.
    std::ofstream(file_of('c')) << "damaged";
    std::ofstream(root() / kernels_folder / ".tmp-left") << "?";
    std::ofstream(root() / locks_folder / "left.lock") << "?";
    set_age(root() / kernels_folder / ".tmp-left", std::chrono::hours(2));
    set_age(root() / locks_folder / "left.lock", std::chrono::hours(2));
    std::ofstream(root() / history_file) << std::string(70000, 'x') << "\nsale misses=1\n"; // Worth compacting.
    std::error_code ignored;
    fs::permissions(root() / history_file, fs::perms::owner_read | fs::perms::owner_write, ignored);
  }

  void use_store() {
    const auto store = std::make_unique<Store>(StoreOptions{.root = root(), .max_files = max_files}, nullptr);
    never_throws([&] { seen_.noticed += store->make_folder() ? 1 : 0; });
    look_up(*store, 'a', compiler);
    never_throws([&] {
      const fs::path path = store->lock_path(key_of('a'), compiler);
      if (!path.empty()) {
        BuildLock::acquire(path, {.wait_seconds = 0});
      }
    });
    for (const char letter : {'a', 'b', 'c'}) {
      never_throws([&] { store->publish(entry_of(letter)); });
    }
    prepare_files();
    look_up(*store, 'a', compiler);
    look_up(*store, 'b', std::nullopt);
    look_up(*store, 'c', compiler);
    {
      const Store system({.root = root(), .writable = false}, nullptr);
      look_up(system, 'b', std::nullopt);
      seen_.noticed += system.counters().errors;
    }
    for (const char letter : {'c', 'd', 'e', 'f'}) {
      if (letter == 'f' && stamps_fail_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      never_throws([&] { store->publish(entry_of(letter)); });
    }
    look_up(*store, 'f', compiler);
    may_refuse("list", [&] { store->list(); });
    may_refuse("usage", [&] { store->usage(); });
    may_refuse("collect", [&] { store->collect(); });
    const StoreCounters counters = store->counters();
    seen_.found.push_back(fmt::format("published {}", counters.published));
    seen_.found.push_back(fmt::format("repaired {}", counters.corrupt));
    seen_.found.push_back(fmt::format("evicted {}", counters.evicted > 0));
    seen_.noticed += counters.errors;
  }

  // publish makes it.
  void use_new_folder() {
    const Store store({.root = folder_ / "b" / "cache"}, nullptr);
    never_throws([&] { store.publish(entry_of('a')); });
    look_up(store, 'a', compiler);
    seen_.noticed += store.counters().errors;
  }

  void use_pack() {
    const fs::path file = folder_ / "pack";
    const std::vector<Entry> entries = {entry_of('a'), entry_of('b')};
    may_refuse("write pack", [&] { write_pack(file, entries, {"1", "t"}); });
    may_refuse("read pack", [&] {
      const Pack pack = Pack::open(file);
      never_throws([&] { look("pack", 'b', pack.lookup(key_of('b'), compiler)); });
      seen_.noticed += pack.errors();
    });
  }

  /// An entry without a stamp has the kernel's time, which may be a tick (10 ms) behind the stamps of entries that are
  /// older.
  bool stamps_fail_;
  fs::path folder_;
  Seen seen_;
};

int temporary_files(const fs::path &folder) {
  int count = 0;
  for (const auto &file : fs::recursive_directory_iterator(folder)) {
    const std::string name = file.path().filename();
    count += is_temporary_file(name) && name != ".tmp-left" ? 1 : 0;
  }
  return count;
}

// What stays of a run once its leftovers are old, and what the folder then is good for.
std::string what_is_wrong_afterwards(const fs::path &folder) {
  const fs::path root = folder / "a" / "cache";
  std::string wrong;
  const Store store({.root = root}, [&](const std::string &sentence) { wrong += sentence + "\n"; });
  for (const char letter : {'a', 'g'}) {
    store.publish(entry_of(letter));
    const auto found = store.lookup(key_of(letter), compiler);
    if (!found || serialize(*found) != serialize(entry_of(letter))) {
      wrong += fmt::format("{} is not found\n", letter);
    }
  }
  for (const auto &file : fs::recursive_directory_iterator(root)) {
    set_age(file.path(), std::chrono::hours(2));
  }
  store.collect();
  for (const auto &file : fs::recursive_directory_iterator(root)) {
    const std::string name = file.path().filename();
    if (is_temporary_file(name) || (is_lock_file(name) && name != garbage_lock_file)) {
      wrong += name + " stays\n";
    }
  }
  return wrong;
}

struct Row {
  int injected = 0, noticed = 0, thrown = 0, wrong = 0;
};

Row inject_everywhere(CallFault fault, const Seen &undisturbed) {
  Row row;
  for (fault.occurrence = 1;; ++fault.occurrence) {
    const TemporaryFolder folder;
    Seen seen;
    {
      const InjectedFault injected(fault);
      seen = Scenario(fault.call).run(folder.path());
      if (!injected.happened()) {
        return row;
      }
    }
    const std::string where = fmt::format("{} number {} fails with {}", fault.call, fault.occurrence, fault.error);
    ++row.injected;
    row.noticed += seen.noticed > 0 ? 1 : 0;
    row.thrown += seen.thrown;
    row.wrong += seen.wrong;
    EXPECT_EQ(seen.thrown, 0) << where;
    EXPECT_EQ(seen.wrong, 0) << where;
    if (fault.is_short || fault.error == EINTR) {
      EXPECT_EQ(seen.found, undisturbed.found) << where;
      EXPECT_EQ(seen.noticed, 0U) << where;
    } else if (seen.noticed == 0) {
      EXPECT_EQ(seen.found, undisturbed.found) << where << ": and nobody is told";
    }
    // A folder of a file server that was replaced is opened anew; only a file's removal is not tried twice.
    const bool is_removal = fault.call == "unlinkat" || fault.call == "fstatat";
    if (fault.error == ESTALE && !fault.from_then && !is_removal) {
      EXPECT_EQ(seen.noticed_by_store, 0U) << where;
    }
    if (fault.call != "unlinkat" && !fault.from_then) {
      EXPECT_EQ(temporary_files(folder.path()), 0) << where;
    }
    EXPECT_EQ(what_is_wrong_afterwards(folder.path()), "") << where;
    if (testing::Test::HasFailure() && row.injected > 200) {
      return row;
    }
  }
}

Seen run_undisturbed() {
  const TemporaryFolder folder;
  const Seen seen = Scenario().run(folder.path());
  EXPECT_EQ(seen.noticed, 0U);
  EXPECT_EQ(what_is_wrong_afterwards(folder.path()), "");
  return seen;
}

template <class Parameter>
class FaultsTest : public testing::TestWithParam<Parameter> {
protected:
  static void SetUpTestSuite() { keep_temporary_folders_in_memory(); }
};

using SystemCallFaults = FaultsTest<std::string>;
using SystemCallFaultsThatStay = FaultsTest<std::pair<const char *, int>>;

void print_header() {
  fmt::print("{:<10} {:<7} {:>8} {:>8} {:>10} {:>13}\n", "call", "error", "injected", "noticed", "lost calls",
             "wrong entries");
}

void print(const std::string &call, const char *error, const Row &row) {
  fmt::print("{:<10} {:<7} {:>8} {:>8} {:>10} {:>13}\n", call, error, row.injected, row.noticed, row.thrown, row.wrong);
  EXPECT_GT(row.injected, 0) << "the scenario makes no such call";
}

TEST_P(SystemCallFaults, LoseNoCallGiveNoWrongEntryAndLeaveACacheThatWorks) {
  const std::string call = GetParam();
  const Seen undisturbed = run_undisturbed();
  const std::map<int, const char *> errors = {{ENOSPC, "ENOSPC"}, {EIO, "EIO"},       {EINTR, "EINTR"},
                                              {ESTALE, "ESTALE"}, {ENOMEM, "ENOMEM"}, {EACCES, "EACCES"}};
  print_header();
  for (const auto &[error, name] : errors) {
    if (error == EINTR && call == "fdopendir") {
      continue; // Asks the kernel for nothing that waits.
    }
    print(call, name, inject_everywhere({.call = call, .error = error}, undisturbed));
  }
  const std::set<std::string> transfers = {"read", "pread", "write", "pwrite"};
  if (transfers.contains(call)) {
    print(call, "short", inject_everywhere({.call = call, .is_short = true}, undisturbed));
  }
}

TEST_P(SystemCallFaultsThatStay, LoseNoCallGiveNoWrongEntryAndLeaveACacheThatWorks) {
  const auto &[name, error] = GetParam();
  print_header();
  print("all", name, inject_everywhere({.error = error, .from_then = true}, run_undisturbed()));
}

INSTANTIATE_TEST_SUITE_P(Of, SystemCallFaultsThatStay,
                         testing::Values(std::pair("EIO", EIO), std::pair("ESTALE", ESTALE)),
                         [](const auto &error) { return error.param.first; });

// unlink comes only after another call has failed: SystemCallFaultsThatStay.
std::vector<std::string> calls_of_an_undisturbed_run() {
  std::vector<std::string> calls = wrapped_calls();
  std::erase(calls, "unlink");
  return calls;
}

INSTANTIATE_TEST_SUITE_P(Of, SystemCallFaults, testing::ValuesIn(calls_of_an_undisturbed_run()),
                         [](const auto &call) { return call.param; });

// Whatever else the cache's objects take from outside, and why no fault is injected there.
bool cannot_fail(const std::string &symbol) {
  static const std::set<std::string> no_system_call = {
      "__errno_location", "__libc_single_threaded", "__once_proxy", "__stack_chk_fail",
      "__tls_get_addr",   "_GLOBAL_OFFSET_TABLE_",  "bcmp",         "getenv"};
  // Of the process itself, or an answer that is always there; waits that may be as long as they like.
  static const std::set<std::string> always_succeed = {"clock_gettime", "geteuid",     "gethostname", "getpid",
                                                       "nanosleep",     "sched_yield", "sigfillset",  "syscall"};
  if (no_system_call.contains(symbol) || always_succeed.contains(symbol)) {
    return true;
  }
  for (const char *prefix : {"_Z", "__cxa_", "__gxx_", "_Unwind_", "mem", "str", "pthread_", // C++ and C
                             "__asan_", "__ubsan_", "__tsan_",                               // sanitizers
                             "BIO_", "ERR_", "EVP_", "PEM_"}) {                              // OpenSSL, in memory
    if (symbol.rfind(prefix, 0) == 0) {
      return true;
    }
  }
  return false;
}

TEST(SystemCalls, OfTheCacheAreAllInTheTestOfFaults) {
  const std::unique_ptr<FILE, int (*)(FILE *)> output(::popen(SALE_LIST_SYMBOLS, "r"), ::pclose);
  ASSERT_NE(output, nullptr);
  const std::vector<std::string> wrapped = wrapped_calls();
  std::array<char, 4096> line{};
  int symbols = 0;
  while (std::fgets(line.data(), line.size(), output.get()) != nullptr) {
    // "                 U openat"
    std::istringstream words(line.data());
    std::string kind;
    std::string symbol;
    if (!(words >> kind >> symbol) || (kind != "U" && kind != "w")) {
      continue;
    }
    ++symbols;
    symbol = symbol.substr(0, symbol.find('@'));
    EXPECT_TRUE(cannot_fail(symbol) || std::find(wrapped.begin(), wrapped.end(), symbol) != wrapped.end())
        << symbol
        << " is called by the cache: add it to wrapped_calls.cpp and the list in CMakeLists.txt, or say above "
        << "why it cannot fail";
  }
  EXPECT_GT(symbols, 100);
}

} // namespace
} // namespace sale
