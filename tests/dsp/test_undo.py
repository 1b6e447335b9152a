"""From rows back to linear mels: for every front end, what its filterbank gave."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from melcli import frames, presets
from melcli.config import Frame, Log, Mel, MelConfig, Out, Scale, Wave
from melcli.dsp.frontend import FrontEnd
from melcli.dsp.rows import Patches, Rows, StackFrames
from melcli.dsp.undo import MelUndo
from melcli.errors import ConfigError
from melcli.statistics.fitted import Statistics
from melcli.statistics.normalize import Normalization

NAMES = sorted(presets.names())


def sound(sample_rate: int, seconds: float) -> torch.Tensor:
    """A glide over a little noise, loud in its middle."""
    rng = np.random.default_rng(11)
    t = np.arange(int(sample_rate * seconds)) / sample_rate
    glide = np.sin(2 * np.pi * (150 * t + 0.04 * sample_rate * t**2))
    swell = 0.001 + 0.4 * np.sin(np.pi * t / t[-1]) ** 4
    noise = 0.02 * rng.standard_normal(len(t))
    return torch.from_numpy((swell * (glide + noise)).astype(np.float32))


def plain(config: MelConfig) -> MelConfig:
    """The same front end up to its filterbank."""
    mel = replace(config.mel, mel_exponent=1.0)
    return replace(config, mel=mel, log=Log(), scale=Scale(), out=Out())


def undone(
    config: MelConfig, rows: torch.Tensor, n_expected: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mels and counts of an item's rows."""
    undo = MelUndo(config)
    found = undo.frames(Rows.of(rows), undo.n_frames(len(rows), n_expected))
    levels = undo(found.all(), undo.measure(found.blocks(100)))
    return levels.mels, levels.n_clipped


@pytest.mark.parametrize("name", NAMES)
def test_every_front_end(name: str) -> None:
    """Mels come back to what float32 keeps of them; what does not was clipped, and is counted."""
    config = presets.load(name).config
    waveform = sound(config.wave.sample_rate, 1.3)
    if config.scale.utt_norm != "none":
        with pytest.raises(ConfigError, match=r"scale\.utt_norm .* not kept"):
            MelUndo(config)
        return
    if frames.n_rows(config, len(waveform)) == 0:
        waveform = sound(config.wave.sample_rate, 6.0)
    [rows] = FrontEnd(config).rows([waveform])
    [known] = FrontEnd(plain(config)).rows([waveform])
    mels, n_clipped = undone(config, rows, frames.n_frames(config, len(waveform)))
    assert len(mels) <= len(known)
    if not (config.out.fix_frames or config.out.patch_frames or config.out.stack > 1):
        assert len(mels) == len(known)
    if config.scale.tail_mask != "none":  # the last frame holds a constant
        mels, n_clipped = mels[:-1], n_clipped[:-1]
    known = known[: len(mels)].double()
    if config.log.range_subtract and config.log.range_ref == "item_max":
        known = known / known.max() * mels.max()
    # A log of float32 keeps a relative error, which scaling to a unit range makes larger.
    is_as_it_was = torch.isclose(mels, known, rtol=3e-4, atol=1e-6 * float(known.max()))
    assert (mels >= 0).all()
    assert int((~is_as_it_was).sum()) <= int(n_clipped.sum())
    if config.scale.clip is None and config.scale.pre_clip is None:
        n_lifted = int((mels[~is_as_it_was] > known[~is_as_it_was]).sum())
        assert n_lifted == int((~is_as_it_was).sum())


def test_clips_are_counted() -> None:
    """Every kind of end, by hand."""
    config = MelConfig(
        frame=Frame(n_fft=64, hop_length=32, pad="none"),
        mel=Mel(n_mels=3),
        log=Log(floor_mode="clamp", floor=1e-4, log="log10", log_mult=10.0),
        scale=Scale(pre_clip=(-30.0, 20.0), shift=-5.0, scale=25.0, clip=(-1.0, 0.5)),
    )
    # In decibels: below the floor (and so the clip), at the clips, and within.
    decibels = torch.tensor([[-40.0, -30.0, -29.0], [0.0, 7.5, 30.0], [-1.0, -2.0, -3.0]])
    rows = ((decibels.clamp(-30.0, 20.0) + 5.0) / 25.0).clamp(-1.0, 0.5)
    mels, n_clipped = undone(config, rows, None)
    assert n_clipped.tolist() == [2, 2, 0]
    expected = 10.0 ** (decibels.clamp(-30.0, 7.5).double() / 10.0)
    assert torch.allclose(mels, expected, rtol=1e-5)


def test_the_range_of_an_item() -> None:
    """What hangs from the maximum of an item is counted by the maximum of all of it."""
    config = MelConfig(
        mel=Mel(n_mels=2),
        log=Log(
            log="log10",
            floor_mode="clamp",
            floor=1e-10,
            range_ref="item_max",
            range_width=8.0,
        ),
        scale=Scale(shift=-4.0, scale=4.0),
    )
    logs = torch.tensor([[2.0, 1.0], [-6.0, -5.9], [-6.0, 0.0]])
    mels, n_clipped = undone(config, (logs + 4.0) / 4.0, None)
    assert n_clipped.tolist() == [0, 1, 1]
    assert torch.allclose(mels, 10.0 ** logs.double(), rtol=1e-5)


