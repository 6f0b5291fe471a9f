// SPDX-License-Identifier: Apache-2.0
// How select estimates q·k (docs/numerics.md, section 5).
#pragma once

enum class Estimator { exact, int8, int4, fp8 };
