"""Trying stems again: the source comes back from where it was put aside, and its row waits once more."""

import difflib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watch import names
from watch.errors import WatchError
from watch.ledger import Ledger
from watch.rows import Row
from watch.view import View


@dataclass(frozen=True)
class Retried:
    """The stems that wait again, and those that cannot, each with the reason."""

    waiting: tuple[str, ...]
    left: tuple[tuple[str, str], ...]


def retry(folder: Path, ledger: Ledger, relative: str | None = None) -> Retried:
    """Let the stem at ``relative``, or all that failed, be rendered anew by the daemon of ``folder``.

    Sources that were moved aside are moved back, never over another file. Harmless when interrupted or repeated.
    """
    rows = ledger.rows("failed") if relative is None else [one for one in [ledger.of(relative)] if one is not None]
    waiting: list[str] = []
    left: list[tuple[str, str]] = []
    for one in rows:
        try:
            _bring_back(folder, ledger, one)
        except WatchError as error:
            left.append((one.relative, str(error)))
            continue
        if ledger.retry(one.relative):
            waiting.append(one.relative)
        else:
            left.append((one.relative, f"it is {one.state}"))
    return Retried(tuple(waiting), tuple(left))


def matching(view: View, folder: Path, name: str) -> str:
    """The path in the ledger that a person means by ``name``: the path itself, a path on disk, or a file's name.

    The name may lack its ending.

    `WatchError` when there is none, or more than one.
    """
    for candidate in (name, _below(folder, Path(name)), _below(folder, folder / name)):
        if candidate is not None and view.of(candidate) is not None:
            return candidate
    known = [one.relative for one in view.rows()]
    called = [relative for relative in known if name in _names(relative)]
    if len(called) == 1:
        return called[0]
    if called:
        raise WatchError(f"{name!r} is the name of {len(called)} stems; say which: {', '.join(sorted(called)[:5])}")
    near = difflib.get_close_matches(name, known, 1, 0.5)
    raise WatchError(f"no stem {name!r} was ever found{f'; did you mean {near[0]!r}?' if near else ''}")


def _names(relative: str) -> tuple[str, str]:
    """What a person may call the file at ``relative``: its name, and that without its ending."""
    name = relative.rpartition("/")[2]
    return name, name[: len(name) - len(names.ending(name))]


def _below(folder: Path, path: Path) -> str | None:
    with suppress(ValueError, OSError):
        return Path(os.path.abspath(path)).relative_to(os.path.abspath(folder)).as_posix()  # noqa: PTH100 links stay
    return None


def _bring_back(folder: Path, ledger: Ledger, one: Row) -> None:
    """Put the source of ``one`` where it was dropped; `WatchError` says why it cannot be."""
    place = folder / one.relative
    aside = folder / (one.moved_to or f"{names.FAILED}/{one.relative}")
    if one.moved_to is not None and aside.exists():
        _move(folder, aside, place)
    if not aside.exists():  # else the text is another's
        with suppress(OSError):
            aside.with_name(names.reason(aside.name)).unlink()
    if not os.path.lexists(place):
        raise WatchError("its source is gone; drop it again")
    if one.moved_to is not None:
        ledger.moved(one.id, None)


def _move(folder: Path, aside: Path, place: Path) -> None:
    if os.path.lexists(place):
        raise WatchError(f"another file lies in its place; move that one, or drop {aside} under another name")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.parent.resolve().is_relative_to(folder.resolve()):
            raise WatchError(f"{place.parent} leads out of {folder} through a link; remove the link")
        try:
            os.link(aside, place)  # unlike a rename, never over a file that came this very moment
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            aside.rename(place)
        else:
            aside.unlink()
    except OSError as error:
        raise WatchError(f"{aside} cannot be moved back: {error.strerror or error}") from error
