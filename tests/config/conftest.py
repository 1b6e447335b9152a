"""A config that differs from the defaults in every field."""

from __future__ import annotations

import pytest

from melcli.config import Frame, Log, Mel, MelConfig, Out, Scale, Spec, Wave


@pytest.fixture(scope="session")
def unusual() -> MelConfig:
    """No field of it has its default value, so a field that gets lost is missed."""
    with pytest.MonkeyPatch.context() as patch:
        # The checks know too well what goes together.
        patch.setattr("melcli.config.mel.find_problems", lambda _groups: [])
        return _unusual()


def _unusual() -> MelConfig:
    return MelConfig(
        wave=Wave(
            sample_rate=22_050,
            channels=1,
            resample="error",
            pcm_round="s16_32767",
            wave_dc=True,
            wave_norm="peak",
            wave_norm_target=0.95,
            wave_clip=True,
            wave_gain=32768.0,
            wave_pad=(3, 4),
            fix_samples=160_000,
            fix_samples_fill="repeat",
            samples_multiple=128,
            dither=0.1,
            dither_scope="wave",
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
            frame_extra=1,
            frame_dc=True,
            drop_last_frames=1,
        ),
        spec=Spec(fft_norm="window", power=1.0, mag_eps=1e-6, mag_eps_mode="clamp"),
        mel=Mel(
            n_mels=3,
            f_min=20.0,
            f_max=7600.0,
            mel_scale="slaney",
            fb_domain="mel",
            fb_norm="slaney",
            fb_shape="int_bin",
            fb_sample_rate=16_000,
            fb_precision="float32",
            mel_exponent=0.5,
        ),
        log=Log(
            gain=1000.0,
            floor_mode="add",
            floor=1e-5,
            log="log10",
            log_mult=10.0,
            range_ref="item_max",
            range_value=1.5,
            range_width=80.0,
            range_subtract=True,
        ),
        scale=Scale(
            pre_clip=(-50.0, 80.0),
            shift=(1.0, 2.0, 3.0),
            scale=(4.0, 5.0, 6.0),
            clip=(-1.0, 1.0),
            utt_norm="minmax",
            utt_over="bin",
            utt_ddof=0,
            utt_eps=1e-8,
            utt_eps_mode="var",
            tail_mask="drop_one",
            tail_value=-11.5,
        ),
        out=Out(
            fix_frames=100,
            fix_frames_stage="log",
            fix_frames_value=-1.0,
            frames_multiple=2,
            frames_multiple_mode="drop",
            stack=2,
            stack_stride=3,
            stack_pad="lfr",
            patch_frames=10,
            patch_hop=5,
            layout="time_mel",
        ),
        name="unusual",
    )
