// SPDX-License-Identifier: Apache-2.0
#include "core/job_count.hpp"

#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <string>

namespace sale {
namespace {

/// The files of a system in which limits are found.
class JobCountTest : public testing::Test {
protected:
  void write(const std::string &file, const std::string &text) {
    const std::filesystem::path path = root() / file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  const std::filesystem::path &root() const { return folder_.path(); }

private:
  TemporaryFolder folder_;
};

TEST_F(JobCountTest, UsesAsManyJobsAsAskedWhereNothingLimitsThem) {
  EXPECT_EQ(available_memory(root()), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(job_count(7, 150, root()), 7);
  EXPECT_EQ(job_count(0, 150, root()), usable_cores(root()));
  EXPECT_GE(usable_cores(), 1);
  EXPECT_GT(available_memory(), 0U);
}

TEST_F(JobCountTest, TakesOnlyWhatFreeMemoryHolds) {
  write("proc/meminfo", "MemTotal:       8000 kB\nMemFree:  1 kB\nMemAvailable:    1000 kB\nBuffers: 5 kB\n");
  EXPECT_EQ(available_memory(root()), 1024000U);
  EXPECT_EQ(job_count(100, 300000, root()), 3);
  EXPECT_EQ(job_count(2, 300000, root()), 2);
  EXPECT_EQ(job_count(100, 2000000, root()), 1);
}

TEST_F(JobCountTest, HeedsEveryGroupOfVersion2AroundTheProcess) {
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("sys/fs/cgroup/outer/cpu.max", "100000 100000\n");
  write("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(usable_cores(root()), 1);
  write("proc/meminfo", "MemAvailable: 100000 kB\n");
  write("sys/fs/cgroup/outer/memory.max", "5000\n");
  write("sys/fs/cgroup/outer/memory.current", "4000\n");
  write("sys/fs/cgroup/outer/memory.stat", "anon 1000\ninactive_file 2500\nactive_file 500\n");
  write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  EXPECT_EQ(available_memory(root()), 3500U);
  write("sys/fs/cgroup/memory.max", "1000\n");
  write("sys/fs/cgroup/memory.current", "4000\n");
  EXPECT_EQ(available_memory(root()), 0U);
  EXPECT_EQ(job_count(4, 150, root()), 1);
}

TEST_F(JobCountTest, HeedsGroupsOfVersion1) {
  write("proc/self/cgroup", "4:memory:/box\n2:cpu,cpuacct:/\n1:name=systemd:/\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(usable_cores(root()), 1);
  write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9000\n");
  write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "8000\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "8000\n");
  EXPECT_EQ(available_memory(root()), 1000U);
}

TEST_F(JobCountTest, TakesNoLimitFromWhatIsNoNumber) {
  write("proc/self/cgroup", "0::/../../elsewhere\nnonsense\n:\n0::\n");
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/memory.max", "99999999999999999999999999\n");
  write("sys/fs/cgroup/memory.current", "-5\n");
  write("proc/meminfo", "MemAvailable:\n");
  EXPECT_EQ(available_memory(root()), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(job_count(3, 150, root()), 3);
}

} // namespace
} // namespace sale
