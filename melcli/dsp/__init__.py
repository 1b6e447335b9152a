"""Tensors in, tensors out: no paths, no printing, no choice of device.

``frontend`` compiles a :class:`~melcli.config.MelConfig` into a short list of stages and runs
them over packed batches; ``waveform``, ``stft``, ``mel`` and ``compression`` hold the stages.
"""
