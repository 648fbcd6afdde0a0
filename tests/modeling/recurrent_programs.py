"""Recurrent layers with many options, built alike by the real Caffe2 and by caffe2py.

`cases(c2)` yields a name and what builds a model and returns it with its results; `c2` has core,
rnn_cell, gru_cell, recurrent, model_helper and scope. Python 3.8 runs it, too.
"""

import itertools

LSTMS = ["LSTM", "MILSTM", "LayerNormLSTM", "LayerNormMILSTM"]
OPTIONS = [
    {},
    {"forget_bias": 1.5},
    {"drop_states": True},
    {"memory_optimization": True},
    {"outputs_with_grads": (0, 1, 2, 3)},
    {"outputs_with_grads": (3,)},
    {"forward_only": True},
    {"dim_out": [4, 3]},
    {"dim_out": [4, 3, 2], "outputs_with_grads": (0, 3)},
    {"initial_states": None},
    {"initial_states": None, "dim_out": [3, 2], "scope": None},
    {"static_rnn_unroll_size": 3},
    {"static_rnn_unroll_size": 2, "dim_out": [4, 2]},
    {"return_params": True},
    {"seq_lengths": None},
]


def text(message, indent=""):
    """A message as lines; arguments by name, since their order says nothing."""
    for field, value in sorted(message.ListFields(), key=lambda pair: pair[0].number):
        if field.name == "debug_info":
            continue
        repeated = hasattr(value, "extend")
        for item in value if repeated else [value]:
            if not hasattr(item, "ListFields"):
                yield "%s%s: %r" % (indent, field.name, item)  # noqa: UP031
        nested = [item for item in (value if repeated else [value]) if hasattr(item, "ListFields")]
        if field.name == "arg":
            nested.sort(key=lambda argument: argument.name)
        for item in nested:
            yield indent + field.name
            yield from text(item, indent + " ")


def describe(model, results):
    """Everything that a program made, as lines.

    Caffe2 adds sums up in an order that differs from run to run, and lists a few blobs that a
    backward step makes itself among those from outside; both are left out of the comparison.
    """
    lines = [str(blob) for blob in results]
    lines += ["param %s" % param for param in model.params]  # noqa: UP031
    for net in (model.param_init_net, model.net):
        lines += text(net.Proto())
    return sorted(
        line for line in lines if not ("external_input" in line and line.endswith("_accum'"))
    )


def finish(model, blobs):
    """Sums of the blobs as losses, and the way back."""
    losses = [model.net.SumElements(blob, "sum_%d" % k) for k, blob in enumerate(blobs)]  # noqa: UP031
    model.AddGradientOperators(losses)


def layer(c2, make, states, dim_out=4, outputs_with_grads=(0,), initial_states=(), **options):
    model = c2.model_helper.ModelHelper("rnn")
    with c2.scope.NameScope("outer"):
        x, lengths = model.net.AddScopedExternalInputs("x", "lengths")
        layers = len(dim_out) if isinstance(dim_out, list) else 1
        given = [model.net.AddExternalInput("s%d" % k) for k in range(states * layers)]  # noqa: UP031
        options = {"seq_lengths": lengths, "scope": "rnn", **options}
        found = make(
            model,
            x,
            initial_states=None if initial_states is None else given,
            dim_in=3,
            dim_out=dim_out,
            outputs_with_grads=outputs_with_grads,
            **options,
        )
    results = list(found)
    if options.get("return_params"):
        results[-1] = sorted((k, sorted(v.items())) for k, v in results[-1].items())
    if not options.get("forward_only"):
        finish(model, [found[k] for k in outputs_with_grads])
    return model, results


def attention(c2, kind, ns="", **options):
    model = c2.model_helper.ModelHelper("attention")
    with c2.scope.NameScope(ns):
        names = "encoded decoded lengths h0 c0 context0 encoder_lengths weighted"
        blobs = dict(zip(names.split(), model.net.AddScopedExternalInputs(*names.split())))  # noqa: B905
        options = {k: blobs.get(v, v) for k, v in options.items()}
        found = c2.rnn_cell.LSTMWithAttention(
            model=model,
            decoder_inputs=blobs["decoded"],
            decoder_input_lengths=blobs["lengths"],
            initial_decoder_hidden_state=blobs["h0"],
            initial_decoder_cell_state=blobs["c0"],
            initial_attention_weighted_encoder_context=blobs["context0"],
            encoder_outputs=blobs["encoded"],
            decoder_input_dim=3,
            decoder_state_dim=4,
            scope="attention",
            attention_type=kind,
            **{"encoder_output_dim": 5, "encoder_lengths": None, **options},
        )
    finish(model, [found[0], found[4]])
    return model, found


