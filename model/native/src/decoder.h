// One step of a whole decoder in one call: the same as model/nn, for a ragged batch over the paged cache.
#pragma once

#include <cstdint>
#include <vector>

#include "attention.h"
#include "product.h"
#include "retrieval.h"
#include "team.h"

namespace flightloop::inline FLIGHTLOOP_KIND {

constexpr int kBlock = 2 * kTile;  // outputs per unit: one group of the next product's inputs
constexpr int kChunk = 64;         // maximum narrow rows per unit
constexpr int kWideChunk = 256;    // maximum wide rows per unit

// The structures shared with Python, mirrored in library.py field by field.

struct Layer {
  const float *attention_norm, *ffn_norm;
  const float *query_norm, *key_norm;  // null: no such norms
  const float *cosine, *sine;          // [position][head width / 2]
  Matrix qkv, out;
  const float* qkv_bias;               // null: none
  Matrix gate_up, down;                // the shared expert: 32 gate outputs, 32 up outputs, and so on
  const float* router;                 // [expert][width], null in a dense model
  const float* router_bias;            // [expert], used only to choose experts
  Matrix expert_gate_up, expert_down;  // expert after expert
  int8_t *keys, *values;               // see attention.h
  float *key_scale, *value_scale;
  int32_t* key_sum;
  int32_t window;                      // 0: full attention
  int32_t globals;                     // bit mask of key/value heads that ignore the window
  int32_t group;                       // index in Batch::tables
};

struct Shape {
  int32_t layers, width, heads, kv_heads, head_width, hidden, vocabulary;
  int32_t experts, expert_hidden, active, normalise;
  int32_t full_norm;                   // whether query and key norms cover all heads together
  int32_t block_size, sinks;
  int32_t retrieved;                   // tiles that an answer's token reads of the distant context; 0: all
  float epsilon;
};

struct Batch {
  int32_t tokens, sequences, scored;
  int32_t answers;                     // number of rows of answers, which come first; the others belong to prompts
  const int32_t *token, *position;     // of each row
  const int32_t *start, *length;       // rows of each sequence
  const int32_t *table_at;             // index of each sequence's first block in a table
  const int32_t *tables[2];
  const int32_t *scored_row;           // rows that need logits
  float* states;                       // [wanted layer][token][width]: hidden states; null: none
  int64_t wanted;                      // bit i: the states that enter layer i, of the first 64
  int32_t depth;                       // layers that run; with fewer than the model has, nothing is scored
};

struct Model {
  Shape shape;
  const Layer* layers;
  Matrix embedding;                    // the head's, if they are tied
  const float* norm;
  Matrix head;
  int64_t* expert_tokens;              // [expert], summed over all layers
};

class Decoder {
 public:
  Decoder(const Model& model, int threads, int spins);

  // Logits of the scored rows: [scored][vocabulary].
  void step(const Batch& batch, float* logits);

  Team& team() { return team_; }

 private:
  enum class Before { kEmbedding, kRouted, kNothing };
  struct Attended {
    AttentionTask task;
    const int32_t* tables[2];
  };
  struct Chunk {                       // rows that are all narrow or all wide
    int begin, end;
  };
  struct Unit {
    int attended, head;
    int span;                          // -1: all that the queries see
    int join;                          // index in joins_; -1: nothing to join
  };
  struct Join {
    int attended, head;
    int part, spans;                   // first part and number of spans; retrieval uses the parts for its shares
    int far;                           // tiles to choose from if there are more than a token reads, else 0
    size_t looked;                     // offset of their scores in looked_
  };
  struct Chosen {
    std::vector<int> rows;             // narrow ones first
    std::vector<float> weights;
    std::vector<Chunk> chunks;         // of ``rows``
  };
  struct Scratch {                     // one per thread
    AttentionScratch attention;
    Rows rows;
    Buffer<float> out;
    std::vector<float> shares;         // buffers of ``choose``
    std::vector<int32_t> chosen;       // tiles that a head reads
  };

  void plan();
  void cut();
  void layer(int index, Before before);
  void embed(int row, float* x);
  void normed(int row, const float* weight, Before before);
  void route(int row, const Layer& layer);
  void gather();
  void project(int unit, const Layer& layer, Scratch& scratch);
  void place(float* values, int head, int row, const Layer& layer);
  void turn(float* values, const float* norm, int row, const Layer& layer);
  void norm_full(int row, const Layer& layer);
  void look(int share, const Layer& layer);
  template <class Work>
  void with_kernel(const Cache& cache, const Queries& queries, Scratch& scratch, const Work& work) const;
  void attend(int unit, const Layer& layer, Scratch& scratch);
  void attend_chosen(int share, const Layer& layer, Scratch& scratch);
  void keep(int part, Scratch& scratch, int rows);
  Queries queries_of(const AttentionTask& task, int head, const Layer& layer) const;
  AttentionTask task_of(int attended, const Layer& layer) const;
  Cache cache(const Layer& layer) const;
  void select(const Layer& layer);
  static bool is_global(int head, const Layer& layer);
  bool retrieves(const Join& join, const Layer& layer) const;
  bool sees(const Join& join, int span, const Layer& layer) const;
  int oldest(int attended, const Layer& layer) const;
  int first_seen(const Unit& unit, const Layer& layer) const;
  Mixed part_of(int part);
  void join(const Join& join, const Layer& layer, Scratch& scratch);
  void put(const AttentionTask& task, int head, const Mixed& mixed);
  void feed(int unit, const Layer& layer, Scratch& scratch);
  void feed_expert(int unit, const Layer& layer, Scratch& scratch);
  void collect_expert(int unit, const Layer& layer, Scratch& scratch);
  void add_product(const Matrix& matrix, const Rows& rows, int unit, Scratch& scratch);
  void finish(int unit, Scratch& scratch);
  void score(int unit, float* logits);

  static void split(int rows, int narrow, std::vector<Chunk>& chunks);
  Chunk chunk(int unit) const { return chunks_[unit % chunks_.size()]; }
  int block(int unit) const { return unit / static_cast<int>(chunks_.size()); }

  const Model model_;
  const Shape& shape_;
  Team team_;
  std::vector<Scratch> scratch_;
  const Batch* batch_ = nullptr;
  int narrow_ = 0;                     // number of narrow rows, which come first
  int kept_ = 0;                       // layers whose states have been kept in this step
  std::vector<Chunk> chunks_;
  std::vector<Attended> attended_;
  std::vector<Chosen> chosen_;         // one per expert
  std::vector<int> busy_;              // experts that have rows
  std::vector<Rows> expert_hidden_;    // one per expert
  Buffer<float> x_, routed_, raw_, weight_;
  Buffer<int32_t> choice_;
  Buffer<int32_t> slot_[2];            // slot of each row's key and value, per table
  Buffer<uint8_t> query_;              // the high and the low bytes of each head's numbers
  Buffer<float> query_scale_;
  std::vector<Unit> units_;
  std::vector<Join> joins_;
  std::vector<int> attending_, looking_;  // units and joins of one layer
  Buffer<float> looked_;               // scores of the tiles that each join may read: [row][tile]
  Buffer<float> part_sums_, part_largest_, part_total_;
  Rows normed_, mixed_, hidden_, last_;
};

}  // namespace flightloop::inline FLIGHTLOOP_KIND
