"""A config that differs from the defaults in every field."""

from __future__ import annotations

import pytest

from melcli.config import Frame, Log, Mel, MelConfig, Out, Scale, Spec, Wave


@pytest.fixture(scope="session")
def unusual() -> MelConfig:
    """No field of it has its default value, so a field that gets lost is missed."""
    return MelConfig(
        wave=Wave(
            sample_rate=22_050,
            channels=1,
            resample="error",
            wave_gain=32768.0,
            fix_samples=160_000,
            preemph=0.97,
            preemph_scope="frame",
        ),
        frame=Frame(
            n_fft=512,
            hop_length=128,
            win_length=500,
            frame_span="win_length",
            window="povey",
            window_periodic=False,
            pad="kaldi_round",
            pad_mode="symmetric",
            frame_dc=True,
            drop_last_frames=1,
        ),
        spec=Spec(power=1.0, mag_eps=1e-6),
        mel=Mel(
            n_mels=3,
            f_min=20.0,
            f_max=7600.0,
            mel_scale="slaney",
            fb_domain="mel",
            fb_norm="slaney",
            fb_precision="float32",
        ),
        log=Log(
            floor_mode="add",
            floor=1e-5,
            log="log10",
            log_mult=10.0,
            range_ref="item_max",
            range_width=80.0,
        ),
        scale=Scale(
            pre_clip=(-50.0, 80.0),
            shift=(1.0, 2.0, 3.0),
            scale=(4.0, 5.0, 6.0),
            clip=(-1.0, 1.0),
            utt_norm="minmax",
            utt_eps=1e-8,
        ),
        out=Out(layout="time_mel"),
        name="unusual",
    )
