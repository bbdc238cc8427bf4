"""The TensorRT engine: define the network, build it, run it."""
