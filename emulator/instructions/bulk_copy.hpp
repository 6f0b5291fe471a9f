// SPDX-License-Identifier: Apache-2.0
// cp.async.bulk: whole ranges between global and shared memory, and the bulk groups of copies out of shared memory.
#pragma once

#include "emulator/machine/cta.hpp"

#include <deque>
#include <functional>
#include <vector>

namespace sale::emulator {

/// Null when it is not of this family.
Handler find_bulk_copy(const Instruction &instruction);

/// Copies from shared to global memory that a thread issued and has not waited for. The source is read as late as
/// allowed: at the wait.
class BulkStores : public State {
public:
  /// What to do with the source's bytes.
  using Write = std::function<void(const u8 *)>;

  /// The sources' bytes come to `write` one after the other.
  void add(const Instruction &instruction, std::vector<AsyncAccess> sources, Write write);
  void commit();
  /// wait_group: all but the last `pending` groups have read their source; unless `read_only`, written it too.
  void wait(Thread &thread, u32 pending, bool read_only);
  void at_return(Thread &thread) override;

private:
  struct Store {
    std::vector<AsyncAccess> sources;
    Write write;
    std::vector<u8> data; ///< once read
    bool read = false;
    bool written = false;
  };
  using Group = std::vector<std::shared_ptr<Store>>;

  static void read(Thread &thread, const std::shared_ptr<Store> &store);
  static void write(Store &store);

  Group open_;
  std::deque<Group> groups_;
  const Instruction *last_ = nullptr;
};

} // namespace sale::emulator
