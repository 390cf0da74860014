"""Learn a preset from references, once: the same references, recipe, parameters and version are never learnt twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import recipes
from presets import cards, names, references
from presets.errors import PresetError
from presets.events import Event, OnEvent, PresetSaved, TargetStarted
from presets.library import Entry, Library, default_library, inspect
from presets.version import gramophone_version

if TYPE_CHECKING:
    from presets.preset import Clock, Preset

LISTEN_S = 300.0


def _unheard(event: Event) -> None:
    pass


@dataclass(frozen=True)
class Defaults:
    """What the preset's card should say of its use; None leaves what the card has, or the plain default.

    Raises `PresetError` for an amount outside 0 to 1, a chain entry without a plugin or an unprintable licence.
    """

    amount: float | None = None
    chain: Sequence[Mapping[str, Any]] | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        cards.check_use(**self.fields())

    def fields(self) -> dict[str, Any]:
        """The card fields that are given."""
        chain = None if self.chain is None else tuple(dict(entry) for entry in self.chain)
        given = {"amount": self.amount, "chain": chain, "licence": self.licence}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Request:
    """All that a learnt target depends on; ``rate`` None lets the references decide. `key` is its digest."""

    files: tuple[references.File, ...]
    recipe: str
    params: Mapping[str, Any]
    rate: int | None
    listen_s: float

    @property
    def key(self) -> str:
        """The sha256 of references, recipe, parameters, rate and version: equal keys, equal targets."""
        return cards.digest(
            {
                "version": gramophone_version(),
                "references": [file.sha256 for file in self.files],
                "recipe": self.recipe,
                "params": dict(self.params),
                "rate": self.rate,
                "listen_s": self.listen_s,
            }
        )


def request(
    paths: Sequence[Path],
    *,
    recipe: str = "kernel",
    params: Mapping[str, Any] | None = None,
    rate: int | None = None,
    listen_s: float = LISTEN_S,
    on_event: OnEvent = _unheard,
) -> Request:
    """What would be learnt from the files and folders ``paths``: hashed, not decoded.

    Raises `PresetError` for a missing file, a wrong rate or parameters that are not JSON, `RecipeError` for a recipe
    or parameters that it does not know.
    """
    found = recipes.find(recipe)
    if found.trained:
        raise PresetError(
            f"recipe {recipe!r} is trained between two sets of sounds, not learnt from references: "
            "gramophone preset train --content DIR --style DIR --name NAME"
        )
    if rate is not None:
        references.checked_rate(rate)
    if not 1.0 <= listen_s <= 3600.0:
        raise PresetError(f"listen is {listen_s:g} s; expected 1 to 3600 s of audio to learn from")
    cards.digest(dict(params or {}))
    found.check(params or {})
    files = references.collect(paths, on_event)
    return Request(tuple(files), recipe, dict(params or {}), rate, float(listen_s))


def ensure(
    wanted: Request,
    name: str,
    library: Library,
    *,
    defaults: Defaults = Defaults(),
    replace: bool = False,
    again: bool = False,
    on_event: OnEvent = _unheard,
    clock: "Clock | None" = None,
) -> tuple[Entry, bool]:
    """The preset ``name`` of what is ``wanted``; True when its target was in the library, under whatever name.

    Then neither torch nor audio is touched: the tensors are copied and the card gets ``defaults``; ``again`` learns
    all the same. Raises `PresetError` when ``name`` holds something else and may not be replaced, and as `learn`.
    """
    name = names.validated(name)
    key = wanted.key
    equal = [entry for entry in library.list() if entry.card and entry.card.learn_key == key]
    own = next((entry for entry in equal if entry.name == name), None)
    if own is None and not replace and library.path(name).exists():
        raise PresetError(
            f"preset {name!r} exists and holds something else, or is broken; choose another --name, or say --replace"
        )
    replace = replace or own is not None
    whole = [] if again else [entry for entry in ([own] if own else []) + equal if _is_whole(entry)]
    if whole:
        entry = _reuse(whole[0], name, library, defaults, replace)
    else:
        entry = _learn(wanted, name, library, defaults, replace, on_event, clock)
    on_event(PresetSaved(name, cached=bool(whole)))
    return entry, bool(whole)


def learn(
    paths: Sequence[Path],
    name: str,
    *,
    recipe: str = "kernel",
    params: Mapping[str, Any] | None = None,
    rate: int | None = None,
    listen_s: float = LISTEN_S,
    library: Library | None = None,
    defaults: Defaults = Defaults(),
    replace: bool = False,
    again: bool = False,
    on_event: OnEvent = _unheard,
    clock: "Clock | None" = None,
) -> "tuple[Preset, bool]":
    """Learn the preset ``name`` from the files and folders ``paths``; True when it had been learnt before.

    At most about ``listen_s`` seconds are learnt from, spread evenly over the references. ``rate`` in Hz defaults to
    the highest of the references, kept within 44.1 and 48 kHz. ``replace`` lets ``name`` be taken from another
    preset, ``again`` learns what is known already. Raises `PresetError`, or `EngineError` when the audio or the
    recipe refuses.
    """
    library = library or default_library()
    names.validated(name)
    wanted = request(paths, recipe=recipe, params=params, rate=rate, listen_s=listen_s, on_event=on_event)
    entry, cached = ensure(
        wanted, name, library, defaults=defaults, replace=replace, again=again, on_event=on_event, clock=clock
    )
    return library.load(entry.name), cached


def _is_whole(entry: Entry) -> bool:
    try:
        inspect(entry.path)
    except PresetError:
        return False
    return True


def _reuse(known: Entry, name: str, library: Library, defaults: Defaults, replace: bool) -> Entry:
    changes = defaults.fields()
    if known.name != name:
        changes = {"amount": 1.0, "chain": (), "licence": ""} | changes
    elif all(getattr(known.card, field) == value for field, value in changes.items()):
        return known
    return library.copy(known.path, name, changes, replace=replace)


def _learn(
    wanted: Request,
    name: str,
    library: Library,
    defaults: Defaults,
    replace: bool,
    on_event: OnEvent,
    clock: "Clock | None",
) -> Entry:
    from engine import style
    from presets import preset as presets

    heard, rate = references.hear(wanted.files, wanted.rate, wanted.listen_s, on_event)
    excerpts = [excerpt for each in heard for excerpt in each.excerpts]
    on_event(TargetStarted(wanted.recipe, sum(excerpt.shape[-1] for excerpt in excerpts) / rate))
    learnt = presets.new(
        name,
        style.learn(excerpts, rate, recipe=wanted.recipe, params=wanted.params),
        references=[each.record() for each in heard],
        loudness_dbfs=references.loudness_dbfs(heard, rate),
        learn_key=wanted.key,
        clock=clock or presets.utc_now,
        **defaults.fields(),
    )
    library.save(learnt, replace=replace)
    return library.entry(name)
