"""What statistics are gathered over: audio, outputs that were made of audio, or both."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from melcli import presets
from melcli.errors import NoInputError, StoreError, UsageError
from melcli.pipeline.plan import Plan, Selection
from melcli.pipeline.stretches import Stretches, each_output, is_output
from melcli.pipeline.target import plan_inputs
from melcli.store.compare import config_differences
from melcli.store.shards import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from melcli.config import MelConfig, OutputConfig

_PARTS: Final = frozenset({".npy", ".npz", ".toml", ".jsonl", ".pt"})
"""What people may name for the output that it is a part of, or was made from."""


class Sources:
    """All inputs of a fit, in one plan: audio first, then stretches of outputs.

    Args:
        selection: What was asked for.
        config: The front end, or its name; None takes that of the outputs, and else the default.
        out: What becomes of long audio.

    Raises:
        UsageError: An input is there twice.
        NoInputError: There is none.
        StoreError: An output cannot be read, or was made by another front end.
        ConfigError: A front end that cannot be.
    """

    def __init__(
        self, selection: Selection, config: MelConfig | str | None, out: OutputConfig
    ) -> None:
        outputs = [path for path in map(Path, selection.paths) if is_output(path)]
        for path in map(Path, selection.paths):
            if path not in outputs and path.suffix.lower() in _PARTS:
                raise UsageError(
                    "is neither audio nor an output of extract",
                    path,
                    "name the .h5 file, or the folder that holds the .npy files and melcli.toml",
                )
        self._of_audio = replace(
            selection, paths=tuple(p for p in selection.paths if Path(p) not in outputs)
        )
        self.has_audio = bool(self._of_audio.paths) or selection.files_from is not None
        self.stretches: Stretches | None = None
        if outputs:
            self.stretches = Stretches(_each(outputs), selection.ids, selection.shard)
        self.config = self._front_end(config)
        self.plan = Plan(shard=selection.shard)
        if self.has_audio:
            self._plan_audio(out)
        self.n_audio = len(self.plan)
        self.inputs_digest = self._digest_of_inputs()
        self.unknown_ids = self._unknown(selection)
        if self.stretches is not None:
            for n in range(len(self.stretches)):
                name = self.stretches.name(n).encode()
                self.plan.add_stretch(name, self.stretches.size(n), self.stretches.mtime_ns(n))
        if not len(self.plan) and selection.shard is None:
            raise NoInputError("nothing is left to fit on", None, "check --ids")

    def _front_end(self, config: MelConfig | str | None) -> MelConfig:
        given = presets.load(config).config if isinstance(config, str) else config
        if self.stretches is None:
            return given or presets.load(presets.DEFAULT).config
        found = self.stretches.config
        if given is not None and given.digest != found.digest:
            lines = config_differences(found.to_toml(), given.to_toml())
            raise StoreError(
                "was made by another front end:" + "".join(f"\n  {line}" for line in lines),
                self.stretches.first_path,
                "leave out --config: an output knows its own",
            )
        return found

    def _plan_audio(self, out: OutputConfig) -> None:
        try:
            whole = plan_inputs(replace(self._of_audio, shard=None), None, self.config, out)
        except NoInputError:
            if self.stretches is None or self._of_audio.ids is None:
                raise
            self.has_audio = False  # all that is asked for is in the outputs
            return
        if self.stretches is not None:
            self.stretches.check_once("the audio", whole.ids)
        self._audio_ids = whole.ids
        shard = self._of_audio.shard
        self.plan = whole if shard is None else whole.part(shard)

    def _digest_of_inputs(self) -> str:
        """Of the whole list, whichever shard of it this is."""
        digest = hashlib.sha256()
        if self.has_audio:
            digest.update(digest_of(self._audio_ids()).encode())
        if self.stretches is not None:
            digest.update(self.stretches.whole_digest.encode())
        return digest.hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of what is read: every input with its size and time, and what part of it."""
        digest = hashlib.sha256()
        for planned in self.plan:
            part = "" if planned.excerpt is None else f"\0{tuple(planned.excerpt)}"
            digest.update(f"{planned.id}\0{planned.size}\0{planned.mtime_ns}{part}\n".encode())
        if self.stretches is not None:
            digest.update(self.stretches.digest.encode())
        return digest.hexdigest()

    def _unknown(self, selection: Selection) -> list[str]:
        """Ids that were asked for and are nowhere."""
        if selection.ids is None:
            return []
        seen = set(self.stretches.seen) if self.stretches is not None else set()
        if self.has_audio:
            seen |= selection.ids.intersection(self._audio_ids())
        return sorted(selection.ids - seen)

    @functools.cached_property
    def stretch_names(self) -> frozenset[str]:
        """What the stretches are called."""
        n_stretches = 0 if self.stretches is None else len(self.stretches)
        return frozenset(map(self.plan.id, range(self.n_audio, self.n_audio + n_stretches)))

    def close(self) -> None:
        """Close the outputs."""
        if self.stretches is not None:
            self.stretches.close()


def _each(outputs: list[Path]) -> Iterator[Path]:
    for path in outputs:
        yield from each_output(path)
