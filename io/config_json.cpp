// SPDX-License-Identifier: Apache-2.0
#include "io/model.hpp"
#include "io/names.hpp"
#include "sale/error.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cmath>

namespace sale::io {

namespace {

using Json = nlohmann::json;

class ConfigReader {
public:
  ConfigReader(const std::string &text, std::string file_name) : file_name_(std::move(file_name)) {
    try {
      json_ = Json::parse(text, [this](int depth, Json::parse_event_t event, const Json &) {
        refuse_depth(depth, event);
        return true;
      });
    } catch (const Json::parse_error &error) {
      refuse(fmt::format("this is not valid JSON at its byte {}", error.byte));
    } catch (const Json::exception &) {
      refuse("this JSON holds a number that is out of range");
    }
    if (!json_.is_object()) {
      refuse("a config.json is a JSON object");
    }
    // Multimodal configurations keep the language model's fields one level down; what both have, the inner one says.
    if (const auto found = json_.find("text_config"); found != json_.end() && found->is_object()) {
      const Json inner = std::move(*found);
      json_.update(inner);
    }
  }

  [[noreturn]] void refuse(const std::string &sentence) const {
    throw Error(ErrorKind::invalid_argument, fmt::format("{}: {}", file_name_, sentence));
  }

  /// Null and absent mean the same in these files.
  bool has(const char *key) const {
    const auto found = json_.find(key);
    return found != json_.end() && !found->is_null();
  }

  int integer(const char *key) const {
    constexpr std::uint64_t most = 1U << 24U;
    if (!has(key)) {
      refuse(fmt::format("\"{}\" is missing; this is not the config.json of a decoder that libsale knows", key));
    }
    const Json &value = json_[key];
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() == 0 || value.get<std::uint64_t>() > most) {
      refuse(fmt::format("\"{}\" must be a whole number between 1 and {}", key, most));
    }
    return value.get<int>();
  }
  int integer(const char *key, int otherwise) const { return has(key) ? integer(key) : otherwise; }

  float positive(const char *key) const {
    const Json &value = json_[key];
    if (!value.is_number() || !(value.get<float>() > 0.0F) || !std::isfinite(value.get<float>())) {
      refuse(fmt::format("\"{}\" must be a positive number", key));
    }
    return value.get<float>();
  }

  std::string text(const char *key, const std::string &otherwise) const {
    if (!has(key)) {
      return otherwise;
    }
    if (!json_[key].is_string()) {
      refuse(fmt::format("\"{}\" must be a string", key));
    }
    return json_[key].get<std::string>();
  }

private:
  // nlohmann has no limit of its own, and copies values recursively.
  void refuse_depth(int depth, Json::parse_event_t event) const {
    constexpr int most = 32;
    const bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= most) {
      refuse(fmt::format("this JSON nests more than {} levels deep, which no config.json does", most));
    }
  }

  std::string file_name_;
  Json json_;
};

int read_head_dim(const ConfigReader &config, int heads) {
  if (config.has("head_dim")) {
    return config.integer("head_dim");
  }
  const int hidden = config.integer("hidden_size");
  if (hidden % heads != 0) {
    config.refuse(fmt::format("hidden_size {} is not a multiple of num_attention_heads {}, and there is no head_dim",
                              hidden, heads));
  }
  return hidden / heads;
}

float read_softmax_scale(const ConfigReader &config) {
  if (config.has("attention_multiplier")) {
    return config.positive("attention_multiplier");
  }
  return config.has("query_pre_attn_scalar") ? 1.0F / std::sqrt(config.positive("query_pre_attn_scalar")) : 0.0F;
}

DType read_dtype(const ConfigReader &config) {
  // transformers 5 writes "dtype", earlier versions "torch_dtype".
  const std::string name = config.text("dtype", config.text("torch_dtype", "bfloat16"));
  try {
    return parse_dtype(name);
  } catch (const Error &) {
    config.refuse(fmt::format("dtype {:?} is not supported; choose with --dtype bf16 or --dtype f16", name));
  }
}

} // namespace

Model parse_config_json(const std::string &text, const std::string &file_name, std::optional<DType> dtype) {
  const ConfigReader config(text, file_name);
  if (config.has("kv_lora_rank")) {
    config.refuse(
        "models with \"kv_lora_rank\" are not supported as config.json; give a problem YAML with head_dim, v_head_dim and "
        "softmax_scale");
  }
  Model model;
  model.name = config.text("_name_or_path", config.text("model_type", file_name));
  model.layers = config.integer("num_hidden_layers", 0);
  model.problem.num_q_heads = config.integer("num_attention_heads");
  model.problem.num_kv_heads = config.integer("num_key_value_heads", model.problem.num_q_heads);
  model.problem.head_dim = read_head_dim(config, model.problem.num_q_heads);
  model.problem.softmax_scale = read_softmax_scale(config);
  model.problem.softcap = config.has("attn_logit_softcapping") ? config.positive("attn_logit_softcapping") : 0.0F;
  model.problem.dtype = dtype ? *dtype : read_dtype(config);
  try {
    validate(model.problem);
  } catch (const Error &error) {
    config.refuse(error.what());
  }
  return model;
}

} // namespace sale::io
