#include "decoder.h"

#include <algorithm>

namespace flightloop::inline FLIGHTLOOP_KIND {

namespace {

constexpr int kFewRows = 64;        // fewer rows are normed faster by one thread than by the team
constexpr int kFewRouted = 4;       // ... and normed and routed
constexpr int kJoinedRows = 24;     // maximum rows of a task whose spans are shared among threads
constexpr int kQueries = 16;        // queries per attention task
constexpr int kShares = 2;          // units per retrieval of a head; there are at least as many spans
constexpr int kScored = 4 * kTile;  // tokens of the vocabulary per unit

int ceil_div(int a, int b) { return (a + b - 1) / b; }

void add_bias(float* out, const float* bias, int width, int rows, int stride) {
  for (int row = 0; row < rows; ++row, out += stride) {
    for (int i = 0; i < width; i += 16)
      store(out + i, load(out + i) + load(bias + i));
  }
}

}  // namespace

Decoder::Decoder(const Model& model, int threads, int spins)
    : model_(model), shape_(model_.shape), team_(threads, spins), scratch_(threads) {
  chosen_.resize(shape_.experts);
  expert_hidden_.resize(shape_.experts);
}

// Cuts rows into chunks that are either all narrow or all wide.
void Decoder::split(int rows, int narrow, std::vector<Chunk>& chunks) {
  chunks.clear();
  for (int begin = 0; begin < narrow; begin += kChunk) chunks.push_back({begin, std::min(narrow, begin + kChunk)});
  for (int begin = narrow; begin < rows; begin += kWideChunk)
    chunks.push_back({begin, std::min(rows, begin + kWideChunk)});
}

void Decoder::step(const Batch& batch, float* logits) {
  batch_ = &batch;
  plan();
  kept_ = 0;
  layer(0, Before::kEmbedding);
  for (int i = 1; i < shape_.layers && i <= batch.depth; ++i)
    layer(i, shape_.experts ? Before::kRouted : Before::kNothing);
  team_.phase(batch.scored, [&](int unit, int me) { finish(unit, scratch_[me]); });
  const int units = batch.scored ? ceil_div(model_.head.outputs, kScored) : 0;
  team_.phase(units, [&](int unit, int) { score(unit, logits); });
}

// Sizes the buffers, finds the slots, and cuts the sequences into tasks.
void Decoder::plan() {
  const size_t rows = batch_->tokens;
  narrow_ = has_tiles() ? batch_->answers : batch_->tokens;
  split(batch_->tokens, narrow_, chunks_);
  const size_t heads = shape_.heads + 2 * shape_.kv_heads;
  x_.need(rows * shape_.width);
  normed_.shape(rows, narrow_, shape_.width / kGroup);
  mixed_.shape(rows, narrow_, shape_.heads * shape_.head_width / kGroup);
  hidden_.shape(rows, narrow_, shape_.hidden / kGroup);
  last_.shape(batch_->scored, batch_->scored, shape_.width / kGroup);
  query_.need(rows * shape_.heads * 2 * shape_.head_width);
  query_scale_.need(rows * shape_.heads);
  if (shape_.full_norm) raw_.need(rows * heads * shape_.head_width);
  if (shape_.experts) {
    routed_.need(rows * shape_.width);
    choice_.need(rows * shape_.active);
    weight_.need(rows * shape_.active);
  }
  const int group = shape_.heads / shape_.kv_heads;
  const int most = std::max(1, std::min(kQueries, kQueryRows / group));
  attended_.clear();
  for (int s = 0; s < batch_->sequences; ++s) {
    for (int table = 0; table < 2; ++table) {
      if (!batch_->tables[table]) continue;
      const int32_t* blocks = batch_->tables[table] + batch_->table_at[s];
      int32_t* slot = slot_[table].need(rows);
      for (int row = batch_->start[s]; row < batch_->start[s] + batch_->length[s]; ++row) {
        const int position = batch_->position[row];
        slot[row] = blocks[position / shape_.block_size] * shape_.block_size + position % shape_.block_size;
      }
    }
    // Each token of an answer has its own retrieval.
    const bool one = shape_.retrieved && group <= kJoinedRows && batch_->start[s] < batch_->answers;
    const int step = one ? 1 : most;
    for (int done = 0; done < batch_->length[s]; done += step) {
      const int begin = batch_->start[s] + done;
      const AttentionTask task{nullptr, shape_.block_size, begin, std::min(step, batch_->length[s] - done),
                               batch_->position[begin]};
      Attended attended{task, {}};
      for (int table = 0; table < 2; ++table)
        attended.tables[table] = batch_->tables[table] ? batch_->tables[table] + batch_->table_at[s] : nullptr;
      attended_.push_back(attended);
    }
  }
  cut();
}

// Lists the attention's units: one per task and key/value head, or one per span if the context is long and there are
// too few rows to keep the team busy otherwise. Later queries have more keys and go first, so that no thread starts the
// longest unit last.
void Decoder::cut() {
  units_.clear();
  joins_.clear();
  int parts = 0;
  size_t looked = 0;
  for (size_t i = attended_.size(); i-- > 0;) {
    const AttentionTask& task = attended_[i].task;
    const int spans = task.newest() / kSpan + 1, rows = task.queries * shape_.heads / shape_.kv_heads;
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const int at = static_cast<int>(i);
      if (spans == 1 || rows > kJoinedRows) {
        units_.push_back({at, head, -1, -1});
        continue;
      }
      const int whole = shape_.retrieved && task.begin < batch_->answers ? far_tiles(task.position) : 0;
      const int far = whole > shape_.retrieved ? whole : 0;
      for (int span = 0; span < spans; ++span) units_.push_back({at, head, span, static_cast<int>(joins_.size())});
      joins_.push_back({at, head, parts, spans, far, looked});
      parts += spans;
      looked += static_cast<size_t>(far) * rows;
    }
  }
  looked_.need(looked);
  part_sums_.need(static_cast<size_t>(parts) * kJoinedRows * shape_.head_width);
  part_largest_.need(static_cast<size_t>(parts) * kJoinedRows);
  part_total_.need(static_cast<size_t>(parts) * kJoinedRows);
}

