// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/atomics.hpp"

#include "emulator/instructions/address.hpp"
#include "emulator/instructions/number.hpp"

#include <algorithm>
#include <atomic>
#include <type_traits>

namespace sale::emulator {

namespace {

using s64 = std::int64_t;

/// What memory holds, one word, of two floats.
struct F16x2 {
  u32 bits;
};
struct Bf16x2 {
  u32 bits;
};

F16x2 operator+(F16x2 a, F16x2 b) {
  const auto sum = [&](u32 shift) {
    return u32{float_to_f16_bits(f16_bits_to_float((a.bits >> shift) & 0xffffU) +
                                 f16_bits_to_float((b.bits >> shift) & 0xffffU))};
  };
  return {sum(0) | sum(16) << 16U};
}

Bf16x2 operator+(Bf16x2 a, Bf16x2 b) {
  const auto sum = [&](u32 shift) {
    return u32{float_to_bf16_bits(bf16_bits_to_float((a.bits >> shift) & 0xffffU) +
                                  bf16_bits_to_float((b.bits >> shift) & 0xffffU))};
  };
  return {sum(0) | sum(16) << 16U};
}

/// new = apply(old, b, c), c only for cas.
struct Add {
  template <class T>
  static T apply(T old, T b, T /*c*/) {
    if constexpr (std::is_integral_v<T>) {
      using Unsigned = std::make_unsigned_t<T>; // wraps
      return static_cast<T>(static_cast<Unsigned>(old) + static_cast<Unsigned>(b));
    } else {
      return old + b;
    }
  }
};
struct And {
  template <class T>
  static T apply(T old, T b, T /*c*/) {
    return old & b;
  }
};
struct Or {
  template <class T>
  static T apply(T old, T b, T /*c*/) {
    return old | b;
  }
};
struct Xor {
  template <class T>
  static T apply(T old, T b, T /*c*/) {
    return old ^ b;
  }
};
struct Min {
  template <class T>
  static T apply(T old, T b, T /*c*/) {
    return std::min(old, b);
  }
};
struct Max {
  template <class T>
  static T apply(T old, T b, T /*c*/) {
    return std::max(old, b);
  }
};
struct Exchange {
  template <class T>
  static T apply(T /*old*/, T b, T /*c*/) {
    return b;
  }
};
struct CompareAndSwap {
  template <class T>
  static T apply(T old, T b, T c) {
    return old == b ? c : old;
  }
};
struct Increment {
  static u32 apply(u32 old, u32 b, u32 /*c*/) { return old >= b ? 0 : old + 1; }
};
struct Decrement {
  static u32 apply(u32 old, u32 b, u32 /*c*/) { return old == 0 || old > b ? b : old - 1; }
};

template <std::size_t bytes>
using Word = std::conditional_t<bytes == 8, u64, std::conditional_t<bytes == 4, u32, u16>>;

/// Atomic on the host too: the CTAs run on several OS threads. Returns the old value.
template <class Operation, class T>
u64 update(u8 *target, u64 b, u64 c) {
  using W = Word<sizeof(T)>;
  const std::atomic_ref<W> word(*reinterpret_cast<W *>(target));
  const auto value = [](u64 bits) { return std::bit_cast<T>(static_cast<W>(bits)); };
  W old = word.load();
  while (!word.compare_exchange_weak(old, std::bit_cast<W>(Operation::apply(value(old), value(b), value(c))))) {
  }
  return old;
}

/// red [a], b; atom d, [a], b(, c). Vectors (.v2.f32, ..) are atomic by element, aligned as a whole.
template <class Operation, class T, bool returns, Space space>
void atomic(Thread &thread, const Instruction &instruction, u64 *slot) {
  if constexpr (returns) {
    thread.yield(); // a loop that waits for another thread lets it run
  }
  constexpr int first = returns ? 1 : 0;
  const Operand &b = instruction.operand(first + 1);
  const bool has_c = std::is_same_v<Operation, CompareAndSwap>;
  const u32 bytes = static_cast<u32>(sizeof(T)) * static_cast<u32>(b.count);
  u8 *target = updatable(thread, instruction, space, slot[instruction.operand(first).slot], bytes, bytes);
  for (int i = 0; i < b.count; ++i, target += sizeof(T)) {
    const u64 old =
        update<Operation, T>(target, slot[b.slot + i], has_c ? slot[instruction.operand(first + 2).slot + i] : 0);
    if (returns && !instruction.operand(0).sink) {
      slot[instruction.operand(0).slot + i] = old;
    }
  }
}

template <class Operation, class T>
Handler of_operation(const Instruction &instruction) {
  const bool returns = instruction.parts[0] == "atom";
  switch (space_of(instruction)) {
  case Space::global:
    return returns ? atomic<Operation, T, true, Space::global> : atomic<Operation, T, false, Space::global>;
  case Space::shared:
    return returns ? atomic<Operation, T, true, Space::shared> : atomic<Operation, T, false, Space::shared>;
  case Space::generic:
    return returns ? atomic<Operation, T, true, Space::generic> : atomic<Operation, T, false, Space::generic>;
  }
  return nullptr;
}

template <class T>
Handler of_bits(const Instruction &instruction) {
  if (instruction.has("and")) {
    return of_operation<And, T>(instruction);
  }
  if (instruction.has("or")) {
    return of_operation<Or, T>(instruction);
  }
  if (instruction.has("xor")) {
    return of_operation<Xor, T>(instruction);
  }
  if (instruction.has("exch")) {
    return of_operation<Exchange, T>(instruction);
  }
  return instruction.has("cas") ? of_operation<CompareAndSwap, T>(instruction) : nullptr;
}

template <class T>
Handler of_integer(const Instruction &instruction) {
  if (instruction.has("add")) {
    return of_operation<Add, T>(instruction);
  }
  if (instruction.has("min")) {
    return of_operation<Min, T>(instruction);
  }
  return instruction.has("max") ? of_operation<Max, T>(instruction) : nullptr;
}

template <class T>
Handler of_sum(const Instruction &instruction) {
  return instruction.has("add") ? of_operation<Add, T>(instruction) : nullptr;
}

Handler of_wrapping(const Instruction &instruction) {
  if (instruction.has("inc")) {
    return of_operation<Increment, u32>(instruction);
  }
  return instruction.has("dec") ? of_operation<Decrement, u32>(instruction) : nullptr;
}

} // namespace

Handler find_atomics(const Instruction &instruction) {
  if ((instruction.parts[0] != "atom" && instruction.parts[0] != "red") || instruction.has("async")) {
    return nullptr;
  }
  const std::string &type = instruction.parts.back();
  if (type == "b16") {
    const bool whole = instruction.has("cas") || instruction.has("exch");
    return whole ? of_bits<u16>(instruction) : nullptr;
  }
  if (type == "b32") {
    return of_bits<u32>(instruction);
  }
  if (type == "b64") {
    return of_bits<u64>(instruction);
  }
  if (type == "u32") {
    const Handler wrapping = of_wrapping(instruction);
    return wrapping != nullptr ? wrapping : of_integer<u32>(instruction);
  }
  if (type == "s32") {
    return of_integer<s32>(instruction);
  }
  if (type == "u64") {
    return of_integer<u64>(instruction);
  }
  if (type == "s64") {
    return of_integer<s64>(instruction);
  }
  if (type == "f32") {
    return of_sum<float>(instruction);
  }
  if (type == "f64") {
    return of_sum<double>(instruction);
  }
  if (type == "f16x2") {
    return of_sum<F16x2>(instruction);
  }
  return type == "bf16x2" ? of_sum<Bf16x2>(instruction) : nullptr;
}

} // namespace sale::emulator
