// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/wgmma.hpp"

#include "emulator/instructions/matrix_descriptor.hpp"
#include "emulator/instructions/wgmma_product.hpp"
#include "emulator/instructions/wgmma_registers.hpp"
#include "emulator/instructions/wgmma_sparse.hpp"
#include "emulator/machine/cta.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>

namespace sale::emulator {

namespace {

constexpr u32 lanes = 32;
constexpr u32 chunk_bytes = 16;
constexpr u32 warps_of_group = 4;

struct Group {
  std::vector<AsyncAccess> reads;
  const Instruction *last = nullptr; // null: no wgmma
};

// Of a warp.
struct Queue : State {
  bool fenced = false;
  Group open;
  std::deque<Group> committed;
  u64 commits = 0;

  void at_return(Thread &thread) override {
    const Group *left = open.last != nullptr ? &open : nullptr;
    for (const Group &group : committed) {
      left = group.last != nullptr ? &group : left;
    }
    if (left != nullptr) {
      fault(thread, *left->last,
            fmt::format("the thread returns with a wgmma that no wgmma.{} covers",
                        left == &open ? "commit_group" : "wait_group"));
    }
  }
};

// What the four warps of a warpgroup must agree on.
struct Issue {
  const Instruction *instruction = nullptr;
  u64 a = 0; // the descriptor; 0 for registers
  u64 b = 0;
  bool accumulate = false;
  bool operator==(const Issue &) const = default;
};

// Of a CTA: the wgmmas that some warps of a warpgroup have issued and others have not.
struct Warpgroups : State {
  struct Pending {
    std::deque<Issue> issues;
    u64 first = 0; // number of issues.front()
    std::array<u64, warps_of_group> issued{};
  };
  std::vector<Pending> groups;

  void check(Thread &thread, const Instruction &instruction, const Issue &issue) {
    const u32 index = thread.warp().index() / warps_of_group;
    if ((index + 1) * warps_of_group * lanes > thread.cta().threads()) {
      fault(thread, instruction,
            fmt::format("a wgmma takes the four warps of a warpgroup; warpgroup {} of this CTA has fewer", index));
    }
    groups.resize(std::max<std::size_t>(groups.size(), index + 1));
    Pending &pending = groups[index];
    const u64 number = pending.issued[thread.warp().index() % warps_of_group]++;
    if (number == pending.first + pending.issues.size()) {
      pending.issues.push_back(issue);
    }
    const Issue &other = pending.issues[number - pending.first];
    if (!(other == issue)) {
      fault(thread, instruction,
            fmt::format("the warps of warpgroup {} disagree on wgmma {}: A {:#x}, B {:#x}, scale-d {} here; A {:#x}, B "
                        "{:#x}, scale-d {} before, {}",
                        index, number, issue.a, issue.b, issue.accumulate, other.a, other.b, other.accumulate,
                        other.instruction->describe()));
    }
    const u64 least = *std::min_element(pending.issued.begin(), pending.issued.end());
    for (; pending.first < least; ++pending.first) {
      pending.issues.pop_front();
    }
  }

  std::string left_behind() const override {
    for (const Pending &pending : groups) {
      if (!pending.issues.empty()) {
        return fmt::format("Not every warp of a warpgroup issued {}", pending.issues.front().instruction->describe());
      }
    }
    return {};
  }
};

// One wgmma.mma_async of a warp.
class Wgmma {
public:
  Wgmma(Thread &thread, const Instruction &instruction, const LaneSlots &slots)
      : thread_(thread), instruction_(instruction), slots_(slots), queue_(thread.warp().state<Queue>()) {}

  void issue() {
    check_operands();
    thread_.cta().state<Warpgroups>().check(thread_, instruction_, {&instruction_, a_bits_, b_bits_, accumulate_});
    if (!queue_.fenced) {
      fail("the first wgmma of a group needs a wgmma.fence before it, after the last commit or wait");
    }
    operands_.b.resize(std::size_t{shape_.n} * shape_.b_row_bytes());
    if (a_registers_) {
      take_registers();
    } else {
      read_matrix(MatrixDescriptor(a_bits_), a_k_major_, thread_.warp().index() % warps_of_group * wgmma_rows,
                  wgmma_rows, wgmma_row_bytes, operands_.a.data());
    }
    read_matrix(MatrixDescriptor(b_bits_), b_k_major_, 0, shape_.n, shape_.b_row_bytes(), operands_.b.data());
    take_positions();
    compute();
    queue_.open.last = &instruction_;
  }

private:
  [[noreturn]] void fail(const std::string &message) { fault(thread_, instruction_, message); }

