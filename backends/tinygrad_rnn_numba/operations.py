"""Elementwise primitives as vector IR.

In: an IR builder and operands, vectors of lanes or scalars. Out: the result.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinygrad_rnn.graph import Node

from . import vmath

COMPARE = {"equal": "==", "less": "<", "less_equal": "<="}
VECTOR_MATH = {"exp", "expm1", "log", "log1p", "sigmoid", "tanh", "erf", "sin", "cos"}
LLVM_MATH = {"abs": "fabs", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "round": "roundeven"}


def operation(b: ir.IRBuilder, n: int, node: Node, args: list[Any]) -> Any:
    """One elementwise primitive on `n` lanes (0: on a scalar)."""
    name, source = node.op.name, node.inputs[-1].type.dtype
    if name == "where":
        return b.select(*args)
    if name == "cast":
        return _cast(b, n, args[0], source, node.attrs["dtype"])
    if name in COMPARE:
        if source.is_float:
            return b.fcmp_ordered(COMPARE[name], *args)
        compare = b.icmp_signed if source.kind == "i" else b.icmp_unsigned
        return compare(COMPARE[name], *args)
    if name in ("and", "or", "xor"):
        return getattr(b, {"and": "and_", "or": "or_", "xor": "xor"}[name])(*args)
    if name == "invert":
        return b.not_(args[0])
    if not source.is_float:
        return _integer(b, n, node, args)
    lanes = vmath.Lanes(b, 8 * source.itemsize, n)
    if name in ("add", "sub", "mul", "div", "neg"):
        return getattr(lanes, name)(*args)
    if name in ("zmul", "zdiv"):
        zero = b.fcmp_ordered("==", args[0], lanes.const(0.0))
        return b.select(zero, lanes.const(0.0), getattr(lanes, name[1:])(*args))
    if name in ("maximum", "minimum"):
        return lanes.call(name, *args)
    if name == "sign":
        one = lanes.call("copysign", lanes.const(1.0), args[0])
        moving = b.fcmp_unordered("!=", args[0], lanes.const(0.0))
        signed = b.select(moving, one, lanes.const(0.0))
        return b.select(b.fcmp_unordered("uno", args[0], args[0]), args[0], signed)
    if name in VECTOR_MATH:
        return getattr(vmath, name)(lanes, args[0])
    if name in LLVM_MATH:
        return lanes.call(LLVM_MATH[name], *args)
    return vmath.by_lane(lanes, name, *args)


def _integer(b: ir.IRBuilder, n: int, node: Node, args: list[Any]) -> Any:
    name, signed = node.op.name, node.inputs[0].type.dtype.kind == "i"
    if name in ("add", "sub", "mul", "neg"):
        return getattr(b, name)(*args)
    if name in ("maximum", "minimum"):
        compare = b.icmp_signed if signed else b.icmp_unsigned
        return b.select(compare(">" if name == "maximum" else "<", *args), *args)
    raise NotImplementedError(f"'{name}' of {node.inputs[0].type}")


def _cast(b: ir.IRBuilder, n: int, x: Any, old: Any, new: Any) -> Any:
    def kind(d: Any) -> Any:
        element = (
            (ir.FloatType() if d.itemsize == 4 else ir.DoubleType())
            if d.is_float else ir.IntType(1) if d.is_bool else ir.IntType(8 * d.itemsize)
        )  # fmt: skip
        return ir.VectorType(element, n) if n else element

    if old is new:
        return x
    if new.is_bool:
        zero = ir.Constant(x.type, [0] * n if n else 0)
        return b.fcmp_unordered("!=", x, zero) if old.is_float else b.icmp_unsigned("!=", x, zero)
    if old.is_float and new.is_float:
        return b.fpext(x, kind(new)) if new.itemsize > old.itemsize else b.fptrunc(x, kind(new))
    if new.is_float:
        return b.sitofp(x, kind(new)) if old.kind == "i" else b.uitofp(x, kind(new))
    if old.is_float:
        return b.fptosi(x, kind(new)) if new.kind == "i" else b.fptoui(x, kind(new))
    if new.itemsize > (0 if old.is_bool else old.itemsize):
        return b.sext(x, kind(new)) if old.kind == "i" else b.zext(x, kind(new))
    return b.trunc(x, kind(new)) if new.itemsize < old.itemsize else x
