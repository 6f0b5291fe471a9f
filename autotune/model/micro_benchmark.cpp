// SPDX-License-Identifier: Apache-2.0
#include "autotune/model/micro_benchmark.hpp"

#include "autotune/search/noise.hpp"
#include "bench/stopwatch.hpp"
#include "runtime/compiler.hpp"
#include "runtime/module.hpp"
#include "runtime/nvrtc_search.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

namespace sale::autotune {

namespace {

constexpr int threads = 256;
constexpr int runs = 5;
constexpr int product_repeats = 20000; // about 10 ms: clocks are those of a busy GPU
constexpr int read_repeats = 4000;
constexpr std::size_t buffer_bytes = std::size_t{16} << 20; // within the L2 cache of every GPU that has kernels here
constexpr int read_bytes = 16;
constexpr int reads_in_flight = 8; // of a thread
constexpr int cta_reads = threads * reads_in_flight * read_bytes;

// Of an SM, all of them at once: CTAs that wait for their turn would count as bytes that were read in no time. Each has
// 1 KB of shared memory beside its own, and the SM 1 KB more than one CTA may have (CUDA programming guide).
int read_ctas(const Arch &arch) { return std::min(4, (arch.max_shared_memory() + 1024) / (cta_reads + 1024)); }

// Warps' own products: eight sums that do not wait for each other (PTX ISA, mma.m16n8k16).
constexpr const char *warp_products = R"(
  float d[8][4] = {};
  const unsigned a = threadIdx.x, b = blockIdx.x;
#pragma unroll 1
  for (int r = 0; r < repeats; ++r) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%5, %5}, {%0, %1, %2, %3};"
                   : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3]) : "r"(a), "r"(b));
    }
  }
  float sum = 0;
  for (int i = 0; i < 8; ++i) { sum += d[i][0] + d[i][1] + d[i][2] + d[i][3]; }
)";
constexpr int warps = threads / 32;
constexpr double warp_products_flops = 8.0 * 2 * 16 * 8 * 16 * warps; // of a CTA's repeat

// Warpgroups' products of zeros in shared memory (PTX ISA, wgmma.mma_async m64n128k16).
constexpr int group_n = 128;
constexpr int warpgroups = threads / 128;
constexpr double group_products_flops = 4.0 * 2 * 64 * group_n * 16 * warpgroups;

std::string group_products() {
  std::vector<std::string> operands;
  std::vector<std::string> bound;
  for (int i = 0; i < group_n / 2; ++i) {
    operands.push_back(fmt::format("%{}", i));
    bound.push_back(fmt::format("\"+f\"(d[{}])", i));
  }
  return fmt::format(R"(
  __shared__ __align__(1024) unsigned char operands[8192];
  for (int i = threadIdx.x; i < 8192; i += {0}) {{ operands[i] = 0; }}
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  __syncthreads();
  const unsigned address = (unsigned)__cvta_generic_to_shared(operands);
  const unsigned long long matrix = (unsigned long long)((address & 0x3ffffU) >> 4) | 8ULL << 16 | 16ULL << 32;
  float d[{1}] = {{}};
#pragma unroll 1
  for (int r = 0; r < repeats; ++r) {{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int i = 0; i < 4; ++i) {{
      asm volatile("wgmma.mma_async.sync.aligned.m64n{2}k16.f32.bf16.bf16 {{{3}}}, %{1}, %{1}, 1, 1, 1, 0, 0;"
                   : {4} : "l"(matrix));
    }}
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
  }}
  float sum = 0;
  for (int i = 0; i < {1}; ++i) {{ sum += d[i]; }}
)",
                     threads, group_n / 2, group_n, fmt::join(operands, ", "), fmt::join(bound, ", "));
}

// Every CTA begins elsewhere in the buffer.
constexpr const char *reads = R"(
  __shared__ __align__(16) unsigned char to[{threads} * {in_flight} * 16];
  const unsigned target = (unsigned)__cvta_generic_to_shared(to) + threadIdx.x * 16;
  unsigned long long at = (blockIdx.x * 65536ULL + threadIdx.x * 16) % {bytes}ULL;
#pragma unroll 1
  for (int r = 0; r < repeats; ++r) {
#pragma unroll
    for (int i = 0; i < {in_flight}; ++i) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(target + i * {threads} * 16), "l"(from + at) : "memory");
      at = (at + {threads} * 16) % {bytes}ULL;
    }
    asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;" ::: "memory");
  }
  const float sum = to[threadIdx.x];
)";