  // An operand that every lane must give alike.
  u64 uniform(int operand, const char *name) {
    const int slot = instruction_.operand(operand).slot;
    for (u32 lane = 1; lane < lanes; ++lane) {
      if (slots_[lane][slot] != slots_[0][slot]) {
        fail(fmt::format("lanes 0 and {} give different {}: {:#x} and {:#x}", lane, name, slots_[0][slot],
                         slots_[lane][slot]));
      }
    }
    return slots_[0][slot];
  }

  bool flag(int operand, const char *name) {
    const u64 value = uniform(operand, name);
    if (value > 1) {
      fail(fmt::format("{} is {}; it is 0 or 1", name, value));
    }
    return value == 1;
  }

  bool is_negative(int operand, const char *name) {
    const auto value = static_cast<s32>(uniform(operand, name));
    if (value != 1 && value != -1) {
      fail(fmt::format("{} is {}; it is 1 or -1", name, value));
    }
    return value < 0;
  }

  // d, a, b{, metadata, selector}, scale-d{, imm-scale-a, imm-scale-b{, imm-trans-a}{, imm-trans-b}}
  void check_operands() {
    parse_wgmma_shape(instruction_, shape_);
    a_registers_ = instruction_.operand(1).count > 1;
    const int scale = shape_.sparse ? 5 : 3;
    const bool floats = shape_.accumulator != AccumulatorType::int32;
    const bool transposable = shape_.element_bytes() == 2;
    const int expected = scale + 1 + (floats ? 2 : 0) + (transposable ? (a_registers_ ? 1 : 2) : 0);
    if (static_cast<int>(instruction_.operands.size()) != expected ||
        instruction_.operand(0).count != static_cast<int>(shape_.accumulators()) ||
        (a_registers_ && instruction_.operand(1).count != 4)) {
      fail(fmt::format("{} operands with {} accumulators; {} and {} are right", instruction_.operands.size(),
                       instruction_.operand(0).count, expected, shape_.accumulators()));
    }
    a_bits_ = a_registers_ ? 0 : uniform(1, "descriptors of A");
    b_bits_ = uniform(2, "descriptors of B");
    accumulate_ = flag(scale, "scale-d");
    if (floats) {
      operands_.negate = is_negative(scale + 1, "imm-scale-a") != is_negative(scale + 2, "imm-scale-b");
    }
    if (transposable) {
      a_k_major_ = a_registers_ || !flag(scale + 3, "imm-trans-a");
      b_k_major_ = !flag(expected - 1, "imm-trans-b");
    }
  }

  // A's rows t/4 and t/4 + 8 of lane t, bytes 4(t%4).. of each 16.
  void take_registers() {
    const int slot = instruction_.operand(1).slot;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      for (std::size_t i = 0; i < 4; ++i) {
        const auto word = static_cast<u32>(slots_[lane][slot + static_cast<int>(i)]);
        const std::size_t row = lane / 4 + i % 2 * 8;
        std::memcpy(operands_.a.data() + row * wgmma_row_bytes + i / 2 * chunk_bytes + lane % 4 * 4, &word, 4);
      }
    }
  }

  // Lines [first, first + count) of an operand, each `bytes` long, to `to`.
  void read_matrix(const MatrixDescriptor &matrix, bool k_major, u32 first, u32 count, u32 bytes, u8 *to) {
    u8 *base = thread_.cta().shared().base();
    std::vector<u32> chunks;
    if (k_major) {
      for (u32 line = 0; line < count; ++line) {
        for (u32 i = 0; i < bytes / chunk_bytes; ++i) {
          chunks.push_back(matrix.chunk(true, first + line, i));
        }
      }
    } else {
      for (u32 k = 0; k < bytes / 2; ++k) {
        for (u32 i = 0; i < count / 8; ++i) {
          chunks.push_back(matrix.chunk(false, k, first / 8 + i));
        }
      }
    }
    hold(chunks);
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      const u8 *from = base + (chunks[i] - SharedMemory::first_address);
      if (k_major) {
        std::memcpy(to + i * chunk_bytes, from, chunk_bytes);
        continue;
      }
      const std::size_t k = i / (count / 8);
      const std::size_t line = i % (count / 8) * 8;
      for (std::size_t each = 0; each < 8; ++each) {
        std::memcpy(to + (line + each) * bytes + k * 2, from + each * 2, 2);
      }
    }
  }

  // Keeps these 16-byte pieces of shared memory from being written until the wait.
  void hold(std::vector<u32> chunks) {
    std::sort(chunks.begin(), chunks.end());
    chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
    for (std::size_t i = 0; i < chunks.size();) {
      std::size_t end = i + 1;
      while (end < chunks.size() && chunks[end] == chunks[end - 1] + chunk_bytes) {
        ++end;
      }
      queue_.open.reads.push_back(thread_.cta().shared().begin_read(
          thread_, instruction_, chunks[i], static_cast<u32>(end - i) * chunk_bytes, chunk_bytes, Proxy::async));
      i = end;
    }
  }

