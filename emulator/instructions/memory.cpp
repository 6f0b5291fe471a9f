// SPDX-License-Identifier: Apache-2.0
#include "emulator/instructions/memory.hpp"

#include "emulator/instructions/address.hpp"

#include <array>
#include <atomic>
#include <cstring>
#include <type_traits>

namespace sale::emulator {

namespace {

/// Strong accesses (volatile, relaxed, acquire, release, ..) are atomic among the CTAs, which run on several OS
/// threads.
template <class T>
T load_strong(const u8 *bytes) {
  return std::atomic_ref<T>(*reinterpret_cast<T *>(const_cast<u8 *>(bytes))).load();
}

/// T is signed where the result is sign-extended.
template <Space space, class T, bool strong>
void load(Thread &thread, const Instruction &instruction, u64 *slot) {
  if constexpr (strong) {
    thread.yield(); // a loop that waits for another thread lets it run
  }
  const Operand &result = instruction.operand(0);
  const u64 address = slot[instruction.operand(1).slot];
  const u32 bytes = static_cast<u32>(sizeof(T)) * static_cast<u32>(result.count);
  const u8 *source = readable(thread, instruction, space, address, bytes, bytes);
  for (int i = 0; i < result.count; ++i, source += sizeof(T)) {
    T value{};
    if constexpr (strong) {
      value = load_strong<T>(source);
    } else {
      std::memcpy(&value, source, sizeof(T));
    }
    if constexpr (std::is_signed_v<T>) {
      slot[result.slot + i] = static_cast<u64>(std::int64_t{value});
    } else {
      slot[result.slot + i] = value;
    }
  }
}

template <Space space, class T, bool strong>
void store(Thread &thread, const Instruction &instruction, u64 *slot) {
  const Operand &source = instruction.operand(1);
  const u64 address = slot[instruction.operand(0).slot];
  const u32 bytes = static_cast<u32>(sizeof(T)) * static_cast<u32>(source.count);
  u8 *target = writable(thread, instruction, space, address, bytes, bytes);
  for (int i = 0; i < source.count; ++i, target += sizeof(T)) {
    const T value = static_cast<T>(slot[source.slot + i]);
    if constexpr (strong) {
      std::atomic_ref<T>(*reinterpret_cast<T *>(target)).store(value);
    } else {
      std::memcpy(target, &value, sizeof(T));
    }
  }
}

template <class T>
struct Type {
  using type = T;
};

/// make(Type<T>) for the type that the opcode ends with; null for others.
template <class Make>
Handler of_type(const Instruction &instruction, const Make &make) {
  const std::string &type = instruction.parts.back();
  if (type == "b8" || type == "u8") {
    return make(Type<u8>{});
  }
  if (type == "b16" || type == "u16") {
    return make(Type<u16>{});
  }
  if (type == "b32" || type == "u32" || type == "f32") {
    return make(Type<u32>{});
  }
  if (type == "b64" || type == "u64" || type == "f64") {
    return make(Type<u64>{});
  }
  if (type == "s8") {
    return make(Type<std::int8_t>{});
  }
  if (type == "s16") {
    return make(Type<std::int16_t>{});
  }
  if (type == "s32") {
    return make(Type<s32>{});
  }
  if (type == "s64") {
    return make(Type<std::int64_t>{});
  }
  return nullptr;
}

template <Space space, bool strong>
Handler load_or_store(const Instruction &instruction) {
  const bool is_load = instruction.parts[0] == "ld";
  return of_type(instruction, [=](auto type) -> Handler {
    using T = typename decltype(type)::type;
    return is_load ? load<space, T, strong> : store<space, std::make_unsigned_t<T>, strong>;
  });
}

template <Space space>
Handler of_strength(const Instruction &instruction) {
  for (const char *part : {"volatile", "relaxed", "acquire", "release", "mmio"}) {
    if (instruction.has(part)) {
      return load_or_store<space, true>(instruction);
    }
  }
  return load_or_store<space, false>(instruction);
}

void prefetch(Thread & /*thread*/, const Instruction & /*instruction*/, u64 * /*slot*/) {}

} // namespace

Handler find_memory(const Instruction &instruction) {
  const std::string &opcode = instruction.parts[0];
  if (opcode == "prefetch" || opcode == "prefetchu") {
    return prefetch;
  }
  if (opcode != "ld" && opcode != "st") {
    return nullptr;
  }
  for (const char *part : {"const", "param", "local", "param::entry", "param::func", "async"}) {
    if (instruction.has(part)) {
      return nullptr;
    }
  }
  switch (space_of(instruction)) {
  case Space::global: return of_strength<Space::global>(instruction);
  case Space::shared: return of_strength<Space::shared>(instruction);
  case Space::generic: return of_strength<Space::generic>(instruction);
  }
  return nullptr;
}

} // namespace sale::emulator
