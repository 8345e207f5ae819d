// The routed experts' part of a step.

#include <algorithm>

#include "decoder.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

// Chooses the row's experts: those of the largest softmax plus bias; ties go to the lower index.
void Decoder::route(int row, const Layer& layer) {
  const int width = shape_.width, experts = shape_.experts;
  const float* x = x_.get() + static_cast<size_t>(row) * width;
  const Floats factor = spread(inverse_rms(x, width, shape_.epsilon));
  float score[512];
  float largest = -1e30f;
  for (int e = 0; e < experts; ++e) {
    Floats sum = spread(0.0f);
    const float* weight = layer.router + static_cast<size_t>(e) * width;
    for (int i = 0; i < width; i += 16) {
      const Floats v = load(x + i) * factor * load(layer.ffn_norm + i);
      sum = plus_product(sum, v, load(weight + i));
    }
    score[e] = sum_of(sum);
    largest = std::max(largest, score[e]);
  }
  float total = 0;
  for (int e = 0; e < experts; ++e) total += score[e] = std::exp(score[e] - largest);
  float rank[512];
  for (int e = 0; e < experts; ++e) rank[e] = score[e] / total + layer.router_bias[e];
  int32_t* choice = choice_.get() + row * shape_.active;
  float* weight = weight_.get() + row * shape_.active;
  float kept = 0;
  for (int a = 0; a < shape_.active; ++a) {
    int best = 0;
    for (int e = 1; e < experts; ++e)
      if (rank[e] > rank[best]) best = e;
    choice[a] = best;
    weight[a] = score[best] / total;
    kept += weight[a];
    rank[best] = -1e30f;
  }
  if (shape_.normalise)
    for (int a = 0; a < shape_.active; ++a) weight[a] /= kept;
}

// Lists each expert's rows.
void Decoder::gather() {
  for (const int expert : busy_) {
    chosen_[expert].rows.clear();
    chosen_[expert].weights.clear();
  }
  busy_.clear();
  for (int row = 0; row < batch_->tokens; ++row) {
    for (int a = 0; a < shape_.active; ++a) {
      const int at = row * shape_.active + a;
      Chosen& chosen = chosen_[choice_.get()[at]];
      chosen.rows.push_back(row);
      chosen.weights.push_back(weight_.get()[at]);
    }
  }
  for (int expert = 0; expert < shape_.experts; ++expert) {
    const int count = static_cast<int>(chosen_[expert].rows.size());
    if (!count) continue;
    busy_.push_back(expert);
    model_.expert_tokens[expert] += count;
    const auto wide = std::lower_bound(chosen_[expert].rows.begin(), chosen_[expert].rows.end(), narrow_);
    const int narrow = static_cast<int>(wide - chosen_[expert].rows.begin());
    split(count, narrow, chosen_[expert].chunks);
    expert_hidden_[expert].shape(count, narrow, shape_.expert_hidden / kGroup);
  }
}

// Computes 32 hidden outputs of a routed expert for all rows that chose it.
void Decoder::feed_expert(int unit, const Layer& layer, Scratch& scratch) {
  const int blocks = shape_.expert_hidden / kBlock, expert = busy_[unit / blocks], block = unit % blocks;
  const Chosen& chosen = chosen_[expert];
  const Matrix matrix = layer.expert_gate_up.expert(expert);
  float* out = scratch.out.need(kWideChunk * 2 * kBlock);
  for (const auto [begin, end] : chosen.chunks) {
    const int count = end - begin;
    scratch.rows.shape(count, chosen.rows[begin] < narrow_ ? count : 0, shape_.width / kGroup);
    for (int r = 0; r < count; ++r) scratch.rows.copy(r, normed_, chosen.rows[begin + r]);
    product(matrix, 4 * block, 4 * block + 4, scratch.rows, 0, count, out, 2 * kBlock);
    for (int r = 0; r < count; ++r) {
      const float* of = out + r * 2 * kBlock;
      const Floats low = silu(load(of)) * load(of + 32), high = silu(load(of + 16)) * load(of + 48);
      expert_hidden_[expert].put(begin + r, block, low, high);
    }
  }
}

// Computes 32 outputs of all routed experts, weighted and summed per row in the order of the experts.
void Decoder::collect_expert(int unit, const Layer& layer, Scratch& scratch) {
  for (int row = 0; row < batch_->tokens; ++row)
    std::memset(routed_.get() + static_cast<size_t>(row) * shape_.width + unit * kBlock, 0, kBlock * sizeof(float));
  float* out = scratch.out.need(kWideChunk * kBlock);
  for (const int expert : busy_) {
    const Chosen& chosen = chosen_[expert];
    const Matrix matrix = layer.expert_down.expert(expert);
    for (const auto [begin, end] : chosen.chunks) {
      product(matrix, 2 * unit, 2 * unit + 2, expert_hidden_[expert], begin, end, out, kBlock);
      for (int i = begin; i < end; ++i) {
        float* to = routed_.get() + static_cast<size_t>(chosen.rows[i]) * shape_.width + unit * kBlock;
        const Floats weight = spread(chosen.weights[i]);
        for (int j = 0; j < kBlock; j += 16)
          store(to + j, plus_product(load(to + j), load(out + (i - begin) * kBlock + j), weight));
      }
    }
  }
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
