"""Computing a sample of an output again: the same bytes, or within what a front end allows."""

from __future__ import annotations

import os
import re
import zlib
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import melcli
from melcli import OutputConfig, presets, store
from melcli.config import MelConfig
from melcli.errors import DeviceError, NoInputError, StoreError, UsageError
from melcli.pipeline import spool, waveforms, worker
from melcli.pipeline.names import item_id
from melcli.pipeline.recompute import Recomputation
from melcli.pipeline.sample import Sample, names_of, sample_size
from melcli.pipeline.tolerance import Tolerance

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from melcli.store import Fault
    from tests.conftest import Corpus

OUTPUTS = ["x.h5", "tree.h5", "npy/"]


class Output:
    """An output, and the ways in which a test can spoil it."""

    def __init__(self, path: Path, corpus: Corpus) -> None:
        self.path, self.corpus = path, corpus

    def made(self, config: MelConfig | str = "librosa", **out: Any) -> Output:
        """Extract the corpus to it."""
        if self.path.name == "tree.h5":
            out["store_layout"] = "tree"
        slash = "" if self.path.suffix else "/"
        report = melcli.extract(
            self.corpus.folder, f"{self.path}{slash}", config, out=OutputConfig(**out)
        )
        assert report.failed == 0
        return self

    def again(self, sample: str = "100%", root: Path | None = None) -> tuple[Any, list[Fault]]:
        """Compute it again; the books of that, and the faults."""
        reader = store.open_reader(self.path)
        try:
            again = Recomputation(reader, root or self.corpus.folder, sample=sample)
            return again, list(again.faults())
        finally:
            reader.close()

    def shift(self, item_id: str, row: int, by: float) -> None:
        """Add to a number of a row, and mend the checksum, so that reading back finds nothing."""
        reader = store.open_reader(self.path)
        rows = reader.read(item_id).copy()
        position = list(reader.ids()).index(item_id)
        transpose, start = reader.header.transpose, int(reader.items["start"][position])
        reader.close()
        rows.reshape(len(rows), -1)[row, 3] += by
        if self.path.suffix:
            with h5py.File(self.path, "r+") as file:
                if isinstance(file["mel"], h5py.Dataset):
                    file["mel"][start : start + len(rows)] = rows
                else:
                    file[f"mel/{item_id}"][:] = rows
                file["items/crc32"][position] = zlib.crc32(rows.tobytes())
        else:
            stored = np.ascontiguousarray(np.moveaxis(rows, 0, -1) if transpose else rows)
            name = self.path / store.npy_path(item_id)
            data = name.read_bytes()
            name.write_bytes(data[: len(data) - stored.nbytes] + stored.tobytes())
            self._edit("melcli.jsonl", rf'("{re.escape(item_id)}".*"crc32": )\d+', stored)

    def _edit(self, name: str, pattern: str, stored: NDArray[Any]) -> None:
        text = (self.path / name).read_text()
        text, n = re.subn(pattern, rf"\g<1>{zlib.crc32(stored.tobytes())}", text)
        assert n == 1
        (self.path / name).write_text(text)

    def made_elsewhere(self, **machine: str) -> Output:
        """Change what it says of the machine that made it."""
        if self.path.suffix:
            with h5py.File(self.path, "r+") as file:
                for key, value in machine.items():
                    file.attrs[f"machine_{key}"] = value
        else:
            settings = self.path / "melcli.toml"
            text = settings.read_text()
            for key, value in machine.items():
                text = re.sub(rf'\n{key} = ".*"', f'\n{key} = "{value}"', text)
            settings.write_text(text)
        return self

    def rename(self, position: int, name: str) -> None:
        """Give an item of an HDF5 file another id."""
        with h5py.File(self.path, "r+") as file:
            file["items/id"][position] = name

    def n_damaged(self) -> int:
        """How many faults reading it back finds."""
        reader = store.open_reader(self.path)
        found = list(reader.faults())
        reader.close()
        return len(found)


