"""What a user may wish of a render."""

from dataclasses import dataclass

from engine.errors import EngineError

QUALITIES = ("draft", "standard", "fine")


@dataclass(frozen=True)
class Settings:
    """How one stem is restyled; raises `EngineError` on a value out of range.

    ``amount`` is how much of the style is taken on (0 the stem, 1 all of it), ``mix`` the cross-fade from dry to wet.
    """

    amount: float = 1.0
    mix: float = 1.0
    quality: str = "standard"
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("amount", "mix"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise EngineError(f"{name} is {value}; expected a number from 0 to 1")
        if self.quality not in QUALITIES:
            raise EngineError(f"quality is {self.quality!r}; expected one of {', '.join(QUALITIES)}")
