"""The front end as a whole: framing, the one rule, gradients, the module."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from melcli import frames, presets
from melcli.config import Frame, Log, Mel, MelConfig, Scale, Spec, Wave
from melcli.dsp.frontend import FrontEnd, compile_stages
from melcli.dsp.packing import pack, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.strategies import small_configs
else:
    from strategies import small_configs

CPU = torch.device("cpu")
DECIBELS = Log(floor_mode="clamp", floor=1e-10, log="log10", log_mult=10.0)

CONFIGS: dict[str, MelConfig] = {
    **{preset.name: preset.config for preset in presets.presets()},
    "one band": MelConfig(mel=Mel(n_mels=1), log=DECIBELS),
    "one band of magnitudes": MelConfig(spec=Spec(power=1.0), mel=Mel(n_mels=1), log=DECIBELS),
    "power 1": MelConfig(spec=Spec(power=1.0), log=DECIBELS),
    "power 2": MelConfig(spec=Spec(power=2.0), log=DECIBELS),
    "power 1.5": MelConfig(spec=Spec(power=1.5), log=DECIBELS),
    # 174 rows of 1501 bins: no block fills whole vectors, and x ** 0.3 has a scalar tail
    "power 0.3 in odd blocks": MelConfig(
        frame=Frame(n_fft=3000, hop_length=777, pad_mode="constant", frame_dc=True),
        spec=Spec(power=0.3),
        log=DECIBELS,
    ),
    "magnitudes without a logarithm": MelConfig(spec=Spec(power=1.0)),
    "scaled by band, over the waveform": MelConfig(
        wave=Wave(preemph=0.97, preemph_scope="wave_drop_first"),
        mel=Mel(n_mels=3),
        log=DECIBELS,
        scale=Scale(shift=(-10.0, -20.0, -30.0), scale=(3.0, 7.0, 11.0), clip=(-4, 4)),
    ),
}
"""Every preset, and the settings that measure differently in one row or one column."""


class Alone:
    """Recordings of many lengths, and the mel that each gives by itself."""

    def __init__(self, config: MelConfig, recording: torch.Tensor) -> None:
        shortest = frames.shortest(config)
        lengths = [shortest, shortest + 1, 3_001, 5_000, 12_345, 20_000, 44_100]
        starts = [0, 100, 17_000, 49_000, 51_000, 30_000, 35_000]
        self.frontend = FrontEnd(config)
        self.waveforms = [
            recording[start : start + max(n, shortest)]
            for start, n in zip(starts, lengths, strict=True)
        ]
        with torch.inference_mode():
            self.mels = [self.frontend.rows([waveform])[0] for waveform in self.waveforms]

    def assert_equal_in(self, batch: list[int]) -> None:
        """Together, each is what it is alone, to the last bit."""
        with torch.inference_mode():
            together = self.frontend.rows([self.waveforms[i] for i in batch])
        assert len(together) == len(batch)
        for i, mel in zip(batch, together, strict=True):
            assert same_bits(mel, self.mels[i])


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal bytes: tells 0.0 from -0.0, and takes NaN for NaN."""
    return (
        a.shape == b.shape and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()
    )


@pytest.fixture(scope="module", params=CONFIGS)
def alone(request: pytest.FixtureRequest, recording: torch.Tensor) -> Alone:
    """For each config, what its recordings give alone."""
    return Alone(CONFIGS[request.param], recording)


def test_same_bits_is_strict() -> None:
    """The helper sees one bit, a sign of zero, and a shape."""
    x = torch.zeros(2, 3)
    assert same_bits(x, x.clone())
    assert not same_bits(x, -x)
    assert not same_bits(x, x.T)
    assert not same_bits(x, x + 1e-45)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batch=st.lists(st.integers(0, 6), min_size=1, max_size=9))
def test_an_item_is_the_same_in_any_batch(alone: Alone, batch: list[int]) -> None:
    """The one rule: alone, in any batch, at any position, in any order."""
    alone.assert_equal_in(batch)