  void take_positions() {
    const u32 columns = shape_.a_columns();
    if (!shape_.sparse) {
      for (u32 i = 0; i < wgmma_rows * columns; ++i) {
        operands_.position[i] = static_cast<u8>(i % columns);
      }
      return;
    }
    std::array<u32, lanes> metadata{};
    for (u32 lane = 0; lane < lanes; ++lane) {
      metadata[lane] = static_cast<u32>(slots_[lane][instruction_.operand(3).slot]);
    }
    const std::string wrong =
        read_metadata(shape_, metadata, uniform(4, "sparsity selectors"), operands_.position.data());
    if (!wrong.empty()) {
      fail(wrong);
    }
  }

  // Lane t has rows t/4 and t/4 + 8 of each eight columns, in them 2(t%4) and the next; f16: two in a register.
  void compute() {
    std::vector<u32> d(std::size_t{wgmma_rows} * shape_.n);
    const bool halves = shape_.accumulator == AccumulatorType::f16;
    const auto each_pair = [&](const auto &visit) { // visit(slot of the first, d's index of the first)
      for (u32 lane = 0; lane < lanes; ++lane) {
        u64 *slot = slots_[lane] + instruction_.operand(0).slot;
        for (u32 i = 0; i < shape_.n / 4; ++i, slot += halves ? 1 : 2) {
          visit(slot, (lane / 4 + i % 2 * 8) * shape_.n + i / 2 * 8 + lane % 4 * 2);
        }
      }
    };
    each_pair([&](const u64 *slot, u32 at) {
      d[at] = halves ? slot[0] & 0xffffU : static_cast<u32>(slot[0]);
      d[at + 1] = static_cast<u32>(halves ? slot[0] >> 16U & 0xffffU : slot[1]);
    });
    multiply(shape_, operands_, accumulate_, d.data());
    each_pair([&](u64 *slot, u32 at) {
      if (halves) {
        slot[0] = d[at] | d[at + 1] << 16U;
      } else {
        slot[0] = d[at];
        slot[1] = d[at + 1];
      }
    });
  }

  Thread &thread_;
  const Instruction &instruction_;
  const LaneSlots &slots_;
  Queue &queue_;
  WgmmaShape shape_;
  WgmmaOperands operands_;
  u64 a_bits_ = 0;
  u64 b_bits_ = 0;
  bool a_registers_ = false;
  bool a_k_major_ = true;
  bool b_k_major_ = true;
  bool accumulate_ = false;
};

void execute_mma(Thread &thread, const Instruction &instruction, u64 *slot) {
  thread.warp().collective(thread, instruction, slot,
                           [&](const LaneSlots &slots) { Wgmma(thread, instruction, slots).issue(); });
}

void execute_fence(Thread &thread, const Instruction &instruction, u64 *slot) {
  thread.warp().collective(thread, instruction, slot,
                           [&](const LaneSlots &) { thread.warp().state<Queue>().fenced = true; });
}

void execute_commit(Thread &thread, const Instruction &instruction, u64 *slot) {
  thread.warp().collective(thread, instruction, slot, [&](const LaneSlots &) {
    Queue &queue = thread.warp().state<Queue>();
    queue.committed.push_back(std::move(queue.open));
    queue.open = {};
    ++queue.commits;
    queue.fenced = false;
  });
}

void execute_wait(Thread &thread, const Instruction &instruction, u64 *slot) {
  const u64 pending = slot[instruction.operand(0).slot];
  thread.warp().collective(thread, instruction, slot, [&](const LaneSlots &) {
    Queue &queue = thread.warp().state<Queue>();
    if (queue.open.last != nullptr) {
      fault(thread, instruction, "wgmmas that no wgmma.commit_group covers are not waited for");
    }
    while (queue.committed.size() > pending) {
      for (const AsyncAccess &read : queue.committed.front().reads) {
        thread.cta().shared().end_read(thread.warp(), read);
      }
      queue.committed.pop_front();
    }
    queue.fenced = false;
  });
  const Queue &queue = thread.warp().state<Queue>();
  thread.state<WgmmaRegisters>().complete(thread, instruction, queue.commits - queue.committed.size());
}

} // namespace

u64 open_group(const Thread &thread) { return thread.warp().state<Queue>().commits; }

Handler find_wgmma(const Instruction &instruction) {
  if (instruction.parts[0] != "wgmma" || instruction.parts.size() < 2) {
    return nullptr;
  }
  const std::string &operation = instruction.parts[1];
  if (operation == "mma_async") {
    WgmmaShape shape;
    return parse_wgmma_shape(instruction, shape) ? execute_mma : nullptr;
  }
  if (operation == "fence") {
    return execute_fence;
  }
  return operation == "commit_group" ? execute_commit : operation == "wait_group" ? execute_wait : nullptr;
}

} // namespace sale::emulator
