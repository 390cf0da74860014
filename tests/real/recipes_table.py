"""Every recipe on real recordings: presets learnt and stems rendered as a user would, the written files judged.

    python -m tests.real.recipes_table FOLDER [RECIPE …]

renders the recipes named (without names: all) that have no ``FOLDER/RECIPE.json`` yet, writes it, and prints the table
of all there are, which docs/RECIPES-BENCH.md keeps.  Ten seconds of stereo at 22 050 Hz; the judges are `engine.judge`
and the music tagger of ``ear.py``.  Every file must have its stem's shape; the table shows whose loss fell by how much.

What takes hours at its published size runs with the fewer iterations or filters that `gramophone bench` gives it.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import librosa
import soundfile
import torch

from engine import audio, weights
from engine.bench.suite_recipes import SHORTER
from engine.events import Iterate
from engine.judge import Judge
from engine.recipes import LEARNT, RECIPES
from presets.learn import learn
from presets.library import Library
from render import batch, planner
from render.choices import Choices
from render.events import Event, StemFailed, StemProgress

from . import material

SECONDS, RATE = 10, 22050
#: Recordings of two channels that sound different; the style is as long.
PAIRS = (("keys", "bell-choir"), ("drums", "organ"))
EAR = Path(__file__).parents[3] / "shared" / "tools" / "ear.py"


def stereo(name: str, folder: Path) -> Path:
    """Ten seconds of a recording as it is, both channels, in 24 bits."""
    path = folder / f"{name}.wav"
    if not path.exists():
        samples, rate = soundfile.read(material.source(name, folder / "mono"), dtype="float32", always_2d=True)
        both = librosa.resample(samples.T, orig_sr=rate, target_sr=RATE)
        both = both if len(both) == 2 else both.repeat(2, 0)
        times = -(-SECONDS * RATE // both.shape[1])
        whole = torch.from_numpy(both).repeat(1, times)[:, : SECONDS * RATE]
        soundfile.write(path, 0.7 * whole.T.numpy(), RATE, subtype="PCM_24")
    return path


def shaped(stem: Path, output: Path) -> bool:
    """Whether a file has the stem's rate, channels, length and bits, sound in it, and nothing that is no number."""
    was, now = audio.probe(stem), audio.probe(output)
    samples = audio.read(output).samples
    same = (was.rate, was.channels, was.frames, was.format) == (now.rate, now.channels, now.frames, now.format)
    return same and bool(samples.isfinite().all()) and bool(samples.any())


def ears(folder: Path) -> Callable[[Path, Path, Path], tuple[float, float]]:
    """The tagger of ``ear.py``: layers and tags of (stem, style, output), weights from musicnn's wheel."""
    os.environ["MUSICNN"] = str(material.wheel("musicnn", folder) / "musicnn")
    spec = importlib.util.spec_from_file_location("ear", EAR)
    assert spec is not None
    assert spec.loader is not None
    ear = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ear)
    tagger = ear.load(ear.B + "MTT_vgg/")
    known: dict[Path, Any] = {}

    def heard(path: Path) -> Any:
        if path not in known:
            known[path] = ear.hear(str(path), tagger)
        return known[path]

    def ratios(stem: Path, style: Path, output: Path) -> tuple[float, float]:
        (tags_stem, stem_layers), (tags_style, style_layers) = heard(stem), heard(style)
        tags_out, out_layers = ear.hear(str(output), tagger)

        def apart(a: Any, b: Any) -> float:
            return fmean(1 - float(torch.nn.functional.cosine_similarity(x, y, 0)) for x, y in zip(a, b, strict=True))

        tags = float((tags_out - tags_style).abs().sum() / (tags_stem - tags_style).abs().sum())
        return apart(out_layers, style_layers) / apart(stem_layers, style_layers), tags

    return ratios


def chosen(name: str) -> dict[str, Any]:
    """The parameters a recipe is learnt with: shorter where it says so, untrained where its weights are not here."""
    params = dict(SHORTER.get(name, {}))
    needed = RECIPES[name].weights
    if needed in weights.WEIGHTS and not weights.WEIGHTS[needed].installed:
        params["weights"] = weights.RANDOM
    return params


def rendered(name: str, stem: Path, style: Path, folder: Path) -> dict[str, Any]:
    """One stem through one preset, as the command line renders it, and what that took."""
    library = Library(folder / "library")
    learn([style], f"{name}-{style.stem}", recipe=name, params=chosen(name), rate=RATE, library=library)
    out = folder / name / f"{stem.stem}-{style.stem}.wav"
    out.parent.mkdir(exist_ok=True)
    choices = Choices(preset=f"{name}-{style.stem}", device="cpu")
    plan = planner.plan_stems([stem], library=library, choices=choices, out=out, overwrite=True)
    losses: list[float] = []
    failed: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, StemFailed):
            failed.append(event.reason)
        if isinstance(event, StemProgress) and isinstance(event.event, Iterate) and event.event.segment == 0:
            losses.append(event.event.loss)

    before = time.process_time()
    batch.run(plan, on_event=tell)
    took = time.process_time() - before
    if failed:
        raise SystemExit(f"{name}: {failed[0]}")
    falls = losses[0] / max(losses[-1], 1e-12) if losses and losses[0] > 0 else None
    return {"output": str(out), "cpu_s": took, "evaluations": len(losses), "falls": falls, "shape": shaped(stem, out)}


def measured(name: str, folder: Path, ratios: Callable[[Path, Path, Path], tuple[float, float]]) -> dict[str, Any]:
    """Both pairs through one recipe, judged."""
    rows = []
    for stem_name, style_name in PAIRS:
        stem, style = stereo(stem_name, folder), stereo(style_name, folder)
        row = rendered(name, stem, style, folder)
        out = Path(row.pop("output"))
        sounds = [audio.read(path).samples for path in (stem, style, out)]
        verdict = Judge(sounds[0], sounds[1], RATE).verdict(sounds[2])
        layers, tags = ratios(stem, style, out)
        rows.append({**row, **verdict.record(), "layers": layers, "tags": tags})
    return {"name": name, "params": chosen(name), "pairs": rows}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Means over the pairs, a recipe a line."""
    columns = ("style_ratio", "layers", "tags", "chroma", "onset", "mfcc_ratio", "gap_db")
    falls = tuple(f"falls, {stem}" for stem, _ in PAIRS)
    heads = ("", "style", "layers", "tags", "chroma", "onset", "mfcc", "gap dB", *falls, "shape", "CPU s")
    lines = [heads, ("---", *["---:"] * (len(heads) - 1))]
    for name in filter(found.__contains__, LEARNT):
        pairs = found[name]["pairs"]
        said = ", ".join(f"{key} = {value}" for key, value in found[name]["params"].items())
        means = [f"{fmean(row[column] for row in pairs):.2f}" for column in columns]
        fell = ["–" if row["falls"] is None else f"{row['falls']:,.1f}×" for row in pairs]
        shape = "same" if all(row["shape"] for row in pairs) else "**other**"
        cost = f"{fmean(row['cpu_s'] for row in pairs):,.1f}"
        lines.append((f"`{name}`{f', {said}' if said else ''}", *means, *fell, shape, cost))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(folder: Path, names: list[str]) -> None:
    """Render what is asked for and not there yet; print the table of all there is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mono").mkdir(exist_ok=True)
    ratios = ears(folder)
    for name in names or list(LEARNT):
        path = folder / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps(measured(name, folder, ratios)), encoding="utf-8")
            sys.stderr.write(table({name: json.loads(path.read_text(encoding="utf-8"))}).splitlines()[-1] + "\n")
    every = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    sys.stdout.write(table(every) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
