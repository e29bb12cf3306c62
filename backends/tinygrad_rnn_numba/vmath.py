"""Elementary functions as LLVM IR on vectors (or scalars) of float32 and float64.

In: an IR builder and values. Out: values. Arguments are reduced with fused multiply-adds, then
polynomials are evaluated; their coefficients are Chebyshev interpolants (60 digits, then rounded)
of the functions named beside them. Special values (NaN, infinities, signed zeros, subnormals) come
out right because no fast-math flag but `contract` is used. Largest errors found, in ulp (float32
and float64 alike): log 0.8, exp 1.1, log1p 1.4, sin, cos 1.5, erf 1.6, expm1 1.7, sigmoid 2.3, tanh
2.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from .target import target

FLAGS = ("contract",)


class Lanes:
    """IR for one kind of value: `n` lanes (0: a scalar) of `bits`-bit floats."""

    def __init__(self, builder: ir.IRBuilder, bits: int, n: int):
        self.builder, self.bits, self.n = builder, bits, n
        element = ir.FloatType() if bits == 32 else ir.DoubleType()
        integer = ir.IntType(bits)
        self.element = element
        self.type = ir.VectorType(element, n) if n else element
        self.int_type = ir.VectorType(integer, n) if n else integer
        self.suffix = (f"v{n}" if n else "") + f"f{bits}"
        #: 2**mantissa is the first float from which on all are integers
        self.mantissa, self.bias = (23, 127) if bits == 32 else (52, 1023)

    def const(self, x: float) -> ir.Constant:
        return ir.Constant(self.type, [x] * self.n if self.n else x)

    def int_const(self, x: int) -> ir.Constant:
        return ir.Constant(self.int_type, [x] * self.n if self.n else x)

    def call(self, name: str, *args: Any) -> Any:
        kind = ir.FunctionType(self.type, [self.type] * len(args))
        return self.builder.call(self.declare(f"llvm.{name}.{self.suffix}", kind), args)

    def declare(self, name: str, kind: ir.FunctionType) -> Any:
        module = self.builder.module
        return module.globals.get(name) or ir.Function(module, kind, name)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.call("fma", a, b, c)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=FLAGS)

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=FLAGS)

    def mul(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=FLAGS)

    def div(self, a: Any, b: Any) -> Any:
        return self.builder.fdiv(a, b)

    def neg(self, a: Any) -> Any:
        return self.builder.fneg(a)

    def less(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("<", a, b)

    def equal(self, a: Any, b: Any) -> Any:
        return self.builder.fcmp_ordered("==", a, b)

    def select(self, c: Any, a: Any, b: Any) -> Any:
        return self.builder.select(c, a, b)

    def at_most(self, x: Any, top: float) -> Any:
        """min(x, top); NaN stays NaN because comparisons with it are false."""
        return self.select(self.less(self.const(top), x), self.const(top), x)

    def at_least(self, x: Any, bottom: float) -> Any:
        return self.select(self.less(x, self.const(bottom)), self.const(bottom), x)

    def whole(self, a: Any, b: Any) -> tuple[Any, Any]:
        """a * b rounded to the nearest integer, as a float and as an integer.

        Adding 1.5 * 2**mantissa leaves the integer in the low bits of the sum.
        """
        magic = self.const(1.5 * 2.0**self.mantissa)
        b_ = self.builder
        t = self.fma(a, b, magic)
        number = b_.sub(b_.bitcast(t, self.int_type), b_.bitcast(magic, self.int_type))
        return b_.fsub(t, magic), number

    def power_of_two(self, n: Any) -> Any:
        """2**n for integers n from -bias (which gives 0) to bias."""
        b = self.builder
        biased = b.add(n, self.int_const(self.bias))
        return b.bitcast(b.shl(biased, self.int_const(self.mantissa)), self.type)

    @property
    def scales(self) -> bool:
        """Whether the CPU multiplies these lanes by powers of two in one instruction."""
        return target().name == "avx512" and self.n * self.bits == 512

    def scalef(self, y: Any, n: Any) -> Any:
        """y * 2**n, rounded once, for integers n that are floats."""
        mask = ir.IntType(self.n)
        name = f"llvm.x86.avx512.mask.scalef.p{'s' if self.bits == 32 else 'd'}.512"
        kind = ir.FunctionType(self.type, [self.type] * 3 + [mask, ir.IntType(32)])
        current = ir.Constant(ir.IntType(32), 4)  # the rounding that is in force
        return self.builder.call(
            self.declare(name, kind), [y, n, y, ir.Constant(mask, (1 << self.n) - 1), current]
        )

    def poly(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Highest power first."""
        y = self.const(coefficients[0])
        for c in coefficients[1:]:
            y = self.fma(y, x, self.const(c))
        return y


