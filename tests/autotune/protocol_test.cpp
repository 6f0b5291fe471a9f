// SPDX-License-Identifier: Apache-2.0
#include "autotune/measure/protocol.hpp"

#include "autotune/measure/protocol_fields.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace sale::autotune {
namespace {

// Gives every field of an object a value that is not its default, and counts them.
struct Fill {
  int *next;

  template <class T>
  void operator()(const char * /*name*/, T &field) const {
    set(field);
  }
  void set(bool &field) const { field = !field; }
  void set(int &field) const { field = 1000 + (*next)++; }
  void set(float &field) const { field = 0.1F * static_cast<float>((*next)++); }
  void set(double &field) const { field = 0.1 * (*next)++; }
  void set(std::string &field) const { field = "text " + std::to_string((*next)++); }
  template <class T>
  void set(std::vector<T> &field) const {
    field.resize(2);
    set(field[0]);
    set(field[1]);
  }
  template <class T>
  void set(T &field) const {
    if constexpr (std::is_enum_v<T>) {
      field = static_cast<T>(static_cast<int>(field) == 1 ? 0 : 1);
    } else {
      protocol::visit_fields(field, *this);
    }
  }
};
template <class T>
T filled(int seed) {
  T object;
  protocol::visit_fields(object, Fill{&seed});
  return object;
}

TEST(WorkerProtocol, carries_every_field_of_a_request) {
  const AskMeasure asked = filled<AskMeasure>(1);
  const std::string line = line_of(Request{asked});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto read = std::get<AskMeasure>(parse_request(line));
  EXPECT_EQ(read.task.kernel, asked.task.kernel);
  EXPECT_EQ(read.tiles, asked.tiles);
  EXPECT_EQ(read.rounds, asked.rounds);
  EXPECT_EQ(read.task.tokens, asked.task.tokens);
  EXPECT_EQ(read.task.density, asked.task.density);
  EXPECT_EQ(read.task.problem.dtype, DType::f16);
  EXPECT_EQ(read.task.problem.softmax_scale, asked.task.problem.softmax_scale);
  EXPECT_EQ(read.task.policy.tau_per_head, asked.task.policy.tau_per_head);
  EXPECT_EQ(read.task.policy.shift_per_head, asked.task.policy.shift_per_head);
  EXPECT_EQ(read.task.policy.channels, asked.task.policy.channels);
  EXPECT_EQ(read.task.policy.projection, asked.task.policy.projection);
  EXPECT_EQ(read.task.policy.tau_per_head.size(), 2U);
  EXPECT_EQ(line_of(Request{read}), line) << "the rest of them";

  const AskPolicies policies = filled<AskPolicies>(9);
  const auto read_policies = std::get<AskPolicies>(parse_request(line_of(Request{policies})));
  ASSERT_EQ(read_policies.calls.policies.size(), 2U);
  EXPECT_EQ(read_policies.calls.policies[1].tau, policies.calls.policies[1].tau);
  EXPECT_EQ(line_of(Request{read_policies}), line_of(Request{policies}));

  const AskCheck check = filled<AskCheck>(5);
  EXPECT_EQ(line_of(parse_request(line_of(Request{check}))), line_of(Request{check}));
}

TEST(WorkerProtocol, tells_requests_apart) {
  EXPECT_TRUE(std::holds_alternative<AskGpu>(parse_request(line_of(Request{AskGpu{}}))));
  EXPECT_TRUE(std::holds_alternative<AskFacts>(parse_request(line_of(Request{AskFacts{}}))));
  EXPECT_TRUE(std::holds_alternative<AskParameters>(parse_request(line_of(Request{AskParameters{}}))));
}

TEST(WorkerProtocol, carries_every_field_of_a_reply) {
  const auto same = [](const Answer &answer) {
    const std::string line = line_of(Reply{answer});
    const Reply read = parse_reply(line);
    EXPECT_EQ(std::get<Answer>(read).value.index(), answer.value.index());
    EXPECT_EQ(line_of(read), line);
    return std::get<Answer>(read);
  };
  const auto rounds = filled<Rounds>(7);
  const auto read = std::get<Rounds>(same({rounds, true}).value);
  ASSERT_EQ(read.of.size(), 2U);
  EXPECT_EQ(read.of[1].ms, rounds.of[1].ms);
  EXPECT_EQ(read.of[1].outcome, Outcome::wrong);
  EXPECT_TRUE(same({rounds, true}).spent);
  EXPECT_FALSE(same({filled<Measurement>(2), false}).spent);
  const auto policies = filled<PolicyRounds>(8);
  EXPECT_EQ(std::get<PolicyRounds>(same({policies, false}).value).density, policies.density);
  same({filled<GpuId>(3), false});
  same({filled<GpuParameters>(4), false});
  same({filled<Refusal>(5), false});
  same({TuningFacts{{"a", "b"}}, false});
  const auto step = std::get<Step>(parse_reply(line_of(Reply{Step{Work::oracle, 5}})));
  EXPECT_EQ(step.work, Work::oracle);
  EXPECT_EQ(step.tile, 5);
}

TEST(WorkerProtocol, carries_numbers_that_json_has_not) {
  AskCheck check;
  check.task.policy.shift_per_head = {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                                      std::numeric_limits<float>::quiet_NaN(), 0.1F};
  const auto read = std::get<AskCheck>(parse_request(line_of(Request{check}))).task.policy.shift_per_head;
  ASSERT_EQ(read.size(), 4U);
  EXPECT_EQ(read[0], check.task.policy.shift_per_head[0]);
  EXPECT_EQ(read[1], check.task.policy.shift_per_head[1]);
  EXPECT_TRUE(std::isnan(read[2]));
  EXPECT_EQ(read[3], 0.1F);
}

TEST(WorkerProtocol, carries_words_that_are_not_utf_8) {
  const auto read = parse_reply(line_of(Reply{Answer{Refusal{ErrorKind::load, "bad \xFF byte"}, false}}));
  EXPECT_NE(std::get<Refusal>(std::get<Answer>(read).value).what.find("byte"), std::string::npos);
}

TEST(WorkerProtocol, refuses_what_is_no_message) {
  for (const char *line : {"",
                           "{",
                           "[]",
                           "3",
                           "null",
                           "{}",
                           "\"gpu\"",
                           R"({"what": 3})",
                           R"({"begins": 3})",
                           R"({"begins": {"work": 1}})",
                           R"({"begins": {"work": 4, "tile": 0}})",
                           R"({"begins": {"work": -1, "tile": 0}})",
                           R"({"begins": {"work": 1, "tile": 1.5}})",
                           R"({"begins": {"work": 1, "tile": 3000000000}})",
                           R"({"rounds": {"of": 3, "disturbed": 0}, "spent": false})",
                           R"({"rounds": {"of": [], "disturbed": 0}})",
                           R"({"checked": {"outcome": 9, "why": "", "ms": []}, "spent": false})",
                           R"({"checked": {"outcome": 0, "why": "", "ms": ["one"]}, "spent": false})",
                           R"({"measure": {}})",
                           R"({"check": {"task": 1, "tile": 2}})"}) {
    EXPECT_THROW(parse_reply(line), Error) << line;
    EXPECT_THROW(parse_request(line), Error) << line;
  }
  EXPECT_THROW(parse_reply(R"({"facts": {"a": 3}, "spent": false})"), Error);
  try {
    parse_reply(std::string(1000, 'x'));
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(std::string(error.what()),
              "what the worker said is no line of the worker's protocol: \"" + std::string(80, 'x') + "\"");
  }
}

} // namespace
} // namespace sale::autotune
