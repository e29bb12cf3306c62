"""Elementwise primitives as C expressions.

In: a node and the names of its operands, in their working types. Out: an expression whose type is
the result's once it is assigned (integers wrap).
"""

from __future__ import annotations

from tinygrad_rnn.extend import Node

from .elements import stored, working

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "equal": "==", "less": "<", "less_equal": "<=",
    "and": "&", "or": "|", "xor": "^",
}  # fmt: skip
#: Functions of the device code, under the name of the primitive.
PLAIN = frozenset("maximum minimum sign zmul zdiv".split())
#: Those that have a name of ours because the device library has functions of that name.
ELEMENTARY = frozenset(
    "abs exp expm1 log log1p sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf "
    "floor ceil round pow atan2 sigmoid".split()
)


def expression(node: Node, args: list[str]) -> str:
    """The C expression of one elementwise primitive."""
    name = node.op.name
    if name in INFIX:
        return f"{args[0]} {INFIX[name]} {args[1]}"
    if name in PLAIN:
        return f"{name}({', '.join(args)})"
    if name in ELEMENTARY:
        return f"e_{name}({', '.join(args)})"
    if name == "where":
        return f"{args[0]} ? {args[1]} : {args[2]}"
    if name == "neg":
        return f"-{args[0]}"
    if name == "invert":
        return f"{'!' if node.output.type.dtype.is_bool else '~'}{args[0]}"
    if name == "cast":
        return _cast(node, args[0])
    raise NotImplementedError(f"no device code for '{name}'")


def _cast(node: Node, x: str) -> str:
    new, old = node.attrs["dtype"], node.inputs[0].type.dtype
    if new.is_bool:
        return f"{x} != 0"
    if new.wide is not new and new is not old:
        return f"as_{stored(new)}((f32){x})"
    return f"({working(new)}){x}"
