"""What the layers of all systems are: a front end, and a state under another system's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from melcli.dsp.frontend import FrontEnd
from melcli.dsp.stft import KernelSpectrum, Spectrum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from melcli.config import MelConfig
    from melcli.dsp.stage import Stage

_ENGINE: Final = "front_end."
_ROUNDING: Final = 1e-6
"""Weights that are no further from those of a config are those of the config."""


class Layer(nn.Module):
    """A front end that another system's code knows how to call.

    Each waveform's numbers are the same alone and in a batch, to float32's rounding. Its parameters
    are those of ``front_end``. Its state has the names and shapes of the original: a layer that has
    any says so by :meth:`original_state` and :meth:`take_state`.

    Args:
        front_end: What computes.
        config: The same as ``melcli extract --config`` takes it; None where no config says it all.
    """

    front_end: FrontEnd

    def __init__(self, front_end: FrontEnd, config: MelConfig | None) -> None:
        super().__init__()
        self._config = config
        self.front_end = front_end
        front_end.exact = False

    @property
    def config(self) -> MelConfig | None:
        """The front end as ``melcli extract --config`` takes it: ``config.to_toml()``.

        None where no config says it all: also once its weights are others, learnt or loaded.
        """
        config = self._config
        return config if config is not None and _is_of(config, self.front_end) else None

    def original_state(self) -> dict[str, Tensor]:
        """All tensors of the state, under the original's names; here, what is learnt."""
        return self.front_end.state_dict()

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on with what :meth:`original_state` gave, of this layer or of the original.

        Raises:
            ValueError: The tensors do not fit.
        """
        for name, parameter in self.front_end.state_dict().items():
            check_shape(state[name], parameter, name)
            put(parameter, state[name])

    def optional_state(self) -> frozenset[str]:
        """Names that a state may also have, or may lack."""
        return frozenset()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401, as torch has it
        """The state, under the original's names."""
        state = super().state_dict(*args, **kwargs)
        prefix, keeps = kwargs.get("prefix", ""), kwargs.get("keep_vars", False)
        for name in [name for name in state if name.startswith(prefix + _ENGINE)]:
            del state[name]
        for name, tensor in self.original_state().items():
            state[prefix + name] = tensor if keeps else tensor.detach()
        return state

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        optional = self.optional_state()
        known = self.original_state().keys() | optional
        taken = {n: state_dict.pop(prefix + n) for n in known if prefix + n in state_dict}
        missing = known - optional - taken.keys()
        missing_keys += [prefix + name for name in sorted(missing)]
        if not missing:
            try:
                self.take_state(taken)
            except ValueError as error:
                error_msgs.append(f"{prefix}{error}")
        # The engine's own names are nobody else's business: it is given what it has.
        for name, tensor in self.front_end.state_dict().items():
            state_dict[prefix + _ENGINE + name] = tensor
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def check_shape(tensor: Tensor, known: Tensor, name: str) -> None:
    """See that a tensor of a state has the shape of the one it will stand for.

    Raises:
        ValueError: It has not.
    """
    if tensor.shape != known.shape:
        raise ValueError(f"{name} of shape {tuple(tensor.shape)}: must be {tuple(known.shape)}")


def constant_spectrum(config: MelConfig, cosines: Tensor, sines: Tensor) -> Stage:
    """The transform of a state's kernels: an FFT where they are those of the front end's own.

    Args:
        config: The front end.
        cosines: Windowed, ``(n_freqs, span)``.
        sines: The same.
    """
    own = Spectrum(config)
    pairs = zip((cosines, sines), own.kernels(), strict=True)
    is_fft = all(_is_same(given, known) for given, known in pairs)
    return own if is_fft else KernelSpectrum(cosines.clone(), sines.clone(), learns=False)


def _is_of(config: MelConfig, front_end: FrontEnd) -> bool:
    """Whether the weights of a front end are those of a config."""
    ours, made = front_end, FrontEnd(config)
    if isinstance(ours.stft, Spectrum):
        pairs = [(ours.stft.window, cast("Spectrum", made.stft).window)]
    else:
        pairs = list(zip(ours.stft.kernels(), made.stft.kernels(), strict=True))
    pairs.append((ours.filterbank.weight, made.filterbank.weight))
    return all(_is_same(a.detach(), b) for a, b in pairs)


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Whether weights are those of a config, to rounding in parts of the largest."""
    apart = (a.to("cpu", torch.float64) - b.to(torch.float64)).abs().max()
    return bool(apart <= _ROUNDING * b.abs().max())


def put(target: Tensor, value: Tensor) -> None:
    """Write a tensor of a state into a parameter, which optimisers may hold."""
    with torch.no_grad():
        target.copy_(value)
