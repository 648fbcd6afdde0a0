"""From a Python loop to an object file: the only module that imports numba."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import linecache
import textwrap
import types
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.extending import overload

from caffe2py.errors import RegistrationError
from caffe2py.kernels import emit, objects
from caffe2py.kernels.params import RAISED, ByType, Intrinsic, Param, Scalar

# loops over many arrays are worth many tests of whether these overlap; LLVM stops at 8 otherwise
llvm.set_option("", "--runtime-memory-check-threshold=128")

_PACKAGES_NUMBA_KNOWS = ("numpy", "math", "numba", "builtins", "operator")


def _status(answer: Any) -> int:
    """What a kernel returned, as a status: nothing means 0."""
    raise TypeError("exists in compiled kernels only")


@overload(_status)
def _status_of(answer):  # without annotations: numba compares the signatures
    if isinstance(answer, numba.types.NoneType):
        return lambda answer: np.int32(0)
    if isinstance(answer, numba.types.Optional):
        return lambda answer: np.int32(0) if answer is None else np.int32(answer)
    return lambda answer: np.int32(answer)


def compile_kernel(
    function: Any, params: tuple[Param, ...], key: str, fastmath: tuple[str, ...] = ()
) -> bytes:
    """The object file of one kernel for one combination of argument types.

    Raises RegistrationError if the compiled code would need Python or numba's runtime: a kernel
    must not allocate.
    """
    element = next((p.dtype for p in params if p.ndim is not None), "f8")
    build = _Builder(np.dtype(element), fastmath)
    entry = build.entry(_entry(build.function(function), params))
    result = entry.overloads[(numba.types.int64,)]
    return _emit(result.library, result.fndesc.llvm_func_name, key, function.__name__)


@functools.cache
def _emitted(intrinsic: Intrinsic) -> Any:
    """The numba function behind an intrinsic; the last of its files makes it."""
    module = importlib.import_module(f"caffe2py.kernels.{Path(intrinsic.files[-1]).stem}")
    return module.EMITTED[intrinsic.name]()


_EXACT: Any = {"forceinline": True, "error_model": "numpy", "nogil": True, "fastmath": False}


@functools.cache
def _by_type(value: ByType) -> Any:
    """A numba function that calls the one for the type of its first argument."""
    single = _Exact(np.dtype(np.float32)).function(value.float32, scalar=True)
    double = _Exact(np.dtype(np.float64)).function(value.float64, scalar=True)

    def chosen(*args):
        raise TypeError("exists in compiled kernels only")

    @overload(chosen, jit_options=_EXACT)
    def choose(*args):
        if args[0] == numba.types.float32:
            return lambda *args: single(*args)
        return lambda *args: double(*args)

    return chosen


class _Builder:
    """Compiles a function and all that it calls, for one element type."""

    #: Types of the literals that take the element type.
    literals: tuple[type, ...] = (int, float)

    def __init__(self, element: np.dtype[Any], fastmath: tuple[str, ...]) -> None:
        self.element = element
        self.options: dict[str, Any] = {
            "error_model": "numpy",
            "nogil": True,
            "fastmath": set(fastmath) or False,
            "boundscheck": objects.bounds_checked(),
            "no_cfunc_wrapper": True,
            "no_cpython_wrapper": True,
        }
        self._made: dict[Any, Any] = {}

    def entry(self, function: Any) -> Any:
        """The compiled form of a function of a block's address."""
        return numba.njit("int32(int64)", **self.options)(function)

    def function(self, function: Any, *, scalar: bool = False) -> Any:
        """The dispatcher of a function whose globals are dispatchers in turn."""
        made = self._made.get((function, scalar))
        if made is None:
            source = typed_literals(function, self.element, self.literals) if scalar else function
            names = {**source.__globals__, "_T": self.element.type}
            closure = inspect.getclosurevars(function).nonlocals
            used = set(_all_names(function.__code__)) | set(closure)
            for name, value in {**function.__globals__, **closure}.items():
                if name in used:
                    names[name] = self._resolve(value, scalar)
            # without a closure: free variables have become globals
            plain = types.FunctionType(_open_code(source), names, function.__name__)
            # inlined, so that arrays are seen to own no memory and slices need no reference count
            made = numba.njit(forceinline=True, **self.options)(plain)
            self._made[(function, scalar)] = made
        return made

    def _resolve(self, value: Any, scalar: bool) -> Any:
        if isinstance(value, Scalar):
            return self.function(value.function, scalar=True)
        if isinstance(value, ByType):
            return _by_type(value)
        if isinstance(value, Intrinsic):
            return _emitted(value)
        if isinstance(value, types.FunctionType):
            root = (value.__module__ or "").partition(".")[0]
            if root not in _PACKAGES_NUMBA_KNOWS:
                return self.function(value, scalar=scalar)
        return value


class _Exact(_Builder):
    """Compiles a function whose operations stay as they are written."""

    literals = (float,)

    def __init__(self, element: np.dtype[Any]) -> None:
        super().__init__(element, ())