void Decoder::layer(int index, Before before) {
  const Layer& layer = model_.layers[index];
  const int rows = batch_->tokens, all = static_cast<int>(chunks_.size());
  const bool many = rows > kChunk / 2;
  team_.phase(rows, [&](int row, int) { normed(row, layer.attention_norm, before); }, false, kFewRows);
  if (batch_->states && index < 64 && batch_->wanted >> index & 1) {
    const size_t size = static_cast<size_t>(rows) * shape_.width;
    std::copy_n(x_.get(), size, batch_->states + size * kept_++);
  }
  if (index == batch_->depth) return;  // only its input was wanted
  const int heads = shape_.heads + 2 * shape_.kv_heads;
  team_.phase(heads * all, [&](int unit, int me) { project(unit, layer, scratch_[me]); }, many);
  if (shape_.full_norm) team_.phase(rows, [&](int row, int) { norm_full(row, layer); });
  select(layer);
  const int units = static_cast<int>(attending_.size()), shares = kShares * static_cast<int>(looking_.size());
  // Heads that retrieve score their tiles while the other heads attend.
  team_.phase(shares + units, [&](int unit, int me) {
    unit < shares ? look(unit, layer) : attend(unit - shares, layer, scratch_[me]);
  }, many || shares);
  team_.phase(shares, [&](int unit, int me) { attend_chosen(unit, layer, scratch_[me]); }, true);
  team_.phase(static_cast<int>(joins_.size()), [&](int unit, int me) { join(joins_[unit], layer, scratch_[me]); });
  const int blocks = shape_.width / kBlock;
  team_.phase(blocks * all, [&](int unit, int me) { add_product(layer.out, mixed_, unit, scratch_[me]); }, many);
  team_.phase(rows, [&](int row, int) {
    normed(row, layer.ffn_norm, Before::kNothing);
    if (layer.router) route(row, layer);
  }, false, layer.router ? kFewRouted : kFewRows);
  if (layer.router) gather();
  const int shared = layer.gate_up.bits ? shape_.hidden / kBlock * all : 0;
  const int experts = layer.router ? shape_.expert_hidden / kBlock * static_cast<int>(busy_.size()) : 0;
  team_.phase(experts + shared, [&](int unit, int me) {
    unit < experts ? feed_expert(unit, layer, scratch_[me]) : feed(unit - experts, layer, scratch_[me]);
  }, many);
  const int collected = layer.router ? blocks : 0, added = layer.down.bits ? blocks * all : 0;
  team_.phase(collected + added, [&](int unit, int me) {
    unit < added ? add_product(layer.down, hidden_, unit, scratch_[me])
                 : collect_expert(unit - added, layer, scratch_[me]);
  }, many);
}

