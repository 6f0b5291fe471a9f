// SPDX-License-Identifier: Apache-2.0
// Stacks for fibers: mapped once, used again by every CTA of a worker, kept for later launches.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace sale::emulator {

class Stacks {
public:
  static constexpr std::size_t bytes = std::size_t{256} << 10;

  Stacks() = default;
  Stacks(const Stacks &) = delete;
  Stacks &operator=(const Stacks &) = delete;
  ~Stacks();

  /// Makes sure that `count` stacks exist; false when the host has no more memory.
  bool reserve(std::size_t count);
  /// The highest address of stack `index`, from where it grows down.
  void *top(std::size_t index) const;
  bool contains(std::size_t index, const void *address, std::size_t size) const;

  /// A set that a finished launch gave back, or a new one.
  static std::unique_ptr<Stacks> take();
  static void give_back(std::unique_ptr<Stacks> stacks);

private:
  std::vector<std::byte *> chunks_;
};

} // namespace sale::emulator
