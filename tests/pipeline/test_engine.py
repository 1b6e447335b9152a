"""A front end on its device: what is staged gets smaller until it fits, the numbers stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from melcli import MelConfig, presets
from melcli.dsp.frontend import FrontEnd
from melcli.errors import AudioError
from melcli.pipeline.device import set_for_a_run
from melcli.pipeline.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Cramped(FrontEnd):
    """A front end with room for so many samples at once."""

    def __init__(self, config: MelConfig, room: int) -> None:
        super().__init__(config)
        self.room = room
        self.staged: list[int] = []

    def rows(self, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The mels, if there is room."""
        self.staged.append(len(waveforms))
        if sum(w.shape[-1] for w in waveforms) > self.room:
            raise torch.OutOfMemoryError("no room")
        return super().rows(waveforms)


def noise(*lengths: int) -> list[torch.Tensor]:
    """Waveforms of these lengths."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, generator=generator) * 0.1 for n in lengths]


def halving(frontend: FrontEnd, waveforms: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
    """What a GPU does, without one."""
    return Engine(frontend)._halving(waveforms)


def test_half_goes_first_where_all_is_too_much() -> None:
    """Down to a single waveform, in order, with the numbers of the whole batch."""
    waveforms = noise(900, 1000, 1100, 500, 2900)
    whole = FrontEnd(MelConfig()).rows(waveforms)
    frontend = Cramped(MelConfig(), room=3000)
    rows = halving(frontend, waveforms)
    assert frontend.staged[:2] == [5, 2]
    assert all(a is not None and torch.equal(a, b) for a, b in zip(rows, whole, strict=True))


def test_what_does_not_fit_alone_is_told() -> None:
    """The others are computed; that one fails by name, not the run."""
    frontend = Cramped(MelConfig(), room=1500)
    rows = halving(frontend, noise(900, 2000, 1000))
    assert [r is None for r in rows] == [False, True, False]


def test_a_single_waveform_fails_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """And with what to do about it."""
    engine = Engine(FrontEnd(MelConfig()))
    monkeypatch.setattr(engine, "rows", lambda _waveforms: [None])
    with pytest.raises(AudioError, match="does not fit into the memory of the GPU") as raised:
        engine.rows_of(noise(900)[0], "a.wav")
    assert raised.value.path == "a.wav"
    assert "--device cpu" in str(raised.value.remedy)


def test_a_step_that_does_not_fit_fails_its_input() -> None:
    """A long input is computed step by step; one without room ends that input."""

    def steps() -> Iterator[torch.Tensor]:
        yield torch.zeros(2, 3)
        raise torch.OutOfMemoryError("no room")

    made = Engine(FrontEnd(MelConfig())).stepwise(steps(), "a.wav")
    assert next(made).shape == (2, 3)
    with pytest.raises(AudioError, match="does not fit into the memory of the GPU"):
        next(made)


def test_torch_is_left_as_it_was() -> None:
    """A run asks for one thread and for full float32, and gives both back."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with set_for_a_run():
            assert torch.get_num_threads() == 1
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_num_threads() == before[0]
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
@pytest.mark.parametrize("name", ["hifigan-22k", "whisper-80", "kaldi-fbank-80", "librosa"])
def test_every_device_agrees_with_the_cpu(device: str, name: str, dtype: torch.dtype) -> None:
    """Within 1e-5 of the largest value and 1e-4 relative: noise has no bin below the floor."""
    config = presets.load(name).config
    waveforms = noise(16_000, 48_003, 30_000)
    if dtype == torch.int16:
        waveforms = [(w * 32767).to(torch.int16) for w in waveforms]
    with set_for_a_run(), torch.inference_mode():
        ours = Engine(FrontEnd(config)).rows(waveforms)
        theirs = Engine(FrontEnd(config).to(device)).rows(waveforms)
    for cpu, other in zip(ours, theirs, strict=True):
        assert cpu is not None
        assert other is not None
        assert other.device.type == "cpu"
        torch.testing.assert_close(other, cpu, rtol=1e-4, atol=1e-5 * float(cpu.abs().max()))


def test_every_device_gives_the_same_bits_in_every_batch(device: str) -> None:
    """Alone and in company."""
    waveforms = noise(16_000, 48_003, 30_000)
    with set_for_a_run(), torch.inference_mode():
        engine = Engine(FrontEnd(presets.load("hifigan-22k").config).to(device))
        for waveform, rows in zip(waveforms, engine.rows(waveforms), strict=True):
            assert rows is not None
            assert torch.equal(engine.rows_of(waveform, "a"), rows)
