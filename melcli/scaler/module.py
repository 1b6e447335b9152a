"""Statistics of a dataset as a torch module: gathered in a training loop, applied and undone."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from melcli.errors import MelcliError, ScalerError, UsageError
from melcli.scaler.state import from_state, needed_of, to_state
from melcli.scaler.tensors import check_tensor, items_of
from melcli.statistics.diagnosis import faults
from melcli.statistics.fitted import WEIGHTS, Statistics, Weight
from melcli.statistics.normalize import OVERS, RULES, Normalization, Over, Rule
from melcli.statistics.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


class Scaler(nn.Module):
    """Normalise mels by the statistics of a dataset: ``(x - shift) / scale``, bin by bin.

    ::

        scaler = melcli.Scaler().fit(loader, transform=lambda batch: batch[0])
        y = scaler(mel)              # (..., n_mels, n_frames)
        mel = scaler.inverse(y)

    What `shift` and `scale` are is told in :mod:`melcli.statistics.normalize`. Everything is
    computed in float32, or in float64 for what is float64; half precision comes back as it came.
    Gradients flow through; the statistics are not learnt.

    The state holds the statistics in float64, so that a Scaler that was loaded goes on fitting
    where it was; the front end that they are of is kept by :meth:`save` only. A Scaler that is not
    fitted yet takes any state, and the state of a DESED ``TorchScaler`` too (``mean`` and
    ``mean_squared``), to which nothing can be added. Casting a model, as ``half()`` does, leaves
    the statistics as they are.

    Mels are in any unit, of any shape with bins along `dim`; what is fitted in decibels is applied
    to decibels.

    What is poor about the statistics is told as warnings: at the end of :meth:`fit`, or the first
    time that what :meth:`partial_fit` took is applied. Statistics that were loaded are not told of.

    Args:
        normalize: ``"standard"``, ``"mean"``, ``"minmax"``, ``"minmax01"`` or ``"robust"``.
        over: ``"bin"``: by the statistics of each bin; ``"all"``: by those of all together.
        weight: What weighs the same: every ``"frame"``, every ``"item"`` however long, or every
            ``"batch"``, which is what :meth:`partial_fit` is given at once.
        quantiles: Count values too, each frame once, as ``"robust"`` needs and asks for by itself.
        dim: The axis of bins. The axis behind it is time; before it, if bins come last.

    Raises:
        UsageError: There is no such rule or weight.
        ScalerError: It is applied and is not fitted, or is fitted on another number of bins.

    >>> mels = 5.0 * torch.randn(8, 80, 200) - 3.0
    >>> scaler = Scaler().fit([mels])
    >>> y = scaler(mels)
    >>> bool(y.mean().abs() < 1e-5), bool((y.std() - 1).abs() < 1e-3)
    (True, True)
    >>> bool(torch.allclose(scaler.inverse(y), mels, atol=1e-5))
    True
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        normalize: Rule = "standard",
        over: Over = "bin",
        *,
        weight: Weight = "frame",
        quantiles: bool = False,
        dim: int = -2,
    ) -> None:
        super().__init__()
        _require("normalize", normalize, RULES)
        _require("over", over, OVERS)
        _require("weight", weight, WEIGHTS)
        self.normalize, self.over, self.weight = normalize, over, weight
        self.quantiles = quantiles or normalize == "robust"
        self.dim = dim
        self._statistics: Statistics | None = None
        self._added: Tally | None = None
        self._is_ready = self._is_told = False
        self._n_bins = 0  # 0: one number for however many
        self._made: Normalization | None = None
        self._exact: list[Tensor] = []  # in float64, which not every device knows
        self.register_buffer("shift", torch.zeros(0), persistent=False)
        self.register_buffer("scale", torch.zeros(0), persistent=False)

    @classmethod
    def from_statistics(
        cls,
        statistics: Statistics,
        normalize: Rule = "standard",
        over: Over = "bin",
        *,
        dim: int = -2,
    ) -> Self:
        """A Scaler that is fitted."""
        quantiles = statistics.counts is not None
        scaler = cls(normalize, over, weight=statistics.weight, quantiles=quantiles, dim=dim)
        scaler._use(statistics, is_told=True)
        return scaler

    @classmethod
    def from_normalization(cls, made: Normalization, *, dim: int = -2) -> Self:
        """A Scaler that does just this: what an output carries."""
        quantiles = made.statistics.counts is not None
        weight = made.statistics.weight
        scaler = cls(made.rule, made.over, weight=weight, quantiles=quantiles, dim=dim)
        scaler._put(made)
        return scaler

    @property
    def normalization(self) -> Normalization:
        """What it does to a bin, in numbers.

        Raises:
            ScalerError: It is not fitted, or its rule asks for what is not known.
        """
        if self._is_ready and self._made is not None:
            return self._made
        return Normalization.of(self.statistics, self.normalize, self.over)

    @classmethod
    def load(
        cls, path: Path | str, normalize: Rule = "standard", over: Over = "bin", *, dim: int = -2
    ) -> Self:
        """Read statistics from ``.h5``, ``.npz``, ``.npy`` or ``.pt``."""
        from melcli.scaler import files

        return cls.from_statistics(files.load(path), normalize, over, dim=dim)

    def save(self, path: Path | str) -> None:
        """Write the statistics, all of them to ``.h5`` and ``.npz``."""
        from melcli.scaler import files

        files.save(self.statistics, path)

    @property
    def statistics(self) -> Statistics:
        """Those of all that was added.

        Raises:
            ScalerError: Nothing was.
        """
        fitted = self._gathered()
        if fitted is None:
            raise ScalerError(
                "the Scaler is not fitted",
                None,
                "scaler.fit(batches), scaler.load_state_dict(state), or Scaler.load(path)",
            )
        return fitted

    def _gathered(self) -> Statistics | None:
        if self._added is not None:
            added, self._added = self._added.taken(), None
            fitted = self._statistics
            self._statistics = added if fitted is None else fitted.merge(added)
        return self._statistics

    def fit(self, batches: Iterable[Any], transform: Callable[[Any], Tensor] | None = None) -> Self:
        """Start anew, with tensors as :meth:`partial_fit` takes them.

        Args:
            batches: Tensors, or what `transform` makes tensors of.
            transform: Called with each batch.

        Returns:
            The Scaler itself. If anything is raised, it is as it was.

        Raises:
            ScalerError: There was no frame, or one that is not finite.
        """
        fresh = Scaler(
            self.normalize, self.over, weight=self.weight, quantiles=self.quantiles, dim=self.dim
        )
        for number, batch in enumerate(batches):
            try:
                fresh.partial_fit(batch if transform is None else transform(batch))
            except MelcliError as error:
                error.add_note(f"in batch {number}, counted from 0")
                raise
        if fresh._added is None:
            raise ScalerError(
                "no frames to fit on",
                None,
                "an iterator gives its batches only once; a loader may drop its only, smaller one",
            )
        self._use(fresh.statistics, is_told=False)
        return self

    def partial_fit(self, x: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Self:
        """Add a tensor to what is there.

        Args:
            x: One item ``(n_mels, n_frames)``, or a batch of items along any leading axes;
                floating point, on any device. All of it is added, or nothing.
            lengths: Of each item, how many of its frames count; the rest is padding.

        Returns:
            The Scaler itself.

        Raises:
            ScalerError: A number is not finite, there are other bins than before, or what was
                loaded cannot be added to.
        """
        items = items_of(x, self.dim, lengths)
        for number, rows in enumerate(items):
            # Where there is a NaN it is the least and the largest, and compares with nothing.
            if len(rows) and not -_FLOAT32_MAX <= rows.min() <= rows.max() <= _FLOAT32_MAX:
                raise ScalerError(
                    "NaN, or a number beyond float32",
                    f"item {number} of the tensor",
                    "nothing was added; if that is padding, lengths= leaves it out",
                )
        items = [rows for rows in items if len(rows)]
        if items:
            n_bins = items[0].shape[1]
            self._check_more(n_bins)
            if self._added is None:
                self._added = Tally(n_bins, self.weight, with_counts=self.quantiles)
            for rows in items:
                self._added.add([rows], float(rows.min()))
            self._added.end_batch()
            self._is_ready = False
        return self

    def _check_more(self, n_bins: int) -> None:
        fitted, known = self._statistics, self._added.n_bins if self._added else n_bins
        if fitted is not None:
            known = fitted.n_bins
            if fitted.is_export:
                raise ScalerError(
                    "is of a mean and a standard deviation alone, and nothing can be added to them",
                    None,
                    "fit() starts anew",
                )
            if fitted.weight != self.weight or (self.quantiles and fitted.counts is None):
                raise ScalerError(
                    "was loaded, and what is added would be counted in another way",
                    None,
                    f"Scaler(weight={fitted.weight!r}, quantiles={fitted.counts is not None})",
                )
        if n_bins != known:
            raise self._other_bins(known, n_bins)

    def _other_bins(self, known: int, n_bins: int) -> ScalerError:
        return ScalerError(
            f"fitted on {known} bins, and given {n_bins} along dim={self.dim}",
            None,
            "dim= says which axis is that of bins",
        )

    def merge(self, other: Scaler) -> Self:
        """Add what another Scaler was fitted on, such as that of another process.

        Returns:
            The Scaler itself.

        Raises:
            ScalerError: The two do not go together: other bins, another weight, another front end.
        """
        theirs, ours = other._gathered(), self._gathered()
        if theirs is None:
            return self
        self._check_more(theirs.n_bins)
        other._check_more(theirs.n_bins)
        front_ends = [fitted.config_digest for fitted in (ours, theirs) if fitted is not None]
        for what, here, there in (
            ("weight", self.weight, other.weight),
            ("quantiles", self.quantiles, other.quantiles),
            ("front end", front_ends[0], front_ends[-1]),
        ):
            if here != there and "" not in {here, there}:
                raise ScalerError(f"cannot be merged: {what} {here!r} and {there!r}")
        self._statistics = theirs if ours is None else ours.merge(theirs)
        self._is_ready = False
        return self

    def _use(self, statistics: Statistics, *, is_told: bool) -> None:
        """Put statistics to work, and tell what is poor about them."""
        self._put(Normalization.of(statistics, self.normalize, self.over))
        if not is_told:
            for line in faults(statistics):
                warnings.warn(f"Scaler: {line}", stacklevel=3)

    def _put(self, made: Normalization) -> None:
        """Apply this from now on."""
        statistics = made.statistics
        self._made, self._statistics, self._added = made, statistics, None
        self._n_bins = 0 if statistics.is_export and statistics.n_bins == 1 else statistics.n_bins
        self._is_ready, self._is_told = True, True
        with torch.inference_mode(mode=False):  # else nothing could be learnt through them later
            self.shift = torch.tensor(made.shift, device=self.shift.device)
            self.scale = torch.tensor(made.scale, device=self.scale.device)
            self._exact = [torch.from_numpy(numbers) for numbers in made.in_float64()]

    def forward(self, x: Tensor) -> Tensor:
        """``(x - shift) / scale``, of any shape with the bins along `dim`.

        Raises:
            ScalerError: The Scaler is not fitted, or has other bins.
        """
        shift, scale = self._numbers(x)
        return ((x.to(shift.dtype) - shift) / scale).to(x.dtype)

    if TYPE_CHECKING:
        __call__ = forward  # torch's own gives anything

    def inverse(self, x: Tensor) -> Tensor:
        """``x * scale + shift``: what :meth:`forward` was given.

        Raises:
            ScalerError: The Scaler is not fitted, or has other bins.
        """
        shift, scale = self._numbers(x)
        return (x.to(shift.dtype) * scale + shift).to(x.dtype)

    def _numbers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shift and scale, in the precision and along the axis that `x` asks for."""
        if not self._is_ready:
            get_ready = self._get_ready
            if torch.compiler.is_compiling():  # which NumPy is not to be part of
                get_ready = torch.compiler.disable(get_ready)  # type: ignore[no-untyped-call]
            get_ready()
        check_tensor(x, self.dim)
        if self._n_bins and x.shape[self.dim] != self._n_bins:
            raise self._other_bins(self._n_bins, x.shape[self.dim])
        shape = [1] * x.ndim
        shape[self.dim] = -1
        if x.dtype == torch.float64:
            shift, scale = (numbers.to(x.device) for numbers in self._exact)
        else:
            shift, scale = self.shift, self.scale
        return shift.view(shape), scale.view(shape)

    def _get_ready(self) -> None:
        self._use(self.statistics, is_told=self._is_told)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002, as torch has it
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._is_ready and self._made is not None:
            # Moved with the module, but not cast: that would round them.
            self._put(self._made)
        return self

    def _save_to_state_dict(
        self,
        destination: dict[str, Any],
        prefix: str,
        keep_vars: bool,  # noqa: FBT001, as torch has it
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        fitted = self._gathered()
        if fitted is not None:
            for name, tensor in to_state(fitted).items():
                destination[prefix + name] = tensor

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,  # noqa: FBT001, as torch has it
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        # Only for its hooks: no tensor of the state is a buffer.
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, [], [], error_msgs)  # noqa: FBT003
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in state_dict.items()
            if name.startswith(prefix)
        }
        needed = needed_of(state)
        if strict:
            unexpected_keys += [prefix + name for name in state if name not in needed]
        if not needed & state.keys() and self._gathered() is None:
            return  # neither is fitted
        missing = sorted(needed - state.keys())
        missing_keys += [prefix + name for name in missing]
        if missing:
            return
        try:
            self._use(from_state(state), is_told=True)
        except (ValueError, TypeError) as error:
            error_msgs.append(f"{prefix or 'Scaler'}: {error}")

    def extra_repr(self) -> str:
        """What it was made with, and what it is fitted on."""
        told = f"{self.normalize!r}, over={self.over!r}, weight={self.weight!r}, dim={self.dim}"
        fitted = self._gathered()
        if fitted is None:
            return f"{told}, not fitted"
        if fitted.is_export:
            return f"{told}, n_bins={fitted.n_bins}, from a mean and a deviation"
        return f"{told}, n_bins={fitted.n_bins}, n_frames={fitted.moments.count}"


def _require(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name}={value!r}: must be one of {', '.join(allowed)}")
