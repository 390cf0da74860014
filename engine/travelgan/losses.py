"""What generator, siamese and critic are asked for; sources as in `engine.travelgan`.

All means are over the batch and over what else there is.  Points are ``[batch, outputs]``, scores ``[batch, 1]``.
"""

from torch import Tensor
from torch.nn import functional


def critic_hinge(real: Tensor, made: Tensor) -> Tensor:
    """``½ (mean relu(1 − D(b)) + mean relu(1 + D(made)))`` of scores of the style and of what was made."""
    return (functional.relu(1 - real).mean() + functional.relu(1 + made).mean()) / 2


def adversarial(made: Tensor) -> Tensor:
    """``−mean D(made)``."""
    return -made.mean()


def travel(before: Tensor, after: Tensor) -> Tensor:
    """``mean (t − t')² − mean <t / |t|, t' / |t'|>`` of the vectors between two pieces before and after; −1 at best."""
    return (before - after).square().mean() - functional.cosine_similarity(before, after, dim=-1, eps=1e-6).mean()


def margin(vectors: Tensor, delta: float = 2.0, *, squared: bool = True) -> Tensor:
    """``mean relu(δ − |t|)²``: two pieces may not fall on one point. Squared as in the code, plain as in the paper."""
    short = functional.relu(delta - vectors.norm(dim=-1))
    return (short.square() if squared else short).mean()


def identity(style: Tensor, made: Tensor) -> Tensor:
    """``mean |b − G(b)|``: what is of the style already stays."""
    return (style - made).abs().mean()
