"""Graphs as Python: a function that computes the same, operation by operation.

In: a graph without residuals (one that was recorded, not derived). Out: source text that traces to
the same operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...extend import DType, Graph, Node, Var

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "and": "&",
    "or": "|", "xor": "^", "shift_left": "<<", "shift_right": ">>",
}  # fmt: skip
PREFIX = {"neg": "-", "invert": "~"}
#: Primitives that a public function of the same name applies, and nothing else.
FUNCTIONS = frozenset({
    "abs", "sign", "floor", "ceil", "round", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos",
    "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "sigmoid", "erf", "maximum", "minimum", "equal", "less", "less_equal", "where",
})  # fmt: skip
SLICE = ("start", "stop", "step")
LETTERS = "abcdhijklmnopqstuwz"  # not those of parameters and of results
HEADER = """import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.extend import bind_all, primitives


def bind(name, *xs, **attrs):
    return bind_all(primitives[name], *xs, **attrs)[0]


"""


def function_source(graph: Graph, name: str = "program") -> str:
    """The graph as the source of a function; needs `tg` and, for rare primitives, `bind`.

    >>> import tinygrad_rnn as tg
    >>> print(function_source(tg.trace(lambda x, y: tg.tanh(x) * 2 + y)(tg.ones(2), tg.ones(2))))
    def program(a, b):
        # a: f32[2], b: f32[2]
        v0 = tg.tanh(a)
        v1 = v0 * 2.0
        v2 = v1 + b
        return v2
    """
    return "\n".join(_Printer().function(graph, name))


def script_source(graph: Graph, arrays: Sequence[np.ndarray]) -> str:
    """A stand-alone script that evaluates the graph at the arrays."""
    lines = ["inputs = ["]
    lines += [f"    {array_source(a)}," for a in arrays]
    lines += ["]", "xs = [tg.tensor(a) for a in inputs]"]
    return HEADER + function_source(graph) + "\n\n\n" + "\n".join(lines) + "\n"


def array_source(a: np.ndarray) -> str:
    """An expression with exactly these values."""
    a = np.asarray(a)
    dtype = f"np.{a.dtype.name}"
    if a.size > 1 and (a == a.flat[0]).all():
        return f"np.full({a.shape}, {_number(a.flat[0].item())}, {dtype})"
    if not a.size:
        return f"np.zeros({a.shape}, {dtype})"
    return f"np.array({_nested(a.tolist())}, {dtype})"


def _nested(x: Any) -> str:
    return f"[{', '.join(map(_nested, x))}]" if isinstance(x, list) else _number(x)


def _number(x: Any) -> str:
    if isinstance(x, float) and (x != x or x in (float("inf"), float("-inf"))):
        return f'float("{x}")'
    return repr(x)


class _Printer:
    def __init__(self) -> None:
        self.names: dict[Var, str] = {}
        self.lines: list[str] = []
        self.count: Counter[str] = Counter()

    # --- functions -----------------------------------------------------------------------------

    def function(self, graph: Graph, name: str) -> list[str]:
        args = self.name_inputs(graph.inputs)
        self.lines = [f"def {name}({', '.join(args)}):"]
        if args:
            types = [f"{x}: {v.type}" for x, v in zip(args, graph.inputs)]
            self.lines.append(f"    # {', '.join(types)}")
        self.body(graph, "    ")
        self.lines.append(f"    return {', '.join(self.named(graph.outputs))}")
        return self.lines

    def named(self, variables: Sequence[Var]) -> list[str]:
        return [self.names[v] for v in variables]

    def fresh(self, kind: str) -> str:
        self.count[kind] += 1
        return f"{kind}{self.count[kind] - 1}"

    def name_inputs(self, variables: Sequence[Var]) -> list[str]:
        for v in variables:
            round_, letter = divmod(self.count["inputs"], len(LETTERS))
            self.names[v] = LETTERS[letter] + (str(round_) if round_ else "")
            self.count["inputs"] += 1
        return self.named(variables)

    def name_results(self, node: Node) -> list[str]:
        self.names.update((v, self.fresh("v")) for v in node.outputs)
        return self.named(node.outputs)

    def body(self, graph: Graph, indent: str) -> None:
        uses = Counter(v for node in graph.nodes for v in node.inputs)
        uses.update(graph.outputs)
        full = {node.output for node in graph.nodes if node.op.name == "full"}
        weak = {v for node in graph.nodes for v in _weak_operands(node, full) if uses[v] == 1}
        for node in graph.nodes:
            if node.outputs[0] in weak:  # a number, written where it is used
                self.names[node.output] = _number(node.attrs["value"])
            elif isinstance(node.attrs.get("body"), Graph):
                getattr(self, f"_body_of_{node.op.name}")(node, indent)
            else:
                text = self.expression(node)
                self.lines.append(f"{indent}{self.name_results(node)[0]} = {text}")

    # --- single operations ---------------------------------------------------------------------

    def expression(self, node: Node) -> str:
        name, xs = node.op.name, [self.names[v] for v in node.inputs]
        if node.frozen:
            return self.frozen(node, xs)
        if name in INFIX:
            return f"{xs[0]} {INFIX[name]} {xs[1]}"
        if name in PREFIX:
            return PREFIX[name] + xs[0]
        if name in FUNCTIONS:
            return f"tg.{name}({', '.join(xs)})"
        special = getattr(self, "_" + name, None)
        text: str | None = special(node, *xs) if special is not None else None
        return self.bound(node, xs) if text is None else text

    def bound(self, node: Node, xs: Sequence[str]) -> str:
        attrs = [f"{k}={_attribute(v)}" for k, v in node.attrs.items()]
        return f"bind({', '.join([repr(node.op.name), *xs, *attrs])})"

    def frozen(self, node: Node, xs: Sequence[str]) -> str:
        if node.op.name == "alias":
            return f"{xs[0]}.detach()"
        return f"tg.no_grad()(lambda: {self.bound(node, xs)})()"

    def _cast(self, node: Node, x: str) -> str | None:
        dtype = node.attrs["dtype"]
        return f"{x}.astype(tg.{dtype.name})" if dtype is not node.inputs[0].type.dtype else None

    def _reshape(self, node: Node, x: str) -> str | None:
        return f"tg.reshape({x}, {node.attrs['shape']})" if _changes(node) else None

    def _broadcast_to(self, node: Node, x: str) -> str | None:
        return f"tg.broadcast_to({x}, {node.attrs['shape']})" if _changes(node) else None

    def _transpose(self, node: Node, x: str) -> str | None:
        perm = node.attrs["perm"]
        moved = perm != tuple(range(len(perm)))
        return f"tg.permute_dims({x}, {perm})" if moved else None

    def _flip(self, node: Node, x: str) -> str | None:
        return f"tg.flip({x}, {node.attrs['axes']})" if node.attrs["axes"] else None

    def _concat(self, node: Node, *xs: str) -> str | None:
        return f"tg.concat([{', '.join(xs)}], {node.attrs['axis']})" if len(xs) > 1 else None

    def _full(self, node: Node) -> str | None:
        value, shape, dtype = (node.attrs[k] for k in ("value", "shape", "dtype"))
        return f"tg.full({shape}, {_number(value)}, tg.{dtype.name})"

    def _max(self, node: Node, x: str) -> str | None:
        return f"tg.max({x}, {node.attrs['axes']})" if node.attrs["axes"] else None

    def _sum(self, node: Node, x: str) -> str | None:
        plain = node.attrs["axes"] and node.output.type.dtype.itemsize in (4, 8)
        return f"tg.sum({x}, {node.attrs['axes']})" if plain else None

    def _argmax(self, node: Node, x: str) -> str | None:
        return f"tg.argmax({x}, {node.attrs['axis']})"

    def _contract(self, node: Node, x: str, y: str) -> str | None:
        a, b, out = (node.attrs[k] for k in ("a", "b", "out"))
        if out != tuple(dict.fromkeys(i for i in (*a, *b) if i in out)):
            return None
        spec = ["".join(chr(ord("i") + k) for k in labels) for labels in (a, b, out)]
        return f'tg.einsum("{spec[0]},{spec[1]}->{spec[2]}", {x}, {y})'

    def _slice(self, node: Node, x: str) -> str | None:
        parts = []
        for n, a, b, s in zip(node.inputs[0].type.shape, *(node.attrs[k] for k in SLICE)):
            ends = f"{a or ''}:{b if b != n else ''}" + (f":{s}" if s != 1 else "")
            parts.append(ends)
        plain = node.output.type.shape != node.inputs[0].type.shape and node.output.type.size > 0
        return f"{x}[{', '.join(parts)}]" if plain else None

    # --- operations with a body ----------------------------------------------------------------

    def _body_of_scan(self, node: Node, indent: str) -> None:
        body, c, k = node.attrs["body"], node.attrs["n_const"], node.attrs["n_carry"]
        names, inside = self.named(node.inputs), indent + "    "
        self.names.update(zip(body.inputs, names[:c]))  # what is captured keeps its name
        step = self.fresh("step")
        self.lines.append(f"{indent}def {step}(carry, x):")
        for variables, whole in ((body.inputs[c : c + k], "carry"), (body.inputs[c + k :], "x")):
            if variables:
                self.lines.append(f"{inside}{_tuple(self.name_inputs(variables))} = {whole}")
        self.body(body, inside)
        out = self.named(body.outputs)
        self.lines.append(f"{inside}return {_tuple(out[:k])}, {_tuple(out[k:])}")
        ends, stacked = self.name_results(node), bool(names[c + k :])
        call = [step, _tuple(names[c : c + k]), _tuple(names[c + k :]) if stacked else "None"]
        call += [] if stacked else [f"length={node.attrs['length']}"]
        call += ["reverse=True"] if node.attrs["reverse"] else []
        call += ['save="carry"'] if node.attrs["save"] == "carry" else []
        targets = f"{_tuple(ends[:k])}, {_tuple(ends[k:])}"
        self.lines.append(f"{indent}{targets} = tg.scan({', '.join(call)})")

    def _body_of_call(self, node: Node, indent: str) -> None:
        f, given = self.local(node.attrs["body"], "f", indent), self.named(node.inputs)
        ends = _tuple(self.name_results(node))
        self.lines.append(f"{indent}{ends} = tg.checkpoint({f})({', '.join(given)})")

    def _body_of_custom(self, node: Node, indent: str) -> None:
        rule, given = node.attrs["rule"], self.named(node.inputs)
        f, r = self.local(node.attrs["body"], "f", indent), self.local(rule.graph, "rule", indent)
        place = {i: f"cts[{n}]" for n, i in enumerate(rule.gives)}
        found = [place.get(i, "None") for i in range(len(given))]
        self.lines += [
            f"{indent}def {r}_of(g, y, *xs):",
            f"{indent}    cts = {r}(*g, *y, *xs)",
            f"{indent}    return {_tuple(found)}",
        ]
        ends = _tuple(self.name_results(node))
        self.lines.append(f"{indent}{ends} = tg.custom_vjp({f}, {r}_of)({', '.join(given)})")

    def local(self, graph: Graph, kind: str, indent: str) -> str:
        """A local function of the graph's inputs that returns a tuple; its name."""
        name = self.fresh(kind)
        self.lines.append(f"{indent}def {name}({', '.join(self.name_inputs(graph.inputs))}):")
        self.body(graph, indent + "    ")
        self.lines.append(f"{indent}    return {_tuple(self.named(graph.outputs))}")
        return name


def _weak_operands(node: Node, full: set[Var]) -> list[Var]:
    """The constant of an operation on a value and a number."""
    if node.op.name not in ("add", "sub", "mul", "div") or node.frozen:
        return []
    a, b = node.inputs
    return [v for v, other in ((a, b), (b, a)) if v in full and other not in full
            and not v.type.shape]  # fmt: skip


def _changes(node: Node) -> bool:
    return node.inputs[0].type.shape != node.output.type.shape


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' * (len(names) == 1)})"


def _attribute(value: Any) -> str:
    if isinstance(value, DType):
        return f"tg.{value.name}"
    if isinstance(value, tuple):
        return _tuple([_attribute(v) for v in value])
    return _number(value)