std::string kernel_text(const char *name, const std::string &body) {
  return fmt::format(R"(
extern "C" __global__ void __launch_bounds__({}) {}(unsigned long long *clocks, const unsigned char *from, int repeats) {{
  __syncthreads();
  const long long begin = clock64();
{}
  __syncthreads();
  if (threadIdx.x == 0) {{ clocks[blockIdx.x] = (unsigned long long)(clock64() - begin); }}
  if (sum == 12345.0F) {{ clocks[blockIdx.x] = 0; }} // so that nothing is left out
}}
)",
                     threads, name, body);
}

std::string replaced(std::string text, const std::string &what, const std::string &by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
  return text;
}

struct Timing {
  double clocks = 0; // of a CTA, the median
  double ms = 0;     // of the launch
};

Timing time_kernel(const std::shared_ptr<const Device> &device, const CompiledKernel &compiled, const Arch &arch,
                   const char *name, unsigned ctas, const DeviceArray &buffer, int repeats) {
  Entry entry;
  entry.target = target_name(arch, BinaryKind::cubin);
  entry.spec = name;
  entry.entry_name = name;
  entry.binary = compiled.binary;
  const Module module(device, entry, compile_options_text(arch, BinaryKind::cubin));
  const DeviceArray clocks(device, ctas * sizeof(unsigned long long));
  void *to = clocks.data();
  void *from = buffer.data();
  std::array<void *, 3> arguments = {&to, &from, &repeats};
  const Driver &driver = device->driver();
  bench::Stopwatch watch(device);
  std::vector<double> ms;
  std::vector<double> all_clocks;
  for (int run = 0; run <= runs; ++run) {
    watch.start();
    driver.check(driver.api.launch(module.function(), ctas, 1, 1, threads, 1, 1, 0, nullptr, arguments.data(), nullptr),
                 "cuLaunchKernel");
    const double took = watch.stop();
    if (run == 0) {
      continue; // warm-up
    }
    std::vector<unsigned long long> found(ctas);
    clocks.download(found.data());
    ms.push_back(took);
    all_clocks.push_back(median({found.begin(), found.end()}));
  }
  return {median(all_clocks), median(ms)};
}

} // namespace

std::string micro_benchmark_source(const Arch &arch) {
  std::string of_reads = replaced(reads, "{threads}", fmt::format("{}", threads));
  of_reads = replaced(of_reads, "{in_flight}", fmt::format("{}", reads_in_flight));
  of_reads = replaced(of_reads, "{bytes}", fmt::format("{}", buffer_bytes));
  return kernel_text("sale_products", arch.has_wgmma() ? group_products() : warp_products) +
         kernel_text("sale_reads", of_reads);
}

GpuParameters measure_parameters(const std::shared_ptr<const Device> &device, const Arch &arch,
                                 const Options &options) {
  const Compiler compiler(Nvrtc::open(locate_nvrtc(options.nvrtc)));
  const CompiledKernel compiled =
      compiler.compile(micro_benchmark_source(arch), arch, BinaryKind::cubin, "micro-benchmarks");
  const DeviceArray buffer(device, buffer_bytes);
  const auto multiprocessors = static_cast<unsigned>(device->multiprocessors());

  const Timing products =
      time_kernel(device, compiled, arch, "sale_products", multiprocessors, buffer, product_repeats);
  const int ctas = read_ctas(arch);
  const Timing read = time_kernel(device, compiled, arch, "sale_reads", static_cast<unsigned>(ctas) * multiprocessors,
                                  buffer, read_repeats);
  const double flops = (arch.has_wgmma() ? group_products_flops : warp_products_flops) * product_repeats;
  const double bytes = static_cast<double>(ctas) * cta_reads * read_repeats;
  GpuParameters parameters = assumed_parameters(arch, device->multiprocessors());
  if (!(products.clocks > 0 && products.ms > 0 && read.clocks > 0)) {
    throw Error(ErrorKind::launch, "the micro-benchmarks took no time");
  }
  parameters.clock_ghz = products.clocks / (products.ms * 1e6);
  parameters.mma_flops_per_clock = flops / products.clocks;
  parameters.l2_bytes_per_clock = bytes / read.clocks;
  parameters.measured = true;
  return parameters;
}

} // namespace sale::autotune