# fmt: off
#: log(2) in two parts; the first has trailing zeros, so that its product with an exponent is exact
LN2 = {32: (0.693115234375, 3.19461849453094172e-5),
       64: (0.693147180559663, 2.82352905630315771e-13)}
LOG2_E = 1.4426950408889634
#: (e**r - 1 - r) / r**2 on |r| <= log(2) / 2
EXP = {32: (1.3926926614e-3, 8.36377387441e-3, 4.16665501103e-2, 1.66665733819e-1, 0.5),
       64: (2.5101346928350340198e-8, 2.76213386691429238e-7, 2.7557266418612303703e-6,
            2.4801518641395993583e-5, 1.9841269864380513295e-4, 1.3888888918939167785e-3,
            8.3333333333297934996e-3, 4.1666666666620638584e-2, 1.6666666666666667534e-1, 0.5)}
#: (log((1 + s) / (1 - s)) - 2 s) / s**3 in z = s**2, for (1 + s) / (1 - s) in [1/sqrt 2, sqrt 2]
LOG = {32: (2.33368110052e-1, 2.85505870376e-1, 4.00001239061e-1, 6.6666666552e-1),
       64: (1.3094416666525344015e-1, 1.3268026140428739298e-1, 1.5386267672882225032e-1,
            1.8181795124476753508e-1, 2.222222239655298081e-1, 2.8571428570782207716e-1,
            4.0000000000000912038e-1, 6.6666666666666666456e-1)}
#: pi/2 in three parts, each of them a float
HALF_PI = {32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
           64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)}
TWO_OVER_PI = 0.6366197723675814
#: (sin(r) / r - 1) / r**2 and (cos(r) - 1 + r**2 / 2) / r**4 in r**2, on |r| <= pi / 4
SIN = {32: (-1.95828306788e-4, 8.33272461378e-3, -1.66666645394e-1),
       64: (-7.5854864852359381405e-13, 1.6058510875319194913e-10, -2.505210610025598923e-8,
            2.7557319218954762264e-6, -1.9841269841264565895e-4, 8.3333333333333312588e-3,
            -1.6666666666666666665e-1)}
COS = {32: (2.45428711109e-5, -1.38882793306e-3, 4.16666645363e-2),
       64: (4.7451988072028758106e-14, -1.1470449354466772619e-11, 2.0876755717584403743e-9,
            -2.7557319221189104203e-7, 2.4801587301584368969e-5, -1.3888888888888887736e-3,
            4.1666666666666666666e-2)}
#: erf(x) / x - 1 in x**2, on |x| <= 1
ERF = {32: (-5.6480598655e-4, 4.92176202788e-3, -2.67150542323e-2, 1.12803166525e-1,
            -3.76123437753e-1, 1.28379126179e-1),
       64: (-7.7958988270021422416e-10, 1.3720064546777685604e-8, -1.6208483801871705902e-7,
            1.644742470331736241e-6, -1.4924736907419660338e-5, 1.2055294904839707917e-4,
            -8.5483259753896920806e-4, 5.2239776071164227321e-3, -2.686617064323777036e-2,
            1.1283791670945006266e-1, -3.7612638903183540438e-1, 1.2837916709551256654e-1)}
#: erfc(a) e**(a*a) in t = (a - 2) / (a + 2), from a = 1 to where erf(a) rounds to 1
ERFC = {32: (-9.07659491078e-4, 6.80177064589e-3, 3.74268030818e-3, -7.89671935727e-2,
             2.41657834386e-1, -4.27186014595e-1, 2.55395678135e-1),
        64: (-1.1913871785541418952e-6, 1.3408950228422024693e-6, 4.0112994865372179812e-6,
             1.2788982945609888806e-6, -1.399238010852466058e-5, -2.7557979424064754207e-5,
             2.7525906898041193472e-5, 1.7435913589091917891e-4, 4.3555702646849428248e-5,
             -9.8197692638220608466e-4, -8.4714325818779518926e-4, 6.9974617366255414845e-3,
             3.7328924045069825941e-3, -7.8978581015702141831e-2, 2.4165819424246499723e-1,
             -4.2718584741395850116e-1, 2.5539567631050574556e-1)}
# fmt: on


class _Power:
    """2**n for an integer n, given as a float and as an integer."""

    def __init__(self, v: Lanes, n: Any, number: Any):
        self.v, self.n, self.number = v, n, number

    def value(self) -> Any:
        """2**n where that is a normal number."""
        v = self.v
        return v.scalef(v.const(1.0), self.n) if v.scales else v.power_of_two(self.number)

    def times(self, y: Any) -> Any:
        """y * 2**n, rounded once where it overflows or is subnormal."""
        v, b, n = self.v, self.v.builder, self.number
        if v.scales:
            return v.scalef(y, self.n)
        half = b.ashr(n, v.int_const(1))
        return v.mul(v.mul(y, v.power_of_two(half)), v.power_of_two(b.sub(n, half)))


