// SPDX-License-Identifier: Apache-2.0
#include "emulator/jit/asm_statement.hpp"

#include "emulator/instructions/registry.hpp"
#include "emulator/jit/arithmetic.hpp"
#include "emulator/jit/instruction_table.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>

#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/Module.h>

#include <algorithm>

namespace sale::emulator {

namespace {

unsigned width_of(const llvm::DataLayout &layout, llvm::Type *type) {
  return static_cast<unsigned>(layout.getTypeSizeInBits(type).getFixedValue());
}

llvm::Value *to_bits(llvm::IRBuilder<> &ir, llvm::Value *x, unsigned width) {
  return x->getType()->isPointerTy() ? ir.CreatePtrToInt(x, ir.getIntNTy(width))
                                     : ir.CreateBitCast(x, ir.getIntNTy(width));
}

llvm::Value *from_bits(llvm::IRBuilder<> &ir, llvm::Value *bits, llvm::Type *type) {
  return type->isPointerTy() ? ir.CreateIntToPtr(bits, type) : ir.CreateBitCast(bits, type);
}

// Immediates have no type of their own: "zero-extended bits" needs the instruction's.
int immediate_width(const ptx::Statement &statement) {
  const bool wide = std::any_of(statement.parts.begin(), statement.parts.end(), [](const std::string &part) {
    const auto type = parse_data_type(part);
    return type && type->width == 64;
  });
  return wide ? 64 : 32;
}

} // namespace

FunctionFrame::FunctionFrame(llvm::Function &function_, InstructionTable &table_) : function(function_), table(table_) {
  llvm::IRBuilder<> ir(&function.getEntryBlock(), function.getEntryBlock().begin());
  slots_ = ir.CreateAlloca(ir.getInt64Ty(), ir.getInt32(1));
}

llvm::AllocaInst *FunctionFrame::add_register(unsigned width) {
  llvm::IRBuilder<> ir(&function.getEntryBlock(), function.getEntryBlock().begin());
  registers.push_back(ir.CreateAlloca(ir.getIntNTy(width)));
  return registers.back();
}

llvm::Value *FunctionFrame::slots(int count) {
  slot_count_ = std::max(slot_count_, count);
  llvm::IRBuilder<> ir(function.getContext());
  slots_->setOperand(0, ir.getInt32(static_cast<u32>(slot_count_)));
  return slots_;
}

AsmStatement::AsmStatement(FunctionFrame &frame, llvm::CallInst &call) : frame_(frame), call_(call), ir_(&call) {}

void AsmStatement::refuse(const std::string &what) const {
  const Instruction &here = frame_.table.at(call_.getDebugLoc(), "asm");
  throw Error(ErrorKind::compile, fmt::format("{} ({})", what, here.site.describe()));
}

void AsmStatement::lower() {
  const auto *text = llvm::cast<llvm::InlineAsm>(call_.getCalledOperand());
  try {
    assembly_ = ptx::parse(text->getAsmString());
    bind_operands();
    for (const ptx::Register &local : assembly_.registers) {
      registers_.locals.push_back(frame_.add_register(static_cast<unsigned>(local.width)));
      poison(registers_.locals.back());
    }
    emit_statements();
  } catch (const Error &error) {
    refuse(error.what());
  }
  replace_results();
}

llvm::AllocaInst *AsmStatement::add_operand(llvm::Type *type) {
  const unsigned width = width_of(call_.getDataLayout(), type);
  if (type->isAggregateType() || width > 64) {
    refuse("the emulator's operands have at most 64 bits");
  }
  registers_.operands.push_back(frame_.add_register(width));
  return registers_.operands.back();
}

// What a statement never writes is a NaN, and no number by chance: LLVM could take an undefined value for any.
void AsmStatement::poison(llvm::AllocaInst *place) {
  ir_.CreateStore(llvm::Constant::getAllOnesValue(place->getAllocatedType()), place);
}

// A tied input ("+r", in IR a constraint that is a number) is the first value of its output.
void AsmStatement::bind_operands() {
  if (auto *type = llvm::dyn_cast<llvm::StructType>(call_.getType())) {
    result_types_ = type->elements();
  } else if (!call_.getType()->isVoidTy()) {
    result_types_ = {call_.getType()};
  }
  unsigned argument = 0;
  const auto *text = llvm::cast<llvm::InlineAsm>(call_.getCalledOperand());
  for (const llvm::InlineAsm::ConstraintInfo &constraint : text->ParseConstraints()) {
    if (constraint.Type == llvm::InlineAsm::isClobber) {
      continue;
    }
    if (constraint.isIndirect || constraint.Type == llvm::InlineAsm::isLabel || constraint.Codes.size() != 1) {
      refuse("the emulator knows operands in registers and immediates, no other constraints");
    }
    if (constraint.Type == llvm::InlineAsm::isOutput) {
      poison(add_operand(result_types_[outputs_++]));
      continue;
    }
    llvm::Value *value = call_.getArgOperand(argument++);
    const bool tied = std::isdigit(static_cast<unsigned char>(constraint.Codes[0][0])) != 0;
    llvm::AllocaInst *place = add_operand(value->getType());
    if (tied) {
      registers_.operands.back() = place = registers_.operands[std::stoul(constraint.Codes[0])];
    }
    const unsigned width = width_of(call_.getDataLayout(), value->getType());
    ir_.CreateStore(ir_.CreateZExtOrTrunc(to_bits(ir_, value, width), place->getAllocatedType()), place);
  }
}

llvm::BasicBlock *AsmStatement::add_block() {
  return llvm::BasicBlock::Create(ir_.getContext(), "", &frame_.function, end_);
}

llvm::BasicBlock *AsmStatement::block_of(const std::string &label) {
  llvm::BasicBlock *&block = labels_[label];
  if (block == nullptr) {
    block = add_block();
  }
  return block;
}

void AsmStatement::emit_statements() {
  const auto &statements = assembly_.statements;
  const bool flows = std::any_of(statements.begin(), statements.end(), [](const ptx::Statement &s) {
    return !s.label.empty() || s.guard.has_value() || s.parts[0] == "bra";
  });
  if (flows) {
    llvm::BasicBlock *begin = call_.getParent();
    end_ = begin->splitBasicBlock(&call_);
    begin->getTerminator()->eraseFromParent();
    ir_.SetInsertPoint(begin);
    ir_.SetCurrentDebugLocation(call_.getDebugLoc());
  }
  for (const ptx::Statement &statement : statements) {
    if (!statement.label.empty()) {
      llvm::BasicBlock *block = block_of(statement.label);
      ir_.CreateBr(block);
      ir_.SetInsertPoint(block);
    } else if (statement.guard) {
      emit_guarded(statement);
    } else {
      emit(statement);
    }
  }
  if (flows) {
    ir_.CreateBr(end_);
    ir_.SetInsertPoint(&call_);
  }
}

void AsmStatement::emit_guarded(const ptx::Statement &statement) {
  Emitter emitter(ir_, registers_, statement);
  llvm::Value *guard = emitter.read_bits(*statement.guard, 1);
  llvm::BasicBlock *body = add_block();
  llvm::BasicBlock *next = add_block();
  ir_.CreateCondBr(guard, body, next);
  ir_.SetInsertPoint(body);
  emit(statement);
  ir_.CreateBr(next);
  ir_.SetInsertPoint(next);
}

void AsmStatement::emit(const ptx::Statement &statement) {
  Emitter emitter(ir_, registers_, statement);
  if (statement.parts[0] == "bra") {
    if (emitter.arguments() != 1 || emitter.argument(0).values[0].kind != ptx::Value::Kind::label ||
        !emitter.only({"uni"})) {
      refuse(fmt::format("the emulator does not understand `{}`", statement.text));
    }
    ir_.CreateBr(block_of(emitter.argument(0).values[0].name));
    ir_.SetInsertPoint(add_block()); // what follows is reached by a label only
  } else if (!emit_arithmetic(emitter)) {
    execute(emitter);
  }
}

bool AsmStatement::is_result(const ptx::Value &value) const {
  return (value.kind == ptx::Value::Kind::operand && static_cast<std::size_t>(value.index) < outputs_) ||
         value.kind == ptx::Value::Kind::local;
}

Instruction &AsmStatement::instruction_of(const ptx::Statement &statement) {
  const auto position = &statement - assembly_.statements.data();
  Instruction &made = frame_.table.at(call_.getDebugLoc(), fmt::format("{} {}", position, statement.text));
  if (made.handler != nullptr) {
    return made;
  }
  made.text = statement.text;
  made.parts = statement.parts;
  int slot = 0;
  for (const ptx::Argument &argument : statement.arguments) {
    Operand operand;
    operand.slot = slot;
    operand.count = static_cast<int>(argument.values.size());
    operand.address = argument.shape == ptx::Argument::Shape::address;
    const ptx::Value &first = argument.values[0];
    operand.sink = operand.count == 1 && first.kind == ptx::Value::Kind::sink;
    operand.predicate = first.negated || (first.kind == ptx::Value::Kind::local &&
                                          assembly_.registers[static_cast<std::size_t>(first.index)].width == 1);
    made.operands.push_back(operand);
    slot += operand.count;
  }
  made.handler = find_handler(made);
  if (made.handler == nullptr) {
    refuse(fmt::format("the emulator does not know `{}`", statement.text));
  }
  return made;
}

void AsmStatement::execute(Emitter &emitter) {
  const ptx::Statement &statement = emitter.statement;
  const Instruction &instruction = instruction_of(statement);
  std::vector<const ptx::Value *> values;
  std::vector<bool> written;
  std::vector<llvm::Value *> bits;
  const int width = immediate_width(statement);
  for (const ptx::Argument &argument : statement.arguments) {
    for (const ptx::Value &value : argument.values) {
      const bool immediate = value.kind == ptx::Value::Kind::integer;
      llvm::Value *read = value.kind == ptx::Value::Kind::sink
                              ? ir_.getInt64(0)
                              : ir_.CreateZExt(emitter.read_bits(value, immediate ? width : 64), ir_.getInt64Ty());
      if (&value == &argument.values[0] && argument.offset != 0) {
        read = ir_.CreateAdd(read, ir_.getInt64(static_cast<u64>(argument.offset)));
      }
      values.push_back(&value);
      bits.push_back(read);
      // "d, a, b, d": the result is in the first slot of d.
      const bool again = std::any_of(values.begin(), values.end() - 1, [&](const ptx::Value *other) {
        return other->kind == value.kind && other->index == value.index;
      });
      written.push_back(argument.shape != ptx::Argument::Shape::address && !value.negated && !again &&
                        is_result(value));
    }
  }
  llvm::Value *slots = frame_.slots(static_cast<int>(values.size()));
  const auto slot = [&](std::size_t i) { return ir_.CreateConstGEP1_32(ir_.getInt64Ty(), slots, static_cast<u32>(i)); };
  for (std::size_t i = 0; i < values.size(); ++i) {
    ir_.CreateStore(bits[i], slot(i));
  }
  llvm::Module &module = *frame_.function.getParent();
  llvm::Value *object = ir_.CreateIntToPtr(ir_.getInt64(reinterpret_cast<u64>(&instruction)), ir_.getPtrTy());
  llvm::CallInst *call = ir_.CreateCall(
      module.getOrInsertFunction("sale_emulator_execute", ir_.getVoidTy(), ir_.getPtrTy(), ir_.getPtrTy()),
      {object, slots});
  call->setDoesNotThrow();
  if (call_.isConvergent()) {
    call->setConvergent();
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (written[i]) {
      emitter.write_bits(*values[i], ir_.CreateLoad(ir_.getInt64Ty(), slot(i)));
    }
  }
}

void AsmStatement::replace_results() {
  std::vector<llvm::Value *> results;
  for (std::size_t i = 0; i < result_types_.size(); ++i) {
    llvm::AllocaInst *place = registers_.operands[i];
    results.push_back(from_bits(ir_, ir_.CreateLoad(place->getAllocatedType(), place), result_types_[i]));
  }
  if (call_.getType()->isStructTy()) {
    llvm::Value *all = llvm::PoisonValue::get(call_.getType());
    for (unsigned i = 0; i < results.size(); ++i) {
      all = ir_.CreateInsertValue(all, results[i], i);
    }
    call_.replaceAllUsesWith(all);
  } else if (!results.empty()) {
    call_.replaceAllUsesWith(results[0]);
  }
  call_.eraseFromParent();
}

} // namespace sale::emulator
