// SPDX-License-Identifier: Apache-2.0
#include "autotune/space/shortlist.hpp"

#include "autotune/space/occupancy.hpp"
#include "core/parallel_for.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

namespace sale::autotune {

namespace {

KernelSpec with_tile(KernelSpec spec, const Tile &tile) {
  spec.tile = tile;
  return spec;
}

// What became of one candidate.
struct Compiled {
  ResourceUse use;
  std::string refusal; ///< Empty: it compiled.
};

// Whether an error is the kernel's own, rather than the machine's: what is wrong with all shows in the default.
bool is_of_kernel(ErrorKind kind) {
  return kind == ErrorKind::compile || kind == ErrorKind::generate || kind == ErrorKind::invalid_argument;
}

Compiled compile_one(const KernelSpec &spec, const KernelFactory &factory, bool must) {
  try {
    const KernelInfo info = factory.build({{spec, BinaryKind::cubin}}).front().info;
    return {{info.registers, info.spill_bytes, info.shared_memory,
             ctas_per_sm(spec.arch, spec.threads(), info.registers, info.shared_memory)},
            ""};
  } catch (const Error &error) {
    if (must || !is_of_kernel(error.kind())) {
      throw;
    }
    return {{}, error.what()};
  }
}

// Whether what registers were budgeted for made no difference to what an SM holds.
bool is_same_but_for_budget(const Candidate &a, const Candidate &b) {
  Tile tile = a.tile;
  tile.min_ctas = b.tile.min_ctas;
  return tile == b.tile && a.use.registers == b.use.registers && a.use.ctas_per_sm == b.use.ctas_per_sm;
}

// Why a tile leaves the list at a step; nothing = it stays.
using Reason = std::optional<std::string>;

// The candidates that stay; the default does in any case.
class Pruning {
public:
  Pruning(Shortlist &list, std::vector<Compiled> compiled) : list_(list), compiled_(std::move(compiled)) {}

  template <class Why>
  void step(const char *name, const Why &why) {
    std::size_t kept = 1;
    for (std::size_t i = 1; i < list_.candidates.size(); ++i) {
      if (const Reason reason = why(i, kept)) {
        list_.left_out.push_back({list_.candidates[i].tile, *reason});
        continue;
      }
      if (kept != i) {
        list_.candidates[kept] = list_.candidates[i];
        compiled_[kept] = std::move(compiled_[i]);
      }
      ++kept;
    }
    list_.candidates.resize(kept);
    compiled_.resize(kept);
    list_.steps.push_back({name, kept});
  }

  const Compiled &at(std::size_t i) const { return compiled_[i]; }

private:
  Shortlist &list_;
  std::vector<Compiled> compiled_;
};

} // namespace

Shortlist estimate(const KernelSpec &spec, const SearchSpace &space) {
  SearchSpace::Tiles tiles = space.tiles(spec);
  Shortlist list{{}, std::move(tiles.steps), {}};
  for (std::size_t i = 0; i < tiles.tiles.size(); ++i) {
    const Tile &tile = tiles.tiles[i];
    const KernelSpec candidate = with_tile(spec, tile);
    const int shared = candidate.shared_memory();
    const int ctas = ctas_per_sm(spec.arch, candidate.threads(), 0, shared);
    if (i == 0 || ctas >= tile.min_ctas) {
      list.candidates.push_back({.tile = tile, .use = {.shared_memory = shared, .ctas_per_sm = ctas}});
    } else {
      list.left_out.push_back(
          {tile, fmt::format("registers are budgeted for {} CTAs per SM, but its {} threads and {} bytes of shared "
                             "memory fit {} times",
                             tile.min_ctas, candidate.threads(), shared, ctas)});
    }
  }
  list.steps.push_back({"an SM holds as many CTAs as registers are budgeted for", list.candidates.size()});
  return list;
}

Shortlist compile(const Shortlist &estimated, const KernelSpec &spec, const KernelFactory &factory, int jobs,
                  const std::function<bool()> &cancelled, const std::function<void(int done, int total)> &progress) {
  Shortlist list = estimated;
  const std::size_t count = list.candidates.size();
  std::vector<Compiled> compiled(count);
  std::mutex mutex;
  int done = 0;
  const auto work = [&](std::size_t i) {
    {
      const std::scoped_lock lock(mutex);
      if (cancelled && cancelled()) {
        throw Error(ErrorKind::cancelled, "compiling candidates was cancelled");
      }
    }
    compiled[i] = compile_one(with_tile(spec, list.candidates[i].tile), factory, i == 0);
    const std::scoped_lock lock(mutex);
    ++done;
    if (progress) {
      progress(done, static_cast<int>(count));
    }
  };
  if (count == 0) {
    return list;
  }
  work(0); // Alone: what no kernel can be compiled without is missed once.
  parallel_for(
      static_cast<std::int64_t>(count) - 1, [&](std::int64_t i) { work(static_cast<std::size_t>(i) + 1); }, jobs);
  for (std::size_t i = 0; i < count; ++i) {
    if (compiled[i].refusal.empty()) {
      list.candidates[i].use = compiled[i].use;
    }
  }

  Pruning pruning(list, std::move(compiled));
  pruning.step("it compiles", [&](std::size_t i, std::size_t) -> Reason {
    const std::string &refusal = pruning.at(i).refusal;
    return refusal.empty() ? Reason() : refusal;
  });
  pruning.step("it spills no more than the default", [&](std::size_t i, std::size_t) -> Reason {
    const int spills = pruning.at(i).use.spill_bytes;
    const int most = pruning.at(0).use.spill_bytes;
    return spills <= most ? Reason() : Reason(fmt::format("it spills {} bytes a thread, the default {}", spills, most));
  });
  pruning.step("another register budget makes another kernel", [&](std::size_t i, std::size_t kept) -> Reason {
    for (std::size_t before = 0; before < kept; ++before) {
      if (is_same_but_for_budget(list.candidates[before], list.candidates[i])) {
        return fmt::format("its kernel has the registers of the one for {} CTAs per SM",
                           list.candidates[before].tile.min_ctas);
      }
    }
    return std::nullopt;
  });
  return list;
}

} // namespace sale::autotune
