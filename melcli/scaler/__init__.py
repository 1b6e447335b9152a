"""Scalers: the statistics of a dataset at work.

::

    module     melcli.Scaler, a torch module
    tensors    what it is given, as rows
    state      its state dict, and that of DESED's TorchScaler
    files      .h5, .npz, .npy and .pt
    merge      several files to one
    bands      the frequencies of bins, for tables and pictures

Nothing is imported here: files are read and merged without torch, but for ``.pt``.
"""
