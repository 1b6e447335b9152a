"""What is drawn of each kind of INPUT; but for a few, nothing is drawn here."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch

import melcli
from melcli import plot, presets
from melcli.errors import (
    AudioError,
    FeatureError,
    MelcliError,
    NoInputError,
    StoreError,
    UsageError,
)
from melcli.pipeline import columns
from melcli.pipeline.pictures import View, comparison, picture
from melcli.scaler.bands import bin_centres

if TYPE_CHECKING:
    from melcli.plot import Panel
    from melcli.plot.compare import Difference

pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parents[2] / "examples" / "audio"
VOWELS = str(EXAMPLES / "speech" / "vowels.wav")
ID = "speech/vowels.wav"
HIFIGAN = presets.load("hifigan-22k").config


class Drawn:
    """What would have been drawn."""

    panels: tuple[Panel, ...]
    difference: Difference
    scaler: tuple[Any, dict[str, Any]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Keeps what is handed to the drawing, and draws nothing."""
    kept = Drawn()

    def keep_panel(panel: Panel, _target: object) -> None:
        kept.panels = (panel,)

    def keep_pair(a: Panel, b: Panel, difference: Difference, _target: object) -> None:
        kept.panels, kept.difference = (a, b), difference

    def keep_scaler(statistics: object, _target: object, **how: object) -> None:
        kept.scaler = (statistics, how)

    monkeypatch.setattr(plot, "plot_spectrogram", keep_panel)
    monkeypatch.setattr(plot, "plot_comparison", keep_pair)
    monkeypatch.setattr(plot, "plot_scaler", keep_scaler)
    return kept


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of outputs of one small corpus, and a scaler."""
    folder = tmp_path_factory.mktemp("pictures")
    speech = melcli.Selection(paths=(EXAMPLES,), include=("*/vowels.wav", "*/telephone.wav"))
    melcli.extract(speech, folder / "mels.h5", HIFIGAN)
    melcli.extract(speech, f"{folder}/mels/", HIFIGAN)
    melcli.invert(str(folder / "mels.h5"), folder / "spectra.h5")
    melcli.fit_scaler(str(folder / "mels.h5"), folder / "scaler.npz")
    melcli.fit_scaler(str(folder / "mels.h5"), folder / "scaler.npy")
    scaler = melcli.Scaler.load(folder / "scaler.npz")
    melcli.extract(speech, folder / "normal.h5", HIFIGAN, scaler=scaler)
    audio = melcli.AudioConfig(n_iter=2)
    melcli.invert(str(folder / "mels.h5"), f"{folder}/wavs/", audio=audio)
    return folder


def test_audio(drawn: Drawn) -> None:
    """A recording is drawn as its front end gives it, at the times and the frequencies of that."""
    config = presets.load("kaldi-fbank-80").config
    told = picture(VOWELS, "x.png", config)
    [panel] = drawn.panels
    samples, rate = soundfile.read(VOWELS, dtype="float32")
    mel = melcli.MelSpectrogram(config)(torch.from_numpy(samples)).numpy()
    assert panel.numbers == pytest.approx(mel.T, abs=1e-4)
    assert panel.hz.tolist() == bin_centres(config).tolist()
    # Frames of 25 ms, 10 ms apart, the first at the beginning: drawn from 7.5 ms on.
    assert panel.start == pytest.approx(0.0075)
    assert panel.stop == pytest.approx(0.0075 + 0.01 * len(panel.numbers))
    assert panel.aside == f"kaldi-fbank-80, {len(samples) / rate:.2f} s"
    assert panel.quantity.label == "ln power"
    assert len(told) == 1


def test_no_front_end(drawn: Drawn) -> None:
    """A recording without one is drawn by librosa's, and a person is told."""
    told = picture(VOWELS, "x.png")
    assert told[1].startswith("no --config was given, so it was librosa")
    [panel] = drawn.panels
    assert panel.start == pytest.approx(-512 / 22050 / 2)
    assert panel.quantity.label == "dB re 1"


@pytest.mark.parametrize("name", ["mels.h5", "mels", "mels/speech/vowels.npy"])
def test_outputs(made: Path, drawn: Drawn, name: str) -> None:
    """An item is drawn as it is stored, by the front end that its output knows."""
    item_id = None if name.endswith(".npy") else ID
    told = picture(str(made / name), "x.png", None, View(item_id=item_id))
    [panel] = drawn.panels
    with melcli.open(made / "mels.h5") as mels:
        assert (panel.numbers == mels[ID].T).all()
    assert (panel.title, panel.aside) == (ID, "hifigan-22k, 2.25 s")
    assert panel.quantity.label == "ln magnitude"
    assert not panel.is_even
    # The front end pads (1024 - 256) / 2, so its first frame is half a hop into the recording.
    assert panel.start == pytest.approx(0.0, abs=1e-9)
    assert told == [f"{ID}: {len(panel.numbers)} frames of 80 bands, hifigan-22k"]


