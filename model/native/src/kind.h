// The kind of processor that the sources are being compiled for.
//
// build.py compiles every source once per kind and links all of them into one library. The linker keeps one copy of an
// inline function that several objects define, so all that is ours is in a namespace of its kind: else a processor
// could meet instructions that it lacks. Templates of std are shared: build.py links the kind that needs least first,
// and linkers keep the first copy.
#pragma once

#ifndef FLIGHTLOOP_KIND
#define FLIGHTLOOP_KIND plain  // a program of its own, such as a test
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && \
    defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#define FLIGHTLOOP_AVX512
#endif

// flightloop_KIND_NAME, the name of a function that Python calls.
#define FLIGHTLOOP_JOINED(kind, name) flightloop_##kind##_##name
#define FLIGHTLOOP_JOIN(kind, name) FLIGHTLOOP_JOINED(kind, name)
#define FLIGHTLOOP_NAME(name) FLIGHTLOOP_JOIN(FLIGHTLOOP_KIND, name)
