"""CupyBackend: every primitive on CuPy arrays; nothing waits for the device until a value is asked
for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import cupy
import numpy as np
from cupyx.scipy.special import erf
from tinygrad_rnn_numpy import kernels

from tinygrad_rnn.extend import Backend, Capabilities, Graph, Node, Program
from tinygrad_rnn.fuse import fuse
from tinygrad_rnn.group_body import Fused
from tinygrad_rnn.lower import Unsupported

from . import devices, eager, loops
from .memory import Memory, guarded, memory
from .products import Products
from .scatter import scatter_add
from .settings import Settings

#: DLPack's names of a CUDA device's memory, and of memory that moves between it and the host.
MEMORY = (2, 13)
_settings = Settings()
_products = Products(_settings)
_KERNELS: dict[str, Callable[..., Any]] = (
    kernels.table(cupy)
    | eager.table(cupy, erf, scatter_add)
    | {"contract": functools.partial(kernels.contract, _products)}
)


class CupyBackend(Backend):
    """Arrays are CuPy's on the current device; products go to cuBLAS, loops to generated code."""

    name = "cupy"
    kernels: Mapping[str, Callable[..., Any]] = {k: guarded(f) for k, f in _KERNELS.items()}
    settings = _settings
    capabilities = Capabilities(
        lacks={"index errors": "to look at indices is to wait for the device; they are clipped"}
    )

    def __init__(self) -> None:
        devices.choose_by_environment()

    @classmethod
    def missing(cls) -> str | None:
        if not cupy.cuda.is_available():
            return (
                "CuPy is installed, but it finds no CUDA device or driver. Check `nvidia-smi`, the "
                "driver, and CUDA_VISIBLE_DEVICES; or use the backend 'numba' or 'numpy'."
            )
        try:
            cupy.asarray([1.0]).sum().item()
        except (cupy.cuda.runtime.CUDARuntimeError, ImportError) as error:
            return (
                f"CuPy finds a CUDA device but cannot run a kernel on it ({error}). Install CuPy "
                "with the CUDA components: "
                'pip install "tinygrad-rnn[cuda12]" or "tinygrad-rnn[cuda13]".'
            )
        return None

    put = staticmethod(guarded(lambda host: cupy.array(host, order="C")))

    def get(self, buffer: Any) -> np.ndarray:
        return cupy.asnumpy(buffer)  # type: ignore[no-any-return]

    empty = staticmethod(guarded(lambda type: cupy.empty(type.shape, type.dtype.np)))

    def adopt(self, array: Any) -> Any:
        kind, number = array.__dlpack_device__()
        if int(kind) not in MEMORY or int(number) != devices.current():
            return None
        return cupy.from_dlpack(array)

    def specialize(self, node: Node) -> Callable[..., Any] | None:
        name, attrs = node.op.name, node.attrs
        if name in ("scan", Fused.name):
            try:
                return loops.loop(node, self.settings)
            except Unsupported:
                return None
        if name == "contract":
            run = kernels.plan(attrs["a"], attrs["b"], attrs["out"])
            return functools.partial(run, _products)
        if name not in _KERNELS:
            return super().specialize(node)
        kernel = _KERNELS[name]
        return functools.partial(kernel, **attrs) if attrs else kernel

    def takes_out(self, kernel: Callable[..., Any], node: Node) -> bool:
        return isinstance(kernel, cupy.ufunc) and bool(node.output.type.shape)

    def compile(self, graph: Graph) -> Program:
        return guarded(super().compile(self.grouped(graph)))

    def grouped(self, graph: Graph) -> Graph:
        """The graph with what is one kernel as single nodes."""
        from tinygrad_rnn.passes.shift import share_stacks
        from tinygrad_rnn.rows import with_rows

        graph = with_rows(graph)
        nodes = [self._with_groups(n) if n.op.name == "scan" else n for n in graph.nodes]
        graph = share_stacks(Graph(graph.inputs, nodes, graph.outputs))
        return fuse(graph, loops.worth, halves=True)

    def _with_groups(self, scan: Node) -> Node:
        """A loop that runs over kernels has groups, and compiled loops, in its body."""
        try:
            loops.loop(scan, self.settings)
        except Unsupported as reason:
            attrs = {**scan.attrs, "body": self.grouped(scan.attrs["body"]), "refused": str(reason)}
            return Node(scan.op, scan.inputs, attrs, scan.outputs)
        return scan

    def report(self, graph: Graph) -> list[tuple[str, str]]:
        rows = []
        for node in self.grouped(graph).nodes:
            if node.op.name == Fused.name:
                rows += [(n.op.name, "fused kernel") for n in node.attrs["body"].nodes]
                continue
            how = "cuBLAS" if node.op.name == "contract" else "CuPy kernel"
            if node.op.name == "scan":
                refused = node.attrs.get("refused")
                how = f"loop over CuPy kernels: {refused}"
                if refused is None:
                    how = loops.how(node, self.settings)
            rows.append((node.op.name, how))
        return rows

    def synchronize(self) -> None:
        cupy.cuda.get_current_stream().synchronize()

    @property
    def device(self) -> int:
        """The number of the device in use. Setting it chooses another, for all threads; tensors
        stay where they are."""
        return devices.current()

    @device.setter
    def device(self, number: int) -> None:
        devices.choose(number)

    def memory(self) -> Memory:
        """Bytes used by tensors, held by the pool, free and there, on the current device."""
        return memory()
