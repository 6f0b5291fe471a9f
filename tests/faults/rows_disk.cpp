// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/crowd.hpp"
#include "tests/faults/private_mounts.hpp"
#include "tests/faults/rows.hpp"

#include <chrono>
#include <functional>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sale::faults {

namespace {

namespace fs = std::filesystem;

// Where nothing can be kept, each factory compiles for itself.
constexpr Job many{.processes = 8, .threads = 4, .keys = 6, .compile_ms = 2, .factories = 1};
constexpr Job warm_up{.keys = many.keys, .compile_ms = 1};

// `disturb` finds a small file system at the round's cache folder.
Row on_small_disk(Row row, int rounds, std::size_t bytes, const std::function<void(Round &)> &disturb) {
  row.add(with_private_mounts([&] {
    Row inside;
    for (int i = 0; i < rounds; ++i) {
      Round round;
      mount_small(round.cache(), bytes);
      disturb(round);
      round.run(many);
      unmount(round.cache());
      inside.add(round.result());
    }
    return inside;
  }));
  return row;
}

void fill(const fs::path &folder) {
  const int file = ::open((folder / "filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const char bytes[4096] = {};
  while (::write(file, bytes, sizeof bytes) > 0) {
  }
  ::close(file);
}

// All files of the cache as if they had been written at another time.
void stamp(const fs::path &folder, std::time_t time) {
  const timespec times[2] = {{time, 0}, {time, 0}};
  for (const auto &file : fs::recursive_directory_iterator(folder)) {
    ::utimensat(AT_FDCWD, file.path().c_str(), static_cast<const timespec *>(times), AT_SYMLINK_NOFOLLOW);
  }
}

} // namespace

Row disk_full(int rounds) {
  return on_small_disk({.fault = "disk full", .allowed_compiles = many.processes}, rounds, 64 << 10,
                       [](Round &round) { fill(round.cache()); });
}

Row disk_filling(int rounds) {
  return on_small_disk({.fault = "disk with room for 3 of 6 kernels", .allowed_compiles = many.processes}, rounds,
                       96 << 10, [](Round &) {});
}

Row read_only_cold(int rounds) {
  return on_small_disk({.fault = "folder read-only and empty", .allowed_compiles = many.processes}, rounds, 1 << 20,
                       [](Round &round) { make_read_only(round.cache()); });
}

Row read_only_warm(int rounds) {
  return on_small_disk({.fault = "folder read-only and warm", .allowed_compiles = 0}, rounds, 1 << 20,
                       [](Round &round) {
                         round.run(warm_up);
                         round.forget_compiles();
                         make_read_only(round.cache());
                       });
}

Row read_only_locks(int rounds) {
  Row row{.fault = "locks folder read-only, kernels folder not", .allowed_compiles = many.processes};
  row.add(with_private_mounts([&] {
    Row inside;
    for (int i = 0; i < rounds; ++i) {
      Round round;
      round.run({.compile_ms = 1}); // makes the folder
      fs::remove_all(round.kernels());
      round.forget_compiles();
      const fs::path locks = round.cache() / "locks";
      mount_small(locks, 64 << 10);
      make_read_only(locks);
      round.run(many);
      unmount(locks);
      inside.add(round.result());
    }
    return inside;
  }));
  return row;
}

Row folder_vanishes(int rounds) {
  Row row{.fault = "folder removed again and again, 8 processes x 4 threads"};
  Job job = many;
  job.repeat = 5;
  for (int i = 0; i < rounds; ++i) {
    Round round;
    Crowd crowd(round, job);
    crowd.go();
    for (int removed = 0; crowd.running(); ++removed) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      // At one blow, and piece by piece.
      std::error_code ignored;
      const fs::path away = round.folder() / "away";
      if (removed % 2 == 0) {
        fs::rename(round.cache(), away, ignored);
      }
      fs::remove_all(removed % 2 == 0 ? away : round.cache(), ignored);
    }
    crowd.wait();
    row.add(round.result());
  }
  return row;
}

// To a cache whose files are of next year, or of long ago, the clock has moved.
Row clock_goes_backwards(int rounds) {
  Row row{.fault = "clock years back, or years on, between two runs", .allowed_compiles = 0};
  for (int i = 0; i < rounds; ++i) {
    Round round;
    round.run(warm_up);
    round.forget_compiles();
    constexpr std::time_t year = 365 * 86400;
    stamp(round.cache(), ::time(nullptr) + (i % 2 == 0 ? year : -year));
    Job with_limit = many;
    with_limit.max_files = 1000;
    round.run(with_limit);
    row.add(round.result());
  }
  return row;
}

} // namespace sale::faults
