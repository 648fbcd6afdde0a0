"""Memory and queues of CUDA devices, and the only copies between host and device."""
