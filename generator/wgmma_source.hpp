// SPDX-License-Identifier: Apache-2.0
// The text of one specialisation of Wgmma (templates/device/wgmma.cuh). Its operand list depends on n, which no
// template can spell.
#pragma once

#include <string>

namespace sale {

enum class WgmmaOperand { bf16, f16, e4m3, s8 };
enum class WgmmaResult { f32, f16, s32 };

struct WgmmaShape {
  WgmmaOperand operand = WgmmaOperand::bf16;
  WgmmaResult result = WgmmaResult::f32;
  int n = 64;
  bool a_in_registers = false;
  bool b_mn_major = false;
  bool sparse = false;

  /// k of the dense form: 32 bytes of an operand, 64 when A is sparse.
  int k() const;
  /// "Wgmma<Bf16, f32, 64, WgmmaSource::shared, WgmmaMajor::k, WgmmaDensity::dense>".
  std::string type_name() const;
};

/// Throws Error(generate) for a combination that the hardware has not.
std::string wgmma_source(const WgmmaShape &shape);

} // namespace sale
