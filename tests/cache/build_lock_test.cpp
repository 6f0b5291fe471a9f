// SPDX-License-Identifier: Apache-2.0
#include "cache/build_lock.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sale {
namespace {

namespace fs = std::filesystem;

constexpr BuildLock::Limits patient{.wait_seconds = 60, .silent_seconds = 60};

/// A child process; killed, if it still is there, at the end.
class Child {
public:
  template <class Work>
  explicit Child(const Work &work) : process_(::fork()) {
    if (process_ == 0) {
      ::alarm(60);
      work();
      ::_exit(0);
    }
  }
  ~Child() { end(SIGKILL); }
  Child(const Child &) = delete;
  Child &operator=(const Child &) = delete;

  void send(int signal) const { ::kill(process_, signal); }
  void end(int signal) {
    if (process_ > 0) {
      send(signal);
      wait();
    }
  }
  int wait() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = 0;
    return status;
  }

private:
  pid_t process_;
};

class BuildLockTest : public testing::Test {
protected:
  BuildLockTest() {
    fs::create_directory(file_.parent_path());
    fs::permissions(file_.parent_path(), fs::perms::owner_all);
  }

  BuildLock acquire(const BuildLock::Limits &limits = patient, const std::function<bool()> &cancelled = {}) const {
    return BuildLock::acquire(file_, limits, cancelled);
  }

