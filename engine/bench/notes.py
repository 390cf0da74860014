"""What was tried for speed, by a prototype and while the engine was written: measured then, not in this run."""

#: (what, what came of it)
TRIED = (
    ("gradients written out, forward and backward in one pass of matrix products", "3.3 times faster than autograd"),
    ("float32 products through oneDNN", "2.2 times faster than PyTorch's default path, as exact; checked on each CPU"),
    ("`log(1 + a)` for `log1p`", "ten times faster on a CPU, 1e-7 apart"),
    ("bins above 11 kHz in groups of eight", "products at 44.1 kHz cost little more than at 22.05 kHz"),
    ("freed memory kept by glibc", "a third of the time was page faults"),
    ("transforms a few frames at a time, in a core's own cache", "a fifth less time each, −149 dBFS apart in a draft"),
    ("one problem of a batch as plain matrices", "its products a tenth faster"),
    (
        "a segment on each core, instead of all cores on one",
        "a fifth less CPU time, most of it on a busy machine",
    ),
    ("preconditioned search", "half the evaluations for the same loss"),
    ("own batched L-BFGS", "four times less work a step than SciPy's, at or below its loss"),
    ("low-rank warm start and fast Griffin-Lim", "the fastest road to a low style loss, but it costs pitch"),
    ("`torch.compile` of a whole evaluation, numba", "no gain"),
    ("half of the symmetric products only, in blocks", "no gain"),
    ("stem's spectrum in a low-rank basis on the waveform", "the gradient is more than half wrong"),
    (
        "products rounded as TF32 has them, emulated",
        "−65 to −76 dBFS apart in `standard`, as far as one bit in the stem takes it; off on GPUs, never run on one",
    ),
    (
        "on CUDA, spectra, their gradients and the kernel's rows as one Triton kernel each",
        "by arithmetic a third of the bytes for the spectra, a twentieth for the kernel; never run on a GPU",
    ),
    (
        "on CUDA, evaluations of small batches recorded as graphs",
        "one launch for two hundred in `draft`, six hundred in `standard`; never run on a GPU",
    ),
    ("bfloat16 products", "same end with float32 sums; stalls with bfloat16 results"),
)