def stack(c2, residual, drop, steps, cell_class, attends):
    model = c2.model_helper.ModelHelper("stack")
    rnn = c2.rnn_cell
    with c2.scope.NameScope("outer"):
        x, lengths, encoded, weighted = model.net.AddScopedExternalInputs("x", "l", "e", "w")
        cells = [
            getattr(rnn, cell_class)(4, 4, 0.0, False, name="cell_%d" % k)  # noqa: UP031
            for k in range(3)
        ]
        cell = rnn.MultiRNNCell(cells, name="decoder", residual_output_layers=residual)
        first = [model.net.AddExternalInput("s%d" % k) for k in range(7 if attends else 6)]  # noqa: UP031
        wanted = [2 * k for k in cell.output_indices]
        if attends:
            kind = c2.attention.AttentionType.Recurrent
            more = {"attention_memory_optimization": True, "name": "attending"}
            cell = rnn.AttentionCell(4, encoded, None, cell, 4, kind, weighted, **more)
            wanted.append(12)
        if drop is not None:
            cell = rnn.DropoutCell(cell, drop, name="drop", is_test=False)
        if steps:
            cell = rnn.UnrolledCell(cell, steps)
        output, found = cell.apply_over_sequence(model, x, lengths, first, wanted)
    finish(model, [output])
    return model, [output, *found]


def own_cells(c2, steps, layers):
    class Product(c2.rnn_cell.RNNCell):
        def _apply(self, model, input_t, seq_lengths, states, timestep, extra_inputs):
            made = model.net.Mul([input_t, states[0]])
            model.net.AddExternalOutput(made)
            return [made]

        def get_state_names(self):
            return [self.scope("state")]

    model = c2.model_helper.ModelHelper("own")
    x = model.net.AddExternalInput("x")
    cells = [Product(name="p%d" % k) for k in range(layers)]  # noqa: UP031
    cell = c2.rnn_cell.MultiRNNCell(cells, name="own")
    if steps:
        cell = c2.rnn_cell.UnrolledCell(cell, steps)
    first = [model.net.AddExternalInput("s%d" % k) for k in range(layers)]  # noqa: UP031
    output, found = cell.apply_over_sequence(model, x, None, first, [2 * layers - 2])
    finish(model, [output])
    return model, [output, *found]


def direct(c2, **options):
    model = c2.model_helper.ModelHelper("direct")
    step = c2.model_helper.ModelHelper("step", param_model=model)
    x, h0 = model.net.AddExternalInputs("x", "h0")
    w = model.param_init_net.XavierFill([], "w", shape=[4, 4])
    b = model.param_init_net.ConstantFill([], "b", shape=[4])
    x_t, before = step.net.AddExternalInputs("x_t", "before")
    part = step.net.FC([before, w, b], "part", axis=2)
    after = step.net.Sum([part, x_t], "after")
    step.net.AddExternalOutput(after)
    pairs = {"inputs": [(x_t, x)], "initial_cell_inputs": [(before, h0)], "links": {before: after}}
    found = c2.recurrent.recurrent_net(net=model.net, cell_net=step.net, **pairs, **options)
    c2.recurrent.set_rnn_executor_config(model.net.Proto().op[-1], num_threads=3)
    if not options.get("forward_only"):
        finish(model, [found[0]])
    return model, found


def cases(c2):
    for name, number in itertools.product(LSTMS, range(len(OPTIONS))):
        make = getattr(c2.rnn_cell, name)
        yield name, number, layer, (make, 2), OPTIONS[number]
    for number, options in enumerate(
        [{}, {"drop_states": True}, {"linear_before_reset": True}, {"seq_lengths": None}]
    ):
        yield "GRU", number, layer, (c2.gru_cell.GRU, 1), options
    for number, activation in enumerate(["relu", "tanh"]):
        options = {"activation": activation, "forward_only": True, "drop_states": bool(number)}
        yield "BasicRNN", number, layer, (c2.rnn_cell.BasicRNN, 1), options
        options = {"activation": activation, "seq_lengths": None}
        yield "BasicRNN", number + 2, layer, (c2.rnn_cell.BasicRNN, 1), options
    variants = [
        {},
        {"encoder_lengths": "encoder_lengths", "ns": "outer"},
        {"attention_memory_optimization": True},
        {"lstm_memory_optimization": True, "weighted_encoder_outputs": "weighted"},
        {"encoder_output_dim": 4, "forget_bias": 2.0},
    ]
    for kind, number in itertools.product(range(4), range(len(variants))):
        yield "attention%d" % kind, number, attention, (kind,), variants[number]  # noqa: UP031
    choices = [None, [1], [1, 2]], [None, 0.3], [None, 2], ["LSTMCell", "MILSTMCell"], [True, False]
    for number, chosen in enumerate(itertools.product(*choices)):
        yield "stack", number, stack, chosen, {}
    for number, chosen in enumerate([(None, 1), (2, 1), (None, 3), (2, 3)]):
        yield "own", number, own_cells, chosen, {}
    for number, options in enumerate(
        [{}, {"scope": "s"}, {"timestep": "t"}, {"forward_only": True},
         {"recompute_blobs_on_backward": ["part"]}]
    ):  # fmt: skip
        yield "direct", number, direct, (), options


def answers(c2, fresh):
    """Name of a case -> its lines, or "refused"; `fresh` is called before each."""
    found = {}
    for name, number, build, args, options in cases(c2):
        fresh()
        try:
            lines = describe(*build(c2, *args, **options))
        except (Exception, AssertionError):  # of which kind is another matter
            lines = ["refused"]
        found["%s_%d" % (name, number)] = lines  # noqa: UP031
    return found
