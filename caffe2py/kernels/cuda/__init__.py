"""Kernels on CUDA devices: the CPU's loops shared out among threads, or forms of their own."""
