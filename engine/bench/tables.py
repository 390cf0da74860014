"""What all pages are made of: Markdown tables, figures, and the machine that they come from."""

from collections.abc import Iterable, Sequence

from engine.bench.machine import Ceilings, Machine

MEBI = 2**20


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; of more than two columns all but the first are figures and stand on the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1) if len(header) > 2 else ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def ms(seconds: float) -> str:
    """Milliseconds, to a tenth."""
    return f"{1e3 * seconds:.1f}"


def size(value: int | None) -> str:
    """Bytes as whole MiB, or that the system does not say."""
    return "not known" if value is None else f"{value / MEBI:,.0f} MiB"


def length(seconds: float) -> str:
    """A stem's length as musicians say it: 10 s, 5 min, 3 h."""
    for unit, name in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit or seconds == unit == 60:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


def figure(value: float | None, decimals: int) -> str:
    """A number without the sign of what rounds to nothing; a dash for none."""
    return "–" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def machine_table(machine: Machine, ceilings: Ceilings) -> str:
    """What a page was measured on."""
    rows = [*machine_rows(machine), ("device", machine.device), *ceiling_rows(machine, ceilings)]
    return table(("", ""), rows)


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """The machine without its devices."""
    load = "" if machine.load is None else f", load {machine.load:.1f} before the run"
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return [
        ("date", machine.date),
        ("machine", f"{machine.processor}, {machine.cores} cores, {machine.threads} threads{load}"),
        ("system", f"{machine.system}, Python {machine.python}"),
        ("packages", packages),
    ]


def ceiling_rows(machine: Machine, ceilings: Ceilings) -> list[tuple[str, str]]:
    """What a device reaches at its best."""
    how = f"float32, {machine.threads} threads" if machine.device == "cpu" else "float32"
    return [
        ("one big matrix product", f"{ceilings.flops / 1e9:,.0f} GFLOP/s ({how})"),
        ("one big copy", f"{ceilings.bytes_s / 1e9:,.1f} GB/s (read and written)"),
    ]
