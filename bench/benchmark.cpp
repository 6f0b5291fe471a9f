// SPDX-License-Identifier: Apache-2.0
#include "bench/benchmark.hpp"

#include "bench/device_call.hpp"
#include "bench/launch_clock.hpp"
#include "bench/random_mask.hpp"
#include "bench/serving.hpp"
#include "bench/stopwatch.hpp"
#include "reference/metrics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace sale::bench {

namespace {

constexpr std::uint64_t mask_seed = 1;

// Writes over what earlier calls left in the L2 cache.
class CacheFlush {
public:
  CacheFlush(std::shared_ptr<const Device> device, std::size_t bytes)
      : device_(std::move(device)), memory_(device_, bytes) {}

  void operator()() {
    if (memory_.bytes() != 0) {
      const Driver &driver = device_->driver();
      driver.check(driver.api.fill_words(reinterpret_cast<cu::Address>(memory_.data()), ++value_,
                                         memory_.bytes() / sizeof(value_), nullptr),
                   "cuMemsetD32Async");
    }
  }

private:
  std::shared_ptr<const Device> device_;
  DeviceArray memory_;
  unsigned value_ = 0;
};

// A plan and where it keeps things apart from others.
struct Candidate {
  Policy policy;
  Plan plan;
};

// Everything that is prepared before the first measurement: kernels for each policy.
class Plans {
public:
  Plans(const Engine &engine, const Problem &problem, const Settings &settings, const std::vector<Policy> &policies) {
    const auto add = [&](const Policy &policy) { return Candidate{policy, engine.prepare(problem, policy)}; };
    for (const Policy &policy : policies) {
      sale.push_back(add(policy));
    }
    // One of the plans above attends in the same way, unless all are fp8.
    const auto attends_in = [&](bool fp8) {
      return std::find_if(sale.begin(), sale.end(), [&](const Candidate &c) { return c.policy.fp8_attend == fp8; });
    };
    const auto plain_attend = attends_in(false);
    const auto fp8_attend = attends_in(true);
    Policy plain = policies.front();
    plain.fp8_attend = false;
    dense.push_back(plain_attend == sale.end() ? add(plain) : *plain_attend);
    if (fp8_attend != sale.end()) {
      dense.push_back(*fp8_attend);
    }
    const bool needs_exact = std::any_of(settings.masks.begin(), settings.masks.end(),
                                         [](const MaskRequest &mask) { return !mask.density; });
    if (settings.attend && needs_exact) {
      exact.push_back(add(parse_estimate("exact", plain)));
    }
    if (settings.calls_in_a_row > 0) {
      Policy policy = policies.front();
      policy.dense_below = std::numeric_limits<int>::max();
      falls_back.push_back(add(policy));
    }
  }

  std::size_t workspace_bytes(const Shape &shape) const {
    std::size_t most = 0;
    for (const auto *list : {&sale, &dense, &exact, &falls_back}) {
      for (const Candidate &candidate : *list) {
        most = std::max(most, candidate.plan.workspace_bytes(shape));
      }
    }
    return most;
  }

  std::vector<Candidate> sale;
  std::vector<Candidate> dense;      ///< 16-bit products, then fp8 if some policy wants it.
  std::vector<Candidate> exact;      ///< One, where its mask is wanted.
  std::vector<Candidate> falls_back; ///< One, where calls are counted: always below dense_below.
};

class Measurement {
public:
  Measurement(const std::shared_ptr<const Device> &device, const Settings &settings, const Plans &plans,
              DeviceCall &call, Section &section)
      : driver_(device->driver()), settings_(settings), plans_(plans), call_(call), args_(call.args()),
        section_(section), watch_(device), flush_(device, settings.flush_bytes) {}

  void run(ServingCalls *serving) {
    dense_out_ = out_of(plans_.dense.front().plan, args_, true);
    if (settings_.dense) {
      for (const Candidate &candidate : plans_.dense) {
        add_dense(candidate);
      }
    }
    if (settings_.sale || settings_.stages) {
      for (const Candidate &candidate : plans_.sale) {
        add_sale(candidate);
      }
    }
    if (settings_.attend) {
      add_masks();
    }
    if (serving != nullptr) {
      add_serving(*serving);
    }
    GpuMonitor monitor(driver_);
    for (int round = -settings_.warmups; round < settings_.rounds; ++round) {
      if (round >= 0 && settings_.before_round) {
        settings_.before_round(section_, round);
      }
      for (const auto &item : items_) {
        item(round >= 0);
      }
    }
    section_.gpu = monitor.stop();
    if (settings_.calls_in_a_row > 0) {
      measure_calls();
    }
  }

private:
  using Item = std::function<void(bool counts)>;

