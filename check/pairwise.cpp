// SPDX-License-Identifier: Apache-2.0
#include "check/pairwise.hpp"

#include <algorithm>
#include <random>

namespace sale::check {

namespace {

constexpr int candidates = 40; ///< Per choice; the one that holds the most new pairs is taken.
constexpr int open = -1;       ///< A factor without a value yet.

class Cover {
public:
  Cover(const std::vector<int> &sizes, const Holds &holds)
      : sizes_(sizes), holds_(holds), factors_(static_cast<int>(sizes.size())) {
    first_.push_back(0);
    for (const int size : sizes) {
      first_.push_back(first_.back() + size);
    }
    wanted_.assign(static_cast<std::size_t>(first_.back()) * first_.back(), false);
    want_all();
  }

  std::vector<Choice> run() {
    std::vector<Choice> choices;
    while (left_ > 0) {
      Choice best;
      int most = -1;
      for (int i = 0; i < candidates; ++i) {
        Choice candidate = make_candidate();
        const int gain = gain_of(candidate);
        if (gain > most) {
          most = gain;
          best = std::move(candidate);
        }
      }
      take(best);
      choices.push_back(std::move(best));
    }
    return choices;
  }

private:
  std::size_t pair(int f, int a, int g, int b) const {
    const int x = first_[static_cast<std::size_t>(f)] + a;
    const int y = first_[static_cast<std::size_t>(g)] + b;
    return static_cast<std::size_t>(std::min(x, y)) * first_.back() + std::max(x, y);
  }

  template <class Visit>
  void for_each_pair(const Choice &choice, const Visit &visit) const {
    for (int f = 0; f < factors_; ++f) {
      for (int g = f + 1; g < factors_; ++g) {
        if (choice[f] != open && choice[g] != open && holds_(choice, f, g)) {
          visit(pair(f, choice[f], g, choice[g]));
        }
      }
    }
  }

  // Every pair that matters under some values of the first two factors.
  void want_all() {
    Choice choice(sizes_.size(), open);
    for (choice[0] = 0; choice[0] < sizes_[0]; ++choice[0]) {
      for (choice[1] = 0; choice[1] < sizes_[1]; ++choice[1]) {
        for (int f = 0; f < factors_; ++f) {
          for (int g = std::max(f + 1, 2); g < factors_; ++g) {
            want(choice, f, g);
          }
        }
        for_each_pair(choice, [&](std::size_t i) { add(i); });
      }
    }
  }
  void want(Choice choice, int f, int g) {
    for (int a = 0; a < (f < 2 ? 1 : sizes_[f]); ++a) {
      for (int b = 0; b < sizes_[g]; ++b) {
        choice[f] = f < 2 ? choice[f] : a;
        choice[g] = b;
        if (holds_(choice, f, g)) {
          add(pair(f, choice[f], g, b));
        }
      }
    }
  }
  void add(std::size_t i) {
    left_ += wanted_[i] ? 0 : 1;
    wanted_[i] = true;
  }

  int gain_of(const Choice &choice) const {
    int gain = 0;
    for_each_pair(choice, [&](std::size_t i) { gain += wanted_[i] ? 1 : 0; });
    return gain;
  }

  // The first two factors at random, the others in random order, each with the value that holds the most new pairs.
  Choice make_candidate() {
    Choice choice(sizes_.size(), open);
    choice[0] = draw(sizes_[0]);
    choice[1] = draw(sizes_[1]);
    std::vector<int> order;
    for (int f = 2; f < factors_; ++f) {
      order.insert(order.begin() + draw(static_cast<int>(order.size()) + 1), f);
    }
    for (const int f : order) {
      int most = -1;
      const int start = draw(sizes_[f]);
      int best = start;
      for (int i = 0; i < sizes_[f]; ++i) {
        choice[f] = (start + i) % sizes_[f];
        if (const int gain = gain_of(choice); gain > most) {
          most = gain;
          best = choice[f];
        }
      }
      choice[f] = best;
    }
    return choice;
  }

  void take(const Choice &choice) {
    for_each_pair(choice, [&](std::size_t i) {
      left_ -= wanted_[i] ? 1 : 0;
      wanted_[i] = false;
    });
  }

  // Not a standard distribution: those differ between libraries.
  int draw(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  const std::vector<int> &sizes_;
  const Holds &holds_;
  int factors_;
  std::vector<int> first_; // of each factor's values among all values
  std::vector<bool> wanted_;
  int left_ = 0;
  std::mt19937 random_{1};
};

} // namespace

std::vector<Choice> pairwise(const std::vector<int> &sizes, const Holds &holds) { return Cover(sizes, holds).run(); }

} // namespace sale::check
