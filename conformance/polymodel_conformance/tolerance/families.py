"""Which tolerance an operator is judged by: families of operators whose errors have one cause, and the rule of each."""

from __future__ import annotations

from collections.abc import Iterable

_TABLE = {
    "moves": "Reshape Transpose Flatten Squeeze Unsqueeze Concat Split Slice Expand Tile Pad DepthToSpace SpaceToDepth Trilu "
    "Identity Gather GatherElements GatherND OneHot Constant ConstantOfShape Shape Size EyeLike Where CenterCropPad "
    "ReverseSequence TensorScatter MaxUnpool BitCast Compress Dropout",
    "decisions": "Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor Not IsNaN IsInf ArgMax ArgMin TopK Hardmax "
    "Max Min Relu Clip Abs Neg Sign Floor Ceil Round MaxPool GlobalMaxPool ReduceMax ReduceMin NonZero Unique "
    "BitShift BitwiseAnd BitwiseOr BitwiseXor BitwiseNot Cast CastLike MaxRoiPool NonMaxSuppression",
    "arithmetic": "Add Sub Mul Div Sqrt",
    "functions": "Exp Log Reciprocal Erf Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Pow Mod Sigmoid Softplus "
    "Softsign Gelu Mish Swish Elu Selu Celu HardSigmoid HardSwish LeakyRelu PRelu ThresholdedRelu Shrink SwiGLU "
    "RotaryEmbedding If Loop Scan",
    "quantization": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger",
    "products": "MatMul Gemm Einsum Conv ConvTranspose Det",
    "sums": "ReduceSum ReduceMean ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare Sum Mean CumSum "
    "CumProd AveragePool GlobalAveragePool LpPool GlobalLpPool Range ScatterElements ScatterND Scatter Col2Im TfIdfVectorizer",
    "interpolation": "Resize Upsample GridSample AffineGrid RoiAlign DeformConv",
    "signal": "DFT STFT HannWindow HammingWindow BlackmanWindow MelWeightMatrix",
    "normalization": "BatchNormalization LayerNormalization InstanceNormalization GroupNormalization RMSNormalization LRN "
    "LpNormalization MeanVarianceNormalization",
    "softmax": "Softmax LogSoftmax SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss Attention",
    "recurrent": "LSTM GRU RNN LinearAttention CausalConvWithState",
}
FAMILY = {op: family for family, ops in _TABLE.items() for op in ops.split()}
"""Family of each operator."""

RULES = {"moves": "exact", "decisions": "exact", "arithmetic": "ulp"}
"""Rule of the forward values of a family; "rho" where it is not listed."""

_RANK = (
    "recurrent", "softmax", "normalization", "signal", "interpolation", "sums", "products", "quantization", "functions",
    "arithmetic", "decisions", "moves",
)


def family_of(op_types: Iterable[str]) -> str:
    """The family of a graph: that of its operator with the most complicated errors."""
    found = {FAMILY.get(op, "functions") for op in op_types}
    return next((f for f in _RANK if f in found), "moves")
