// SPDX-License-Identifier: Apache-2.0
#include "tests/emulator/jit/harness.hpp"

#include <algorithm>
#include <bit>

namespace sale::emulator {
namespace {

using s64 = std::int64_t;

s32 s(u64 x) { return static_cast<s32>(x); }
u32 u(u64 x) { return static_cast<u32>(x); }
s64 sign_extend(u64 x, int bits) { return static_cast<s64>(x << (64 - bits)) >> (64 - bits); }

// Each 16-bit lane by itself.
template <class F>
u64 lanes(u64 a, u64 b, const F &f) {
  const u32 low = static_cast<u32>(f(sign_extend(a, 16), sign_extend(b, 16))) & 0xffffU;
  const u32 high = static_cast<u32>(f(sign_extend(a >> 16, 16), sign_extend(b >> 16, 16))) & 0xffffU;
  return high << 16 | low;
}

TEST(Integers, AddSubtractMultiply) {
  check_operations({
      {"add.u32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return u(a + b); }},
      {"add.s64 %0, %1, %2;", "lll", [](u64 a, u64 b, u64) { return a + b; }},
      {"add.u16 %0, %1, %2;", "hhh", [](u64 a, u64 b, u64) { return a + b; }},
      {"add.sat.s32 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) { return u(std::clamp<s64>(s64{s(a)} + s(b), INT32_MIN, INT32_MAX)); }},
      {"sub.s32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return u(a - b); }},
      {"sub.u32 %0, %1, 5;", "rr", [](u64 a, u64, u64) { return u(a - 5); }},
      {"add.s32 %0, %1, -7;", "rr", [](u64 a, u64, u64) { return u(a - 7); }},
      {"mul.lo.s32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return u(a * b); }},
      {"mul.lo.u64 %0, %1, %2;", "lll", [](u64 a, u64 b, u64) { return a * b; }},
      {"mul.hi.u32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return a * b >> 32; }},
      {"mul.hi.s32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return static_cast<u64>(s64{s(a)} * s(b)) >> 32; }},
      {"mul.wide.u32 %0, %1, %2;", "lrr", [](u64 a, u64 b, u64) { return a * b; }},
      {"mul.wide.s32 %0, %1, %2;", "lrr", [](u64 a, u64 b, u64) { return static_cast<u64>(s64{s(a)} * s(b)); }},
      {"mul.wide.u16 %0, %1, %2;", "rhh", [](u64 a, u64 b, u64) { return a * b; }},
      {"mad.lo.u32 %0, %1, %2, %3;", "rrrr", [](u64 a, u64 b, u64 c) { return u(a * b + c); }},
      {"mad.wide.s32 %0, %1, %2, %3;", "lrrl",
       [](u64 a, u64 b, u64 c) { return static_cast<u64>(s64{s(a)} * s(b)) + c; }},
      {"neg.s32 %0, %1;", "rr", [](u64 a, u64, u64) { return u(0 - a); }},
      {"abs.s32 %0, %1;", "rr", [](u64 a, u64, u64) { return s(a) < 0 ? u(0 - a) : a; }},
      {"dp4a.s32.s32 %0, %1, %2, %3;", "rrrr",
       [](u64 a, u64 b, u64 c) {
         for (int i = 0; i < 4; ++i) {
           c += static_cast<u64>(sign_extend(a >> (8 * i), 8) * sign_extend(b >> (8 * i), 8));
         }
         return u(c);
       }},
      {"dp4a.u32.u32 %0, %1, %2, %3;", "rrrr",
       [](u64 a, u64 b, u64 c) {
         for (int i = 0; i < 4; ++i) {
           c += (a >> (8 * i) & 0xff) * (b >> (8 * i) & 0xff);
         }
         return u(c);
       }},
  });
}

TEST(Integers, DivideWithoutTraps) {
  check_operations({
      {"div.s32 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) { return b == 0 ? ~u64{0} : static_cast<u64>(s64{s(a)} / s(b)); }},
      {"div.u32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return b == 0 ? ~u64{0} : a / b; }},
      {"rem.s32 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) { return b == 0 ? ~u64{0} : static_cast<u64>(s64{s(a)} % s(b)); }},
      {"rem.u32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return b == 0 ? ~u64{0} : a % b; }},
  });
}

TEST(Integers, MinimaAndMaxima) {
  check_operations({
      {"min.s32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return u(std::min(s(a), s(b))); }},
      {"min.u32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return std::min(a, b); }},
      {"max.s32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return u(std::max(s(a), s(b))); }},
      {"max.u64 %0, %1, %2;", "lll", [](u64 a, u64 b, u64) { return std::max(a, b); }},
      {"max.relu.s32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return u(std::max({s(a), s(b), 0})); }},
      {"min.s16x2 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) { return lanes(a, b, [](s64 x, s64 y) { return std::min(x, y); }); }},
      {"max.s16x2 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) { return lanes(a, b, [](s64 x, s64 y) { return std::max(x, y); }); }},
      {"add.u16x2 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) { return lanes(a, b, [](s64 x, s64 y) { return x + y; }); }},
      {"max.u16x2 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) { return lanes(a, b, [](s64 x, s64 y) { return std::max(x & 0xffff, y & 0xffff); }); }},
  });
}

TEST(Integers, ShiftsClampTheAmount) {
  check_operations({
      {"shl.b32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return b > 31 ? 0 : u(a << b); }},
      {"shr.u32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return b > 31 ? 0 : a >> b; }},
      {"shr.s32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return u(s(a) >> std::min<u64>(b, 31)); }},
      {"shl.b64 %0, %1, %2;", "llr", [](u64 a, u64 b, u64) { return b > 63 ? 0 : a << b; }},
      {"shr.s64 %0, %1, %2;", "llr",
       [](u64 a, u64 b, u64) { return static_cast<u64>(static_cast<s64>(a) >> std::min<u64>(b, 63)); }},
      {"shr.u16 %0, %1, %2;", "hhr", [](u64 a, u64 b, u64) { return b > 15 ? 0 : a >> b; }},
      {"shf.l.wrap.b32 %0, %1, %2, %3;", "rrrr", [](u64 a, u64 b, u64 c) { return ((b << 32 | a) << (c & 31)) >> 32; }},
      {"shf.r.wrap.b32 %0, %1, %2, %3;", "rrrr", [](u64 a, u64 b, u64 c) { return (b << 32 | a) >> (c & 31); }},
      {"shf.l.clamp.b32 %0, %1, %2, %3;", "rrrr",
       [](u64 a, u64 b, u64 c) { return c >= 32 ? a : ((b << 32 | a) << c) >> 32; }},
      {"shf.r.clamp.b32 %0, %1, %2, %3;", "rrrr", [](u64 a, u64 b, u64 c) { return c >= 32 ? b : (b << 32 | a) >> c; }},
  });
}

TEST(Integers, Bits) {
  check_operations({
      {"and.b32 %0, %1, %2;", "rrr", [](u64 a, u64 b, u64) { return a & b; }},
      {"or.b64 %0, %1, %2;", "lll", [](u64 a, u64 b, u64) { return a | b; }},
      {"xor.b32 %0, %1, 0xff;", "rr", [](u64 a, u64, u64) { return a ^ 0xff; }},
      {"not.b32 %0, %1;", "rr", [](u64 a, u64, u64) { return ~a; }},
      {"popc.b32 %0, %1;", "rr", [](u64 a, u64, u64) { return static_cast<u64>(std::popcount(a)); }},
      {"popc.b64 %0, %1;", "rl", [](u64 a, u64, u64) { return static_cast<u64>(std::popcount(a)); }},
      {"clz.b32 %0, %1;", "rr", [](u64 a, u64, u64) { return static_cast<u64>(std::countl_zero(u(a))); }},
      {"clz.b64 %0, %1;", "rl", [](u64 a, u64, u64) { return static_cast<u64>(std::countl_zero(a)); }},
      {"brev.b32 %0, %1;", "rr",
       [](u64 a, u64, u64) {
         u64 r = 0;
         for (int i = 0; i < 32; ++i) {
           r |= (a >> i & 1) << (31 - i);
         }
         return r;
       }},
      {"lop3.b32 %0, %1, %2, %3, 0xe8;", "rrrr", [](u64 a, u64 b, u64 c) { return (a & b) | (a & c) | (b & c); }},
      {"lop3.b32 %0, %1, %2, %3, 0x1e;", "rrrr", [](u64 a, u64 b, u64 c) { return a ^ (b | c); }},
      {"bfe.u32 %0, %1, 5, 7;", "rr", [](u64 a, u64, u64) { return a >> 5 & 0x7f; }},
      {"bfe.s32 %0, %1, 28, 8;", "rr", [](u64 a, u64, u64) { return u(s(a) >> 28); }},
      {"bfe.u32 %0, %1, %2, 0;", "rrr", [](u64, u64, u64) { return u64{0}; }},
      {"bfe.s64 %0, %1, 40, 9;", "ll", [](u64 a, u64, u64) { return static_cast<u64>(sign_extend(a >> 40, 9)); }},
      {"bfi.b32 %0, %1, %2, 8, 12;", "rrr", [](u64 a, u64 b, u64) { return (b & ~u64{0xfff00}) | (a & 0xfff) << 8; }},
      {"bfi.b32 %0, %1, %2, 40, 4;", "rrr", [](u64, u64 b, u64) { return b; }},
      {"prmt.b32 %0, %1, %2, 0x5410;", "rrr", [](u64 a, u64 b, u64) { return (a & 0xffff) | b << 16; }},
      {"prmt.b32 %0, %1, %2, 0x8a37;", "rrr",
       [](u64 a, u64 b, u64) {
         const u64 sign0 = (a & 0x80) != 0 ? 0xff : 0;
         const u64 sign2 = (a & 0x800000) != 0 ? 0xff : 0;
         return sign0 << 24 | sign2 << 16 | (a >> 24) << 8 | b >> 24;
       }},
  });
}

TEST(Integers, ComparisonsAndPredicates) {
  const auto set = [](const char *compare) {
    return std::string("{\n\t.reg .pred p;\n\tsetp.") + compare + " p, %1, %2;\n\tselp.u32 %0, 1, 0, p;\n\t}";
  };
  check_operations({
      {set("eq.u32"), "rrr", [](u64 a, u64 b, u64) { return u64{a == b}; }},
      {set("ne.s32"), "rrr", [](u64 a, u64 b, u64) { return u64{a != b}; }},
      {set("lt.s32"), "rrr", [](u64 a, u64 b, u64) { return u64{s(a) < s(b)}; }},
      {set("le.s32"), "rrr", [](u64 a, u64 b, u64) { return u64{s(a) <= s(b)}; }},
      {set("gt.s64"), "rll", [](u64 a, u64 b, u64) { return u64{static_cast<s64>(a) > static_cast<s64>(b)}; }},
      {set("ge.s32"), "rrr", [](u64 a, u64 b, u64) { return u64{s(a) >= s(b)}; }},
      {set("lt.u32"), "rrr", [](u64 a, u64 b, u64) { return u64{a < b}; }},
      {set("ls.u32"), "rrr", [](u64 a, u64 b, u64) { return u64{a <= b}; }},
      {set("hi.u64"), "rll", [](u64 a, u64 b, u64) { return u64{a > b}; }},
      {set("ge.u16"), "rhh", [](u64 a, u64 b, u64) { return u64{a >= b}; }},
      {"{ .reg .pred p, q, t; setp.lt.u32 t, %3, 40; setp.lt.and.u32 p|q, %1, %2, t; selp.u32 %0, 1, 0, p; @q add.u32 %0, "
       "%0, 2; }",
       "rrrr", [](u64 a, u64 b, u64 c) { return c < 40 ? (a < b ? u64{1} : u64{2}) : 0; }},
      {"{ .reg .pred p, q; setp.lt.u32 p, %1, %2; setp.eq.or.u32 q, %1, 7, !p; xor.pred p, p, q; not.pred p, p; mov.pred q, p; "
       "selp.b32 %0, %1, %2, q; }",
       "rrr",
       [](u64 a, u64 b, u64) {
         const bool p = a < b;
         const bool q = a == 7 || !p;
         return p == q ? a : b;
       }},
  });
}

TEST(Integers, MovesPackAndUnpack) {
  check_operations({
      {"{ .reg .b16 x, y; mov.b32 {x, y}, %1; mov.b32 %0, {y, x}; }", "rr",
       [](u64 a, u64, u64) { return u(a << 16 | a >> 16); }},
      {"mov.b64 %0, {%1, %2};", "lrr", [](u64 a, u64 b, u64) { return b << 32 | a; }},
      {"{ .reg .b32 x; mov.b64 {_, x}, %1; mov.u32 %0, x; }", "rl", [](u64 a, u64, u64) { return a >> 32; }},
      {"mov.u32 %0, 0xdeadbeef;", "rr", [](u64, u64, u64) { return u64{0xdeadbeef}; }},
      {"mov.s32 %0, -1;", "rr", [](u64, u64, u64) { return u64{0xffffffff}; }},
      {"mov.f32 %0, 0f40490fdb;", "fr", [](u64, u64, u64) { return u64{0x40490fdb}; }},
      {"mov.b32 %0, %1;", "fr", [](u64 a, u64, u64) { return a; }},
  });
}

TEST(Integers, ConversionsExtendCutAndSaturate) {
  check_operations({
      {"cvt.u32.u64 %0, %1;", "rl", [](u64 a, u64, u64) { return a; }},
      {"cvt.s64.s32 %0, %1;", "lr", [](u64 a, u64, u64) { return static_cast<u64>(s64{s(a)}); }},
      {"cvt.u64.u32 %0, %1;", "lr", [](u64 a, u64, u64) { return a; }},
      {"cvt.s32.s8 %0, %1;", "rr", [](u64 a, u64, u64) { return static_cast<u64>(sign_extend(a, 8)); }},
      {"cvt.u32.u8 %0, %1;", "rr", [](u64 a, u64, u64) { return a & 0xff; }},
      {"cvt.s16.s32 %0, %1;", "rr", [](u64 a, u64, u64) { return static_cast<u64>(sign_extend(a, 16)); }},
      {"cvt.sat.s8.s32 %0, %1;", "rr", [](u64 a, u64, u64) { return u(std::clamp(s(a), -128, 127)); }},
      {"cvt.sat.u8.s32 %0, %1;", "rr", [](u64 a, u64, u64) { return u(std::clamp(s(a), 0, 255)); }},
      {"cvt.sat.s32.u32 %0, %1;", "rr", [](u64 a, u64, u64) { return std::min<u64>(a, INT32_MAX); }},
      {"cvt.sat.u32.s64 %0, %1;", "rl",
       [](u64 a, u64, u64) { return static_cast<u64>(std::clamp<s64>(static_cast<s64>(a), 0, 0xffffffff)); }},
      {"cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;", "rrrr",
       [](u64 a, u64 b, u64 c) {
         return u(c << 16) | (u(std::clamp(s(a), -128, 127)) & 0xff) << 8 | (u(std::clamp(s(b), -128, 127)) & 0xff);
       }},
      {"cvt.pack.sat.u8.s32.b32 %0, %1, %2, 0;", "rrr",
       [](u64 a, u64 b, u64) { return u(std::clamp(s(a), 0, 255)) << 8 | u(std::clamp(s(b), 0, 255)); }},
      {"cvt.pack.sat.s16.s32 %0, %1, %2;", "rrr",
       [](u64 a, u64 b, u64) {
         return u(std::clamp(s(a), -32768, 32767)) << 16 | (u(std::clamp(s(b), -32768, 32767)) & 0xffff);
       }},
      {"cvt.pack.sat.s4.s32.b32 %0, %1, %2, %3;", "rrrr",
       [](u64 a, u64 b, u64 c) {
         return u(c << 8) | (u(std::clamp(s(a), -8, 7)) & 0xf) << 4 | (u(std::clamp(s(b), -8, 7)) & 0xf);
       }},
  });
}

} // namespace
} // namespace sale::emulator
