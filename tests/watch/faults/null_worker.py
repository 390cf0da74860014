"""A worker without an engine, which starts at once: a stem is checked, copied and published as a real one does it.

What is not the engine's is the real thing: the pipes, the check that a stem is whole, records, temporary files, names.
``GRAMOPHONE_NULL_S`` is how long a stem takes: half of it before its output is published, half after.
``GRAMOPHONE_NULL_DEVICES`` is how many devices it claims there are.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from engine.audio import probe
from engine.errors import AudioError
from render import publish, stamps
from render.errors import PublishError
from watch import barriers, protocol
from watch.protocol import Failed, Incomplete, Published, Ready, Rendered, Started, Stem, Verdict
from watch.worker import Answers, Mailbox, _pipes


def main() -> int:
    """Serve the daemon until it closes the pipe."""
    requests, answers = _pipes()
    mailbox = Mailbox(requests, answers)
    mailbox.start()
    answers.send(Ready("nothing", int(os.environ.get("GRAMOPHONE_NULL_DEVICES", "1"))))
    try:
        while (stem := mailbox.take()) is not None:
            answers.send(_render(stem, answers))
    except KeyboardInterrupt:
        return 130
    return 0


def _render(request: Stem, answers: Answers) -> Verdict:
    barriers.reach("worker-claimed", request.path)
    status = os.lstat(request.path)
    if (status.st_size, status.st_mtime_ns, status.st_ino) != (request.size, request.mtime_ns, request.inode):
        return Incomplete(request.id, "changed", changed=True)
    try:
        info = probe(request.path)
    except AudioError as error:
        return Incomplete(request.id, str(error))
    answers.send(Started(request.id, info.duration_s, 0.0))
    if not np.isfinite(soundfile.read(request.path)[0]).all():
        return Failed(request.id, "holds samples that are no numbers")
    half_s = float(os.environ.get("GRAMOPHONE_NULL_S", "0")) / 2
    time.sleep(half_s)
    inputs = {"stem": stamps.file_digest(Path(request.path)), "preset": "null"}
    place = Path(request.out, request.place)
    for number in range(request.number, request.number + 100):
        output = place.with_name(protocol.numbered(place.name, number) + info.path.suffix)
        already = stamps.holds(output, inputs)
        if already:
            publish.confirm(output)
        else:
            try:
                _copy(request, info.path, output, inputs, answers)
            except PublishError as error:
                if isinstance(error.__cause__, FileExistsError):
                    continue
                raise
        time.sleep(half_s)
        digest = stamps.file_digest(output)
        return Published(request.id, str(output), digest, info.frames, already, source_sha256=inputs["stem"])
    raise AssertionError("a hundred names are taken")


def _copy(request: Stem, stem: Path, output: Path, inputs: dict[str, str], answers: Answers) -> None:
    with publish.partial(output) as path:
        shutil.copyfile(stem, path)
        stamps.write(output, inputs, path)
        answers.send(Rendered(request.id, str(output)))
        publish.publish(path, output)


if __name__ == "__main__":
    sys.exit(main())
