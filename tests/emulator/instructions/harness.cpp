// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/instructions/harness.hpp"

#include "emulator/instructions/registry.hpp"

#include <gtest/gtest.h>

#include <sstream>
#include <utility>

namespace sale::emulator::test {

Operand value(int count) {
  Operand operand;
  operand.count = count;
  return operand;
}

Operand address() {
  Operand operand;
  operand.address = true;
  return operand;
}

Operand predicate() {
  Operand operand;
  operand.predicate = true;
  return operand;
}

Operand sink() {
  Operand operand;
  operand.sink = true;
  return operand;
}

Instruction make(const std::string &opcode, std::vector<Operand> operands) {
  Instruction instruction;
  instruction.text = opcode;
  std::istringstream parts(opcode);
  for (std::string part; std::getline(parts, part, '.');) {
    instruction.parts.push_back(part);
  }
  int slot = 0;
  for (Operand &operand : operands) {
    operand.slot = slot;
    slot += operand.count;
  }
  instruction.operands = std::move(operands);
  instruction.handler = find_handler(instruction);
  EXPECT_NE(instruction.handler, nullptr) << opcode;
  return instruction;
}

Slots execute(const Instruction &instruction, Slots slots) {
  instruction.handler(current_thread(), instruction, slots.data());
  return slots;
}

std::string run(const Kernel &kernel, const Shape &shape, Statistics *statistics) {
  const void *param = &kernel;
  void *params[] = {&param};
  const KernelEntry entry = [](void **given) { (**static_cast<const Kernel **>(given[0]))(current_thread()); };
  LaunchShape launch_shape;
  launch_shape.grid = {shape.grid, 1, 1};
  launch_shape.block = {shape.threads, 1, 1};
  launch_shape.shared_bytes = shape.shared_bytes;
  LaunchOptions options;
  options.seed = shape.seed;
  Statistics unused;
  const auto report = launch(entry, params, launch_shape, options, statistics != nullptr ? *statistics : unused);
  return report ? report->text : std::string{};
}

void expect_run(const Kernel &kernel, const Shape &shape, Statistics *statistics) {
  EXPECT_EQ(run(kernel, shape, statistics), "");
}

void expect_fault(const std::string &words, const Kernel &kernel, const Shape &shape) {
  const std::string report = run(kernel, shape);
  EXPECT_NE(report.find(words), std::string::npos) << "report: " << report;
}

} // namespace sale::emulator::test