@pytest.fixture(params=OUTPUTS)
def output(request: pytest.FixtureRequest, tmp_path: Path, corpus: Corpus) -> Output:
    """Each kind of output, not made yet."""
    return Output(tmp_path / request.param, corpus)


@pytest.fixture
def packed(tmp_path: Path, corpus: Corpus) -> Output:
    """One HDF5 file, not made yet."""
    return Output(tmp_path / "x.h5", corpus)


class TestSampleSize:
    """A number of inputs, or a share of them."""

    @pytest.mark.parametrize(
        ("sample", "n_inputs", "size"),
        [
            ("1%", 1200, 12),
            ("1%", 1201, 13),
            ("1%", 1, 1),
            ("7%", 100, 7),  # 7.000000000000001 in floating point
            ("0.5%", 1000, 5),
            ("100%", 7, 7),
            ("1%", 0, 0),
            ("5", 7, 5),
            ("5", 3, 3),
            (" 5 ", 7, 5),
        ],
    )
    def test_sizes(self, sample: str, n_inputs: int, size: int) -> None:
        """A share is rounded up, so that it is never nothing; a number is at most all."""
        assert sample_size(sample, n_inputs) == size

    @pytest.mark.parametrize(
        "sample", ["", "0", "0%", "-1", "101%", "1.5", "many", "%", "1%%", "٣", "1e3", "nan"]
    )
    def test_nonsense(self, sample: str) -> None:
        """Anything else is refused, with both ways to say it."""
        with pytest.raises(UsageError, match="number of inputs, or a share") as error:
            sample_size(sample, 10)
        assert error.value.remedy == "--sample 20, or --sample 1%"


class TestNames:
    """From an id to the file, and never out of the folder."""

    @given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=3))
    def test_way_back(self, parts: list[bytes]) -> None:
        """Whatever bytes a path is made of, its id leads back to it."""
        clean = [part.replace(b"/", b"%").replace(b"\0", b"\xff") for part in parts]
        name = b"/".join(part if part not in {b".", b".."} else b"x" for part in clean)
        assert name in list(names_of(item_id(name)))

    @given(
        st.lists(st.sampled_from(["%", "FF", "2E", "25", "2F", "C3", "A9", "00", "/", "a", "é"]))
    )
    def test_only_its_own(self, parts: list[str]) -> None:
        """Every name that an id leads to has that id, and has no other parts than it."""
        name = "".join(["a", *parts, "b"])
        try:
            found = list(names_of(name))
        except StoreError:
            return
        assert found[0] == name.encode()
        assert [item_id(raw) for raw in found] == [name] * len(found)
        for raw in found:
            assert raw.count(b"/") == name.count("/")
            assert not {b"", b".", b".."} & set(raw.split(b"/"))

    @pytest.mark.parametrize(
        "name", ["", "/etc/passwd", "../x.wav", "a/../x.wav", "a//b", ".", "a\0b", "\udcff"]
    )
    def test_hostile(self, name: str) -> None:
        """An id that could lead out of the folder leads nowhere."""
        with pytest.raises(StoreError, match="the id"):
            list(names_of(name))


class TestSample:
    """Which inputs are looked at."""

    def test_always_the_same(self, packed: Output) -> None:
        """The ids decide: another call takes the same ones, and a larger sample has them too."""
        for k in range(40):
            packed.corpus.add(f"{k:02}.wav", 0.05)
        packed.made()
        reader = store.open_reader(packed.path)

        def chosen(size: str) -> list[str]:
            sample = Sample.of(reader, packed.corpus.folder, size)
            assert (sample.n_inputs, sample.n_chosen) == (40, len(sample.plan))
            return list(sample.plan.ids())

        few, more, whole = chosen("5"), chosen("25%"), chosen("100%")
        assert (len(few), len(more), len(whole)) == (5, 10, 40)
        assert few == chosen("5")
        assert set(few) < set(more)
        assert few != whole[:5]
        assert whole == sorted(whole)
        reader.close()

    def test_inputs_not_items(self, packed: Output) -> None:
        """An input counts once, however many items it became, and those that failed do not."""
        packed.corpus.add("a.wav", n_channels=3)
        packed.corpus.add("b.wav", n_channels=2)
        packed.made(presets.load("librosa").config.updated({"wave.channels": "each"}))
        again, found = packed.again("1")
        assert (again.sample.n_inputs, again.n_compared, found) == (2, 1, [])


