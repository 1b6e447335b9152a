"""Front ends that hypothesis draws, for tests of laws that hold for all of them."""

from __future__ import annotations

import typing

from hypothesis import assume
from hypothesis import strategies as st

from melcli.config import Frame, Mel, MelConfig, Wave
from melcli.config.fields import Padding
from melcli.errors import ConfigError

PADDINGS: tuple[Padding, ...] = typing.get_args(Padding)


@st.composite
def small_configs(draw: st.DrawFn) -> MelConfig:
    """Front ends with short frames, so that every edge case comes up: all padding rules."""
    n_fft = draw(st.integers(2, 24))
    win_length = draw(st.one_of(st.none(), st.integers(1, n_fft)))
    try:
        return MelConfig(
            wave=Wave(preemph=draw(st.sampled_from([0.0, 0.5])), preemph_scope="wave_drop_first"),
            frame=Frame(
                n_fft=n_fft,
                win_length=win_length,
                frame_span=draw(st.sampled_from(["n_fft", "win_length"])),
                hop_length=draw(st.integers(1, 30)),
                pad=draw(st.sampled_from(PADDINGS)),
                pad_mode=draw(st.sampled_from(["reflect", "constant", "symmetric"])),
                drop_last_frames=draw(st.sampled_from([0, 0, 1, 2])),
            ),
            mel=Mel(n_mels=2),
        )
    except ConfigError:
        assume(False)  # noqa: FBT003, hypothesis has it so
        raise