def test_a_file_of_an_output_from_within(
    made: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output around a file is found from any folder."""
    monkeypatch.chdir(made / "mels" / "speech")
    picture("../speech/vowels.npy", "x.png")
    assert drawn.panels[0].title == ID
    (made / "mels" / "speech" / "stranger.npy").write_bytes(
        (made / "mels" / "speech" / "vowels.npy").read_bytes()
    )
    with pytest.raises(StoreError, match="not in its list of items"):
        picture("stranger.npy", "x.png")


def test_spectra(made: Path, drawn: Drawn) -> None:
    """A spectrum has the bins of the FFT, and says what its numbers are."""
    picture(str(made / "spectra.h5"), "x.png", None, View(item_id=ID, title="mine"))
    [panel] = drawn.panels
    assert panel.is_even
    assert (panel.hz[0], panel.hz[-1], len(panel.hz)) == (0.0, 11025.0, 513)
    assert panel.title == "mine"
    assert panel.quantity.label == "magnitude, drawn in dB re 1"


def test_normalised_rows(made: Path, drawn: Drawn) -> None:
    """What an output was normalised by is told beside the colours."""
    picture(str(made / "normal.h5"), "x.png", None, View(item_id=ID))
    label = drawn.panels[0].quantity.label
    assert label == "ln magnitude, in standard deviations from the mean of a dataset"


@pytest.mark.parametrize("layout", ["mel_time", "time_mel"])
def test_npy(tmp_path: Path, drawn: Drawn, layout: str) -> None:
    """A file alone needs its front end, and is a mel or a spectrum by its shape."""
    config = HIFIGAN.updated({"out.layout": layout})
    numbers = np.random.default_rng(0).random((50, 80), np.float32)
    np.save(tmp_path / "x.npy", numbers if layout == "time_mel" else numbers.T)
    picture(str(tmp_path / "x.npy"), "x.png", config)
    assert (drawn.panels[0].numbers == numbers).all()
    spectrum = np.random.default_rng(0).random((50, 513), np.float32)
    np.save(tmp_path / "y.npy", spectrum if layout == "time_mel" else spectrum.T)
    picture(str(tmp_path / "y.npy"), "x.png", config)
    assert (drawn.panels[0].numbers == spectrum).all()
    assert drawn.panels[0].is_even
    with pytest.raises(UsageError, match="does not say which front end"):
        picture(str(tmp_path / "x.npy"), "x.png")
    np.save(tmp_path / "z.npy", numbers[:, :7])
    with pytest.raises(FeatureError, match="this front end makes"):
        picture(str(tmp_path / "z.npy"), "x.png", config)
    numbers[3, 3] = np.inf
    np.save(tmp_path / "x.npy", numbers if layout == "time_mel" else numbers.T)
    with pytest.raises(FeatureError, match="NaN or infinite"):
        picture(str(tmp_path / "x.npy"), "x.png", config)


def test_scalers(made: Path, drawn: Drawn) -> None:
    """A scaler is drawn as `scaler show --plot` does, with Hz if its front end is known."""
    told = picture(str(made / "scaler.npz"), "x.png")
    statistics, how = drawn.scaler
    assert statistics.n_bins == 80
    assert how["hz"].tolist() == bin_centres(HIFIGAN).tolist()
    assert how["unit"] == "ln magnitude"
    assert how["title"] == f"{made / 'scaler.npz'}, hifigan-22k, 80 bins"
    assert told == [f"{made / 'scaler.npz'}: 80 bins"]
    for config in (None, HIFIGAN):  # two rows in a file that is no mel of the front end
        picture(str(made / "scaler.npy"), "x.png", config)
        assert (drawn.scaler[1]["hz"] is None) == (config is None)
        assert (drawn.scaler[1]["unit"] == "") == (config is None)
    with pytest.raises(MelcliError, match="another front end"):
        picture(str(made / "scaler.npz"), "x.png", presets.load("whisper-80").config)
    with pytest.raises(UsageError, match="neither items nor times"):
        picture(str(made / "scaler.npz"), "x.png", None, View(end=1.0))


def test_a_npy_that_may_be_both(tmp_path: Path, drawn: Drawn) -> None:
    """Two frames of a front end that was named are a mel, and not a mean and a deviation."""
    np.save(tmp_path / "x.npy", np.ones((2, 80), np.float32))
    picture(str(tmp_path / "x.npy"), "x.png", HIFIGAN.updated({"out.layout": "time_mel"}))
    assert drawn.panels[0].numbers.shape == (2, 80)


@pytest.mark.parametrize(
    ("name", "view", "error", "told", "remedy"),
    [
        ("mels.h5", View(), UsageError, "holds 2 items: speech/telephone.wav, speech/", "--id"),
        ("mels.h5", View(item_id="vowels.wav"), UsageError, "there is " + ID, f"--id '{ID}'"),
        ("mels.h5", View(item_id="speech/vowls"), UsageError, "no item 'speech/vowls'", "--id"),
        ("mels.h5", View(item_id=ID, start=9.0), UsageError, "no frame lies from 9 s", "2.2"),
        ("nothing.h5", View(item_id=ID), StoreError, "is not there", "check the name"),
        ("nothing.npy", View(), NoInputError, "no such file", None),
        ("nothing.wav", View(), NoInputError, "no such file", "check the name"),
        ("", View(), UsageError, "no output of melcli", "name one file of it"),
    ],
)
def test_errors(
    made: Path, view: View, name: str, error: type[MelcliError], told: str, remedy: str | None
) -> None:
    """What cannot be drawn is told with what to do about it."""
    with pytest.raises(error, match=told) as caught:
        picture(str(made / name), "x.png", HIFIGAN if name == "nothing.npy" else None, view)
    assert (remedy or "") in str(caught.value.remedy or "")


def test_ids_are_of_outputs() -> None:
    """An id chooses among the items of an output, and a recording has none."""
    with pytest.raises(UsageError, match="chooses an item of an output"):
        picture(VOWELS, "x.png", None, View(item_id="a"))


def test_another_front_end(made: Path) -> None:
    """An output is of its own front end, and every other is refused with what differs."""
    with pytest.raises(StoreError, match=r"another front end:(\n.*)+n_fft: 1024") as caught:
        picture(str(made / "mels.h5"), "x.png", presets.load("librosa").config, View(item_id=ID))
    assert "leave out --config" in str(caught.value.remedy)


def test_failed_inputs(tmp_path: Path, corpus: Any) -> None:
    """The id of an input that failed tells why it did."""
    corpus.add("a.wav")
    corpus.add_bytes("b.wav", b"text")
    melcli.extract(corpus.folder, tmp_path / "x.h5")
    with pytest.raises(UsageError, match=r"b.wav failed: .*not audio"):
        picture(str(tmp_path / "x.h5"), "x.png", None, View(item_id="b.wav"))


def test_damaged_outputs(tmp_path: Path, made: Path) -> None:
    """Rows that are not those that were written are not drawn."""
    data = bytearray((made / "mels.h5").read_bytes())
    with melcli.open(made / "mels.h5") as mels:
        rows = np.ascontiguousarray(mels[ID].T)
    data[data.index(rows[0].tobytes()) + 3] ^= 0xFF
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(StoreError, match="checksum"):
        picture(str(tmp_path / "x.h5"), "x.png", None, View(item_id=ID))


def test_bad_audio(corpus: Any) -> None:
    """A recording that cannot be used tells why; several channels have to be chosen from."""
    corpus.add_bytes("b.wav", b"text")
    with pytest.raises(AudioError, match="not audio"):
        picture(str(corpus.folder / "b.wav"), "x.png")
    path = corpus.add("c.wav", n_channels=2)
    config = presets.load("librosa").config.updated({"wave.channels": "each"})
    with pytest.raises(UsageError, match="becomes 2 items, one a channel") as caught:
        picture(str(path), "x.png", config)
    assert caught.value.remedy == "choose one: --channels 0"


def test_standard_input(drawn: Drawn, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .npy or a recording on standard input is told apart by its first bytes."""
    for data, config in (
        ((made / "mels" / "speech" / "vowels.npy").read_bytes(), HIFIGAN),
        (Path(VOWELS).read_bytes(), HIFIGAN),
    ):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        picture("-", "x.png", config)
        assert drawn.panels[0].title == "stdin"
        assert drawn.panels[0].numbers.shape == (193, 80)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"text")))
    with pytest.raises(AudioError, match="standard input: is not audio"):
        picture("-", "x.png")


