"""How far a front end is from what its original really output.

Shared by the golden tests and by ``python tests/originals.py``, which writes docs/fidelity.md.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from melcli import presets
from melcli.config.fields import GROUPS
from melcli.dsp.compression import Floor, Logarithm, MelGain
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.mel import MelExponent
from melcli.dsp.packing import pack, whole
from melcli.dsp.rows import FixFrames, FramesMultiple, Patches, StackFrames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from melcli.config import MelConfig

GOLDEN = Path(__file__).parent / "golden"
INDEX: dict[str, dict[str, Any]] = json.loads((GOLDEN / "index.json").read_text())

SET_ASIDE_DB = -100.0
"""Below this a float32 FFT leaves rounding noise, not sound: no two libraries agree there."""

_SHAPES = (FixFrames, FramesMultiple, StackFrames, Patches)
_AFTER_THE_BANK = (MelExponent, MelGain, Floor, Logarithm)


@dataclass(frozen=True)
class Comparison:
    """A front end against its original, on the rows that are kept in the repository.

    Args:
        shape: Of all that the front end gave, rows first.
        mean: Mean difference of the bins that hold sound.
        largest: Largest difference of those.
        set_aside: Share of the bins that do not: more than 100 dB below the item's loudest.
        largest_of_all: Largest difference of all bins.
        tail_is_equal: The rows behind the last one kept all equal it.
    """

    shape: tuple[int, ...]
    mean: float
    largest: float
    set_aside: float
    largest_of_all: float
    tail_is_equal: bool


def golden_config(name: str) -> MelConfig:
    """The front end, with the fields in which the run of the original differed."""
    group_of = {f.name: group for group, kind in GROUPS.items() for f in dataclasses.fields(kind)}
    overrides = {k: v for k, v in INDEX[name]["overrides"].items() if k != "layout"}
    changes = {k if "." in k else f"{group_of[k]}.{k}": v for k, v in overrides.items()}
    return presets.load(name).config.updated(changes)


def golden_waveform(name: str) -> torch.Tensor:
    """What the original was fed."""
    with np.load(GOLDEN / "signals.npz") as signals:
        signal = signals[str(INDEX[name]["sample_rate"])][: INDEX[name]["n_samples"]]
    return torch.from_numpy(signal)


def levels(frontend: FrontEnd, waveform: torch.Tensor) -> NDArray[np.float64]:
    """The linear mel in dB below its loudest bin, in the shape of the front end's output.

    The stages run up to the filterbank; those that move frames then move their levels. What they
    fill in counts as the loudest: it is compared like sound.
    """
    piece = whole(frontend.config, frontend.shaped(waveform))
    packed = pack(frontend.config, [piece], frontend.block_rows, frontend.device)
    mel = packed.frames
    for stage in frontend.frame_stages:
        if isinstance(stage, _AFTER_THE_BANK):
            break
        mel = stage(mel)
    linear = mel[: packed.n_rows[0]].double()
    decibels = 20 / frontend.config.spec.power
    below = decibels * torch.log10((linear / linear.max()).clamp(min=1e-30))
    for stage in frontend.item_stages:
        if isinstance(stage, FixFrames):
            below = FixFrames(stage.n_frames, 0.0)(below)
        elif isinstance(stage, _SHAPES):
            below = stage(below)
    shaped: NDArray[np.float64] = below.numpy()
    return shaped


def differences(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], level: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Mean and largest difference of the bins that hold sound, and the share of the others."""
    assert ours.shape == theirs.shape == level.shape
    sound = level >= SET_ASIDE_DB
    apart = np.abs(ours.astype(np.float64) - theirs)[sound]
    return float(apart.mean()), float(apart.max()), 1 - float(sound.mean())


def compare(name: str) -> Comparison:
    """Run a front end on its original's signal, and measure."""
    frontend = FrontEnd(golden_config(name))
    waveform = golden_waveform(name)
    with torch.inference_mode():
        ours = frontend.rows([waveform])[0].numpy()
        level = levels(frontend, waveform)
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        theirs, rows = arrays["mel"], arrays["rows"]
    mean, largest, set_aside = differences(ours[rows], theirs, level[rows])
    return Comparison(
        ours.shape,
        mean,
        largest,
        set_aside,
        float(np.abs(ours[rows].astype(np.float64) - theirs).max()),
        bool((ours[rows[-1] :] == ours[rows[-1]]).all()),
    )


def fidelity() -> str:
    """The text of docs/fidelity.md, measured here and now."""
    lines = [
        "# Fidelity",
        "",
        "How far each front end is from what its original really output, on one signal a sample",
        "rate: a sweep, two tones and noise, with a click, a stretch of exact silence, a quiet",
        "stretch, and an odd length. Written by `python tests/originals.py`, which runs what",
        "`tests/dsp/test_golden.py` asserts, on the rows kept in `tests/golden`.",
        "",
        "`mean` and `largest` are over the bins that hold sound, in the front end's own unit (ln,",
        "log10, dB, or scaled); bins more than 100 dB below the item's loudest are set aside:",
        "there a float32 FFT leaves rounding noise, and no two libraries agree.",
        "`of all` has them too.",
        "RUN: the code of the original package ran; TWIN: the library calls that its source makes.",
        "",
        "The originals ran on another machine. Its FFT rounds otherwise, as quiet bins show:",
        "torch.stft itself, run here, is as far from the array of `hifigan-22k` as melcli, and",
        "equal to melcli in every bin (`tests/dsp/test_reference.py`). So what torch.stft made is",
        "held to 1e-4 here, and to 1e-5 against torch.stft run beside it.",
        "",
        f"Measured with torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}.",
        "",
        "| front end | compared with | | mean | largest | set aside | of all |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(INDEX):
        found, entry = compare(name), INDEX[name]
        lines.append(
            f"| `{name}` | {presets.load(name).about.compared_with} | {entry['kind']} "
            f"| {found.mean:.0e} | {found.largest:.0e} | {found.set_aside:.1%} "
            f"| {found.largest_of_all:.0e} |"
        )
    without = [name for name in presets.names() if name not in INDEX]
    named = ", ".join(f"`{name}`" for name in without)
    lines += ["", f"Without an array of their original: {named}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "fidelity.md").write_text(fidelity())
