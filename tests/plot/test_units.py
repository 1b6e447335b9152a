"""A colour bar claims no unit that is not true."""

from __future__ import annotations

import math

import numpy as np
import pytest

from melcli import presets
from melcli.config import Log, Mel, MelConfig, Scale, Spec
from melcli.plot.units import quantity
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import moments_of
from melcli.statistics.normalize import Normalization, Over, Rule

LABELS = {
    "librosa": "dB re 1",
    "hifigan-22k": "ln magnitude",
    "kaldi-fbank-80": "ln power",
    "melgan-22k-log10": "log10 magnitude",
    "parallel-wavegan-22k": "log10 magnitude",
    "whisper-80": "(log10 power + 4) / 4",
    "voxtral-realtime-128": "(log10 power + 4) / 4",
    "vggish": "ln(0.01 + magnitude)",
    "beat-this-22k-128": "ln(1 + 1000 magnitude)",
    "musicnn-16k-96": "log10(1 + 10000 power)",
    "rtvc-synthesizer-16k": "(20 log10 magnitude + 30) / 12.5",
    # Twenty times the logarithm of a power are no decibels.
    "tacotron2-rayhane-22k": "(20 log10 power + 30) / 12.5",
    # Nor are ten times that of a magnitude.
    "openl3-mel128-48k": "10 log10 magnitude, less the largest of the item",
    "nnaudio-default": "power, drawn in dB re 1",
    "kapre-default": "magnitude, drawn in dB re 1",
    "kapre-das": "magnitude, drawn in dB re 1",
    "speechbrain-ecapa-80": "dB re 1, less each band's mean over the item",
    "wespeaker-80": "ln power, less each band's mean over the item",
    "nemo-asr-80": "ln(5.96e-08 + power), in standard deviations of each band over the item",
    "dcase-task4-desed-16k": (
        "20 log10 magnitude, from -1 to 1 by the ends of all bands over the item"
    ),
    "tortoise-conditioning-22k": "ln power, each band scaled",
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name: str) -> None:
    """What is written beside the colours is what the front end computes."""
    assert quantity(presets.load(name).config).label == LABELS[name]


@pytest.mark.parametrize("name", presets.names())
def test_decibels_are_decibels(name: str) -> None:
    """Where dB are claimed, ten times the power is ten of them; and a label has room for 90."""
    config = presets.load(name).config
    found = quantity(config)
    assert len(found.label) <= 90
    if not found.is_db:
        return
    # A tenth of the loudness in the logarithm, or, where none was taken, in the numbers.
    exponent = config.spec.power * config.mel.mel_exponent
    tenfold = 10.0 ** (exponent / 2.0)
    if found.exponent is not None:
        assert found.exponent == exponent
        assert 20.0 / found.exponent * math.log10(tenfold) == pytest.approx(10.0)
    else:
        logarithm = math.log if config.log.log == "ln" else math.log10
        assert config.log.log_mult * logarithm(tenfold) == pytest.approx(10.0)
        assert config.scale.scale == 1.0


def test_natural_decibels() -> None:
    """A natural logarithm with the right factor gives dB too, re what the gain says."""
    log = Log(log="ln", log_mult=10.0 / math.log(10.0), floor_mode="clamp", floor=1e-9, gain=100.0)
    found = quantity(MelConfig(log=log))
    assert (found.label, found.is_db) == ("dB re 0.01", True)


def test_added_floors_are_no_decibels() -> None:
    """10 log10(1 + x) is not the level of x."""
    log = Log(log="log10", log_mult=10.0, floor_mode="add", floor=1.0)
    found = quantity(MelConfig(log=log))
    assert (found.label, found.is_db, found.depth) == ("10 log10(1 + power)", False, None)


@pytest.mark.parametrize(
    ("config", "depth"),
    [
        (MelConfig(log=Log(log="log10", floor_mode="clamp", floor=1e-10)), 8.0),
        (MelConfig(log=Log(log="ln", floor_mode="clamp", floor=1e-10)), 8.0 * math.log(10.0)),
        (
            MelConfig(
                spec=Spec(power=1.0),
                log=Log(log="ln", floor_mode="clamp", floor=1e-5),
                scale=Scale(shift=1.0, scale=-2.0),
            ),
            2.0 * math.log(10.0),
        ),
    ],
)
def test_depth(config: MelConfig, depth: float) -> None:
    """80 dB are a power of 10^8, whatever the logarithm and the scaling."""
    assert quantity(config).depth == pytest.approx(depth)


def test_fixed_reference() -> None:
    """Of a reference that was taken away, its value is told."""
    log = Log(
        log="log10",
        log_mult=10.0,
        floor_mode="clamp",
        floor=1e-10,
        range_ref="fixed",
        range_value=20.0,
        range_width=80.0,
        range_subtract=True,
    )
    assert quantity(MelConfig(log=log)).label == "dB re 20 dB"


@pytest.mark.parametrize(
    ("rule", "over", "label"),
    [
        (
            "standard",
            "bin",
            "10 log10 power, in standard deviations from the mean of a dataset",
        ),
        ("mean", "all", "dB re 1, less the mean of a dataset"),
        ("minmax01", "bin", "10 log10 power, 0 to 1 by the ends of a dataset"),
    ],
)
def test_scalers(rule: Rule, over: Over, label: str) -> None:
    """Levels that were only moved are still dB; those that were divided are not."""
    config = presets.load("librosa").config
    rows = np.random.default_rng(0).normal(size=(50, 128))
    fitted = Statistics(moments=moments_of(rows), at_floor=np.zeros(128, np.int64))
    found = quantity(config, scaler=Normalization.of(fitted, rule, over))
    assert (found.label, found.is_db) == (label, rule == "mean")


def test_spectra() -> None:
    """What `invert` gives are magnitudes or powers, whatever became of the mels."""
    config = presets.load("whisper-80").config
    assert quantity(config, power=1.0).label == "magnitude, drawn in dB re 1"
    assert quantity(config, power=2.0).exponent == 2.0
    assert quantity(config, power=0.5).label == "magnitude^0.5, drawn in dB re 1"


def test_numbers_that_may_be_negative() -> None:
    """Without a logarithm, what was moved is drawn as it is: it has none."""
    config = MelConfig(mel=Mel(n_mels=40), scale=Scale(shift=1.0, scale=2.0))
    found = quantity(config)
    assert (found.label, found.exponent) == ("(power - 1) / 2", None)
