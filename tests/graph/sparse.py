"""Operators with sparse gradients that exist in tests only; importing it registers them."""

from caffe2py.registry.gradient import (
    Gradient,
    GradientSlice,
    TakesSlices,
    gradient_name,
    gradient_op,
)
from caffe2py.registry.operator import operator

#: Caffe2's operator -> the one with its inputs, outputs and gradient that stands for it here.
STAND_INS = {
    "Gather": "TestGather",
    "SparseLengthsSum": "TestSparseSum",
    "SparseLengthsIndicesInGradientSumGradient": "TestSparseSumGradient",
}

operator(
    "TestGather",
    "DATA, INDICES -> OUTPUT",
    gradient="dDATA = slice(INDICES, dOUTPUT)",
    doc="OUTPUT = DATA[INDICES]",
)
operator(
    "TestSparseSum",
    "DATA, INDICES, LENGTHS -> OUTPUT",
    gradient="""TestSparseSumGradient(dOUTPUT, LENGTHS, INDICES) -> dDATA_values
                dDATA = slice(INDICES, dDATA_values)""",
    doc="OUTPUT[k] = sum of the next LENGTHS[k] rows of DATA[INDICES]",
)
operator("TestSparseSumGradient", "dOUTPUT, LENGTHS, INDICES -> values", doc="rows of dOUTPUT")
operator(
    "TestPairs",
    "DATA -> OUTPUT",
    gradient="""TestPairsGradient(dOUTPUT) -> dDATA_indices, dDATA_values
                dDATA = slice(dDATA_indices, dDATA_values)""",
    doc="its gradient makes indices and values",
)
operator("TestPairsGradient", "dOUTPUT -> indices, values", doc="both")


def _densified(op, output_grads):
    (grad,) = output_grads
    made = gradient_name(op.input[0])
    if isinstance(grad, GradientSlice):
        back = gradient_op(op, "TestToDense", [grad.indices, grad.values, op.input[0]], [made])
        return Gradient((back,), (made,))
    return Gradient((), (grad,))


operator("TestDense", "X -> Y", gradient=TakesSlices(_densified), doc="Y = X, dX is dense")
operator("TestToDense", "indices, values, like -> dense", doc="sum of rows")