def _all_names(code: types.CodeType) -> set[str]:
    return set(code.co_names) | set(code.co_freevars)


def _open_code(function: Any) -> types.CodeType:
    code: types.CodeType = function.__code__
    if not code.co_freevars:
        return code
    raise RegistrationError(f"kernel '{function.__name__}' must not be a closure")


class _Literals(ast.NodeTransformer):
    """Wraps numeric literals into a conversion to the element type; 0.5 has none among integers."""

    def __init__(self, element: np.dtype[Any], among: tuple[type, ...]) -> None:
        kept = {"f": (int, float), "i": (int,), "u": (int,)}.get(element.kind, ())
        self.converted = tuple(kind for kind in kept if kind in among)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) in self.converted:
            converter = ast.Name(id="_T", ctx=ast.Load())
            return ast.copy_location(ast.Call(func=converter, args=[node], keywords=[]), node)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return node  # an index stays an integer


def typed_literals(function: Any, element: np.dtype[Any], among: tuple[type, ...]) -> Any:
    """A function whose numeric literals of some types are converted to the element type."""
    try:
        source = inspect.getsource(function)
    except OSError:  # typed at a prompt: then literals stay double, and the result is rounded
        return function
    tree = ast.parse(textwrap.dedent(source))
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise RegistrationError(f"{function!r} must be written as a def")
    definition.decorator_list = []
    literals = _Literals(element, among)
    definition.body = [literals.visit(statement) for statement in definition.body]
    ast.fix_missing_locations(tree)
    namespace: dict[str, Any] = dict(function.__globals__)
    exec(compile(tree, f"<typed {function.__name__}>", "exec"), namespace)
    made = namespace[function.__name__]
    return types.FunctionType(made.__code__, function.__globals__, function.__name__)


def _entry(kernel: Any, params: tuple[Param, ...]) -> Any:
    """A function of the block's address that unpacks it and calls the kernel."""
    lines = ["def entry(block):"]
    names: dict[str, Any] = {
        "kernel": kernel,
        # numba has it without naming it in __all__, which is all that type checkers go by
        "_array": numba.carray,  # type: ignore[attr-defined]
        "_pointer": emit.pointer,
    }
    names |= {"int64": np.int64, "_status": _status}
    slots = sum(1 if p.ndim is None else 1 + p.ndim for p in params)
    lines.append(f"    slots = _array(_pointer(block), {max(slots, 1)}, int64)")
    at = 0
    for i, p in enumerate(params):
        names[f"t{i}"] = np.dtype(p.dtype).type
        if p.ndim is None:
            lines.append(f"    a{i} = _array(_pointer(block + {8 * at}), 1, t{i})[0]")
            at += 1
            continue
        shape = "".join(f"slots[{at + 1 + d}], " for d in range(p.ndim))
        lines.append(f"    a{i} = _array(_pointer(slots[{at}]), ({shape}), t{i})")
        at += 1 + p.ndim
    lines.append(f"    return _status(kernel({', '.join(f'a{i}' for i in range(len(params)))}))")
    text = "\n".join(lines)
    filename = f"<entry of {kernel.py_func.__name__}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    exec(compile(text, filename, "exec"), names)
    return names["entry"]


_WRAPPER = """
target triple = "{triple}"
target datalayout = "{layout}"
declare i32 @"{name}"(ptr, ptr, i64)
define i32 @"{symbol}"(i64 %block) {{
  %result = alloca i32
  %exception = alloca ptr
  %status = call i32 @"{name}"(ptr %result, ptr %exception, i64 %block)
  %failed = icmp ne i32 %status, 0
  %value = load i32, ptr %result
  %answer = select i1 %failed, i32 {raised}, i32 %value
  ret i32 %answer
}}
"""


def _emit(library: Any, name: str, key: str, kernel_name: str) -> bytes:
    module = llvm.parse_bitcode(library._final_module.as_bitcode())
    wrapper = _WRAPPER.format(
        name=name,
        symbol=objects.symbol(key),
        raised=RAISED,
        triple=module.triple,
        layout=module.data_layout,
    )
    module.link_in(llvm.parse_assembly(wrapper))
    for item in [*module.functions, *module.global_variables]:
        if not item.is_declaration and item.name != objects.symbol(key):
            item.linkage = "internal"
    machine = objects.target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)
    _refuse_foreign(module, kernel_name)
    return bytes(machine.emit_object(module))


def _refuse_foreign(module: Any, kernel_name: str) -> None:
    objects.engine()  # making it gives LLVM the symbols of this process
    for item in [*module.functions, *module.global_variables]:
        if not item.is_declaration or item.name.startswith("llvm."):
            continue
        if item.name.startswith(("numba_", "NRT_", "Py")) or not llvm.address_of_symbol(item.name):
            raise RegistrationError(
                f"kernel '{kernel_name}' needs '{item.name}': a kernel must not allocate, "
                "and may call only libc and libm"
            )
