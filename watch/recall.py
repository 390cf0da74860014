"""What the folders still tell when a ledger was lost: the stems that failed lie in ``_failed`` with their reasons.

Those that are done need no help: a worker recognises their outputs by the records beside them, and renders nothing.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from watch import names
from watch.ledger import Known, Ledger
from watch.scan import Snapshot

_REASON_BYTES = 65_536


def failed(root: Path, ledger: Ledger) -> int:
    """Put what lies in ``_failed`` into a fresh ``ledger``, so that `status` tells it and `retry` finds it; how many.

    A stem whose place is taken by another file by now is left out: that one is the stem of this name.
    """
    known = {}
    with ledger.transaction():
        for aside, snapshot, reason in _asides(root):
            relative = aside.removeprefix(f"{names.FAILED}/")
            if names.is_input(relative) and not os.path.lexists(root / relative):
                ledger.found(relative, snapshot, "album" if names.is_album(relative) else "stem")
                known[relative] = Known(reason=reason, moved_to=aside)
    return ledger.rebuild(lambda row: known.get(row.relative))


def _asides(root: Path) -> Iterator[tuple[str, Snapshot, str]]:
    """Every source below ``_failed`` that has a reason beside it: its path below ``root``, its snapshot, the reason."""
    for folder, _, files in os.walk(root / names.FAILED):
        for name in sorted(files):
            path = Path(folder, name)
            try:
                status = os.lstat(path)
                with path.with_name(names.reason(name)).open("rb") as text:
                    reason = text.read(_REASON_BYTES).decode("utf-8", "replace").strip()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and reason:
                yield names.relative(root, path), Snapshot.of(status), reason
