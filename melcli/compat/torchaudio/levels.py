"""torchaudio's decibels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from melcli.compat.arguments import at_least, one_of, wrong
from melcli.compat.decibels import decibels, lifted
from melcli.dsp.precision import HALVES, like_input

if TYPE_CHECKING:
    from collections.abc import Sequence


class AmplitudeToDB(nn.Module):
    """``torchaudio.transforms.AmplitudeToDB``: ``f log10(max(x, 1e-10))``, ``f`` 10 or 20.

    What differs from the original:

    - A batch of mono clips ``(N, n_mels, n_frames)`` is one of clips: each is lifted to ``top_db``
      below its own maximum. The original takes one for all; ``top_db_over="batch"`` does too.
    - An ``stype`` that is neither power nor amplitude raises ValueError. The original takes every
      unknown word for amplitude.
    - One axis works, with ``top_db`` too, and so does none. Half precision is computed in float32:
      in float16, 1e-10 is 0 and its logarithm infinite.

    As in the original 1e-10 is the least amplitude too, so silence is -200 dB there, and channels
    share the maximum of their clip. ``amin`` and ``ref_value`` can be set, as DESED does.

    Args:
        stype: ``"power"``; or ``"magnitude"``, also called ``"amplitude"``.
        top_db: How far below the maximum of an item nothing lies; None: as far as it may.
        top_db_over: In ``(N, n_mels, n_frames)``, what shares a maximum: nothing, or the batch.

    Raises:
        UsageError: An argument cannot be; a ValueError.

    >>> import torch
    >>> AmplitudeToDB(top_db=80.0)(torch.tensor([[1.0, 0.1], [0.0, 100.0]]))
    tensor([[  0., -10.],
            [-60.,  20.]])
    """

    def __init__(
        self,
        stype: str = "power",
        top_db: float | None = None,
        *,
        top_db_over: Literal["item", "batch"] = "item",
    ) -> None:
        super().__init__()
        one_of("stype", stype, ("power", "magnitude", "amplitude"))
        one_of("top_db_over", top_db_over, ("item", "batch"))
        if top_db is not None:
            at_least("top_db", top_db, 0)
        self.stype, self.top_db, self.top_db_over = stype, top_db, top_db_over
        self.multiplier = 10.0 if stype == "power" else 20.0
        self.amin, self.ref_value = 1e-10, 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Decibels in the shape of ``x``: magnitudes or powers ``(..., n_mels, n_frames)``.

        Raises:
            UsageError: They are complex.
        """
        if x.is_complex():
            raise wrong("x", x.dtype, "must be real")
        wide = x.float() if x.dtype in HALVES else x
        level = decibels(wide, factor=self.multiplier, floor=self.amin, reference=self.ref_value)
        if self.top_db is not None:
            level = lifted(level, self.top_db, self._axes(x.dim()))
        return like_input(level, x)

    def _axes(self, n_axes: int) -> Sequence[int]:
        """Those over which there is one maximum."""
        shared = 2 if n_axes == 3 and self.top_db_over == "item" else 3
        return range(-min(n_axes, shared), 0)

    def extra_repr(self) -> str:
        """What ``print`` shows of it."""
        return f"stype={self.stype!r}, top_db={self.top_db}"
