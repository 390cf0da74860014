"""What starts the daemon with the session: a systemd user unit on Linux, a launchd agent on macOS.

https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html, launchd.plist(5)
"""

import hashlib
import os
import plistlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from watch.errors import WatchError
from watch.options import EXIT_LOCKED

_PLAIN: Final = re.compile(r"[A-Za-z0-9_@%+=:,./$-]+")
# Ends in the daemon's own grace, then a little for what cannot be hurried.
_BEYOND_GRACE_S: Final = 15
_WATCHDOG_S: Final = 120


def label(folder: Path) -> str:
    """A name for the service that watches ``folder``: readable, and another for every folder."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", folder.name).strip("-").lower()[:40]
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
    return "-".join(part for part in ("gramophone-watch", readable, digest) if part)


def systemd_unit(
    command: Sequence[str], folder: Path, *, environ: Mapping[str, str] | None = None, grace_s: float = 30.0
) -> str:
    """A user unit that runs ``command``, the daemon of ``folder``, with the variables ``environ``."""
    variables = "".join(f"Environment={_quoted(f'{key}={value}')}\n" for key, value in (environ or {}).items())
    return f"""\
[Unit]
Description=Gramophone: styles what is dropped into {_specifiers(_line(folder))}
Documentation=man:systemd.service(5)

[Service]
Type=notify
NotifyAccess=main
ExecStart={" ".join([_quoted(command[0]), *(_quoted(text.replace("$", "$$")) for text in command[1:])])}
ExecReload=/bin/kill -HUP $MAINPID
{variables}\
# A first SIGTERM goes to the daemon alone, which finishes or returns its work within its grace.
KillMode=mixed
TimeoutStopSec={round(grace_s) + _BEYOND_GRACE_S}
WatchdogSec={_WATCHDOG_S}
Restart=on-failure
RestartSec=5
# Bad settings and a folder that another daemon has do not get better by trying again.
RestartPreventExitStatus=2 {EXIT_LOCKED}
Nice=10

[Install]
WantedBy=default.target
"""


def launchd_plist(
    command: Sequence[str],
    folder: Path,
    log: Path,
    *,
    environ: Mapping[str, str] | None = None,
    grace_s: float = 30.0,
) -> bytes:
    """An agent that runs ``command``, the daemon of ``folder``; what it cannot log itself goes to ``log``."""
    texts = [*command, os.fspath(folder), os.fspath(log), *(environ or {}).values()]
    if wrong := next((text for text in texts if not _fits_xml(text)), None):
        raise WatchError(f"{wrong!r} cannot stand in a launchd file: it holds characters that XML does not; rename it")
    agent: dict[str, object] = {
        "Label": label(folder),
        "ProgramArguments": list(command),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": round(grace_s) + _BEYOND_GRACE_S,
        "ProcessType": "Background",
        "StandardErrorPath": os.fspath(log),
    }
    if environ:
        agent["EnvironmentVariables"] = dict(environ)
    return plistlib.dumps(agent)


def _quoted(argument: str) -> str:
    """``argument`` as a systemd unit writes it, whatever it holds; a $ is the caller's to double."""
    text = _specifiers(argument)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _line(folder: Path) -> str:
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in os.fspath(folder))
    return text.removesuffix("\\")  # a backslash at its end would join the next line


def _fits_xml(text: str) -> bool:
    return all(c in "\t\n" or (c >= "\x20" and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") for c in text)
