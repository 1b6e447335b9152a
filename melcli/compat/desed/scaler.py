"""DESED_task's scaler, with its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import torch
from torch import Tensor, nn

from melcli.compat.arguments import at_least, one_of, wrong
from melcli.compat.layer import check_shape
from melcli.dsp.compression import UtteranceMeanVar, UtteranceMinMax
from melcli.dsp.precision import HALVES, kept_precise, like_input
from melcli.errors import ScalerError, UsageError
from melcli.scaler.state import from_state
from melcli.statistics.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    from melcli.dsp.stage import MeasuredStage

Statistic = Literal["dataset", "instance"]
NormType = Literal["standard", "mean", "minmax", "minmax01"]

_STATE: Final = ("mean", "mean_squared")


class TorchScaler(nn.Module):
    """``desed_task.utils.scaler.TorchScaler``: by the statistics of a dataset, or of each item.

    ::

        dataset   standard  (x - mean) / (sqrt(mean_squared - mean^2) + eps)
                  mean      x - mean
        instance  standard  (x - mean(x)) / (std(x) + eps)        std: divisor n - 1
                  mean      x - mean(x)
                  minmax    2 (x - min(x)) / (max(x) - min(x) + eps) - 1
                  minmax01  (x - min(x)) / (max(x) - min(x) + eps)

    What differs from the original:

    - ``normtype="minmax"`` is the range of [-1, 1] that it has had since April 2024. What was
      trained before, as the checkpoints of 2021 to 2023 were, asks for ``"minmax01"``.
    - A state loads into a scaler that is not fitted too, also inside a larger model. It is checked
      against ``dims``, and refused if no statistics can be like that.
    - Statistics are added up in float64, and rounded to float32 once. Where rounding leaves less
      than no variance, the original gives NaN; here what never varies is only moved, by ``mean``.
    - Of one number alone the deviation is 0, not NaN, so it becomes 0.
    - What it raises as AssertionError and NotImplementedError is ValueError. Other numbers of
      bands than it was fitted on are told, and so are an empty loader and NaN.
    - :meth:`fit` shows no progress, and is refused where it would do nothing.

    Each batch weighs the same in :meth:`fit`, whatever its size, as in the original;
    :class:`melcli.Scaler` weighs frames or items, leaves out padding, and can be undone.

    Args:
        statistic: ``"dataset"``, ``"instance"``, or None, which changes nothing.
        normtype: ``"standard"``, ``"mean"``, ``"minmax"``, ``"minmax01"``, or None, which changes
            nothing. The ranges are for instances only.
        dims: The axes over which statistics are taken. (1, 2) of ``(n_items, n_mels, n_frames)``
            gives one number for all bands; (2,) one for each.
        eps: Added to what is divided by.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> scaler = TorchScaler("instance", "minmax", [1, 2])
    >>> scaler(torch.tensor([[[1.0, 2.0, 3.0]]]))
    tensor([[[-1.,  0.,  1.]]])
    """

    mean: Tensor | None
    mean_squared: Tensor | None
    divisor: Tensor

    def __init__(
        self,
        statistic: Statistic | None = "dataset",
        normtype: NormType | None = "standard",
        dims: Sequence[int] = (1, 2),
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        one_of("statistic", statistic, (*get_args(Statistic), None))
        one_of("normtype", normtype, (*get_args(NormType), None))
        if statistic == "dataset" and normtype in {"minmax", "minmax01"}:
            raise wrong("normtype", normtype, "must be 'standard' or 'mean' over a dataset")
        at_least("eps", eps, 0)
        dims = tuple(dims)
        if not dims or not all(type(dim) is int for dim in dims) or len(set(dims)) < len(dims):
            raise wrong("dims", dims, "must be one axis or several, each once")
        self.statistic, self.normtype, self.dims, self.eps = statistic, normtype, dims, eps
        for name in _STATE:
            self.register_buffer(name, None)
        # Not part of the state. Also what tells where an unfitted scaler is.
        self.register_buffer("divisor", torch.zeros(0), persistent=False)

    def fit(
        self,
        dataloader: Iterable[Any],
        transform_func: Callable[[Any], Tensor] = lambda batch: batch[0],
    ) -> Self:
        """Find the statistics of a dataset, whatever was known before.

        Args:
            dataloader: Batches.
            transform_func: Makes features of a batch, items along the first axis.

        Returns:
            The scaler itself. If anything is raised, it is as it was.

        Raises:
            UsageError: It scales nothing by a dataset.
            ScalerError: There was no batch, or features that are not finite, or of other bands.
        """
        if self.statistic != "dataset":
            raise wrong("statistic", self.statistic, "must be 'dataset' to be fitted")
        tally: Tally | None = None
        shape, dtype = torch.Size(), torch.float32
        for number, batch in enumerate(dataloader):
            features = _features(transform_func(batch), number)
            reduced = self._reduced(features, {0})
            if tally is None:
                shape = _kept_shape(features, reduced)
                tally = Tally(shape.numel(), "batch", with_counts=False)
            elif shape != _kept_shape(features, reduced):
                raise ScalerError(
                    f"features of shape {tuple(features.shape)} in batch {number}: the statistics"
                    f" of those before are of shape {tuple(shape)}"
                )
            # Items of a batch are of one shape, so it is the mean of those of its items.
            rows = _as_rows(features, reduced).numpy()
            tally.add([rows], float(rows.min()))
            tally.end_batch()
            dtype = torch.promote_types(dtype, features.dtype)
        if tally is None:
            raise ScalerError(
                "no batches to fit on", None, "an iterator gives its batches only once"
            )
        moments = tally.taken().moments
        found = (moments.mean, moments.variance + moments.mean**2)
        self._use(*(torch.from_numpy(numbers).reshape(shape).to(dtype) for numbers in found))
        return self

    def forward(self, tensor: Tensor) -> Tensor:
        """Scale features of any shape that has the axes ``dims``.

        Raises:
            UsageError: It has not.
            ScalerError: The scaler is not fitted, or on other features.
        """
        if self.statistic is None or self.normtype is None:
            return tensor
        if not tensor.is_floating_point():
            raise wrong("tensor", tensor.dtype, "must be floating point")
        x = tensor.to(torch.float32) if tensor.dtype in HALVES else tensor
        scaled = self._by_dataset(x) if self.statistic == "dataset" else self._by_itself(x)
        return like_input(scaled, tensor)

    def _by_dataset(self, x: Tensor) -> Tensor:
        if self.mean is None:
            raise ScalerError(
                "the scaler is not fitted", None, "fit(dataloader), or load_state_dict(state)"
            )
        expected = _kept_shape(x, self._reduced(x, {0}))
        if self.mean.shape != expected:
            fitted = tuple(self.mean.shape)
            raise ScalerError(
                f"fitted on statistics of shape {fitted}; features of shape {tuple(x.shape)} have"
                f" {tuple(expected)} with dims = {self.dims}"
            )
        moved = x - self.mean.to(x.dtype)
        return moved if self.normtype == "mean" else moved / self.divisor.to(x.dtype)

    def _by_itself(self, x: Tensor) -> Tensor:
        stage: MeasuredStage
        if self.normtype in {"minmax", "minmax01"}:
            low = -1.0 if self.normtype == "minmax" else 0.0
            stage = UtteranceMinMax(self.eps, low=low, over="bin")
        else:
            divides = self.normtype == "standard"
            stage = UtteranceMeanVar(
                divide=divides, over="bin", ddof=1, eps=self.eps, eps_mode="std"
            )
        reduced = self._reduced(x)
        rows = _as_rows(x, reduced)
        measured = stage.measure(lambda: [rows])
        scaled: Tensor = stage(x, measured.reshape(2, *_kept_shape(x, reduced)))
        return scaled

    def _reduced(self, x: Tensor, more: Iterable[int] = ()) -> tuple[int, ...]:
        """The axes that statistics are taken over, as numbers from 0 on."""
        if any(not -x.dim() <= dim < x.dim() for dim in self.dims):
            raise wrong("dims", self.dims, f"must be axes of features of shape {tuple(x.shape)}")
        return tuple(sorted({dim % x.dim() for dim in self.dims}.union(more)))

    def _use(self, mean: Tensor, mean_squared: Tensor) -> None:
        """Scale by these from now on.

        Raises:
            ValueError: No features have such statistics.
        """
        state = dict(zip(_STATE, (mean, mean_squared), strict=True))
        check_shape(mean_squared, mean, "mean_squared")
        if mean.shape != _kept_shape(mean, self._reduced(mean, {0})):
            raise wrong("dims", self.dims, f"no statistics of shape {tuple(mean.shape)}")
        deviation = torch.from_numpy(from_state(state).moments.std).reshape(mean.shape)
        divisor = torch.where(deviation > 0, deviation + self.eps, 1.0)
        device = self.divisor.device
        dtype = torch.promote_types(mean.dtype, torch.float32)
        with torch.inference_mode(mode=False):  # else nothing could be learnt through them later
            self.mean = mean.to(device, dtype, copy=True)
            self.mean_squared = mean_squared.to(device, dtype, copy=True)
            self.divisor = divisor.to(device, dtype, copy=True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return super()._apply(kept_precise(fn), recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if self.statistic != "dataset":
            return  # a checkpoint may hold what another scaler was fitted on
        found = [state_dict[prefix + name] for name in _STATE if prefix + name in state_dict]
        if len(found) == 1:  # neither is anything without the other
            missing_keys += [prefix + n for n in _STATE if prefix + n not in state_dict]
            return
        if found:
            try:
                self._use(*found)
            except ValueError as error:
                error_msgs.append(f"{prefix or 'TorchScaler'}: {error}")
                return
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        told = f"{self.statistic!r}, {self.normtype!r}, dims={self.dims}, eps={self.eps}"
        is_unfitted = self.statistic == "dataset" and self.mean is None
        return f"{told}, not fitted" if is_unfitted else told


def _features(features: object, number: int) -> Tensor:
    """What is to be fitted on, on the CPU and in float32 at least.

    Raises:
        UsageError: It is something else.
        ScalerError: It is not finite.
    """
    if not isinstance(features, Tensor) or not features.is_floating_point():
        kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise wrong("transform_func", kind, "must give a tensor, floating point")
    if features.numel() == 0:
        raise wrong("transform_func", tuple(features.shape), "must give numbers")
    if not bool(torch.isfinite(features).all()):
        raise ScalerError(f"NaN or infinity in batch {number}, counted from 0")
    dtype = torch.promote_types(features.dtype, torch.float32)
    return features.detach().to("cpu", dtype)


def _as_rows(x: Tensor, reduced: tuple[int, ...]) -> Tensor:
    """A matrix ``(n_reduced, n_kept)``: what is measured together lies in one column."""
    kept = [axis for axis in range(x.dim()) if axis not in reduced]
    n_kept = torch.Size([x.shape[axis] for axis in kept]).numel()
    n_reduced = torch.Size([x.shape[axis] for axis in reduced]).numel()
    if n_reduced == 0:
        raise UsageError(f"features of shape {tuple(x.shape)}: nothing to take statistics of")
    return x.permute(*reduced, *kept).reshape(n_reduced, n_kept)


def _kept_shape(x: Tensor, reduced: tuple[int, ...]) -> torch.Size:
    return torch.Size([1 if axis in reduced else n for axis, n in enumerate(x.shape)])
