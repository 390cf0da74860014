"""A solver of any kind behind sound guards, its result as a gain on the stem's own spectrum if that is wished for."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from engine.method import OnIterate, Solver, Work
from engine.parts.guards import behind, chosen
from engine.parts.renderings import ContentPhase
from engine.spectra import Resolution
from engine.terms import Picture


def guarded(solver: Solver, params: Mapping[str, Any], rate: int) -> Solver:
    """``solver`` with the ``transients``, ``bass_hz`` and ``phase`` of ``params``; itself where they ask for nothing.

    One that is guarded shares no batch with others: what is kept from the style is its own stem's.
    """
    guards = chosen(transients=params.get("transients", False), bass_hz=params.get("bass_hz", 0.0))
    in_phase = params.get("phase", "published") == "stem"
    if not guards and not in_phase:
        return solver
    res = Resolution.at(rate, 2048)

    def solved(work: Work, on_iterate: OnIterate) -> Tensor:
        def style(let_through: Work) -> Tensor:
            styled = solver(let_through, on_iterate)
            if not in_phase:
                return styled
            return ContentPhase()(let_through.x, Picture(styled).magnitude(res), res, let_through.seed)

        return behind(guards, work, rate, style)

    return solved
