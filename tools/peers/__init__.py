"""Other engines beside caffe2py on the same nets: what tools/bench_nets.py is made of.

`workloads` reads or makes nets with inputs and writes them in a form that needs no caffe2py
(net.json, arrays.npz, *.pb). `worker` is the process that every engine has, `engine_*` are the
engines; these run in whatever Python has the engine, so they know numpy and their engine only.
"""