def test_an_item_is_the_same_at_every_row_of_a_block(alone: Alone) -> None:
    """The one rule, swept: what lies in front moves an item by one row at a time."""
    config, frontend = alone.frontend.config, alone.frontend
    if config.wave.fix_samples:
        return  # all items are as long: only whole ones lie in front, as in the test above
    noise = torch.randn(
        config.span + (frontend.block_rows + 8) * config.frame.hop_length,
        generator=torch.Generator().manual_seed(1),
    )
    with torch.inference_mode():
        for n_rows in range(1, frontend.block_rows + 2, 7):  # 7 is prime to every block
            front = noise[: config.span + n_rows * config.frame.hop_length]
            if frames.n_rows(config, front.shape[0]) < 1:
                continue  # too short for a stack or a patch
            assert same_bits(frontend.rows([front, alone.waveforms[2]])[1], alone.mels[2])


def test_an_item_is_the_same_in_every_thread(alone: Alone) -> None:
    """One front end serves all workers at once, and each gets what one alone would."""
    batches = [[0, 3, 1], [3], [2, 2, 0], [5, 4], [4, 3, 2, 1, 0], [1, 5]]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(alone.assert_equal_in, batches))


def test_waveforms_are_left_as_they_are(alone: Alone) -> None:
    """A waveform that was handed in is not written to."""
    before = alone.waveforms[3].clone()
    alone.assert_equal_in([3])
    assert same_bits(before, alone.waveforms[3])


@pytest.mark.parametrize("name", CONFIGS)
def test_forward_is_rows_transposed(name: str, recording: torch.Tensor) -> None:
    """The module takes any leading dimensions, and gives bands before frames."""
    frontend = FrontEnd(CONFIGS[name])
    n = max(9_000, frames.shortest(CONFIGS[name]))
    long = torch.cat([recording, recording])
    batch = torch.stack([long[k : k + n] for k in (0, 16_000, 45_000, 52_000)])
    mels = frontend(batch.reshape(2, 1, 2, n))
    rows = frontend.rows(list(batch))
    assert mels.shape[:3] == (2, 1, 2)
    for mel, row in zip(mels.reshape(4, *mels.shape[3:]), rows, strict=True):
        assert same_bits(mel, row.movedim(0, -1))
    assert same_bits(frontend(batch[1]), rows[1].movedim(0, -1))
    assert rows[0].shape[1:] == frontend.row_shape


@pytest.mark.parametrize("what", ["a stretch of silence", "silence"])
@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_finite(name: str, what: str, recording: torch.Tensor) -> None:
    """Digital silence has no slope under a root; training goes on all the same."""
    waveform = recording[44_000:60_000].clone()
    if what == "silence":
        waveform.zero_()
    waveform.requires_grad_()
    mel = FrontEnd(CONFIGS[name])(waveform)
    weights = torch.randn(mel.shape, generator=torch.Generator().manual_seed(2))
    (mel * weights).sum().backward()
    assert waveform.grad is not None
    assert bool(torch.isfinite(waveform.grad).all())
    if what != "silence":
        assert float(waveform.grad.abs().max()) > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_asking_for_gradients_changes_no_number(name: str, recording: torch.Tensor) -> None:
    """A mel that was trained on is the mel that was extracted."""
    frontend = FrontEnd(CONFIGS[name])
    waveform = recording[44_000:60_000].clone()
    with torch.inference_mode():
        extracted = frontend(waveform)
    trained = frontend(waveform.requires_grad_()).detach()
    assert same_bits(trained, extracted.clone())


def test_the_gradient_is_the_slope() -> None:
    """Against finite differences in float64, through padding, FFT, root, bank and logarithm."""
    config = MelConfig(
        frame=Frame(n_fft=16, hop_length=8),
        spec=Spec(power=1.0),
        mel=Mel(n_mels=2),
        log=Log(floor_mode="add", floor=1e-3, log="ln"),
    )
    frontend = FrontEnd(config).double()
    waveform = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    assert torch.autograd.gradcheck(frontend, waveform.requires_grad_(), fast_mode=True)


def test_nothing_gives_nothing() -> None:
    """A batch in which every input failed is no error."""
    assert FrontEnd(MelConfig()).rows([]) == []


