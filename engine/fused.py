"""Steps that a CUDA GPU does in one pass over its memory (`engine.tritons`), each beside the plain lines it stands for.

The first time a kernel could be used it is compared with its plain lines on what they were called with.  If they agree
it is used from then on; if they do not, or if it cannot be built (no Triton, no compiler), the plain lines go on doing
the same in several passes.  ``GRAMOPHONE_FUSED=0`` keeps to them.
"""

import importlib
import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from engine import device as devices

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", Tensor, tuple[Tensor, Tensor])

#: How far a kernel may be from its plain lines, of their largest number: the angle between a patch and itself is the
#: square root of what float32 rounds.
TOLERANCE = 1e-3
_log = logging.getLogger(__name__)
_trusted: dict[str, bool] = {}


def applies(first: Tensor) -> bool:
    """Whether there are kernels for tensors such as ``first``."""
    return first.is_cuda and first.dtype in (torch.float32, torch.complex64)


def fused(plain: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``plain``, done by the kernel of its name wherever that `applies` to its first argument and has proved right."""
    name = plain.__name__

    @wraps(plain)
    def either(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        first: Any = args[0]
        followed = first.requires_grad and torch.is_grad_enabled()  # a kernel has no gradient of its own
        if followed or not applies(first) or _trusted.get(name) is False:
            return plain(*args, **kwargs)
        if name not in _trusted:
            return _proved(name, plain, args, kwargs)
        found: Result = _kernel(name)(*args, **kwargs)
        return found

    return either


def _kernel(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(importlib.import_module("engine.tritons"), name)
    return found


def _proved(name: str, plain: Callable[..., Result], args: Any, kwargs: Any) -> Result:
    """What the kernel gives if it is what ``plain`` gives, and it is used from now on; else what ``plain`` gives.

    Not plain lines the first time and the kernel later: a process's first render has the bytes of its second.
    """
    wanted = plain(*args, **kwargs)
    if os.environ.get("GRAMOPHONE_FUSED") == "0":
        _trusted[name] = False
        return wanted
    try:
        found = _kernel(name)(*args, **kwargs)
        error = max(apart(one, other) for one, other in zip(_parts(found), _parts(wanted), strict=True))
    except Exception as failure:
        if devices.ran_out(failure):
            return wanted  # it may fit next time
        _log.warning("the fused kernel %s cannot be used here (%s); plain lines do its work", name, failure)
        _trusted[name] = False
        return wanted
    _trusted[name] = error < TOLERANCE
    if _trusted[name]:
        agreed: Result = found
        return agreed
    _log.warning("the fused kernel %s is %.1e off on this GPU; plain lines do its work", name, error)
    return wanted


def _parts(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference over the largest number; infinite where shapes differ or something is not finite."""
    if found.shape != wanted.shape:
        return float("inf")
    if not wanted.numel():
        return 0.0
    difference = (found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30)
    return float(difference) if bool(difference.isfinite()) else float("inf")