  std::vector<float> out_of(const Plan &plan, const RunArgs &args, bool dense) {
    call_.poison_out();
    dense ? plan.run_dense(args, nullptr) : plan.run(args, nullptr);
    return call_.sample_out();
  }

  Row &add_row(Work work, const Policy &policy) {
    Row &row = section_.rows.emplace_back();
    row.work = work;
    row.fp8_attend = policy.fp8_attend;
    return row;
  }

  // Once per round, into the latest row.
  void time(const std::function<void()> &enqueue) {
    items_.emplace_back([this, enqueue, row = section_.rows.size() - 1](bool counts) {
      const double ms = time_of(enqueue);
      if (counts) {
        section_.rows[row].ms.add(ms);
      }
    });
  }

  void add_dense(const Candidate &candidate) {
    Row &row = add_row(Work::dense, candidate.policy);
    row.density = 1;
    if (candidate.policy.fp8_attend) {
      row.rel_l1 = reference::rel_l1(out_of(candidate.plan, args_, true), dense_out_);
    }
    time([this, &plan = candidate.plan] { plan.run_dense(args_, nullptr); });
  }

  void add_sale(const Candidate &candidate) {
    const Plan &plan = candidate.plan;
    RunArgs args = args_;
    args.mask_out = call_.mask(0);
    Row &row = add_row(Work::sale, candidate.policy);
    row.estimate = estimate_name(candidate.policy);
    row.rel_l1 = reference::rel_l1(out_of(plan, args, false), dense_out_);
    row.density = density(0, candidate.policy);
    if (settings_.sale) {
      time([this, &plan] { plan.run(args_, nullptr); });
    }
    if (settings_.stages) {
      items_.emplace_back([this, &plan, index = section_.rows.size() - 1](bool counts) {
        flush_();
        const StageTimes times = plan.profile(args_, nullptr);
        if (counts) {
          for (std::size_t i = 0; i < stages.size(); ++i) {
            section_.rows[index].stage_ms[i].add(times.*stages[i].second);
          }
          section_.rows[index].stage_total_ms.add(times.total);
        }
      });
    }
  }

  // Mask 0 is scratch; the requested ones follow.
  void add_masks() {
    for (std::size_t i = 0; i < settings_.masks.size(); ++i) {
      const MaskRequest &mask = settings_.masks[i];
      const int index = static_cast<int>(i) + 1;
      fill_mask(mask, index);
      for (const Candidate &candidate : plans_.dense) {
        RunArgs args = args_;
        args.mask_in = call_.mask(index);
        Row &row = add_row(Work::attend, candidate.policy);
        row.mask = mask.name;
        row.density = density(index, candidate.policy);
        row.rel_l1 = reference::rel_l1(out_of(candidate.plan, args, false), dense_out_);
        time([args, &plan = candidate.plan] { plan.run(args, nullptr); });
      }
    }
  }

  void add_serving(const ServingCalls &serving) {
    for (const ServingPair &pair : serving.pairs()) {
      const std::vector<float> plain = sample_of(pair.plain);
      const std::vector<float> out = sample_of(pair.serving);
      ServingRow &row = section_.serving.emplace_back();
      row.name = pair.name;
      row.plain = pair.plain_name;
      for (std::size_t i = 0; i < out.size(); ++i) {
        row.different_outputs += out[i] == plain[i] ? 0 : 1;
      }
      if (pair.different_mask_bits) {
        row.different_mask_bits = pair.different_mask_bits();
      }
      items_.emplace_back([this, &pair, index = section_.serving.size() - 1](bool counts) {
        const double plain_ms = time_of(pair.plain);
        const double ms = time_of(pair.serving);
        if (counts) {
          section_.serving[index].plain_ms.add(plain_ms);
          section_.serving[index].ms.add(ms);
        }
        if (settings_.stages) {
          ServingRow &of = section_.serving[index];
          add_stages(pair.plain_profile, counts, of.plain_stage_ms);
          add_stages(pair.profile, counts, of.stage_ms);
        }
      });
    }
  }

  void add_stages(const std::function<StageTimes()> &profile, bool counts,
                  std::array<Samples, stages.size()> &samples) {
    flush_();
    const StageTimes times = profile();
    for (std::size_t i = 0; counts && i < stages.size(); ++i) {
      samples[i].add(times.*stages[i].second);
    }
  }

