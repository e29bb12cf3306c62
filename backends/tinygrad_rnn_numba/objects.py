"""Python functions of two integers to object code, and object code to addresses.

In: a function (numbers, block) that Numba can compile. Out: an object file whose one entry is named
as asked, which needs nothing of Numba's or Python's to run; it is loaded with LLVM alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

I64 = ir.IntType(64)


def emit(function: Callable[[int, int], None], name: str) -> bytes:
    """Object code that exports `function` as `name`: void (int64, int64)."""
    from numba.core import compiler, registry, types
    from numba.core.compiler_lock import global_compiler_lock

    # Numba makes symbols of the qualified name; equal ones have been confused (numba#10486)
    function.__name__ = function.__qualname__ = f"{name}_native"
    typing, target = registry.cpu_target.typing_context, registry.cpu_target.target_context
    typing.refresh()
    target.refresh()
    flags = compiler.Flags()
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    signature = (types.intp, types.intp)
    with global_compiler_lock:
        made = compiler.compile_extra(typing, target, function, signature, types.void, flags, {})
        library = made.library
        library.enable_object_caching()
        module = library.create_ir_module(name)
        native = ir.Function(
            module,
            target.call_conv.get_function_type(types.void, signature),
            made.fndesc.llvm_func_name,
        )
        entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64, I64]), name)
        builder = ir.IRBuilder(entry.append_basic_block())
        # generated code raises nothing: its status says so, always
        target.call_conv.call_function(builder, native, types.void, signature, entry.args)
        builder.ret_void()
        library.add_ir_module(module)
        library.finalize()
        return bytes(library._get_compiled_object())


def inner(function: Callable[..., None]) -> Any:
    """A function that only compiled functions call: no wrapper for Python is made."""
    from numba import njit

    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(error_model="numpy", **options)(function)


#: Code that runs must stay, together with what owns its memory.
_engines: list[Any] = []


def load(code: bytes, name: str) -> int:
    """The address of `name` in object code; an engine of its own keeps its symbols apart."""
    engine = _engine("")
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return int(engine.get_function_address(name))


def assemble(text: str) -> Any:
    """An engine with LLVM assembly compiled into it."""
    engine = _engine(text)
    engine.finalize_object()
    return engine


def _engine(text: str) -> Any:
    _initialize()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        jit=True,
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    _engines.append(engine)
    return engine


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
