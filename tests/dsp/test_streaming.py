"""A waveform in pieces becomes bit for bit what it becomes as a whole."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli import frames, presets
from melcli.config import MelConfig
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.rows import Rows
from melcli.dsp.streaming import FrontEndStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.strategies import small_configs
else:
    from strategies import small_configs

RULES: dict[str, dict[str, object]] = {
    "mean, then peak": {"wave.wave_dc": True, "wave.wave_norm": "peak",
                        "wave.wave_norm_target": 0.5},
    "minmax": {"wave.wave_norm": "minmax_pm1"},
    "peak over one": {"wave.wave_norm": "peak_if_over_1", "wave.wave_gain": 3.0},
    "padded": {"wave.wave_pad": (7, 300), "wave.samples_multiple": 1000},
    "fixed": {"wave.fix_samples": 30_000, "wave.fix_samples_fill": "repeat"},
    "dither": {"wave.dither": 1e-3, "wave.dither_scope": "wave"},
    "dithered frames": {"wave.dither": 1e-3, "wave.dither_scope": "frame"},
    "pre-emphasis": {"wave.preemph": 0.97, "wave.preemph_scope": "wave_drop_first"},
    "rounded, clipped": {"wave.pcm_round": "s16_32767", "wave.wave_clip": True},
    "length first": {"frame.pad": "tf_same", "frame.pad_mode": "constant"},
    "frames dropped": {"frame.drop_last_frames": 3},
    "range of the item": {"log.range_ref": "item_max", "log.range_width": 3.0},
    "minmax of bands": {"scale.utt_norm": "minmax01", "scale.utt_over": "bin"},
    "mean and variance of all": {"scale.utt_norm": "mean_var", "scale.utt_over": "all",
                                 "scale.utt_eps": 1e-8},
    "mean and variance": {"scale.utt_norm": "mean_var", "scale.tail_mask": "n_over_hop",
                          "scale.tail_value": -7.0},
    "minmax of rows": {"scale.utt_norm": "minmax"},
    "stacks": {"out.stack": 7, "out.stack_stride": 6, "out.stack_pad": "lfr"},
    "patches": {"out.patch_frames": 96, "out.patch_hop": 31},
    "frames fixed": {"out.fix_frames": 500, "out.fix_frames_value": -3.0},
    "frames multiple": {"out.frames_multiple": 64, "out.frames_multiple_mode": "pad"},
}  # fmt: skip
LOG = {"log.log": "ln", "log.floor_mode": "clamp", "log.floor": 1e-5}


def in_pieces(
    frontend: FrontEnd, waveform: torch.Tensor, cuts: list[int], step: int
) -> torch.Tensor:
    """Compute a waveform cut at ``cuts``, its rows read ``step`` at a time."""
    ends = [*sorted(cut % (waveform.shape[-1] + 1) for cut in cuts), waveform.shape[-1]]

    def pieces() -> Iterator[tuple[torch.Tensor, bool]]:
        for number, (start, stop) in enumerate(itertools.pairwise([0, *ends]), start=1):
            yield waveform[start:stop], number == len(ends)

    stream = FrontEndStream(frontend, pieces)
    fed = [rows for piece, is_last in pieces() for rows in stream.feed(piece, is_last=is_last)]
    rows = Rows.of(torch.cat(fed))
    return torch.cat(list(frontend.finished(rows, stream.n_framed).blocks(step)))


@pytest.mark.parametrize("rule", RULES)
@given(
    n=st.integers(20_000, 120_000),
    cuts=st.lists(st.integers(0, 120_000), max_size=5),
    step=st.integers(1, 400),
    dtype=st.sampled_from([torch.int16, torch.float32]),
)
@settings(max_examples=8, deadline=None)
def test_every_rule_gives_the_same_bits_in_pieces(
    rule: str, n: int, cuts: list[int], step: int, dtype: torch.dtype
) -> None:
    """Whatever needs the start, the end or all of an item gets it."""
    frontend = FrontEnd(MelConfig().updated(LOG | RULES[rule]))
    waveform = torch.randn(n, generator=torch.Generator().manual_seed(n)) * 0.2
    if dtype == torch.int16:
        waveform = (waveform * 32767).clamp(-32768, 32767).to(torch.int16)
    [whole] = frontend.rows([waveform])
    assert torch.equal(in_pieces(frontend, waveform, cuts, step), whole)


@given(
    config=small_configs(),
    more=st.integers(0, 4000),
    cuts=st.lists(st.integers(0, 5000), max_size=6),
    step=st.integers(1, 50),
)
@settings(max_examples=200, deadline=None)
def test_every_framing_gives_the_same_bits_in_pieces(
    config: MelConfig, more: int, cuts: list[int], step: int
) -> None:
    """Any padding, span and hop, from the shortest waveform on."""
    frontend = FrontEnd(config)
    n = frames.shortest(config) + more
    waveform = torch.randn(n, generator=torch.Generator().manual_seed(n))
    [whole] = frontend.rows([waveform])
    assert torch.equal(in_pieces(frontend, waveform, cuts, step), whole)


@pytest.mark.parametrize("name", [preset.name for preset in presets.presets()])
def test_every_named_front_end_gives_the_same_bits_in_pieces(name: str) -> None:
    """All that are installed, over three pieces of half a minute."""
    frontend = FrontEnd(presets.load(name).config)
    waveform = torch.randn(1_000_003, generator=torch.Generator().manual_seed(0)) * 0.1
    if frontend.config.wave.fix_samples:
        waveform = waveform[: frontend.config.wave.fix_samples - 5]
    [whole] = frontend.rows([waveform])
    assert torch.equal(in_pieces(frontend, waveform, [300_001, 700_000], 1000), whole)
