"""Names that PyTorch and NumPy have, and how one says it here; for messages only.

In: a name that is not there. Out: what the AttributeError says.
"""

from __future__ import annotations

_RANDOM = "Generator(seed).{}(...), or manual_seed(seed).{}(...)"
_BOTH = {
    "addmm": "linear(x, weight, bias), or c + a @ b", "arccos": "acos", "arcsin": "asin",
    "arctan": "atan", "bmm": "a @ b", "clamp": "clip", "cumprod": "cumulative_prod",
    "det": "linalg.det", "diag": "linalg.diagonal(x), or eye(n) * x",
    "diagonal": "linalg.diagonal", "div": "a / b", "eq": "a == b", "fmod": "remainder",
    "gather": "take_along_axis(x, index, axis=...)", "ge": "a >= b", "gt": "a > b",
    "index_select": "take(x, index, axis=...)", "inverse": "linalg.inv", "le": "a <= b",
    "lt": "a < b", "masked_fill": "where(mask, value, x)", "masked_select": "x[mask]",
    "mm": "a @ b", "movedim": "moveaxis", "mul": "a * b", "multinomial": "decoding.sample",
    "narrow": "x[start:stop]", "ne": "a != b", "neg": "-x", "numel": "x.size", "qr": "linalg.qr",
    "scatter": "x[index] = value", "select": "x[i]", "sub": "a - b", "svd": "linalg.svd",
    "topk": "argsort(x, descending=True)[..., :k]", "true_divide": "a / b", "unbind": "unstack",
}  # fmt: skip
FUNCTIONS = _BOTH | {
    "allclose": "(abs(a - b) <= tolerance).all()", "amax": "max", "amin": "min",
    "array": "asarray", "as_tensor": "asarray", "autograd": "grad, vjp, x.backward()",
    "bernoulli": _RANDOM.format(*["bernoulli"] * 2), "cat": "concat", "compile": "jit",
    "concatenate": "concat", "device": "use_backend, get_backend", "func": "grad, vmap, jvp",
    "from_numpy": "asarray", "hstack": "concat(tensors, axis=1)", "inference_mode": "no_grad",
    "load": "load_tensors, load_checkpoint", "mod": "remainder", "permute": "permute_dims",
    "power": "pow", "rand": _RANDOM.format(*["uniform"] * 2),
    "randint": _RANDOM.format(*["randint"] * 2), "randn": _RANDOM.format(*["normal"] * 2),
    "randperm": _RANDOM.format(*["permutation"] * 2), "save": "save_tensors, save_checkpoint",
    "set_grad_enabled": "no_grad, enable_grad", "unsqueeze": "expand_dims",
    "vstack": "concat(tensors, axis=0)",
}  # fmt: skip
METHODS = _BOTH | {
    "add": "a + b", "add_": "x += y", "bool": "x.astype('bool')",
    "clone": "tensor(x); values never change under recorded operations",
    "contiguous": "x; layout is the backend's business", "copy": "tensor(x)",
    "copy_": "x.assign_(y)", "cpu": "x.to('numpy')", "cuda": "x.to('cupy')",
    "data": "x.detach()", "dim": "x.ndim", "double": "x.astype('float64')",
    "expand_as": "broadcast_to(x, y.shape)", "fill_": "x.assign_(full_like(x, value))",
    "float": "x.astype('float32')", "half": "x.astype('float16')", "int": "x.astype('int32')",
    "long": "x.astype('int64')", "mul_": "x *= y", "new_zeros": "zeros(shape, x.dtype)",
    "requires_grad_": "x.requires_grad = True", "type_as": "x.astype(y.dtype)",
    "view_as": "x.reshape(y.shape)", "zero_": "x.assign_(zeros_like(x))",
}  # fmt: skip


def missing(owner: str, name: str, table: dict[str, str]) -> str:
    """That `owner` has no `name`, and what it is called here.

    >>> missing("module 'tinygrad_rnn'", "cat", FUNCTIONS)
    "module 'tinygrad_rnn' has no attribute 'cat'; here it is: concat."
    """
    hint = f"; here it is: {table[name]}." if name in table else ""
    return f"{owner} has no attribute '{name}'{hint}"
