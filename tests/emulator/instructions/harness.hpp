// SPDX-License-Identifier: Apache-2.0
// Runs handlers without a compiler: instructions built by hand, kernels written in C++.
#pragma once

#include "emulator/machine/cta.hpp"
#include "emulator/machine/global_memory.hpp"
#include "emulator/machine/launch.hpp"

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace sale::emulator::test {

/// Operands of a hand-made instruction.
Operand value(int count = 1);
Operand address();
Operand predicate();
Operand sink();

/// Finds the handler; fails the test when there is none. Slots go to the operands in turn.
Instruction make(const std::string &opcode, std::vector<Operand> operands);

/// The operands' slots, in turn. Lives on the fiber's stack, which a fault abandons: nothing to free.
using Slots = std::array<u64, 16>;

/// Executes it for the current thread; gives the slots back.
Slots execute(const Instruction &instruction, Slots slots = {});

struct Shape {
  u32 threads = 32;
  u32 shared_bytes = 4096;
  u64 seed = 0;
  u32 grid = 1;
};

using Kernel = std::function<void(Thread &)>;

/// What was wrong; empty when nothing was.
std::string run(const Kernel &kernel, const Shape &shape = {}, Statistics *statistics = nullptr);

/// Fails the test unless the kernel runs without a fault.
void expect_run(const Kernel &kernel, const Shape &shape = {}, Statistics *statistics = nullptr);
/// Fails the test unless the report contains the words.
void expect_fault(const std::string &words, const Kernel &kernel, const Shape &shape = {});

/// The first byte of shared memory.
inline constexpr u32 shared = SharedMemory::first_address;

/// Device memory of n words.
class Words {
public:
  explicit Words(std::size_t n) : data_(static_cast<u32 *>(allocate_global(n * sizeof(u32)))), size_(n) {}
  Words(const Words &) = delete;
  Words &operator=(const Words &) = delete;
  ~Words() { free_global(data_); }

  u32 &operator[](std::size_t i) { return data_[i]; }
  u64 at(std::size_t i) const { return reinterpret_cast<u64>(data_ + i); } ///< Address of a word.
  std::size_t size() const { return size_; }
  void fill_counting(u32 first = 0) {
    for (std::size_t i = 0; i < size_; ++i) {
      data_[i] = first + static_cast<u32>(i);
    }
  }

private:
  u32 *data_;
  std::size_t size_;
};

} // namespace sale::emulator::test
