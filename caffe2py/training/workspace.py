"""A workspace that knows the nets in it, so that their random numbers can be saved and go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from caffe2py.executor.net import CreatedNet
from caffe2py.executor.workspace import Workspace
from caffe2py.proto.caffe2_pb2 import NetDef
from caffe2py.registry.trust import Trust

__all__ = ["RandomStates", "TrainingWorkspace"]

#: (name of the net, how many of that name were made before, index of the operator) -> key, count.
RandomStates = dict[tuple[str, int, int], tuple[int, int]]

#: An odd number that spreads seeds over 32 bits.
_SPREAD = 0x9E3779B1


class _Nets:
    """All nets that were bound, those inside of operators included, by name and order."""

    def __init__(self) -> None:
        self._nets: dict[tuple[str, int], CreatedNet] = {}
        self._count: Counter[str] = Counter()
        self._expected: dict[tuple[str, int], dict[int, tuple[int, int]]] = {}

    def add(self, net: CreatedNet) -> None:
        key = (net.name, self._count[net.name])
        self._count[net.name] += 1
        self._nets[key] = net
        net.set_random_states(self._expected.pop(key, {}))

    def forget(self) -> None:
        self._nets.clear()
        self._count.clear()

    def states(self) -> RandomStates:
        found = {
            (*key, index): state
            for key, net in self._nets.items()
            for index, state in net.random_states().items()
        }
        expected = {
            (*key, index): state
            for key, states in self._expected.items()
            for index, state in states.items()
        }
        return {**found, **expected}

    def restore(self, states: Mapping[tuple[str, int, int], tuple[int, int]]) -> None:
        """Nets that are not bound yet (the other branch of an If) get theirs when they are."""
        for (name, number, index), state in states.items():
            net = self._nets.get((name, number))
            if net is None:
                self._expected.setdefault((name, number), {})[index] = state
            else:
                net.set_random_states({index: state})


class TrainingWorkspace(Workspace):
    """A workspace whose random numbers depend on a seed too; with seed 0 they are a Workspace's."""

    def __init__(
        self, parent: Workspace | None = None, trust: Trust | None = None, *, seed: int = 0
    ) -> None:
        super().__init__(parent, trust)
        above = parent if isinstance(parent, TrainingWorkspace) else None
        self.seed: int = above.seed if above else seed
        self._tracked: _Nets = above._tracked if above else _Nets()

    def seed_for(self, name: str) -> int:
        """As Workspace.seed_for, shifted by the seed."""
        return (super().seed_for(name) + self.seed * _SPREAD) % 2**32

    def create_net(
        self, net: NetDef, *, overwrite: bool = False, keep: Collection[str] | None = None
    ) -> str:
        """As Workspace.create_net."""
        name = super().create_net(net, overwrite=overwrite, keep=keep)
        self._tracked.add(self.net(name))
        return name

    def bind(self, net: NetDef) -> CreatedNet:
        """As Workspace.bind."""
        made = super().bind(net)
        self._tracked.add(made)
        return made

    def apart(self) -> Workspace:
        """As Workspace.apart."""
        made = super().apart()
        if isinstance(made, TrainingWorkspace):
            made.seed, made._tracked = self.seed, self._tracked
        return made

    def run_once(self, net: NetDef) -> None:
        """Run a net that makes what training begins with; it is no part of the random states."""
        self.run_net_once(net)
        self._tracked.forget()

    def random_states(self) -> RandomStates:
        """Where the random numbers of all nets are."""
        return self._tracked.states()

    def set_random_states(self, states: RandomStates) -> None:
        """Go on from there; nets that are bound later, too."""
        self._tracked.restore(states)