  std::vector<float> sample_of(const std::function<void()> &enqueue) const {
    call_.poison_out();
    enqueue();
    return call_.sample_out();
  }

  double time_of(const std::function<void()> &enqueue) {
    flush_();
    watch_.start();
    enqueue();
    return watch_.stop();
  }

  void fill_mask(const MaskRequest &mask, int index) {
    if (mask.density) {
      const Policy &policy = plans_.dense.front().policy;
      call_.upload_mask(index, random_mask(section_.problem, policy, section_.shape, *mask.density, mask_seed));
      return;
    }
    RunArgs args = args_;
    args.mask_out = call_.mask(index);
    plans_.exact.front().plan.run(args, nullptr);
  }

  double density(int index, const Policy &policy) const {
    return mask_density(call_.download_mask(index), section_.problem, policy, section_.shape);
  }

  void measure_calls() {
    section_.calls_in_a_row = settings_.calls_in_a_row;
    struct Kind {
      std::string what;
      std::function<void()> call;
    };
    std::vector<Kind> kinds;
    kinds.push_back({"dense", [this] { plans_.dense.front().plan.run_dense(args_, nullptr); }});
    kinds.push_back({"sale, falls back to dense", [this] { plans_.falls_back.front().plan.run(args_, nullptr); }});
    for (const Candidate &candidate : plans_.sale) {
      kinds.push_back({"sale " + estimate_name(candidate.policy) + (candidate.policy.fp8_attend ? ", fp8 attend" : ""),
                       [this, &candidate] { candidate.plan.run(args_, nullptr); }});
    }
    for (const Kind &kind : kinds) {
      section_.calls.push_back({kind.what, {}, {}, 0, {}});
    }
    for (int round = -settings_.warmups; round < settings_.rounds; ++round) {
      for (std::size_t i = 0; i < kinds.size(); ++i) {
        watch_.start();
        const double host_us = time_calls(kinds[i].call);
        const double device_ms = watch_.stop();
        const LaunchClock launches(driver_);
        const double clocked_us = time_calls(kinds[i].call);
        driver_.check(driver_.api.stream_synchronize(nullptr), "cuStreamSynchronize");
        CallCost &cost = section_.calls[i];
        cost.launches = launches.launches() / settings_.calls_in_a_row;
        if (round >= 0) {
          cost.host_us.add(host_us);
          cost.device_us.add(1e3 * device_ms / settings_.calls_in_a_row);
          cost.own_us.add(clocked_us - launches.microseconds() / settings_.calls_in_a_row);
        }
      }
    }
  }

  /// Microseconds of this thread per call.
  double time_calls(const std::function<void()> &call) const {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    for (int i = 0; i < settings_.calls_in_a_row; ++i) {
      call();
    }
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / settings_.calls_in_a_row;
  }

  const Driver &driver_;
  const Settings &settings_;
  const Plans &plans_;
  DeviceCall &call_;
  RunArgs args_;
  Section &section_;
  Stopwatch watch_;
  CacheFlush flush_;
  std::vector<float> dense_out_;
  std::vector<Item> items_;
};

bool is_out_of_memory(const Error &error) { return error.details().where == "cuMemAlloc"; }

} // namespace

Section measure(const std::shared_ptr<const Device> &device, const Engine &engine, const Settings &settings,
                const std::vector<Policy> &policies, const std::string &input, const io::Qkv &qkv) {
  Section section;
  section.input = input;
  section.problem = qkv.problem;
  section.shape = qkv.shape;
  const Plans plans(engine, qkv.problem, settings, policies);
  const std::size_t workspace = plans.workspace_bytes(qkv.shape);
  const std::size_t words = mask_words(qkv.problem, policies.front(), qkv.shape);
  const int masks = 1 + (settings.attend ? static_cast<int>(settings.masks.size()) : 0);
  section.device_bytes = DeviceCall::bytes(qkv, workspace, words, masks) + settings.flush_bytes;
  try {
    DeviceCall call(device, qkv, workspace, words, masks);
    std::optional<ServingCalls> serving;
    if (!settings.serving.empty()) {
      serving.emplace(device, engine, policies.front(), settings.serving, qkv, call);
    }
    Measurement(device, settings, plans, call, section).run(serving ? &*serving : nullptr);
  } catch (const Error &error) {
    if (!is_out_of_memory(error)) {
      throw;
    }
    section.left_out = fmt::format("needs {:.1f} GiB, more than the device has free",
                                   static_cast<double>(section.device_bytes) / (1U << 30U));
    section.rows.clear();
    section.serving.clear();
  }
  return section;
}

} // namespace sale::bench