void Decoder::embed(int row, float* x) {
  const int token = batch_->token[row];
  const Matrix& table = model_.embedding;
  const uint8_t* group = table.tile(token / kTile);
  const size_t bytes = table.tile_bytes() / table.groups;
  for (int g = 0; g < table.groups; ++g, group += bytes, x += kGroup) {
    const Line line = line_of(table, group, token % kTile);
    const float scale = table.scale ? table.scale[token] : line.scale;
    for (int i = 0; i < kGroup; ++i) x[i] = static_cast<float>(line.codes[i]) * scale + line.minimum;
  }
}

// Updates the row's state with the result of the previous operation, then norms and rounds it.
void Decoder::normed(int row, const float* weight, Before before) {
  const int width = shape_.width;
  float* x = x_.get() + static_cast<size_t>(row) * width;
  if (before == Before::kEmbedding) {
    embed(row, x);
  } else if (before == Before::kRouted) {
    const float* routed = routed_.get() + static_cast<size_t>(row) * width;
    for (int i = 0; i < width; i += 16) store(x + i, load(x + i) + load(routed + i));
  }
  const Floats factor = spread(inverse_rms(x, width, shape_.epsilon));
  for (int i = 0; i < width; i += kGroup) {
    const Floats low = load(x + i) * factor * load(weight + i);
    const Floats high = load(x + i + 16) * factor * load(weight + i + 16);
    normed_.put(row, i / kGroup, low, high);
  }
}

// Computes one head's queries, keys or values for a chunk of rows.
void Decoder::project(int unit, const Layer& layer, Scratch& scratch) {
  const int head = block(unit);
  const auto [begin, end] = chunk(unit);
  const int width = shape_.head_width, tiles = width / kTile;
  if (shape_.full_norm) {
    const int all = (shape_.heads + 2 * shape_.kv_heads) * width;
    float* out = raw_.get() + static_cast<size_t>(begin) * all + head * width;
    product(layer.qkv, head * tiles, (head + 1) * tiles, normed_, begin, end, out, all);
    if (layer.qkv_bias) add_bias(out, layer.qkv_bias + head * width, width, end - begin, all);
    return;
  }
  float* out = scratch.out.need(kWideChunk * width);
  product(layer.qkv, head * tiles, (head + 1) * tiles, normed_, begin, end, out, width);
  if (layer.qkv_bias) add_bias(out, layer.qkv_bias + head * width, width, end - begin, width);
  for (int row = begin; row < end; ++row) place(out + (row - begin) * width, head, row, layer);
}