def reached(undo: MelUndo, n_frames: int) -> int:
    """Of so many frames, how many are the recording's where stacks and patches are cut."""
    n_rows = n_frames
    for stage in undo._row_stages:
        if isinstance(stage, StackFrames | Patches):
            break
        n_rows = min(n_rows, stage.n_rows(n_rows))
    return n_rows


@given(
    n_frames=st.integers(1, 60),
    stack=st.integers(1, 5),
    stride=st.integers(1, 5),
    lfr=st.booleans(),
    fix=st.sampled_from([0, 0, 10, 40]),
    patch=st.sampled_from([(0, 0), (4, 4), (5, 2)]),
    multiple=st.sampled_from([(0, "pad"), (4, "pad"), (4, "drop")]),
)
@settings(deadline=None)
def test_frames_come_back(
    n_frames: int,
    stack: int,
    stride: int,
    lfr: bool,  # noqa: FBT001
    fix: int,
    patch: tuple[int, int],
    multiple: tuple[int, str],
) -> None:
    """Stacks, patches and fill give the frames back that they hold, each in its place."""
    try:
        config = MelConfig(
            wave=Wave(sample_rate=1000),
            frame=Frame(n_fft=8, hop_length=4, pad="none"),
            mel=Mel(n_mels=2),
            out=Out(
                stack=stack,
                stack_stride=stride,
                stack_pad="lfr" if lfr else "none",
                fix_frames=fix,
                patch_frames=patch[0],
                patch_hop=patch[1],
                frames_multiple=multiple[0],
                frames_multiple_mode=multiple[1],  # type: ignore[arg-type]  # a literal
            ),
        )
        undo = MelUndo(config)
    except ConfigError:
        return
    known = torch.arange(2.0 * n_frames).reshape(-1, 2) + 1.0
    if not frames.n_rows(config, 8 + 4 * (n_frames - 1)):
        return
    rows = Rows.of(known)
    for stage in undo._row_stages:
        rows = stage.of(rows)
    made = rows.all()
    assert len(made) == frames.n_rows(config, 8 + 4 * (n_frames - 1))
    for expected in (n_frames, None):
        n_found = undo.n_frames(len(made), expected)
        found = undo.frames(Rows.of(made), n_found).all() if n_found else known[:0]
        assert len(found) == n_found
        n_true = min(n_found, reached(undo, n_frames))
        if expected is not None:
            assert n_found <= n_frames
            assert undo.is_cut(expected) == (n_found < n_frames)
        assert torch.equal(found[:n_true], known[:n_true])
    ends_with_the_last = lfr and stack - (stack - 1) // 2 >= stride
    if ends_with_the_last and not (fix or patch[0] or multiple[0]):
        assert undo.n_frames(len(made), n_frames) == n_frames
    read = undo.frames(Rows.of(made), undo.n_frames(len(made), n_frames))
    pieces = [read.read(i, i + 1) for i in range(read.n_rows)]
    assert not pieces or torch.equal(torch.cat(pieces), read.all())


def test_what_no_row_holds_is_refused() -> None:
    """Frames between stacks, or between patches; all problems at once."""
    out = Out(stack=2, stack_stride=3, patch_frames=4, patch_hop=5)
    config = MelConfig(out=out, scale=Scale(utt_norm="mean"))
    with pytest.raises(ConfigError) as caught:
        MelUndo(config)
    told = str(caught.value)
    assert "of 3 frames 1 are in no row" in told
    assert "of 5 frames 1 are in no patch" in told
    assert "scale.utt_norm = mean" in told


def test_a_scaler_is_undone_first() -> None:
    """Also one by the bins of a stack."""
    rng = np.random.default_rng(0)
    config = MelConfig(mel=Mel(n_mels=3), out=Out(stack=2, stack_stride=2))
    rows = rng.normal(size=(9, 6)).astype(np.float32)
    mean, deviation = rows.mean(axis=0).astype(float), rows.std(axis=0).astype(float)
    scaler = Normalization.of(Statistics.exported(mean, deviation), "standard", "bin")
    normal = (rows - scaler.shift) / scaler.scale
    undo = MelUndo(config, scaler)
    frames_of = undo.frames(Rows.of(torch.from_numpy(normal)), undo.n_frames(9))
    assert np.allclose(frames_of.all().numpy(), rows.reshape(18, 3), atol=1e-5)


def test_losses_are_told() -> None:
    """By the name of the setting."""
    log = Log(log="ln", floor_mode="clamp", floor=1e-5, range_ref="item_max", range_subtract=True)
    [loss] = MelUndo(MelConfig(log=replace(log, range_width=80.0))).losses
    assert loss.startswith("log.range_subtract: the level of each item is lost")
    assert MelUndo(MelConfig()).losses == []


@pytest.mark.parametrize("n_rows", [1, 255, 256, 257])
def test_each_row_by_itself(n_rows: int) -> None:
    """A row is undone to the same bits wherever it is."""
    config = presets.load("whisper-80").config
    rows = torch.rand(300, 80, generator=torch.Generator().manual_seed(3)) * 2 - 1
    undo = MelUndo(config)
    whole, some = undo(rows, 1.0), undo(rows[-n_rows:], 1.0)
    assert torch.equal(whole.mels[-n_rows:], some.mels)
    assert torch.equal(whole.n_clipped[-n_rows:], some.n_clipped)
    assert undo(rows[:0]).mels.shape == (0, 80)
