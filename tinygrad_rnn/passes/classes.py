"""What the variables of a loop body depend on, and what depends on them.

In: a body `consts, carry, x -> carry, y`. Out: sets. This is all that fission knows of a cell.
"""

from __future__ import annotations

from ..graph import Graph, Node, Var

#: Bits of what a variable depends on; 0: consts alone.
X, CARRY = 1, 2


class Classes:
    """Dependence of every variable, the accumulators, and the core.

    accumulators: carry index -> the addend f of `c' = c + f` where c is read nowhere else.
    core: variables that some other carry after the step depends on.
    """

    def __init__(self, body: Graph, n_const: int, n_carry: int):
        self.body, self.n_const, self.n_carry = body, n_const, n_carry
        self.carry_in = body.inputs[n_const : n_const + n_carry]
        self.xs = body.inputs[n_const + n_carry :]
        self.producer = {v: node for node in body.nodes for v in node.outputs}
        self.mask = masks(body, n_const, n_carry)
        self.accumulators = self._accumulators()

    def _accumulators(self) -> dict[int, Var]:
        count: dict[Var, int] = {}
        for node in self.body.nodes:
            for v in node.inputs:
                count[v] = count.get(v, 0) + 1
        for v in self.body.outputs:
            count[v] = count.get(v, 0) + 1
        found = {}
        for i, (before, after) in enumerate(zip(self.carry_in, self.body.outputs)):
            made = self.producer.get(after)
            if made is None or made.op.name != "add" or count.get(before) != 1 or count[after] != 1:
                continue
            if before in made.inputs:
                addend = made.inputs[1 - made.inputs.index(before)]
                if addend.type is after.type:
                    found[i] = addend
        return found

    def core(self, without: set[int]) -> set[Var]:
        """Variables that the carries not in `without` depend on."""
        live = {v for i, v in enumerate(self.body.outputs[: self.n_carry]) if i not in without}
        for node in reversed(self.body.nodes):
            if not live.isdisjoint(node.outputs):
                live.update(node.inputs)
        return live


def masks(body: Graph, n_const: int, n_carry: int) -> dict[Var, int]:
    """For every variable, whether it depends on x and on the carry."""
    mask = {}
    for i, v in enumerate(body.inputs):
        mask[v] = 0 if i < n_const else CARRY if i < n_const + n_carry else X
    for node in body.nodes:
        bits = 0
        for v in node.inputs:
            bits |= mask[v]
        mask.update(dict.fromkeys(node.outputs, bits))
    return mask


def invariant_first(nodes: tuple[Node, ...], mask: dict[Var, int]) -> list[Node]:
    """The same nodes, those that depend on consts alone in front."""
    fixed = [n for n in nodes if mask[n.outputs[0]] == 0]
    return fixed + [n for n in nodes if mask[n.outputs[0]] != 0]