CONFIGS: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "default": ("librosa", {}, {}),
    "frames first": ("librosa", {"out.layout": "time_mel"}, {}),
    "float16": ("librosa", {}, {"dtype": "float16"}),
    "each channel": ("librosa", {"wave.channels": "each"}, {}),
    "one channel": ("librosa", {"wave.channels": 1}, {}),
    "cut": ("whisper-80", {"wave.fix_samples": 2000}, {"long": "cut"}),
    "chunks": ("whisper-80", {"wave.fix_samples": 1500}, {"long": "chunks"}),
    "chunks of each channel": (
        "whisper-80",
        {"wave.fix_samples": 1500, "wave.channels": "each"},
        {"long": "chunks"},
    ),
    "patches": ("librosa", {"out.patch_frames": 4, "out.patch_hop": 2}, {}),
    "normalised": ("speech2text-80", {}, {}),
}


class TestSameMachine:
    """Where the output was made, bytes are compared."""

    @pytest.mark.parametrize("name", CONFIGS)
    def test_good(self, output: Output, name: str) -> None:
        """What nobody touched is the same, whatever the settings and the layout."""
        base, changes, out = CONFIGS[name]
        output.corpus.add("a/one.wav", 0.3, n_channels=2)
        output.corpus.add("two.flac", 0.4, 22_050, 2)
        output.made(presets.load(base).config.updated(changes), **out)
        again, found = output.again()
        assert found == []
        assert (again.n_compared, again.n_differing, again.tolerance) == (2, 0, None)
        assert str(again) == "recomputed 2 of 2 inputs: the same bytes (same machine record)"

    @pytest.mark.parametrize("name", ["default", "normalised", "chunks of each channel"])
    def test_long_inputs(self, output: Output, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """An input that is read in pieces is compared in pieces, and every piece counts."""
        base, changes, out = CONFIGS[name]
        output.corpus.add("a.wav", 1.5, n_channels=2)
        output.made(presets.load(base).config.updated(changes), **out)
        monkeypatch.setattr(waveforms, "PIECE_BYTES", 4096)
        monkeypatch.setattr(spool, "IN_MEMORY", 8192)
        monkeypatch.setattr(worker, "STEP_BYTES", 2048)
        assert output.again()[1] == []
        reader = store.open_reader(output.path)
        last, n_rows = list(reader.ids())[-1], len(reader.read(list(reader.ids())[-1]))
        reader.close()
        output.shift(last, n_rows - 1, 0.5)
        [fault] = output.again()[1]
        assert fault.id == last
        assert f"in 1 of {n_rows} rows: the first is row {n_rows - 1}," in fault.cause

    @pytest.mark.parametrize("name", ["default", "frames first", "float16"])
    def test_a_number_changed(self, output: Output, name: str) -> None:
        """One number behind a checksum that fits is found, and its row is named."""
        base, changes, out = CONFIGS[name]
        output.corpus.add_good()
        output.made(presets.load(base).config.updated(changes), **out)
        output.shift("b.ogg", 5, 0.25)
        assert output.n_damaged() == 0
        again, [fault] = output.again()
        assert fault.id == "b.ogg"
        assert re.match(
            r"is not what its audio gives in 1 of 11 rows: the first is row 5, "
            r"the largest difference 0\.2[45]\d*$", fault.cause
        )  # fmt: skip
        assert str(again) == (
            "recomputed 5 of 5 inputs: 1 not the same bytes (same machine record)"
        )
        assert again.largest_difference == pytest.approx(0.25, abs=0.05)

    def test_known_damage(self, packed: Output) -> None:
        """What reading back has found already is not told again; the rest of the input is."""
        packed.corpus.add("a.wav", n_channels=2)
        packed.made(presets.load("librosa").config.updated({"wave.channels": "each"}))
        packed.shift("a.wav#0", 1, 1.0)
        packed.shift("a.wav#1", 2, 1.0)
        reader = store.open_reader(packed.path)
        again = Recomputation(reader, packed.corpus.folder, sample="100%")
        assert [fault.id for fault in again.faults({"a.wav#0"})] == ["a.wav#1"]
        reader.close()

    @pytest.mark.parametrize(
        ("name", "value"),
        [("n_samples", 3201), ("sample_rate", 8000), ("n_channels", 2), ("channel", 0)],
    )
    def test_a_fact_changed(self, packed: Output, name: str, value: int) -> None:
        """What no checksum protects is compared too."""
        packed.corpus.add("a.wav")
        packed.made()
        with h5py.File(packed.path, "r+") as file:
            was = int(file[f"items/{name}"][0])
            file[f"items/{name}"][0] = value
        assert packed.n_damaged() == 0
        [fault] = packed.again()[1]
        assert fault == ("a.wav", f"its {name} is {value}, and {was} when it is computed again")

    def test_other_items(self, packed: Output) -> None:
        """An input has to become the same items."""
        packed.corpus.add("a.wav", n_channels=2)
        packed.made(presets.load("librosa").config.updated({"wave.channels": "each"}))
        packed.rename(1, "a.wav#2")
        [fault] = packed.again()[1]
        assert fault == (
            "a.wav",
            "is 2 items, and 2 when it is computed again: a.wav#2 is the first that differs",
        )

    def test_other_audio(self, packed: Output) -> None:
        """Other audio under the same name, size and time gives other rows."""
        path = packed.corpus.add("a.wav")
        status = path.stat()
        packed.made()
        packed.corpus.add_samples("a.wav", packed.corpus.samples("another"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_size == status.st_size
        [fault] = packed.again()[1]
        assert "in 9 of 9 rows: the first is row 0," in fault.cause

    def test_unreadable_now(self, packed: Output) -> None:
        """What cannot be read any more is no fault of the output; it is told with its cause."""
        path = packed.corpus.add("a.wav")
        packed.corpus.add("b.wav")
        status = path.stat()
        packed.made()
        path.write_bytes(b"?" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        again, found = packed.again()
        assert (found, again.n_compared) == ([], 1)
        [failed] = again.failed
        assert failed.id == "a.wav"
        assert "is not audio" in failed.cause
        assert str(again).endswith("(same machine record); not compared: 1 cannot be read now")
        (packed.corpus.folder / "b.wav").unlink()
        again, _ = packed.again()
        assert str(again) == (
            "recomputed 0 of 2 inputs; not compared: 1 gone (b.wav), 1 cannot be read now"
        )

    def test_signed_zero(self, packed: Output) -> None:
        """Bytes are compared, not numbers: -0 is not 0."""
        packed.corpus.add_samples("a.wav", np.zeros(8000, np.float32))
        packed.made("kapre-das")
        with h5py.File(packed.path, "r+") as file:
            assert file["mel"][2, 3] == 0
            file["mel"][2, 3] = -0.0
        [fault] = packed.again()[1]
        assert "in 1 of " in fault.cause
        assert fault.cause.endswith("the first is row 2, the largest difference 0")

    def test_device(self, packed: Output, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was made on a CPU is computed on one, also where there is a GPU."""
        packed.corpus.add("a.wav")
        packed.made()
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        again, found = packed.again()
        assert (found, again.machine_differences) == ([], {})

    def test_no_device(self, packed: Output) -> None:
        """A device that is not there is the machine's fault."""
        packed.corpus.add("a.wav")
        packed.made()
        reader = store.open_reader(packed.path)
        with pytest.raises(DeviceError):
            Recomputation(reader, packed.corpus.folder, device="cuda:99")
        reader.close()


class TestAnotherMachine:
    """Elsewhere numbers are compared, within what the front end allows."""

    def test_told(self, output: Output) -> None:
        """What differs between the machines is told, and how far numbers may lie apart."""
        output.corpus.add_good()
        output.made().made_elsewhere(torch="2.4.0", soxr="0.1")
        again, found = output.again()
        assert found == []
        here = again.machine_differences["torch"][1]
        assert again.machine_differences["torch"] == ("2.4.0", here)
        assert re.fullmatch(
            r"recomputed 5 of 5 inputs: within 0\.005, bins more than 100 dB below the loudest "
            rf"aside \(soxr: 0\.1 there, .* here; torch: 2\.4\.0 there, {re.escape(here)} here\)",
            str(again),
        )

    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_within(self, output: Output, dtype: str) -> None:
        """What lies nearer than the tolerance is good, what lies further is a fault."""
        output.corpus.add("a.wav")
        output.made(dtype=dtype).made_elsewhere(torch="2.4.0")
        output.shift("a.wav", 4, 0.004)
        again, found = output.again()
        assert found == []
        if dtype == "float32":
            assert again.largest_difference == pytest.approx(0.004, rel=0.01)
        output.shift("a.wav", 4, 0.1)
        again, [fault] = output.again()
        assert "in 1 of 9 rows: the first is row 4, the largest difference 0.1" in fault.cause
        assert fault.cause.endswith(f"(allowed: {again.tolerance})")
        assert again.n_differing == 1

    def test_half_precision(self, packed: Output) -> None:
        """float16 may have been rounded to the next number, and that may be further away."""
        samples = packed.corpus.samples("a.wav") * np.float32(0.01)  # some -40 dB
        packed.corpus.add_samples("a.wav", samples, subtype="FLOAT")
        packed.made(dtype="float16").made_elsewhere(torch="2.4.0")
        with melcli.open(packed.path) as mels:
            step = float(np.spacing(np.abs(mels["a.wav"].T[4, 3])))
        assert step > 2 * 5e-3
        packed.shift("a.wav", 4, step)
        again, found = packed.again()
        assert (found, again.largest_difference) == ([], step)
        packed.shift("a.wav", 4, 2 * step)
        assert len(packed.again()[1]) == 1

    def test_quiet_bins(self, packed: Output, corpus: Corpus) -> None:
        """Bins more than 100 dB below the loudest are set aside, and only these."""
        samples = corpus.samples("a.wav", 1.0)[:, 0]
        samples[8000:] *= 1e-6  # 120 dB
        corpus.add_samples("a.wav", samples, subtype="FLOAT")
        packed.made("kaldi-fbank-80-nosnip").made_elsewhere(torch="2.4.0")
        packed.shift("a.wav", 90, 1.0)
        assert packed.again()[1] == []
        packed.shift("a.wav", 10, 1.0)
        assert "in 1 of 100 rows: the first is row 10," in packed.again()[1][0].cause

    def test_quiet_bins_normalised(self, packed: Output, corpus: Corpus) -> None:
        """Where bands are normalised one by one, levels are those before that."""
        samples = corpus.samples("a.wav", 1.0)[:, 0]
        samples[8000:] *= 1e-6
        corpus.add_samples("a.wav", samples, subtype="FLOAT")
        packed.made("speech2text-80").made_elsewhere(torch="2.4.0")
        packed.shift("a.wav", 90, 1.0)
        assert packed.again()[1] == []
        packed.shift("a.wav", 10, 1.0)
        assert "rows: the first is row 10," in packed.again()[1][0].cause

    def test_long_inputs(self, packed: Output, monkeypatch: pytest.MonkeyPatch) -> None:
        """An input that is read in pieces is compared in pieces, its levels beside it."""
        packed.corpus.add("a.wav", 1.5)
        packed.made("speech2text-80").made_elsewhere(torch="2.4.0")
        monkeypatch.setattr(waveforms, "PIECE_BYTES", 4096)
        monkeypatch.setattr(spool, "IN_MEMORY", 8192)
        monkeypatch.setattr(worker, "STEP_BYTES", 2048)
        assert packed.again()[1] == []
        packed.shift("a.wav", 140, 0.5)
        assert "the first is row 140," in packed.again()[1][0].cause

    def test_without_logarithm(self, packed: Output) -> None:
        """A mel without a logarithm is held to a share of its largest value."""
        packed.corpus.add("a.wav")
        packed.made("kapre-das").made_elsewhere(torch="2.4.0")
        with melcli.open(packed.path) as mels:
            largest = float(mels["a.wav"].max())
        packed.shift("a.wav", 4, 0.9e-4 * largest)
        assert packed.again()[1] == []
        packed.shift("a.wav", 4, 0.9e-4 * largest)
        [fault] = packed.again()[1]
        assert "(allowed: 0.0001 of the largest value of each item)" in fault.cause

    def test_facts(self, packed: Output) -> None:
        """Another decoder may find another length; the rows tell what matters."""
        packed.corpus.add("a.wav")
        packed.made().made_elsewhere(libsndfile="1.0.0")
        with h5py.File(packed.path, "r+") as file:
            file["items/n_samples"][0] = 3201
        assert packed.again()[1] == []

    def test_every_front_end(self) -> None:
        """Of every named front end the tolerance is known, and it is no loose one."""
        for preset in presets.presets():
            tolerance = Tolerance.of(preset.config)
            assert 1e-4 <= tolerance.allowed <= 5e-3, preset.name
            assert (tolerance.depth is None) == (preset.config.log.log == "none"), preset.name

    def test_depth(self) -> None:
        """100 dB are 100 in a mel of decibels, 10 in a log10 of power, 5 in one of magnitudes."""
        of = {"spec.power": 2.0, "log.log": "log10", "log.floor": 1e-10, "log.floor_mode": "clamp"}
        config = MelConfig().updated(of)
        assert Tolerance.of(config).depth == pytest.approx(10)
        assert Tolerance.of(config.updated({"log.log_mult": 10.0})).depth == pytest.approx(100)
        assert Tolerance.of(config.updated({"spec.power": 1.0})).depth == pytest.approx(5)
        natural = config.updated({"spec.power": 1.0, "log.log": "ln"})
        assert Tolerance.of(natural).depth == pytest.approx(5 * np.log(10))

    def test_a_config_of_ones_own(self) -> None:
        """A front end that only has the name of another has not its tolerance."""
        named = presets.load("kapre-das").config
        assert Tolerance.of(named).allowed == 1e-4
        assert Tolerance.of(named.updated({"mel.n_mels": 20})).allowed == 5e-3


class TestSources:
    """What is not there as it was says nothing of the output."""

    def test_gone_and_changed(self, packed: Output) -> None:
        """Both are counted, the first of each is named, and the rest is compared."""
        for name in ("a.wav", "b.wav", "c.wav", "d.wav"):
            packed.corpus.add(name)
        packed.made()
        (packed.corpus.folder / "a.wav").unlink()
        (packed.corpus.folder / "b.wav").unlink()
        os.utime(packed.corpus.folder / "c.wav", ns=(0, 0))
        again, found = packed.again()
        assert (found, again.n_compared) == ([], 1)
        assert again.sample.missing == {"gone": 2, "changed": 1}
        assert str(again).endswith("; not compared: 2 gone (a.wav), 1 changed since (c.wav)")

    @pytest.mark.parametrize("name", ["b.wav", "no audio"])
    def test_changed_meanwhile(self, packed: Output, name: str) -> None:
        """What changes between the choice and the reading says nothing either."""
        path = packed.corpus.add("a.wav")
        packed.corpus.add("b.wav", 0.3)
        packed.made()
        reader = store.open_reader(packed.path)
        again = Recomputation(reader, packed.corpus.folder, sample="100%")
        is_audio = name == "b.wav"
        path.write_bytes((packed.corpus.folder / name).read_bytes() if is_audio else b"?" * 50)
        assert list(again.faults()) == []
        assert (again.sample.missing, again.failed) == ({"changed": 1}, [])
        reader.close()

    def test_wrong_root(self, packed: Output, tmp_path: Path) -> None:
        """Where nothing is found, nothing is verified: the remedy names what must be there."""
        packed.corpus.add("a/b.wav")
        packed.made()
        with pytest.raises(NoInputError, match=r"1 of 1 input .* 1 gone \(a/b.wav\)") as error:
            packed.again(root=tmp_path)
        assert error.value.path == tmp_path
        assert error.value.remedy is not None
        assert "a/b.wav must be in it" in error.value.remedy

    def test_copied_without_times(self, packed: Output) -> None:
        """A copy with other times is told how to be made."""
        os.utime(packed.corpus.add("a.wav"), ns=(0, 0))
        packed.made()
        os.utime(packed.corpus.folder / "a.wav")
        with pytest.raises(NoInputError, match="1 changed since") as error:
            packed.again()
        assert error.value.remedy is not None
        assert "cp -p" in error.value.remedy

    def test_nothing_but_failures(self, packed: Output) -> None:
        """An output without an item has nothing to compute again."""
        packed.corpus.add_bytes("a.wav", b"text, and no audio")
        melcli.extract(packed.corpus.folder, packed.path)
        with pytest.raises(NoInputError, match="nothing that could be computed again"):
            packed.again()

    def test_failed_then_mended(self, packed: Output) -> None:
        """What failed and can be read now is not looked at."""
        packed.corpus.add("a.wav")
        packed.corpus.add_bytes("b.wav", b"text, and no audio")
        melcli.extract(packed.corpus.folder, packed.path)
        packed.corpus.add("b.wav")
        again, found = packed.again()
        assert (found, again.sample.n_inputs, again.n_compared) == ([], 1, 1)

    def test_names_that_are_not_utf8(self, output: Output) -> None:
        """Their ids lead back to them, and a literal percent sign is not taken for an escape."""
        folder = output.corpus.folder
        (folder / "50%").mkdir()
        for name in (b"50%/\xff\xfe.wav", b"50%FF.wav", "größe.wav".encode()):
            (folder / os.fsdecode(name)).write_bytes(output.corpus.add("a.wav").read_bytes())
        (folder / "a.wav").unlink()
        output.made()
        again, found = output.again()
        assert (found, again.n_compared) == ([], 3)
        assert again.sample.missing == {}

    def test_links(self, packed: Output, tmp_path: Path) -> None:
        """A link is followed, as extract follows it."""
        packed.corpus.add("a.wav").rename(tmp_path / "elsewhere.wav")
        (packed.corpus.folder / "a.wav").symlink_to(tmp_path / "elsewhere.wav")
        packed.made()
        assert packed.again()[0].n_compared == 1

    @pytest.mark.parametrize("name", ["../b.wav", "{}/b.wav", "x/../../b.wav"])
    def test_ids_that_lead_out(self, packed: Output, tmp_path: Path, name: str) -> None:
        """An id that leads out of the folder is a fault, and what lies there is not opened."""
        packed.corpus.add("b.wav")
        packed.made()
        (packed.corpus.folder / "b.wav").rename(tmp_path / "b.wav")
        packed.rename(0, name.format(tmp_path))
        again, [fault] = packed.again()
        assert (fault.id, again.n_to_compute) == (name.format(tmp_path), 0)
        assert fault.cause.startswith("the id")

    def test_pipe_in_its_place(self, packed: Output) -> None:
        """A named pipe where a file was does not hang."""
        path = packed.corpus.add("a.wav")
        packed.corpus.add("b.wav")
        packed.made()
        path.unlink()
        os.mkfifo(path)
        assert packed.again()[0].sample.missing == {"changed": 1}


def test_one_at_a_time(packed: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is one input: memory does not grow with the sample; each is told when done."""
    batches: list[int] = []
    call: Callable[..., Any] = worker.Worker.__call__

    def noted(self: worker.Worker, batch: Any) -> Any:
        batches.append(len(batch.indices))
        return call(self, batch)

    monkeypatch.setattr(worker.Worker, "__call__", noted)
    packed.corpus.add_good()
    packed.made()
    batches.clear()
    reader = store.open_reader(packed.path)
    again = Recomputation(reader, packed.corpus.folder, sample="100%")
    told: list[int] = []
    assert list(again.faults(advanced=told.append)) == []
    assert batches == [1] * 5 == told == [1] * again.n_to_compute
    reader.close()
