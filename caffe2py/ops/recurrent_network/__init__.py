"""RecurrentNetwork: a step net over a sequence; and what its steps hold."""

from caffe2py.ops.recurrent_network import fetcher, network

__all__ = ["fetcher", "network"]
