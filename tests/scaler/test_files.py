"""Scalers by the ending of their name, and those of TorchScaler."""

from __future__ import annotations

import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from melcli.config import Mel, MelConfig, Out
from melcli.errors import DeviceError, ScalerError, UsageError
from melcli.scaler import files
from melcli.statistics.fitted import Statistics
from melcli.statistics.moments import moments_of
from melcli.store import disk

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["s.h5", "s.hdf5", "s.npz", "s.npy", "s.pt", "s.pth", "s.ckpt", "S.PT"]
EPS = float(np.finfo(np.float32).eps)


def fitted(n_bins: int = 4, config: MelConfig | None = None, **changed: Any) -> Statistics:
    """Statistics of noise."""
    rows = np.random.default_rng(n_bins).normal(size=(50, n_bins), loc=-7, scale=3)
    statistics = Statistics(
        moments=moments_of(rows.astype(np.float32)),
        at_floor=np.zeros(n_bins, np.int64),
        config=config.to_toml() if config else "",
        config_digest=config.digest if config else "",
    )
    return replace(statistics, **changed)


@pytest.mark.parametrize("name", NAMES)
def test_comes_back(tmp_path: Path, name: str) -> None:
    """Each ending keeps at least the mean and the deviation."""
    files.save(fitted(), tmp_path / name)
    found = files.load(str(tmp_path / name))
    # A .pt is in float32, and its variance is what is left of mean_squared without mean^2.
    is_state = name.lower().endswith((".pt", ".pth", ".ckpt"))
    tolerance = 1e-6 if is_state else 0
    assert np.allclose(found.moments.mean, fitted().moments.mean, rtol=tolerance, atol=0)
    assert np.allclose(found.moments.std, fitted().moments.std, rtol=tolerance * 10, atol=0)
    assert found.is_export == (is_state or name == "s.npy")


@pytest.mark.parametrize("name", ["s.txt", "s", ".npz", "s.pt.gz"])
def test_other_endings(tmp_path: Path, name: str) -> None:
    """A name that says nothing is refused, with those that do."""
    for call in (lambda: files.load(tmp_path / name), lambda: files.save(fitted(), name)):
        with pytest.raises(UsageError, match="no name of a scaler") as caught:
            call()
        for kind in (".h5", ".npz", ".npy", ".pt"):
            assert kind in str(caught.value.remedy)