// Norms one head's vector, applies the rotary embedding, rounds it and stores it for attention.
void Decoder::place(float* values, int head, int row, const Layer& layer) {
  const int width = shape_.head_width, keys = shape_.heads, all = shape_.heads + shape_.kv_heads;
  if (head < keys) {
    turn(values, layer.query_norm, row, layer);
    const size_t at = static_cast<size_t>(row) * shape_.heads + head;
    query_scale_.get()[at] = round16(values, width, query_.get() + at * 2 * width);
    return;
  }
  const size_t slot = slot_[layer.group].get()[row];
  if (head < all) {
    turn(values, layer.key_norm, row, layer);
    cache(layer).put_key(slot, head - keys, values);
  } else {
    cache(layer).put_value(slot, head - all, values);
  }
}

Cache Decoder::cache(const Layer& layer) const {
  return {layer.keys, layer.values, layer.key_scale, layer.value_scale, layer.key_sum, shape_.kv_heads, shape_.head_width};
}

// Norms one head's vector if heads are normed separately, and applies the rotary embedding.
void Decoder::turn(float* values, const float* norm, int row, const Layer& layer) {
  const int width = shape_.head_width, half = width / 2;
  if (norm && !shape_.full_norm) scale(values, norm, inverse_rms(values, width, shape_.epsilon), width);
  const size_t at = static_cast<size_t>(batch_->position[row]) * half;
  for (int i = 0; i < half; i += 16) {
    const Floats a = load(values + i), b = load(values + half + i);
    const Floats c = load(layer.cosine + at + i), s = load(layer.sine + at + i);
    store(values + i, product_less(a, c, b * s));
    store(values + half + i, plus_product(a * s, b, c));
  }
}

// Norms over all heads together, then stores each head.
void Decoder::norm_full(int row, const Layer& layer) {
  const int width = shape_.head_width, heads = shape_.heads + 2 * shape_.kv_heads;
  float* raw = raw_.get() + static_cast<size_t>(row) * heads * width;
  float* key = raw + shape_.heads * width;
  scale(raw, layer.query_norm, inverse_rms(raw, shape_.heads * width, shape_.epsilon), shape_.heads * width);
  scale(key, layer.key_norm, inverse_rms(key, shape_.kv_heads * width, shape_.epsilon), shape_.kv_heads * width);
  for (int head = 0; head < heads; ++head) place(raw + head * width, head, row, layer);
}

AttentionTask Decoder::task_of(int attended, const Layer& layer) const {
  AttentionTask task = attended_[attended].task;
  task.table = attended_[attended].tables[layer.group];
  return task;
}

Queries Decoder::queries_of(const AttentionTask& task, int head, const Layer& layer) const {
  const int group = shape_.heads / shape_.kv_heads;
  Queries queries;
  queries.rows = task.queries * group;
  queries.window = is_global(head, layer) ? 0 : layer.window;
  queries.sinks = shape_.sinks;
  for (int r = 0; r < queries.rows; ++r) {
    const size_t at = static_cast<size_t>(task.begin + r / group) * shape_.heads + head * group + r % group;
    queries.codes[r] = query_.get() + at * 2 * shape_.head_width;
    queries.scale[r] = query_scale_.get()[at];
    queries.position[r] = task.position + r / group;
  }
  return queries;
}

// Lists the units in which this layer attends to any key, and the joins for which it retrieves.
void Decoder::select(const Layer& layer) {
  attending_.clear();
  looking_.clear();
  for (size_t i = 0; i < units_.size(); ++i) {
    if (units_[i].span < 0 || sees(joins_[units_[i].join], units_[i].span, layer)) attending_.push_back(static_cast<int>(i));
  }
  for (size_t i = 0; i < joins_.size(); ++i) {
    if (retrieves(joins_[i], layer)) looking_.push_back(static_cast<int>(i));
  }
}

bool Decoder::is_global(int head, const Layer& layer) { return !layer.window || layer.globals >> head & 1; }

bool Decoder::retrieves(const Join& join, const Layer& layer) const { return join.far && is_global(join.head, layer); }

// Whether the layer reads the span, whole or the part within the window.
bool Decoder::sees(const Join& join, int span, const Layer& layer) const {
  if (is_global(join.head, layer)) return !join.far;
  const int first = span * kSpan;
  return first < shape_.sinks || first + kSpan > oldest(join.attended, layer);
}