def test_a_part(made: Path, drawn: Drawn) -> None:
    """A part holds the frames whose centres lie in it, at their own times."""
    picture(str(made / "mels.h5"), "x.png", None, View(item_id=ID))
    [whole] = drawn.panels
    picture(str(made / "mels.h5"), "x.png", None, View(item_id=ID, start=0.5, end=1.0))
    [part] = drawn.panels
    period = 256 / 22050
    first = round((part.start - whole.start) / period)
    assert (part.numbers == whole.numbers[first : first + len(part.numbers)]).all()
    assert part.start + period / 2 == pytest.approx(0.5, abs=period)
    assert 0.5 <= part.start + period / 2 < part.stop - period / 2 < 1.0
    with pytest.raises(UsageError, match="is not before"):
        View(start=1.0, end=1.0)


def test_long_items(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many frames a column is the mean of several, and the axis says so."""
    picture(VOWELS, "x.png", HIFIGAN)
    [whole] = drawn.panels
    monkeypatch.setattr(columns, "MOST_COLUMNS", 50)
    told = picture(VOWELS, "x.png", HIFIGAN)
    [few] = drawn.panels
    assert len(few.numbers) == 49
    assert few.numbers[1] == pytest.approx(whole.numbers[4:8].mean(axis=0), abs=1e-5)
    assert few.note == "each column is the mean of 4 frames"
    assert told[-1] == few.note
    assert few.stop == pytest.approx(49 * 4 * 256 / 22050)


def test_fixed_lengths(drawn: Drawn, corpus: Any) -> None:
    """What is filled in is drawn and marked; what is cut is told."""
    whisper = presets.load("whisper-80").config
    picture(VOWELS, "x.png", whisper)
    [panel] = drawn.panels
    assert len(panel.numbers) == 3000
    assert panel.end == pytest.approx(2.25, abs=0.01)
    picture(VOWELS, "x.png", whisper, View(end=2.0))
    assert drawn.panels[0].end is None
    path = corpus.add("long.wav", 31.0)
    told = picture(str(path), "x.png", whisper)
    assert told[1] == "only the first 30 s: this front end takes no more"
    assert drawn.panels[0].aside == "whisper-80, 30.00 s"


def test_stacks_and_patches(drawn: Drawn) -> None:
    """Rows of many frames are drawn frame by frame, and the axis says what a row is."""
    picture(VOWELS, "x.png", presets.load("funasr-paraformer-560").config)
    [stacks] = drawn.panels
    assert stacks.numbers.shape[1] == 80
    assert stacks.note == "rows of 7 frames, 6 apart, drawn frame by frame"
    picture(VOWELS, "x.png", presets.load("yamnet").config)
    [patches] = drawn.panels
    assert patches.note == "patches of 96 frames, 48 apart, lines where they begin"
    starts = [patches.start + 0.48 * n for n in range(1, len(patches.marks) + 1)]
    assert list(patches.marks) == pytest.approx(starts)
    assert len(patches.numbers) == 48 * (len(patches.marks) + 2)


# Two at once


def test_a_mel_and_the_audio_of_its_inversion(made: Path, drawn: Drawn) -> None:
    """Audio gets the front end of the output; the figures are those of all frames."""
    wav = made / "wavs" / ID
    told = comparison((str(made / "mels.h5"), str(wav)), "x.png", None, View(item_id=ID))
    a, b = drawn.panels
    apart = b.numbers.astype(np.float64) - a.numbers
    assert drawn.difference.numbers == pytest.approx(apart, abs=1e-6)
    assert drawn.difference.rms == pytest.approx(float(np.sqrt((apart**2).mean())))
    assert abs(drawn.difference.largest) == pytest.approx(np.abs(apart).max())
    frame, band = np.unravel_index(np.abs(apart).argmax(), apart.shape)
    assert drawn.difference.seconds == pytest.approx((frame + 0.5) * 256 / 22050)
    assert drawn.difference.hz == pytest.approx(bin_centres(HIFIGAN)[band])
    assert told == [f"{drawn.difference}, in ln magnitude"]


def test_an_output_of_audio(made: Path, drawn: Drawn) -> None:
    """The files that `invert --audio` made are items too."""
    comparison((str(made / "mels"), str(made / "wavs")), "x.png", None, View(item_id=ID))
    other = drawn.difference.numbers
    comparison((str(made / "mels"), str(made / "wavs" / ID)), "x.png", None, View(item_id=ID))
    assert (drawn.difference.numbers == other).all()


def test_the_same(made: Path, drawn: Drawn) -> None:
    """Nothing differs from itself."""
    path = str(made / "spectra.h5")
    told = comparison((path, path), "x.png", None, View(item_id=ID, end=1.0))
    assert told == ["B - A: the same numbers"]
    assert not drawn.difference.numbers.any()


def test_silence_differs_by_80_db_at_most(tmp_path: Path, drawn: Drawn) -> None:
    """Numbers without a logarithm are compared in dB, silence 80 dB below the loudest of both."""
    config = presets.load("nnaudio-default").config
    loud = np.full((128, 9), 100.0, np.float32)
    np.save(tmp_path / "a.npy", loud)
    np.save(tmp_path / "b.npy", loud * np.array([0, 1, 10] * 3, np.float32))
    comparison((str(tmp_path / "a.npy"), str(tmp_path / "b.npy")), "x.png", config)
    # The loudest is 1000, 10 dB above A.
    assert drawn.difference.numbers[:3, 5] == pytest.approx([-70.0, 0.0, 10.0])
    assert drawn.difference.told == ("-70 dB", f"{np.sqrt((4900 + 100) / 3):.3g} dB")


def test_frames_that_both_have(tmp_path: Path, drawn: Drawn) -> None:
    """The longer loses its end, and frames are put beside those nearest in time."""
    numbers = np.random.default_rng(0).normal(size=(80, 40)).astype(np.float32)
    np.save(tmp_path / "a.npy", numbers)
    np.save(tmp_path / "b.npy", numbers[:, :30] + 1)
    paths = (str(tmp_path / "a.npy"), str(tmp_path / "b.npy"))
    told = comparison(paths, "x.png", HIFIGAN)
    assert drawn.difference.numbers == pytest.approx(np.ones((30, 80)), abs=1e-5)
    assert told[1] == "A has 40 frames, B has 30: the 30 that both have are compared"


def test_other_paddings(tmp_path: Path, drawn: Drawn) -> None:
    """Two front ends that pad otherwise are aligned in time, and the rest is told."""
    other = HIFIGAN.updated({"frame.pad": "none"})
    melcli.extract(VOWELS, tmp_path / "a.h5", HIFIGAN)
    melcli.extract(VOWELS, tmp_path / "b.h5", other)
    told = comparison((str(tmp_path / "a.h5"), str(tmp_path / "b.h5")), "x.png")
    a, b = drawn.panels
    # 384 samples are a hop and a half: A begins one frame earlier, or two.
    assert len(a.numbers) == len(b.numbers)
    assert told[1].startswith("A has 193 frames, B has 190")
    assert told[2] in {
        f"frames of B lie 5.8 ms {word} than those of A" for word in ("later", "earlier")
    }
    assert a.start == b.start > 0.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mel.n_mels": 64}, "has 80 bands, .* 64"),
        ({"mel.f_max": 7000.0}, "band 79 is at"),
        ({"frame.hop_length": 128}, "11.6 ms apart in one, 5.8 ms"),
        ({"log.log": "log10"}, "one holds ln magnitude, the other log10 magnitude"),
        ({"scale.shift": 1.0}, "one holds ln magnitude, the other ln magnitude - 1"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    """Other bands, times or quantities are refused in words."""
    melcli.extract(VOWELS, tmp_path / "a.h5", HIFIGAN)
    melcli.extract(VOWELS, tmp_path / "b.h5", HIFIGAN.updated(changes))
    with pytest.raises(UsageError, match=told):
        comparison((str(tmp_path / "a.h5"), str(tmp_path / "b.h5")), "x.png")


def test_no_pairs(made: Path) -> None:
    """A mel and a spectrum, a scaler, one standard input for two: none of them is a pair."""
    mels, spectra = str(made / "mels.h5"), str(made / "spectra.h5")
    with pytest.raises(UsageError, match="one is a mel, the other a spectrum"):
        comparison((mels, spectra), "x.png", None, View(item_id=ID))
    with pytest.raises(UsageError, match="is a scaler"):
        comparison((mels, str(made / "scaler.npz")), "x.png", None, View(item_id=ID))
    with pytest.raises(UsageError, match="cannot be both"):
        comparison(("-", "-"), "x.png")


def test_long_pairs(made: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are means, and the figures are still those of all frames."""
    paths = (str(made / "mels.h5"), str(made / "wavs"))
    comparison(paths, "x.png", None, View(item_id=ID))
    exact = drawn.difference
    monkeypatch.setattr(columns, "MOST_COLUMNS", 50)
    monkeypatch.setattr(columns, "_BLOCK", 10)
    told = comparison(paths, "x.png", None, View(item_id=ID))
    few = drawn.difference
    assert (few.largest, few.seconds, few.hz) == (exact.largest, exact.seconds, exact.hz)
    assert few.rms == pytest.approx(exact.rms)
    assert len(few.numbers) == 49
    assert few.numbers[0] == pytest.approx(exact.numbers[:4].mean(axis=0), abs=1e-5)
    assert told[1] == "each column is the mean of 4 frames; the figures are of all frames"