def test_a_front_end_does_what_it_says_and_no_more() -> None:
    """A stage for each thing the config asks for, in the documented order; none for the rest."""
    assert [type(stage).__name__ for stage in compile_stages(MelConfig())] == [
        "Spectrum",
        "PowerMelBands",
    ]
    config = MelConfig(
        wave=Wave(wave_gain=2.0, fix_samples=1000, preemph=0.5, preemph_scope="frame"),
        frame=Frame(frame_dc=True),
        spec=Spec(power=1.0),
        log=Log(floor_mode="add", floor=1e-5, log="ln", range_ref="item_max", range_width=8.0),
        scale=Scale(pre_clip=(-9, 9), shift=1.0, clip=(-1, 1), utt_norm="minmax"),
    )
    assert [type(stage).__name__ for stage in compile_stages(config)] == [
        "Gain", "FixLength", "RemoveDC", "Preemphasis", "Spectrum", "Magnitude", "MelBands",
        "Floor", "Logarithm", "DynamicRange", "Clip", "Scaling", "Clip", "UtteranceMinMax",
    ]  # fmt: skip


def test_constants_are_buffers_outside_the_state() -> None:
    """A module moves with ``.to``, and a checkpoint does not hold what the config implies."""
    frontend = FrontEnd(presets.load("whisper-80").config)
    assert {name.rpartition(".")[2] for name, _ in frontend.named_buffers()} == {
        "window",
        "bank",
        "weights",
        "shift",
        "scale",
    }
    assert frontend.state_dict() == {}


@settings(max_examples=150, deadline=None)
@given(config=small_configs(), more=st.integers(0, 60))
def test_rows_are_as_many_as_frames_says(config: MelConfig, more: int) -> None:
    """``frames.n_frames`` foretells the rows, for every padding rule, down to the shortest."""
    shortest = frames.shortest(config)
    frontend = FrontEnd(config)
    for n_samples in (shortest, shortest + more):
        foretold = frames.n_frames(config, n_samples)
        assume(foretold > 0)  # see test_frames.py for what may fail above the shortest
        rows = frontend.rows([torch.ones(n_samples)])[0]
        assert rows.shape == (foretold, 2)


@settings(max_examples=150, deadline=None)
@given(config=small_configs(), more=st.integers(0, 60))
def test_frames_lie_where_the_padding_rule_says(config: MelConfig, more: int) -> None:
    """Every frame of every clip of a batch, against NumPy's padding and slices."""
    n_samples = frames.shortest(config) + more
    assume(frames.n_frames(config, n_samples) > 0)
    n_samples = frames.fixed_length(config, n_samples)
    waveforms = [torch.arange(1, n_samples + 1, dtype=torch.float32) + 1000 * k for k in range(3)]
    packed = pack(config, [whole(config, w) for w in waveforms], 4, CPU)
    assert packed.frames.shape[0] % 4 == 0
    where = frames.framing(config, n_samples)
    for waveform, first, n_rows in zip(waveforms, packed.first_rows, packed.n_rows, strict=True):
        padding = (where.left, max(0, where.right))
        if config.frame.pad_mode == "reflect":
            padded = np.pad(waveform.numpy(), padding, "reflect")
        elif config.frame.pad_mode == "symmetric":
            padded = np.pad(waveform.numpy(), padding, "symmetric")
        else:
            padded = np.pad(waveform.numpy(), padding)
        hop, span = config.frame.hop_length, config.span
        assert n_rows == where.n_frames - config.frame.drop_last_frames
        for row in range(n_rows):
            expected = padded[row * hop : row * hop + span]
            assert np.array_equal(packed.frames[first + row].numpy(), expected)


def batches_of(lengths: list[int]) -> Iterator[torch.Tensor]:
    """Waveforms of ones."""
    return (torch.ones(n) for n in lengths)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(201, 5000), min_size=1, max_size=8))
def test_a_batch_is_packed_without_padding_to_the_longest(lengths: list[int]) -> None:
    """The buffer holds the frames of each clip, the few that straddle, and one block at most."""
    config = MelConfig()
    packed = pack(config, [whole(config, w) for w in batches_of(lengths)], 32, CPU)
    own = sum(frames.n_frames(config, n) for n in lengths)
    assert own <= packed.frames.shape[0] < own + 2 * len(lengths) + 32
