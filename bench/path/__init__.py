"""What lies between the engine and a client's socket: throughput, delay, and the code that a token passes."""
