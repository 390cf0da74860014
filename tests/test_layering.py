"""The houses stand as designed: imports point down, nothing goes in circles, and each house needs only what it may."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSES = ("engine", "presets", "render", "watch")
# All the engine may need besides itself and the standard library; its command line and audio.py's kin may need more.
ENGINE_NEEDS = {"torch", "torchaudio", "numpy"}
AUDIO_PARTS = {"engine.audio", "engine.decoding", "engine.encoding", "engine.stem"}
ENGINE_DOORS = {*AUDIO_PARTS, "engine.cli", "engine.recipecli", "engine.tritons", "engine.__main__"}
AUDIO_NEEDS = {"soundfile", "soxr"}


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_package(name: str) -> bool:
    return (ROOT / name.replace(".", "/")).is_dir()


def _modules(root: Path) -> dict[str, ast.Module]:
    paths = [p for house in HOUSES for p in sorted((root / house).rglob("*.py"))]
    return {_name(p, root): ast.parse(p.read_text(encoding="utf-8")) for p in paths}


def _nodes_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs at import: not the bodies of functions, nor what only type checkers see."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield other
                yield from _nodes_at_import(other)
            continue
        yield child
        yield from _nodes_at_import(child)


def _imports(name: str, nodes: Iterator[ast.AST], package: bool) -> set[str]:
    """The dotted names that ``nodes`` import; ``from a import b`` counts as both ``a`` and ``a.b``."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + package] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return found


def _everywhere(name: str, tree: ast.Module) -> set[str]:
    return _imports(name, ast.walk(tree), _is_package(name))


def arrows_up(modules: dict[str, ast.Module]) -> list[str]:
    """The imports, wherever they stand, of a house above the importing module's own."""
    return [
        f"{name} imports {target}"
        for name, tree in modules.items()
        for target in sorted(_everywhere(name, tree))
        if target.split(".")[0] in HOUSES and HOUSES.index(target.split(".")[0]) > HOUSES.index(name.split(".")[0])
    ]


def cycle(modules: dict[str, ast.Module]) -> list[str]:
    """A ring of modules that import each other when they are imported, or nothing."""
    edges = {
        name: {target for target in _imports(name, _nodes_at_import(tree), _is_package(name)) if target in modules}
        - {name}
        for name, tree in modules.items()
    }
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(edges[name]):
            if ring := walk(target, [*path, name]):
                return ring
        done.add(name)
        return []

    return next((ring for name in sorted(edges) if (ring := walk(name, []))), [])


def _planted(**sources: str) -> dict[str, ast.Module]:
    return {name.replace("__", "."): ast.parse(text) for name, text in sources.items()}


def test_imports_point_down() -> None:
    """No module imports from a house above its own, not even inside a function."""
    assert arrows_up(_modules(ROOT)) == []


def test_no_cycles() -> None:
    """No modules import each other in a ring."""
    assert cycle(_modules(ROOT)) == []


def test_an_arrow_up_is_seen() -> None:
    """A planted import of render from the engine is found, in a function or at the top."""
    planted = _planted(
        engine__a="def f():\n    from render.page import html", presets__b="import watch", render__c="import engine.a"
    )
    assert arrows_up(planted) == [
        "engine.a imports render.page",
        "engine.a imports render.page.html",
        "presets.b imports watch",
    ]


def test_a_cycle_is_seen() -> None:
    """A planted ring is found through relative imports; one broken by a deferred import or for types alone is none."""
    ring = _planted(engine__a="from .b import x", engine__b="from engine import c", engine__c="import engine.a")
    assert cycle(ring) == ["engine.a", "engine.b", "engine.c", "engine.a"]
    deferred = _planted(engine__a="from .b import x", engine__b="def f():\n    import engine.a")
    typed = _planted(engine__a="from .b import x", engine__b="if TYPE_CHECKING:\n    import engine.a")
    assert cycle(deferred) == cycle(typed) == []


def _outside_needs(name: str, tree: ast.Module) -> set[str]:
    tops = {target.split(".")[0] for target in _imports(name, _nodes_at_import(tree), _is_package(name))}
    return tops - set(sys.stdlib_module_names) - {"engine"}


def test_engine_needs_only_torch_and_numpy() -> None:
    """Every engine module but a few doors imports with torch, torchaudio and numpy alone.

    The doors are audio files, the command line, and a GPU's kernels: Triton comes with torch where they are asked for.
    """
    modules = {name: tree for name, tree in _modules(ROOT).items() if name.split(".")[0] == "engine"}
    greedy = {
        name: extra
        for name, tree in modules.items()
        if name not in ENGINE_DOORS and (extra := _outside_needs(name, tree) - ENGINE_NEEDS)
    }
    assert greedy == {}
    for part in AUDIO_PARTS:
        assert _outside_needs(part, modules[part]) <= ENGINE_NEEDS | AUDIO_NEEDS


def test_files_are_opened_in_one_place() -> None:
    """Only engine.audio and what it alone is made of import soundfile; nothing above decodes sound by itself."""
    imports = {name: _everywhere(name, tree) for name, tree in _modules(ROOT).items()}
    users = {name for name, found in imports.items() if any(t.split(".")[0] == "soundfile" for t in found)}
    assert users == AUDIO_PARTS - {"engine.audio"}
    through = {name for name, found in imports.items() if found & (AUDIO_PARTS - {"engine.audio"})}
    assert through <= AUDIO_PARTS


@pytest.mark.parametrize("house", HOUSES)
def test_packages_hold_only_their_docstring(house: str) -> None:
    """A package's own file says what the house is for and does nothing, so that importing it costs nothing."""
    body = ast.parse((ROOT / house / "__init__.py").read_text(encoding="utf-8")).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)