  /// A child that holds the lock until it is killed.
  std::unique_ptr<Child> holder() const {
    auto child = std::make_unique<Child>([this] {
      const BuildLock lock = acquire();
      std::ofstream(folder_.path() / "ready").flush();
      ::pause();
    });
    while (!fs::exists(folder_.path() / "ready")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return child;
  }

  /// The lock is not there, and nobody waits for it.
  void expect_useless() const {
    const BuildLock lock = acquire();
    EXPECT_FALSE(lock.held());
    EXPECT_FALSE(lock.waited());
    EXPECT_FALSE(lock.gave_up());
    EXPECT_EQ(lock.seconds(), 0);
  }

  TemporaryFolder folder_;
  fs::path file_ = folder_.path() / "locks/key.lock";
};

TEST_F(BuildLockTest, HoldsAFreeLockAtOnce) {
  {
    const BuildLock lock = acquire();
    EXPECT_TRUE(lock.held());
    EXPECT_FALSE(lock.waited());
    EXPECT_FALSE(lock.gave_up());
    struct stat info{};
    ASSERT_EQ(::stat(file_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U);
  }
  EXPECT_FALSE(fs::exists(file_));
}

TEST_F(BuildLockTest, NamesItsOwnerInTheFile) {
  const BuildLock lock = acquire();
  std::string line;
  std::getline(std::ifstream(file_).seekg(0), line);
  EXPECT_NE(line.find("process " + std::to_string(::getpid()) + " on "), std::string::npos) << line;
}

TEST_F(BuildLockTest, WaitsUntilItIsReleased) {
  std::optional<BuildLock> first = acquire();
  std::atomic<bool> released{false};
  std::atomic<bool> early{false};
  std::thread other([&] {
    const BuildLock second = acquire();
    early = !released;
    EXPECT_TRUE(second.held());
    EXPECT_TRUE(second.waited());
    EXPECT_FALSE(second.gave_up());
    EXPECT_GT(second.seconds(), 0);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  released = true;
  first.reset();
  other.join();
  EXPECT_FALSE(early);
}

TEST_F(BuildLockTest, IsReleasedOnceWhenItIsMoved) {
  BuildLock first = acquire();
  BuildLock moved = std::move(first);
  EXPECT_FALSE(acquire({.wait_seconds = 0}).held());
  {
    const BuildLock last = std::move(moved);
  }
  EXPECT_TRUE(acquire({.wait_seconds = 0}).held());
}

TEST_F(BuildLockTest, GivesUpAtTheDeadline) {
  const BuildLock first = acquire();
  const BuildLock second = acquire({.wait_seconds = 0.02});
  EXPECT_FALSE(second.held());
  EXPECT_TRUE(second.waited());
  EXPECT_TRUE(second.gave_up());
  EXPECT_GE(second.seconds(), 0.02);
}

TEST_F(BuildLockTest, StopsWaitingWhenCancelled) {
  const BuildLock first = acquire();
  int asked = 0;
  const BuildLock second = acquire(patient, [&] { return ++asked == 3; });
  EXPECT_FALSE(second.held());
  EXPECT_FALSE(second.gave_up());
  EXPECT_EQ(asked, 3);
}

TEST_F(BuildLockTest, DoesNotMindOtherKeys) {
  const BuildLock first = acquire();
  EXPECT_TRUE(BuildLock::acquire(folder_.path() / "locks/other.lock", {.wait_seconds = 0}).held());
}

TEST_F(BuildLockTest, IsFreeWhenItsOwnerIsKilled) {
  const auto owner = holder();
  EXPECT_FALSE(acquire({.wait_seconds = 0.01}).held());
  owner->end(SIGKILL);
  EXPECT_TRUE(fs::exists(file_));
  const BuildLock lock = acquire();
  EXPECT_TRUE(lock.held());
  EXPECT_FALSE(lock.waited());
}

TEST_F(BuildLockTest, IsTakenFromAnOwnerThatIsStopped) {
  const auto owner = holder();
  owner->send(SIGSTOP);
  const BuildLock lock = acquire({.wait_seconds = 60, .silent_seconds = 0.6});
  EXPECT_TRUE(lock.held());
  EXPECT_TRUE(lock.gave_up());
}

TEST_F(BuildLockTest, OneOfTheWaitersTakesItAndTheOthersWaitForThatOne) {
  const auto owner = holder();
  owner->send(SIGSTOP);
  std::atomic<int> inside{0};
  std::atomic<int> together{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 30; ++i) {
    threads.emplace_back([&] {
      const BuildLock lock = acquire({.wait_seconds = 60, .silent_seconds = 2});
      EXPECT_TRUE(lock.held());
      together += ++inside > 1 ? 1 : 0;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      --inside;
    });
  }
  for (std::thread &thread : threads) {
    thread.join();
  }
  EXPECT_EQ(together, 0);
}

TEST_F(BuildLockTest, WaitsLongerForAnOwnerThatIsAlive) {
  std::optional<BuildLock> first = acquire();
  std::thread other([&] {
    const BuildLock second = acquire({.wait_seconds = 60, .silent_seconds = 1.5});
    EXPECT_TRUE(second.held());
    EXPECT_FALSE(second.gave_up());
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(2000));
  first.reset();
  other.join();
}

TEST_F(BuildLockTest, AnOwnerThatLostItLeavesItToTheNext) {
  std::optional<BuildLock> first = acquire();
  fs::remove(file_);
  const BuildLock second = acquire({.wait_seconds = 0});
  EXPECT_TRUE(second.held());
  first.reset();
  EXPECT_TRUE(fs::exists(file_));
  EXPECT_FALSE(acquire({.wait_seconds = 0}).held());
}

TEST_F(BuildLockTest, IsNotKeptByAChildThatWasForkedMeanwhile) {
  std::optional<BuildLock> lock = acquire();
  Child child([] { ::pause(); });
  // Another name of the file, so that it is the lock and not its removal that counts.
  fs::create_hard_link(file_, folder_.path() / "locks/same.lock");
  lock.reset();
  EXPECT_TRUE(BuildLock::acquire(folder_.path() / "locks/same.lock", {.wait_seconds = 0}).held());
}

TEST_F(BuildLockTest, IsUselessWhereItsFolderIsNone) {
  fs::remove(file_.parent_path());
  std::ofstream(folder_.path() / "locks") << "in the way";
  expect_useless();
}

TEST_F(BuildLockTest, IsUselessWhereItsFolderIsALink) {
  fs::create_directories(folder_.path() / "elsewhere");
  fs::permissions(folder_.path() / "elsewhere", fs::perms::owner_all);
  fs::remove(file_.parent_path());
  fs::create_directory_symlink(folder_.path() / "elsewhere", file_.parent_path());
  expect_useless();
}

TEST_F(BuildLockTest, IsUselessWhereOthersMayWriteIntoItsFolder) {
  fs::permissions(file_.parent_path(), fs::perms::all);
  expect_useless();
}

TEST_F(BuildLockTest, IsUselessWhereItsFileIsALink) {
  std::ofstream(folder_.path() / "precious") << "untouched";
  fs::create_symlink(folder_.path() / "precious", file_);
  expect_useless();
  std::string text;
  std::ifstream(folder_.path() / "precious") >> text;
  EXPECT_EQ(text, "untouched");
}

TEST_F(BuildLockTest, IsUselessWhereItsFileIsAPipeOrAFolder) {
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  expect_useless();
  fs::remove(file_);
  fs::create_directory(file_);
  expect_useless();
}

TEST_F(BuildLockTest, IsUselessWhereItsFolderIsMissing) {
  fs::remove(file_.parent_path());
  expect_useless();
}

TEST_F(BuildLockTest, LetsOneProcessInAtATime) {
  const fs::path inside = folder_.path() / "inside";
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 6; ++i) {
    children.push_back(std::make_unique<Child>([&] {
      for (int round = 0; round < 30; ++round) {
        const BuildLock lock = acquire();
        const int alone = ::open(inside.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (!lock.held() || alone < 0 || ::close(alone) != 0 || ::unlink(inside.c_str()) != 0) {
          ::_exit(1);
        }
      }
    }));
  }
  for (const auto &child : children) {
    EXPECT_EQ(child->wait(), 0);
  }
}

} // namespace
} // namespace sale