// The oldest key within the window, apart from the sinks.
int Decoder::oldest(int attended, const Layer& layer) const {
  return attended_[attended].task.position - layer.window + 1;
}

// The first key that a unit reads.
int Decoder::first_seen(const Unit& unit, const Layer& layer) const {
  const int first = std::max(0, unit.span) * kSpan;
  if (is_global(unit.head, layer) || first < shape_.sinks) return first;
  return std::max(first, oldest(unit.attended, layer) / kKeys * kKeys);
}

// Scores a share of the tiles that a head may read for a token.
void Decoder::look(int index, const Layer& layer) {
  const Join& join = joins_[looking_[index / kShares]];
  const AttentionTask task = task_of(join.attended, layer);
  const int share = index % kShares, first = join.far * share / kShares, last = join.far * (share + 1) / kShares;
  glance(queries_of(task, join.head, layer), cache(layer), task, join.head, join.far, first, last,
         looked_.get() + join.looked);
}

// Calls ``work`` with the kernel for this head width.
template <class Work>
void Decoder::with_kernel(const Cache& cache, const Queries& queries, Scratch& scratch, const Work& work) const {
  switch (shape_.head_width) {
    case 32: work(Attention<2>(cache, scratch.attention, queries)); break;
    case 64: work(Attention<4>(cache, scratch.attention, queries)); break;
    default: work(Attention<8>(cache, scratch.attention, queries));
  }
}

void Decoder::attend(int index, const Layer& layer, Scratch& scratch) {
  const Unit unit = units_[attending_[index]], next = units_[attending_[std::min<size_t>(index + 1, attending_.size() - 1)]];
  const AttentionTask task = task_of(unit.attended, layer);
  const Queries queries = queries_of(task, unit.head, layer);
  const Cache kept = cache(layer);
  const Places ahead(kept, task_of(next.attended, layer), next.head, first_seen(next, layer));
  with_kernel(kept, queries, scratch, [&](auto&& attention) {
    if (unit.span < 0) {
      attention.run(task, unit.head, ahead);
    } else {
      attention.span(task, unit.head, unit.span * kSpan, ahead);
    }
  });
  if (unit.span < 0) {
    put(task, unit.head, scratch.attention.all());
  } else {
    keep(joins_[unit.join].part + unit.span, scratch, queries.rows);
  }
}

// Attends to a share of the retrieved tiles; the last share also has the newest keys. Each share repeats the choice of
// tiles, which is faster than waiting for another one's.
void Decoder::attend_chosen(int index, const Layer& layer, Scratch& scratch) {
  const Join& join = joins_[looking_[index / kShares]];
  const AttentionTask task = task_of(join.attended, layer);
  const Queries queries = queries_of(task, join.head, layer);
  const int share = index % kShares, blocks = shape_.retrieved / kTiles;
  const int first = blocks * share / kShares, last = blocks * (share + 1) / kShares;
  scratch.chosen.resize(shape_.retrieved);
  choose(looked_.get() + join.looked, queries.rows, join.far, shape_.retrieved, scratch.shares, scratch.chosen.data());
  const int rest = share + 1 < kShares ? task.newest() + 1 : join.far * kTokens;
  const Cache kept = cache(layer);
  with_kernel(kept, queries, scratch, [&](auto&& attention) {
    attention.some(task, join.head, scratch.chosen.data(), first * kTiles, last * kTiles, rest);
  });
  keep(join.part + share, scratch, queries.rows);
}

// Stores a unit's sums for the join.
void Decoder::keep(int part, Scratch& scratch, int rows) {
  Mixed to = part_of(part);
  to.clear(rows, shape_.head_width);
  to.add(scratch.attention.span(), rows, shape_.head_width);
}