class TestState:
    """A .pt is the state of DESED's TorchScaler."""

    def test_is_a_state_dict(self, tmp_path: Path) -> None:
        """It has two keys, and shapes that broadcast over ``(batch, bins, time)``."""
        files.save(fitted(), tmp_path / "s.pt")
        state = torch.load(tmp_path / "s.pt", weights_only=True)
        assert list(state) == ["mean", "mean_squared"]
        assert {tensor.shape for tensor in state.values()} == {(1, 4, 1)}
        assert {tensor.dtype for tensor in state.values()} == {torch.float32}
        moments = fitted().moments
        expected = moments.variance + np.square(moments.mean)
        assert np.allclose(state["mean_squared"].flatten(), expected, rtol=1e-6, atol=0)  # float32

    def test_does_what_torch_scaler_does(self, tmp_path: Path) -> None:
        """``(x - mean) / (sqrt(mean_squared - mean^2) + 1e-8)`` gives mean 0 and deviation 1."""
        files.save(fitted(), tmp_path / "s.pt")
        state = torch.load(tmp_path / "s.pt", weights_only=True)
        rows = np.random.default_rng(4).normal(size=(50, 4), loc=-7, scale=3).astype(np.float32)
        x = torch.from_numpy(rows.T.copy())[None]
        std = torch.sqrt(state["mean_squared"] - state["mean"] ** 2)
        y = (x - state["mean"]) / (std + 1e-8)
        # mean^2 is six times the variance here, so its float32 rounding counts six times.
        assert torch.allclose(y.mean(dim=2), torch.zeros(1, 4), atol=1e-5)
        assert torch.allclose(y.std(dim=2, correction=0), torch.ones(1, 4), atol=1e-5)

    @given(
        mean=st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=4),
        std=st.sampled_from([0.0, 1e-20, 1e-3, 1.0]),
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
    def test_never_nan(self, tmp_path: Path, mean: list[float], std: float) -> None:
        """However small the deviation, TorchScaler's arithmetic takes no root of less than 0."""
        files.save(Statistics.exported(np.array(mean), np.full(len(mean), std)), tmp_path / "s.pt")
        state = torch.load(tmp_path / "s.pt", weights_only=True)
        assert (state["mean_squared"] - state["mean"] ** 2 >= 0).all()
        found = files.load(tmp_path / "s.pt").moments
        assert np.array_equal(found.mean, np.array(mean, np.float32))
        # Known where it is more than float32 loses of mean^2, and 0 where it is less.
        lost = 2 * EPS * (np.square(mean) + std**2) + 1e-45  # the least that float32 holds
        assert (np.abs(found.variance - std**2) <= lost).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n_bins", [1, 5])
    @pytest.mark.parametrize("prefix", ["", "scaler.", "sed_student.scaler."])
    @pytest.mark.parametrize("nested", [False, True])
    def test_reads(
        self, tmp_path: Path, dtype: torch.dtype, n_bins: int, prefix: str, *, nested: bool
    ) -> None:
        """One number for all bins or one for each, in a state or in a checkpoint of Lightning."""
        mean = torch.linspace(-3, 2, n_bins, dtype=dtype)[None, :, None]
        state: dict[str, Any] = {
            f"{prefix}mean": mean,
            f"{prefix}mean_squared": mean**2 + 4,
            "bn.running_mean": torch.zeros(5),
            "bn.num_batches_tracked": torch.tensor(3),
        }
        held = {"state_dict": OrderedDict(state), "epoch": 3, "callbacks": {}} if nested else state
        torch.save(held, tmp_path / "s.ckpt")
        found = files.load(tmp_path / "s.ckpt")
        assert found.is_export
        assert found.moments.mean.tolist() == mean.flatten().tolist()
        assert np.allclose(found.moments.std, 2, rtol=1e-6)  # float32

    def test_a_module_that_was_fitted(self, tmp_path: Path) -> None:
        """The state of a module with these two buffers is one."""
        module = nn.Module()
        module.register_buffer("mean", torch.full((1, 3, 1), -1.0))
        module.register_buffer("mean_squared", torch.full((1, 3, 1), 10.0))
        torch.save(module.state_dict(), tmp_path / "scaler.pt")
        assert files.load(tmp_path / "scaler.pt").moments.std.tolist() == [3, 3, 3]

    def test_unknown_variance(self, tmp_path: Path) -> None:
        """What is no more than the rounding of mean_squared counts as 0, and a little below too."""
        mean = torch.full((1, 4, 1), 100.0)
        squared = mean.square() * (1 + torch.tensor([-1e-6, 0, EPS, 20 * EPS])[None, :, None])
        torch.save({"mean": mean, "mean_squared": squared}, tmp_path / "s.pt")
        std = files.load(tmp_path / "s.pt").moments.std
        assert std[:3].tolist() == [0, 0, 0]
        assert std[3] == pytest.approx(np.sqrt(1e4 * 20 * EPS), rel=0.1)  # two digits are left

    def test_too_large(self, tmp_path: Path) -> None:
        """What float32 cannot hold is not written."""
        large = Statistics.exported(np.array([1e30]), np.array([1.0]))
        with pytest.raises(ScalerError, match="beyond float32") as caught:
            files.save(large, tmp_path / "s.pt")
        assert ".npz" in str(caught.value.remedy)
        assert list(tmp_path.iterdir()) == []

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The old file stays where the new one does not fit."""
        files.save(fitted(), tmp_path / "s.pt")
        old = (tmp_path / "s.pt").read_bytes()

        def full(*_args: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(disk, "write_at", full)
        with pytest.raises(DeviceError, match="disk is full"):
            files.save(fitted(9), tmp_path / "s.pt")
        assert [path.name for path in tmp_path.iterdir()] == ["s.pt"]
        assert (tmp_path / "s.pt").read_bytes() == old


def refused(path: Path, cause: str) -> ScalerError:
    """Read what must be refused, in little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ScalerError, match=cause) as caught:
            files.load(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20  # most of it is torch's modules
    finally:
        tracemalloc.stop()
    assert caught.value.path == path
    assert caught.value.remedy
    return caught.value


ONE = torch.ones(1, 3, 1)
PAIR = {"mean": ONE, "mean_squared": 2 * ONE}


class TorchScaler(nn.Module):
    """A stranger's class."""


class Bomb:
    """Does harm as it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("it was unpickled",)


@pytest.mark.parametrize("held", [TorchScaler(), {"mean": ONE, "mean_squared": Bomb()}])
def test_pickled_objects(tmp_path: Path, held: object) -> None:
    """DESED's scaler.ckpt is a whole module: it is not unpickled, and the way out is told."""
    torch.save(held, tmp_path / "scaler.ckpt")
    error = refused(tmp_path / "scaler.ckpt", "could run any program as they are read")
    assert 'torch.save(scaler.state_dict(), "scaler.pt")' in str(error.remedy)


@pytest.mark.parametrize(
    ("held", "cause"),
    [
        ({}, "it holds none"),
        ([ONE, ONE], "it holds none"),
        ({3: ONE}, "it holds none"),
        (ONE, "it holds none"),
        ({"mean": ONE}, "it holds none"),
        ({"mean_squared": ONE, "a.mean": ONE}, "it holds none"),
        (PAIR | {"a.mean": ONE, "a.mean_squared": ONE}, "holds several: , a."),
        (PAIR | {"mean": 3.0}, "no tensor"),
        (PAIR | {"mean": ONE.int()}, "no tensor"),
        (PAIR | {"mean": ONE.half()}, "no tensor"),
        (PAIR | {"mean": ONE.to_sparse()}, "no tensor"),
        (PAIR | {"mean": ONE.to("meta")}, "no tensor|damaged"),
        (PAIR | {"mean": torch.ones(1, 1, 3)}, "has shape .1, 1, 3., not .1, bins, 1."),
        (PAIR | {"mean": torch.ones(3)}, "has shape"),
        (PAIR | {"mean": torch.ones(1, 0, 1)}, "has shape"),
        (PAIR | {"mean": torch.ones(1).expand(1, 1 << 40, 1)}, "has shape"),
        (PAIR | {"mean": torch.ones(1, 2, 1)}, "mean has 2 bins, and mean_squared 3"),
        (PAIR | {"mean": ONE * torch.nan}, "NaN, infinite"),
        (PAIR | {"mean_squared": ONE * torch.inf}, "NaN, infinite"),
        (PAIR | {"mean_squared": -ONE}, "which cannot be"),
        ({"mean": 5 * ONE, "mean_squared": 2 * ONE}, "which cannot be"),
    ],
)
def test_state_believes_nothing(tmp_path: Path, held: object, cause: str) -> None:
    """Whatever is no mean and mean of squares is told as that."""
    torch.save(held, tmp_path / "s.pt")
    refused(tmp_path / "s.pt", cause)


class TestForeignFiles:
    """What torch did not write does not come to torch."""

    def test_not_there(self, tmp_path: Path) -> None:
        """Nothing is there, or no file."""
        refused(tmp_path / "s.pt", "is not there")
        (tmp_path / "t.pt").mkdir()
        refused(tmp_path / "t.pt", "is no file")
        os.mkfifo(tmp_path / "u.pt")
        refused(tmp_path / "u.pt", "is no file")

    @pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04", pickle.dumps({"mean": 1})])
    def test_other_files(self, tmp_path: Path, data: bytes) -> None:
        """It is something else altogether."""
        (tmp_path / "s.pt").write_bytes(data)
        refused(tmp_path / "s.pt", "torch.save|damaged")

    def test_before_zip(self, tmp_path: Path) -> None:
        """Earlier torch wrote another format; it may say how large it is, so it is not read."""
        torch.save(PAIR, tmp_path / "s.pt", _use_new_zipfile_serialization=False)
        error = refused(tmp_path / "s.pt", "is not what torch.save writes")
        assert "torch.save(scaler.state_dict()" in str(error.remedy)

    def test_cut_off(self, tmp_path: Path) -> None:
        """It was cut anywhere."""
        torch.save(PAIR, tmp_path / "s.pt")
        data = (tmp_path / "s.pt").read_bytes()
        for n_bytes in (10, 100, len(data) // 2, len(data) - 1):
            (tmp_path / "s.pt").write_bytes(data[:n_bytes])
            refused(tmp_path / "s.pt", "damaged")

    def test_damaged_pickle(self, tmp_path: Path) -> None:
        """What cannot be unpickled at all is damaged, and not dangerous."""
        self.changed(tmp_path / "s.pt", "data.pkl", b"\x80\x02}q\x00")
        refused(tmp_path / "s.pt", "damaged")

    def test_compressed(self, tmp_path: Path) -> None:
        """Compressed members could grow."""
        self.changed(tmp_path / "s.pt", "data/0", bytes(1 << 20), zipfile.ZIP_DEFLATED)
        refused(tmp_path / "s.pt", "is compressed")

    def test_torchscript(self, tmp_path: Path) -> None:
        """A program is no state."""
        self.changed(tmp_path / "s.pt", "constants.pkl", b"")
        refused(tmp_path / "s.pt", "a program of TorchScript")

    def test_many_members(self, tmp_path: Path) -> None:
        """A list of contents without end is not read."""
        with zipfile.ZipFile(tmp_path / "s.pt", "w") as archive:
            for number in range(1000):
                archive.writestr(f"{number}".zfill(6000), b"")
        refused(tmp_path / "s.pt", "more than a scaler does")

    @staticmethod
    def changed(path: Path, name: str, data: bytes, how: int = zipfile.ZIP_STORED) -> None:
        """Write a state with one member changed or added."""
        torch.save(PAIR, path)
        with zipfile.ZipFile(path) as archive:
            held = {info.filename: archive.read(info) for info in archive.infolist()}
        folder = next(iter(held)).split("/")[0]
        held[f"{folder}/{name}"] = data
        with zipfile.ZipFile(path, "w", how) as archive:
            for member, content in held.items():
                archive.writestr(member, content)


class TestFrontEnd:
    """A scaler serves the front end that it was fitted to."""

    def test_same(self) -> None:
        """The same front end under another name is the same."""
        config = MelConfig(name="mine", mel=Mel(n_mels=4))
        files.check_front_end(fitted(config=config), replace(config, name="yours"), "s.h5")

    def test_other(self) -> None:
        """Every setting that differs is told, a line each."""
        there = MelConfig(mel=Mel(n_mels=4, f_min=20.0))
        here = MelConfig(mel=Mel(n_mels=5))
        with pytest.raises(ScalerError, match="fitted to another front end") as caught:
            files.check_front_end(fitted(config=there), here, "s.h5")
        assert str(caught.value).splitlines()[1:] == [
            "  mel.n_mels: 4 in the scaler, 5 asked for",
            "  mel.f_min: 20.0 in the scaler, 0.0 asked for",
        ]
        assert str(caught.value.path) == "s.h5"
        assert "--config" in str(caught.value.remedy)

    @pytest.mark.parametrize("text", ["", "not [ toml", "a = [" * 5000, "a.b" * 3000])
    def test_unreadable_config(self, text: str) -> None:
        """A front end that cannot be read still has a digest, and differs."""
        there = fitted(config=MelConfig(mel=Mel(n_mels=4)))
        with pytest.raises(ScalerError, match=r"(not set|4) in the scaler"):
            files.check_front_end(replace(there, config=text), MelConfig(), "s.h5")

    def test_same_text(self) -> None:
        """Where the texts are equal, the digests are told."""
        config = MelConfig(mel=Mel(n_mels=4))
        odd = replace(fitted(config=config), config_digest="e" * 64)
        with pytest.raises(ScalerError, match=r"config_digest: e{64} in the scaler, "):
            files.check_front_end(odd, config, "s.h5")

    def test_bins_of_an_export(self) -> None:
        """Of an export only the number of bins is known: one for each number of a row, or one."""
        stacked = MelConfig(name="stacked", mel=Mel(n_mels=4), out=Out(stack=3))
        for n_bins in (1, 12):
            export = Statistics.exported(np.zeros(n_bins), np.ones(n_bins))
            files.check_front_end(export, stacked, "s.npy")
        for unknown in (Statistics.exported(np.zeros(4), np.ones(4)), fitted()):
            with pytest.raises(ScalerError, match="has 4 bins, and stacked has 12"):
                files.check_front_end(unknown, stacked, "s.npy")

    def test_bins_of_all(self) -> None:
        """The right digest does not help who has the wrong number of bins."""
        config = MelConfig(mel=Mel(n_mels=4))
        with pytest.raises(ScalerError, match="has 5 bins, and this front end has 4"):
            files.check_front_end(fitted(5, config), config, "s.h5")
