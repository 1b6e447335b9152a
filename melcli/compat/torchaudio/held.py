"""A module whose state is one tensor, under torchaudio's name for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from melcli.dsp.precision import kept_precise

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


class Held(nn.Module):
    """Keeps a tensor, and what the engine makes of it.

    The tensor is all of its state; what is loaded is computed with from then on.

    Args:
        name: What torchaudio calls the tensor.
        tensor: To begin with.
    """

    def __init__(self, name: str, tensor: Tensor) -> None:
        super().__init__()
        self.register_buffer(name, tensor)

    def follow(self) -> None:
        """Make of the tensor what computes."""
        raise NotImplementedError

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        return super()._apply(kept_precise(fn), recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, as torch has it
        super()._load_from_state_dict(*args, **kwargs)
        self.follow()
