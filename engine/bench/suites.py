"""What can be measured, by name.

Without Typer: ``python -c "from engine.bench import suites; print(suites.run('main').page)"``.
"""

import difflib
from dataclasses import dataclass
from typing import Any

from engine.bench import (
    page_device,
    page_long,
    page_main,
    page_recipes,
    suite_device,
    suite_long,
    suite_main,
    suite_recipes,
)
from engine.bench.steps import OnStep
from engine.errors import EngineError

#: Suites, and what each tells.
SUITES = {
    "main": "speed, memory and sound of ten seconds, and the race with the published pipeline",
    "long": "time and memory against length, and what the size of a batch changes",
    "device": "speed against batch size, channels and rate, and how much of a device is used",
    "recipes": "every recipe on the same pairs: time, memory, and the sound of the written files",
}
#: Those that have more to measure than they usually do.
_FULL = ("long", "recipes")


@dataclass(frozen=True)
class Result:
    """One run: all figures as JSON, the page in Markdown, and its plot as a PNG.

    ``picture`` is None for a suite that has none and where matplotlib is not installed.
    """

    record: dict[str, Any]
    page: str
    picture: bytes | None = None


def check(suite: str, *, quick: bool = False, full: bool = False) -> None:
    """Refuse a suite that is not there, with the nearest name, and sizes that it does not have: `EngineError`."""
    if suite not in SUITES:
        near = difflib.get_close_matches(suite, SUITES, 1, 0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise EngineError(f"no suite is called {suite!r}{hint} (there are: {', '.join(SUITES)})")
    if full and suite not in _FULL:
        raise EngineError(f"--full is of suites {' and '.join(_FULL)} only; suite {suite!r} always measures all it can")
    if full and quick:
        raise EngineError("--full and --quick were both given; choose one")


def run(
    suite: str = "main",
    *,
    device: str = "auto",
    quick: bool = False,
    full: bool = False,
    on_step: OnStep = lambda line: None,
) -> Result:
    """Run ``suite`` on ``device``; ``quick`` for a smoke run, ``full`` for stems of hours (suite long) and
    published sizes (suite recipes).

    `EngineError` as `check`; `DeviceError` for a device that is not there.
    """
    check(suite, quick=quick, full=full)
    if suite == "long":
        long = suite_long.run(device=device, quick=quick, full=full, on_step=on_step)
        return Result(long.record(), page_long.markdown(long), page_long.picture(long))
    if suite == "device":
        devices = suite_device.run(device=device, quick=quick, on_step=on_step)
        return Result(devices.record(), page_device.markdown(devices), page_device.picture(devices))
    if suite == "recipes":
        tried = suite_recipes.run(device=device, quick=quick, full=full, on_step=on_step)
        return Result(tried.record(), page_recipes.markdown(tried), page_recipes.picture(tried))
    found = suite_main.run(device=device, quick=quick, on_step=on_step)
    return Result(found.record(), page_main.markdown(found))
