"""Two kinds of setting: what decides the numbers, and what decides how soon they arrive.

``fields`` has the groups of a front end, ``checks`` what a value may be, ``mel`` puts both
together as :class:`MelConfig`; ``run`` has :class:`OutputConfig` and :class:`RunConfig`;
``invert`` has :class:`InvertConfig` and :class:`AudioConfig`, for the way back.
"""

from melcli.config.fields import Frame, Log, Mel, Out, Scale, Spec, Wave
from melcli.config.invert import AudioConfig, InvertConfig
from melcli.config.mel import MelConfig, describe_settings, parse_setting
from melcli.config.run import OutputConfig, RunConfig

__all__ = [
    "AudioConfig",
    "Frame",
    "InvertConfig",
    "Log",
    "Mel",
    "MelConfig",
    "Out",
    "OutputConfig",
    "RunConfig",
    "Scale",
    "Spec",
    "Wave",
    "describe_settings",
    "parse_setting",
]
