// The functions that Python calls, of each kind; declared in library.py.

#include "causal.h"
#include "choose.h"
#include "decoder.h"
#include "tiles.h"

extern "C" {

using flightloop::Batch;
using flightloop::Decoder;
using flightloop::Model;

void* FLIGHTLOOP_NAME(open)(const Model* model, int threads, int spins) { return new Decoder(*model, threads, spins); }

void FLIGHTLOOP_NAME(close)(void* decoder) { delete static_cast<Decoder*>(decoder); }

// ``words``: rows of packed masks, ``width`` words each; ``place[row]``: index of a row's mask, -1 for none.
void FLIGHTLOOP_NAME(choose)(void* decoder, const float* logits, int rows, int count, const uint32_t* words, int width,
                             const int32_t* place, flightloop::Choice* choices) {
  static_cast<Decoder*>(decoder)->team().phase(rows, [&](int row, int) {
    const uint32_t* mask = words && place[row] >= 0 ? words + static_cast<size_t>(place[row]) * width : nullptr;
    choices[row] = flightloop::choose(logits + static_cast<size_t>(row) * count, count, mask);
  });
}

void FLIGHTLOOP_NAME(step)(void* decoder, const Batch* batch, float* logits) {
  static_cast<Decoder*>(decoder)->step(*batch, logits);
}

int FLIGHTLOOP_NAME(has_tiles)() { return flightloop::has_tiles(); }

// These take a void pointer, since OpenMP calls them as functions of its threads.
void FLIGHTLOOP_NAME(attend)(void* causal) { flightloop::attend_share(*static_cast<flightloop::Causal*>(causal)); }
void FLIGHTLOOP_NAME(differentiate)(void* causal) {
  flightloop::differentiate_share(*static_cast<flightloop::Causal*>(causal));
}
}
