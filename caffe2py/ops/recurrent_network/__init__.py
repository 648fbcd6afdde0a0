"""RecurrentNetwork: a step net over a sequence; and what its steps hold."""

from caffe2py.ops.recurrent_network import backward, fetcher, network

__all__ = ["backward", "fetcher", "network"]