Mixed Decoder::part_of(int part) {
  const size_t at = static_cast<size_t>(part) * kJoinedRows;
  return {part_sums_.get() + at * shape_.head_width, part_largest_.get() + at, part_total_.get() + at};
}

// Adds up the spans of a task in their order, so that the result equals that of a single thread.
void Decoder::join(const Join& join, const Layer& layer, Scratch& scratch) {
  const AttentionTask& task = attended_[join.attended].task;
  const int rows = task.queries * shape_.heads / shape_.kv_heads;
  Mixed all = scratch.attention.all();
  all.clear(rows, shape_.head_width);
  const bool retrieved = retrieves(join, layer);
  for (int part = 0; part < (retrieved ? kShares : join.spans); ++part) {
    if (retrieved || sees(join, part, layer)) all.add(part_of(join.part + part), rows, shape_.head_width);
  }
  put(task, join.head, all);
}

// Divides by the weights' sums, and rounds the result for the output projection.
void Decoder::put(const AttentionTask& task, int head, const Mixed& mixed) {
  const int group = shape_.heads / shape_.kv_heads, width = shape_.head_width;
  for (int r = 0; r < task.queries * group; ++r) {
    const Floats factor = spread(1.0f / mixed.total[r]);
    const int first = (head * group + r % group) * width / kGroup;
    for (int i = 0; i < width; i += kGroup) {
      const float* sums = mixed.sums + r * width + i;
      mixed_.put(task.begin + r / group, first + i / kGroup, load(sums) * factor, load(sums + 16) * factor);
    }
  }
}

// Computes 32 hidden outputs of the shared expert for a chunk of rows.
void Decoder::feed(int unit, const Layer& layer, Scratch& scratch) {
  const int block = this->block(unit);
  const auto [begin, end] = chunk(unit);
  float* out = scratch.out.need(kWideChunk * 2 * kBlock);
  product(layer.gate_up, 4 * block, 4 * block + 4, normed_, begin, end, out, 2 * kBlock);
  for (int row = begin; row < end; ++row, out += 2 * kBlock) {
    const Floats low = silu(load(out)) * load(out + 32), high = silu(load(out + 16)) * load(out + 48);
    hidden_.put(row, block, low, high);
  }
}

// Computes 32 outputs for a chunk of rows and adds them to the rows' state.
void Decoder::add_product(const Matrix& matrix, const Rows& rows, int unit, Scratch& scratch) {
  const int block = this->block(unit);
  const auto [begin, end] = chunk(unit);
  float* out = scratch.out.need(kWideChunk * kBlock);
  product(matrix, 2 * block, 2 * block + 2, rows, begin, end, out, kBlock);
  for (int row = begin; row < end; ++row, out += kBlock) {
    float* x = x_.get() + static_cast<size_t>(row) * shape_.width + block * kBlock;
    for (int i = 0; i < kBlock; i += 16) store(x + i, load(x + i) + load(out + i));
  }
}

// Applies the last norm to a scored row.
void Decoder::finish(int unit, Scratch& scratch) {
  const size_t at = static_cast<size_t>(batch_->scored_row[unit]) * shape_.width;
  const int width = shape_.width;
  float* x = scratch.out.need(width);
  for (int i = 0; i < width; ++i) x[i] = x_.get()[at + i] + (shape_.experts ? routed_.get()[at + i] : 0.0f);
  scale(x, model_.norm, inverse_rms(x, width, shape_.epsilon), width);
  for (int i = 0; i < width; i += kGroup) last_.put(unit, i / kGroup, load(x + i), load(x + i + 16));
}

// Computes the logits of 64 tokens for all scored rows.
void Decoder::score(int unit, float* logits) {
  const int first = unit * kScored / kTile, last = std::min(model_.head.outputs / kTile, first + kScored / kTile);
  product(model_.head, first, last, last_, 0, batch_->scored, logits + first * kTile, shape_.vocabulary);
}

}  // namespace flightloop::inline FLIGHTLOOP_KIND
