"""What Windows lacks is needed by nothing that a render does there."""

import subprocess
import sys
from pathlib import Path

HOUSES = ("engine", "presets", "render")
# Others' libraries find their own way; they come first, and then what only POSIX has is taken away.
WITHOUT = """
import importlib, os, pkgutil, signal, sys
import matplotlib.pyplot, mido, numpy, pedalboard, platformdirs, pydantic, pyloudnorm, rich.console, rich.progress
import rpp, scipy.signal, soundfile, soxr, tomli, torch, torchaudio, typer.testing

platformdirs.user_cache_dir()

class Gone:
    names = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"{name} is not on Windows", name=name)

sys.meta_path.insert(0, Gone())
for name in Gone.names:
    sys.modules.pop(name, None)
for name in ("fork", "forkpty", "getpgid", "getpgrp", "geteuid", "getuid", "getgid", "killpg", "mkfifo", "nice",
             "sched_getaffinity", "setsid", "set_blocking", "statvfs", "sysconf", "uname", "wait", "O_NONBLOCK",
             "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "WNOHANG"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "alarm", "setitimer", "pause"):
    if hasattr(signal, name):
        delattr(signal, name)
"""
EVERY_MODULE = """
for house in HOUSES:
    for found in pkgutil.walk_packages([house], f"{house}."):
        if not found.name.endswith(("__main__", "tritons")):  # Triton is on Linux only, and asked for by no one else
            importlib.import_module(found.name)
"""
A_RENDER = """
import numpy
soundfile.write(sys.argv[1] + "/vox.wav", numpy.full((4000, 2), 0.25), 8000)
with open(sys.argv[1] + "/album.toml", "w") as file:
    file.write('[album]\\namount = 0\\nexport = ["rpp", "dawproject", "midi"]\\n')
    file.write('chain = [{ plugin = "gain", gain_db = -6 }]\\n')
    file.write('[[track]]\\nstem = "vox.wav"\\n')
from gramophone import app
done = typer.testing.CliRunner().invoke(app, ["render", sys.argv[1] + "/album.toml", "--out", sys.argv[1] + "/out"])
print(done.output)
assert done.exit_code == 0, done.exception
"""


def test_a_render_needs_nothing_that_windows_lacks(tmp_path: Path) -> None:
    """What only POSIX has is taken away: every module is imported, and an album rendered, all the same.

    Watched folders are left out.
    """
    program = WITHOUT + f"HOUSES = {HOUSES!r}\n" + EVERY_MODULE + A_RENDER
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    written = {path.name for path in (tmp_path / "out" / "album").iterdir()}
    assert {"01_vox_dry.wav", "album.rpp", "album.dawproject", "album.tempo.mid", "album.report.html"} <= written
