"""llama.cpp as on a processor with AVX2 only; the program of `bench.peers.run_llama_cpp` in another environment."""

from __future__ import annotations

from bench.peers.protocol import serve
from bench.peers.run_llama_cpp import LlamaCpp

if __name__ == "__main__":
    serve(LlamaCpp)
