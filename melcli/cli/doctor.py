"""``melcli doctor``: what this installation can do."""

from __future__ import annotations

import json
import platform
import sys

import click

import melcli
from melcli.cli.funnel import debug_option


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@debug_option
def doctor(*, as_json: bool) -> None:
    """Tell versions, decoders, devices and threads.

    \b
        melcli doctor
    """
    findings = _findings()
    if as_json:
        click.echo(json.dumps(findings))
        return
    for title, facts in findings.items():
        click.echo(title)
        for name, value in facts.items():
            text = ", ".join(value) if isinstance(value, list) else str(value)
            click.echo(f"  {name:<14} {text}")


def _findings() -> dict[str, dict[str, str | int | list[str]]]:
    from importlib import metadata

    import h5py
    import soundfile
    import torch

    from melcli.config import RunConfig
    from melcli.config.run import available_cores
    from melcli.dsp.frontend import FrontEnd
    from melcli.pipeline.batching import budget
    from melcli.pipeline.report import size
    from melcli.pipeline.waveforms import PIECE_BYTES
    from melcli.presets import DEFAULT, load

    run, config = RunConfig(), load(DEFAULT).config
    kind = "processes" if sys.platform == "linux" and not torch.cuda.is_available() else "threads"
    plan = budget(config, run.memory, run.n_workers)
    block_rows = FrontEnd(config).block_rows

    packages = ("torch", "numpy", "soundfile", "soxr", "h5py", "click", "tqdm", "tomli-w")
    devices: dict[str, str | int | list[str]] = {
        "cpu": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        or "none that torch sees",
    }
    return {
        "versions": {
            "melcli": melcli.__version__,
            "python": sys.version.split()[0],
            **{name: metadata.version(name) for name in packages},
            "libsndfile": soundfile.__libsndfile_version__,
            "HDF5": h5py.version.hdf5_version,
        },
        "decoders": {"libsndfile": sorted(soundfile.available_formats())},
        "devices": devices,
        "threads": {
            "cores": available_cores(),
            "workers": f"{run.n_workers} {kind}, one a core; --workers changes it",
            "torch": "1 in each worker",
        },
        "memory": {
            "--memory": f"{size(run.memory)} for audio and rows, beside what torch itself takes",
            "batch": f"{size(plan.batch_bytes)} of float32 audio, with {DEFAULT}",
            "long inputs": f"in pieces of {size(PIECE_BYTES)}",
        },
        "numbers": {
            "products": "float32, never TF32",
            "blocks": f"{block_rows} frames on the cpu, with {DEFAULT}",
        },
    }