def _reduced(v: Lanes, x: Any) -> tuple[Any, _Power]:
    """x = n log 2 + r: e**r - 1, and 2**n. NaN stays in the first."""
    high, low = LN2[v.bits]
    n, number = v.whole(x, v.const(LOG2_E))
    r = v.fma(n, v.const(-low), v.fma(n, v.const(-high), x))
    return v.fma(v.poly(r, EXP[v.bits]), v.mul(r, r), r), _Power(v, n, number)


def _exp_of_negative(v: Lanes, x: Any) -> Any:
    """e**x for x <= 0 (or NaN): the range needs to be cut below only."""
    p, power = _reduced(v, v.at_least(x, -104.0 if v.bits == 32 else -745.5))
    return power.times(v.add(p, v.const(1.0)))


def exp(v: Lanes, x: Any) -> Any:
    return _exp_of_negative(v, v.at_most(x, 89.0 if v.bits == 32 else 710.0))


def sigmoid(v: Lanes, x: Any) -> Any:
    """1 / (1 + e**-|x|), or e**-|x| times that where x < 0: relatively exact down to subnormals."""
    one = v.const(1.0)
    e = _exp_of_negative(v, v.neg(v.call("fabs", x)))
    return v.div(v.select(v.less(x, v.const(0.0)), e, one), v.add(one, e))


def tanh(v: Lanes, x: Any) -> Any:
    """E / (E + 2) with E = e**(2|x|) - 1 = (e**r - 1) 2**n + (2**n - 1)."""
    a = v.at_most(v.call("fabs", x), 10.0 if v.bits == 32 else 20.0)
    p, power = _reduced(v, v.add(a, a))
    scale = power.value()
    e = v.fma(p, scale, v.builder.fsub(scale, v.const(1.0)))
    return v.call("copysign", v.div(e, v.add(e, v.const(2.0))), x)


def expm1(v: Lanes, x: Any) -> Any:
    """(e**r - 1) 2**n + (2**n - 1), computed at half its size because 2**n may overflow."""
    low, high = (-18.0, 89.0) if v.bits == 32 else (-38.0, 710.0)
    p, power = _reduced(v, v.at_least(v.at_most(x, high), low))
    n = power.number
    scale = v.power_of_two(v.builder.sub(n, v.int_const(1)))
    half = v.fma(p, scale, v.builder.fsub(scale, v.const(0.5)))
    # for n = 0 it is p itself, and halving would lose a bit of a subnormal or the sign of a zero
    y = v.select(v.builder.icmp_signed("==", n, v.int_const(0)), p, v.builder.fadd(half, half))
    return v.select(v.equal(x, v.const(0.0)), x, y)


def _log(v: Lanes, x: Any, error: Any) -> Any:
    """log(x + error) for x > 0 and |error| far below x; log(x) where `error` is None."""
    b = v.builder
    shift = v.int_const(v.mantissa)
    tiny = v.less(x, v.const(2.0 ** (1 - v.bias)))
    x = v.select(tiny, v.mul(x, v.const(2.0**v.mantissa)), x)
    # the integer whose upper bits are the exponent of x / sqrt(1/2)
    root = 0x3F3504F3 if v.bits == 32 else 0x3FE6A09E667F3BCD
    bits = b.sub(b.bitcast(x, v.int_type), v.int_const(root))
    k = b.ashr(bits, shift)
    mantissa = b.and_(bits, v.int_const((1 << v.mantissa) - 1))
    f = b.fsub(b.bitcast(b.add(mantissa, v.int_const(root)), v.type), v.const(1.0))
    if error is not None:
        # far above 1 there is no error, and 2**-k could not be had
        near = b.select(b.icmp_signed("<", k, v.int_const(v.mantissa + 4)), k, v.int_const(0))
        f = v.add(f, v.mul(error, v.power_of_two(b.sub(v.int_const(0), near))))
    k = b.select(tiny, b.sub(k, shift), k)
    n = b.sitofp(k, v.type)
    s = v.div(f, v.add(f, v.const(2.0)))
    z = v.mul(s, s)
    half = v.mul(v.mul(f, f), v.const(0.5))
    # 2 s = f - s f, and s f = f*f/2 - s f*f/2: what is rounded is small beside f
    high, low = LN2[v.bits]
    tail = v.fma(s, v.fma(z, v.poly(z, LOG[v.bits]), half), v.mul(n, v.const(low)))
    return v.fma(n, v.const(high), v.sub(f, v.sub(half, tail)))


def _log_edges(v: Lanes, y: Any, x: Any) -> Any:
    """log's values at 0 (of either sign), below it, at infinity and NaN, where y is `_log(x)`."""
    inf = v.const(float("inf"))
    y = v.select(v.less(x, inf), y, x)  # infinity and NaN are their own logarithms
    y = v.select(v.equal(x, v.const(0.0)), v.neg(inf), y)
    return v.select(v.less(x, v.const(0.0)), v.const(float("nan")), y)


