// SPDX-License-Identifier: Apache-2.0
// CUDA graphs of whatever a test enqueues.
#pragma once

#include "runtime/driver.hpp"
#include "runtime/shared_library.hpp"

#include <gtest/gtest.h>

namespace sale::test {

/// A stream, captured once and replayed: calls of the driver that libsale itself has no use for.
class StreamCapture {
  using Graph = struct CUgraph_st *;
  using Executable = struct CUgraphExec_st *;

public:
  /// `flags`: 0, or 1 for a stream that does not wait for the legacy one.
  explicit StreamCapture(const Driver &driver, unsigned flags = 0) : library_(SharedLibrary::open(driver.file())) {
    expect_success(symbol<int(cu::Stream *, unsigned)>("cuStreamCreate")(&stream_, flags));
  }
  ~StreamCapture() {
    if (executable_ != nullptr) {
      symbol<int(Executable)>("cuGraphExecDestroy")(executable_);
    }
    symbol<int(cu::Stream)>("cuStreamDestroy_v2")(stream_);
  }
  StreamCapture(const StreamCapture &) = delete;
  StreamCapture &operator=(const StreamCapture &) = delete;

  /// CUstreamCaptureMode.
  static constexpr int global = 0;
  static constexpr int only_this_thread = 1;

  template <class Work>
  void capture(const Work &work, int mode = only_this_thread) {
    expect_success(symbol<int(cu::Stream, int)>("cuStreamBeginCapture_v2")(stream_, mode));
    work(stream_);
    Graph graph = nullptr;
    expect_success(symbol<int(cu::Stream, Graph *)>("cuStreamEndCapture")(stream_, &graph));
    expect_success(
        symbol<int(Executable *, Graph, unsigned long long)>("cuGraphInstantiateWithFlags")(&executable_, graph, 0));
    expect_success(symbol<int(Graph)>("cuGraphDestroy")(graph));
  }
  void replay() const {
    expect_success(symbol<int(Executable, cu::Stream)>("cuGraphLaunch")(executable_, stream_));
    expect_success(symbol<int(cu::Stream)>("cuStreamSynchronize")(stream_));
  }
  cu::Stream stream() const { return stream_; }

private:
  template <class Function>
  Function *symbol(const char *name) const {
    return reinterpret_cast<Function *>(library_.symbol(name));
  }
  static void expect_success(int code) { ASSERT_EQ(code, 0); }

  SharedLibrary library_;
  cu::Stream stream_ = nullptr;
  Executable executable_ = nullptr;
};

} // namespace sale::test
