"""Misuse gets an error of the right type that says what was given, expected and to be done; nothing
has changed afterwards."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import synonyms


def f32(*shape: int) -> tg.Tensor:
    return tg.ones(shape)


#: (call, exception, what the message says)
CASES: dict[str, tuple[Any, type[Exception], str]] = {
    # shapes and ranks
    "broadcast": (lambda: f32(2, 3) + f32(2), ValueError, r"add.*f32\[2,3\] and f32\[2\].*reshape"),
    "where": (
        lambda: tg.where(f32(2) > 0, f32(3), f32(3)),
        ValueError,
        r"where.*b\w*\[2\].*f32\[3\]",
    ),
    "matmul": (
        lambda: f32(2, 3) @ f32(2, 3),
        ValueError,
        r"matmul.*f32\[2,3\] @ f32\[2,3\].*\(3\).*\(2\).*\.mT",
    ),
    "matmul 0-d": (lambda: f32() @ f32(2), ValueError, r"f32\[\].*at least one axis"),
    "matmul lead": (lambda: f32(2, 3, 4) @ f32(3, 4, 5), ValueError, r"leading axes.*f32\[2,3,4\]"),
    "linear": (
        lambda: tg.linear(f32(2, 3), f32(4, 5)),
        ValueError,
        r"linear.*f32\[2,3\].*f32\[4,5\]",
    ),
    "einsum size": (
        lambda: tg.einsum("ij,jk", f32(2, 3), f32(2, 3)),
        ValueError,
        r"'ij,jk'.*'j'.*3 and 2",
    ),
    "einsum rank": (lambda: tg.einsum("ij->i", f32(2)), ValueError, r"'ij'.*1 axes"),
    "einsum count": (lambda: tg.einsum("ij,j->i", f32(2, 3)), ValueError, r"2 operands, got 1"),
    "einsum result": (lambda: tg.einsum("ij->ik", f32(2, 3)), ValueError, r"result must name"),
    "einsum letters": (lambda: tg.einsum("i1->i", f32(2, 3)), ValueError, r"only letters"),
    "einsum spec": (lambda: tg.einsum(f32(2), "i"), ValueError, r"first argument"),
    "tensordot": (
        lambda: tg.tensordot(f32(2, 3), f32(2, 3), 1),
        ValueError,
        r"tensordot.*f32\[2,3\].*differ",
    ),
    "tensordot axes": (
        lambda: tg.tensordot(f32(2), f32(2), 3),
        ValueError,
        r"f32\[2\].*3 axes",
    ),
    "repeat": (lambda: tg.repeat(f32(2), tg.tensor([1.5, 2])), TypeError, r"repeat.*integers"),
    "repeats": (lambda: tg.repeat(f32(3), tg.tensor([1, 2])), ValueError, r"i64\[2\].* 3 elements"),
    "repeat -1": (lambda: tg.repeat(f32(2), tg.tensor([1, -1])), ValueError, r"not be negative"),
    "outer": (lambda: tg.outer(f32(2, 2), f32(2)), ValueError, r"two vectors.*f32\[2,2\]"),
    "reshape": (lambda: f32(2, 3).reshape(4), ValueError, r"reshape.*f32\[2,3\].*6.*\(4,\)"),
    "reshape -1": (lambda: f32(2, 3).reshape(-1, 4), ValueError, r"f32\[2,3\].*\(-1, 4\)"),
    "reshape two -1": (lambda: f32(2, 3).reshape(-1, -1), ValueError, r"reshape"),
    "reshape float": (lambda: f32(2, 3).reshape(2.0, 3), TypeError, r"integers"),
    "transpose": (lambda: f32(2, 3).transpose(0, 0), ValueError, r"\(0, 0\).*f32\[2,3\]"),
    "broadcast_to": (lambda: f32(2, 3).broadcast_to((3, 3)), ValueError, r"f32\[2,3\].*\(3, 3\)"),
    "squeeze": (lambda: f32(2, 1).squeeze(0), ValueError, r"axis 0.*f32\[2,1\].*size 1"),
    "axis": (lambda: f32(2, 3).sum(2), ValueError, r"sum: axis 2.*2 axes"),
    "axis twice": (lambda: f32(2, 3).sum((0, -2)), ValueError, r"twice"),
    "axis type": (lambda: f32(2, 3).sum("0"), TypeError, r"axis must be an integer.*'0'"),
    "axis float": (lambda: f32(2, 3).sum(0.0), TypeError, r"axis must be an integer"),
    "concat shapes": (
        lambda: tg.concat([f32(2, 3), f32(3, 2)]),
        ValueError,
        r"concat.*f32\[2,3\], f32\[3,2\]",
    ),
    "concat nothing": (lambda: tg.concat([]), ValueError, r"empty list"),
    "concat tensor": (lambda: tg.concat(f32(2, 3)), TypeError, r"list of tensors.*Tensor"),
    "concat 0-d": (lambda: tg.concat([f32(), f32()]), ValueError, r"stack"),
    "stack": (lambda: tg.stack([f32(2), f32(3)]), ValueError, r"stack.*f32\[2\], f32\[3\]"),
    "split": (lambda: tg.split(f32(5), 2), ValueError, r"f32\[5\].*2 equal"),
    "split sizes": (lambda: tg.split(f32(5), [2, 2]), ValueError, r"\[2, 2\].*5"),
    "split negative": (lambda: tg.split(f32(5), [6, -1]), ValueError, r"negative"),
    "pad": (lambda: tg.pad(f32(2, 3), [(1, 1)]), ValueError, r"1 pairs.*f32\[2,3\]"),
    "pad negative": (lambda: tg.pad(f32(2), -1), ValueError, r"negative"),
    "max of nothing": (lambda: f32(0, 3).max(0), ValueError, r"max.*f32\[0,3\].*empty"),
    "argmax of nothing": (lambda: f32(0).argmax(), ValueError, r"argmax.*empty"),
    "softmax of nothing": (lambda: tg.softmax(f32(2, 0)), ValueError, r"f32\[2,0\]"),
    "take_along_axis": (
        lambda: tg.take_along_axis(f32(2, 3), tg.tensor([0]), 0),
        ValueError,
        r"same rank",
    ),
    "scatter_add": (
        lambda: tg.scatter_add(3, tg.tensor([0, 1]), f32(3)),
        ValueError,
        r"scatter_add.*f32\[3\].*i64\[2\]",
    ),
    "item": (lambda: f32(2).item(), ValueError, r"one element.*f32\[2\]"),
    "truth": (lambda: bool(f32(2) > 0), ValueError, r"ambiguous.*\.any\(\)"),
    "ones negative": (lambda: tg.ones((-1,)), ValueError, r"negative"),
    # dtypes
    "sub of bools": (
        lambda: (f32(2) > 0) - (f32(2) > 0),
        TypeError,
        r"sub is not defined for b\w*\[2\].*astype",
    ),
    "invert of floats": (lambda: ~f32(2), TypeError, r"invert.*f32\[2\]"),
    "and of floats": (lambda: f32(2) & 1, TypeError, r"and.*f32"),
    "neg of bools": (lambda: -(f32(2) > 0), TypeError, r"negative.*b\w*\[2\]"),
    "where condition": (
        lambda: tg.where(f32(2), 1.0, 2.0),
        TypeError,
        r"condition is f32\[2\].*bool",
    ),
    "indices": (lambda: tg.take(f32(2), f32(1), 0), TypeError, r"take.*f32\[1\].*integers"),
    "one_hot": (lambda: tg.one_hot(f32(2), 3), TypeError, r"one_hot.*f32\[2\]"),
    "integer power": (lambda: tg.tensor([2]) ** -2, ValueError, r"negative power -2.*float"),
    "strings": (lambda: tg.tensor(["a"]), TypeError, r"list.*<U1"),
    "objects": (lambda: tg.tensor([None]), TypeError, r"object"),
    "complex": (lambda: tg.tensor(1j).astype("float32"), TypeError, r"imaginary.*real\("),
    "ragged": (lambda: tg.tensor([[1], [1, 2]]), ValueError, r"ragged.*pad"),
    "dtype name": (lambda: f32(2).astype("float8"), TypeError, r"'float8'.*float16, float32"),
    "operand": (lambda: f32(2) + "a", TypeError, r"add.*str"),
    "operand None": (lambda: f32(2) * None, TypeError, r"mul.*NoneType"),
    "Tensor()": (lambda: tg.Tensor([1.0]), TypeError, r"tinygrad_rnn\.tensor"),
    "pickle": (lambda: pickle.dumps(f32(2)), TypeError, r"save_checkpoint"),
    "index": (lambda: [1, 2][f32()], TypeError, r"integer tensor.*f32\[\]"),
    "full": (lambda: tg.full((2,), "a"), TypeError, r"full.*str"),
    # assignment
    "assign shape": (lambda: f32(2).assign_(f32(3)), ValueError, r"f32\[3\].*f32\[2\]"),
    "assign dtype": (
        lambda: f32(2).assign_(tg.ones((2,), "float64")),
        ValueError,
        r"f64\[2\].*f32\[2\]",
    ),
    "grad shape": (lambda: setattr(f32(2), "grad", f32(3)), ValueError, r"f32\[2\].*f32\[3\]"),
    "grad type": (lambda: setattr(f32(2), "grad", 3.0), TypeError, r"Tensor or None.*float"),
    "in-place type": (lambda: tg.tensor([1]).__iadd__(1.5), ValueError, r"i64\[1\].*f32\[1\]"),
    # derivatives
    "argnums": (lambda: tg.grad(lambda x: x, 1)(f32()), ValueError, r"argnums 1 with 1"),
    "aux": (lambda: tg.grad(lambda x: x, has_aux=True)(f32()), ValueError, r"\(y, aux\)"),
    "grad of tuple": (lambda: tg.grad(lambda x: (x, x))(f32()), TypeError, r"tensor, got tuple"),
    "grad of None": (lambda: tg.grad(lambda x: None)(f32()), TypeError, r"NoneType"),
    "jacobian of tuple": (
        lambda: tg.jacobian(lambda x: (x, x))(f32()),
        TypeError,
        r"one tensor.*tuple",
    ),
    "cotangent tree": (
        lambda: tg.vjp(lambda x: (x, x), f32())[1](f32()),
        ValueError,
        r"structure \*.*\(\*, \*\)",
    ),
    "cotangent type": (
        lambda: tg.vjp(lambda x: x, f32(2))[1](f32(3)),
        ValueError,
        r"f32\[3\].*f32\[2\]",
    ),
    "hvp tangents": (
        lambda: tg.hvp(lambda p: (p["a"] ** 3).sum(), {"a": f32(2)}, {"b": f32(2)}),
        ValueError,
        r"hvp.*'b'.*'a'",
    ),
    "hvp shape": (
        lambda: tg.hvp(lambda x: (x**3).sum(), f32(2), f32(3)),
        ValueError,
        r"hvp: tangents.*f32\[3\].*f32\[2\]",
    ),
    "jvp dtype": (
        lambda: tg.jvp(lambda x: x, (f32(2),), (tg.ones((2,), "float64"),)),
        ValueError,
        r"jvp: tangents\[0\] is f64\[2\].*f32\[2\]",
    ),
    "vmap axes": (lambda: tg.vmap(lambda p: p, ({"a": 0},))({"a": f32(2)}), TypeError, r"in_axes"),
    "tangents": (
        lambda: tg.jvp(lambda x: x, (f32(),), (f32(), f32())),
        ValueError,
        r"tangents.*primals",
    ),
    "tangent shape": (
        lambda: tg.jvp(lambda x: x * 2, (f32(2),), (f32(3),)),
        ValueError,
        r"f32\[3\]|f32\[2\]",
    ),
    # scan
    "step result": (
        lambda: tg.scan(lambda c, x: c, f32(), f32(3)),
        TypeError,
        r"\(carry, y\).*Tensor.*None",
    ),
    "carry structure": (
        lambda: tg.scan(lambda c, x: ((c, c), None), f32(), f32(3)),
        ValueError,
        r"structure.*\n.*given.*\*\n.*returned.*\(\*, \*\)",
    ),
    "carry type": (
        lambda: tg.scan(
            lambda state, x: ({"h": state["h"] + f32(2, 1)}, None), {"h": f32(2)}, f32(3)
        ),
        ValueError,
        r"state\['h'\]: given f32\[2\], returned f32\[2,2\]",
    ),
    "carry dtype": (
        lambda: tg.scan(lambda c, x: (c + x, None), tg.tensor(0), f32(3)),
        ValueError,
        r"c: given i64\[\], returned f32\[\]",
    ),
    "xs lengths": (
        lambda: tg.scan(lambda c, x: (c, x), f32(), (f32(3), f32(4))),
        ValueError,
        r"xs\[0\] has 3.*xs\[1\] has 4",
    ),
    "length": (
        lambda: tg.scan(lambda c, x: (c, x), f32(), f32(3), length=4),
        ValueError,
        r"length has 4.*xs has 3",
    ),
    "no length": (lambda: tg.scan(lambda c, x: (c, c), f32(), None), ValueError, r"length="),
    "negative length": (
        lambda: tg.scan(lambda c, x: (c, c), f32(), None, length=-1),
        ValueError,
        r"-1.*negative",
    ),
    "xs 0-d": (
        lambda: tg.scan(lambda c, x: (c, c), f32(), f32()),
        ValueError,
        r"xs is f32\[\].*leading axis",
    ),
    "save": (
        lambda: tg.scan(lambda c, x: (c, c), f32(), f32(3), save="all"),
        ValueError,
        r"'all'.*auto.*carry",
    ),
    "step": (lambda: tg.scan(f32(), f32(), f32(3)), ValueError, r"step is a Tensor.*function"),
    "leaf": (lambda: tg.scan(lambda c, x: (c, c), "h", f32(3)), TypeError, r"carry.*str"),
    "y leaf": (lambda: tg.scan(lambda c, x: (c, "y"), f32(), f32(3)), TypeError, r"y.*str"),
    "branch": (
        lambda: tg.scan(lambda c, x: (c if x > 0 else x, c), f32(), f32(3)),
        RuntimeError,
        r"step of scan.*where",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_misuse(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=f"(?s){message}") as caught:
        call()
    assert isinstance(caught.value, tg.TinygradRnnError), type(caught.value)
    # nothing is left behind
    assert tg.is_grad_enabled()
    assert (f32(2) + 1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "name", [n for n in CASES if "grad" not in n and n not in ("pickle", "branch")]
)
def test_misuse_inside_jit_and_scan(name):
    call, error, _ = CASES[name]
    for wrap in (
        lambda: tg.jit(call)(),
        lambda: tg.scan(lambda c, x: (call(), c)[1:] * 2, f32(), f32(2)),
    ):
        with pytest.raises((error, tg.TinygradRnnError)):
            wrap()
    assert (f32(2) + 1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("table", ["FUNCTIONS", "METHODS"])
def test_names_of_others_are_answered_with_ours(table):
    """Every hint is for a name that is not there, and names what is."""
    x = f32(2)
    where = tg if table == "FUNCTIONS" else x
    for name, hint in getattr(synonyms, table).items():
        with pytest.raises(AttributeError, match=f"'{name}'; here it is: {re.escape(hint)}"):
            getattr(where, name)
        names = re.sub(r"\([^()]*\)", "()", hint)
        for word in re.findall(r"(?:^|, )([a-z_][a-z_.]*)(?=\(|,|$)", names):
            found = {"x": x, "a": x}.get(word.split(".")[0], tg)
            for part in [p for p in word.split(".") if p not in ("x", "a")]:
                found = getattr(found, part)
    assert not hasattr(x, "wieght") and not hasattr(tg, "wieght")
    with pytest.raises(AttributeError, match=r"'Parameter' object has no attribute 'wieght'$"):
        tg.nn.Parameter(x).wieght  # noqa: B018