def log(v: Lanes, x: Any) -> Any:
    return _log_edges(v, _log(v, x, None), x)


def log1p(v: Lanes, x: Any) -> Any:
    """log of u = 1 + x and of what the rounding of this sum lost."""
    b, one = v.builder, v.const(1.0)
    u = b.fadd(one, x)
    back = b.fsub(u, one)
    lost = b.fadd(b.fsub(one, b.fsub(u, back)), b.fsub(x, back))
    # from here on 1 is lost beside x; u - back has no meaning where u overflows
    lost = v.select(v.less(x, v.const(2.0 ** (v.mantissa + 2))), lost, v.const(0.0))
    y = _log_edges(v, _log(v, u, lost), u)
    small = v.less(v.call("fabs", x), v.const(2.0 ** (-v.mantissa - 2)))
    return v.select(small, x, y)


def erf(v: Lanes, x: Any) -> Any:
    """x + x N(x^2) up to 1, then 1 - e**(-x^2) F((x - 2) / (x + 2))."""
    near_square = v.mul(x, x)
    near = v.fma(x, v.poly(near_square, ERF[v.bits]), x)
    a = v.at_most(v.call("fabs", x), 4.2 if v.bits == 32 else 6.3)
    two = v.const(2.0)
    t = v.div(v.sub(a, two), v.add(a, two))
    rest = v.mul(_exp_of_negative(v, v.neg(v.mul(a, a))), v.poly(t, ERFC[v.bits]))
    far = v.call("copysign", v.sub(v.const(1.0), rest), x)
    return v.select(v.less(a, v.const(1.0)), near, far)


def sin(v: Lanes, x: Any) -> Any:
    return v.select(v.equal(x, v.const(0.0)), x, _circular(v, x, "sin"))


def cos(v: Lanes, x: Any) -> Any:
    return _circular(v, x, "cos")


def _circular(v: Lanes, x: Any, name: str) -> Any:
    """x = n pi/2 + r; the C library's function for lanes where that needs more than three parts."""
    b = v.builder
    n, number = v.whole(x, v.const(TWO_OVER_PI))
    r = x
    for part in HALF_PI[v.bits]:
        r = v.fma(n, v.const(-part), r)
    z = v.mul(r, r)
    sine = v.fma(v.mul(v.poly(z, SIN[v.bits]), z), r, r)
    half = v.mul(z, v.const(0.5))
    w = b.fsub(v.const(1.0), half)
    lost = b.fsub(b.fsub(v.const(1.0), w), half)
    cosine = b.fadd(w, v.fma(v.mul(z, z), v.poly(z, COS[v.bits]), lost))
    quadrant = number if name == "sin" else b.add(number, v.int_const(1))
    odd = b.icmp_signed("!=", b.and_(quadrant, v.int_const(1)), v.int_const(0))
    y = v.select(odd, cosine, sine)
    sign = b.shl(b.and_(quadrant, v.int_const(2)), v.int_const(v.bits - 2))
    y = b.bitcast(b.xor(b.bitcast(y, v.int_type), sign), v.type)
    far = v.less(v.const(2.0**17 if v.bits == 32 else 2.0**24), v.call("fabs", x))
    return _unless(v, far, y, lambda: by_lane(v, name, x))


def _unless(v: Lanes, c: Any, y: Any, other: Any) -> Any:
    """y, but `other()` in the lanes where c; it is computed only if there are any."""
    b = v.builder
    some = c
    if v.n:
        some = b.icmp_unsigned("!=", b.bitcast(c, ir.IntType(v.n)), ir.Constant(ir.IntType(v.n), 0))
    before = b.block
    rare, after = b.append_basic_block("rare"), b.append_basic_block("usual")
    b.cbranch(some, rare, after)
    b.position_at_end(rare)
    mixed = b.select(c, other(), y)
    rare_end = b.block
    b.branch(after)
    b.position_at_end(after)
    out = b.phi(v.type)
    out.add_incoming(y, before)
    out.add_incoming(mixed, rare_end)
    return out


def by_lane(v: Lanes, name: str, *args: Any) -> Any:
    """The C library's function on every lane."""
    b = v.builder
    symbol = name + ("f" if v.bits == 32 else "")
    fn = v.declare(symbol, ir.FunctionType(v.element, [v.element] * len(args)))
    if not v.n:
        return b.call(fn, args)
    out = ir.Constant(v.type, ir.Undefined)
    for i in range(v.n):
        at = ir.Constant(ir.IntType(32), i)
        out = b.insert_element(out, b.call(fn, [b.extract_element(a, at) for a in args]), at)
    return out
