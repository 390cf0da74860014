"""What the suite of devices found as a page of Markdown tables, and as a plot."""

from collections.abc import Sequence

from engine.bench import plots
from engine.bench.suite_device import Cell, Device, Findings
from engine.bench.tables import ceiling_rows, machine_rows, size, table


def markdown(found: Findings) -> str:
    """The page; ends without a newline."""
    parts = ["# Gramophone bench: devices"]
    if found.scale.name == "quick":
        parts.append("**A quick run**: short stems of little sound. Its figures are no verdict on anything.")
    parts.append(table(("", ""), machine_rows(found.devices[0].machine)))
    parts.append(
        "Stems generated on the fly, long enough to fill their batch, written nowhere; seam pass included. GFLOP/s "
        "and GB/s are those that no implementation of an evaluation can leave out, over the time of the solver alone; "
        "shares are of one big matrix product and of one big copy on the same device."
    )
    for device in found.devices:
        parts += _device(device)
    return "\n\n".join(parts)


def picture(found: Findings) -> bytes | None:
    """Speed and use of the device against batch size as a PNG; None without matplotlib."""
    speed, used = [], []
    for device in found.devices:
        for quality in found.scale.qualities:
            cells = [cell for cell in device.batches if cell.quality == quality]
            at = tuple(float(cell.batch) for cell in cells)
            name = f"{quality}, {device.name}"
            speed.append(plots.Line(name, at, tuple(cell.real_time for cell in cells)))
            for share, word in enumerate(("arithmetic", "memory")):
                shares = tuple(100 * device.used(cell)[share] for cell in cells)
                used.append(plots.Line(f"{name}: {word}", at, shares))
    return plots.png(
        [
            plots.Panel("Speed", "segments in a batch", "× real time", tuple(speed)),
            plots.Panel("Use of the ceilings", "segments in a batch", "%", tuple(used), from_zero=True),
        ]
    )


def _device(device: Device) -> list[str]:
    heading = device.name if device.machine.device == device.name else f"{device.name}: {device.machine.device}"
    facts = [*ceiling_rows(device.machine, device.ceilings), ("float32 products", device.products)]
    parts = [f"## {heading}", table(("", ""), facts)]
    for title, cells in (
        ("Batch size", device.batches),
        ("Channels", device.channels),
        ("Rate", device.rates),
    ):
        parts += [f"### {title}", _cells(device, cells)]
    return parts


def _cells(device: Device, cells: Sequence[Cell]) -> str:
    counted = any(cell.memory is not None for cell in cells)
    rows = []
    for cell in cells:
        flops, moved = device.used(cell)
        fitted = "" if cell.largest >= cell.batch else f" ({cell.largest} fitted)"
        rows.append(
            (
                cell.quality,
                f"{cell.batch}{fitted}",
                str(cell.channels),
                f"{cell.rate / 1000:g}",
                f"{cell.seconds:g}",
                f"{cell.real_time:,.1f}×",
                f"{100 * cell.solver_s / cell.wall_s:.0f} %",
                f"{cell.flops / cell.solver_s / 1e9:,.0f}",
                f"{100 * flops:.0f} %",
                f"{cell.bytes / cell.solver_s / 1e9:,.1f}",
                f"{100 * moved:.0f} %",
                *((size(cell.memory),) if counted else ()),
            )
        )
    what = ("", "batch", "channels", "kHz", "s of sound", "real time")
    use = ("in the solver", "GFLOP/s", "of ceiling", "GB/s", "of ceiling")
    return table((*what, *use, *(("on the device",) if counted else ())), rows)
