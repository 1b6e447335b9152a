"""Statistics of a dataset, bin by bin: gathered, put together, and turned into a normalisation.

::

    moments     count, mean, spread and ends, in one pass and without drift
    counts      how often each value occurs, for quantiles
    fitted      both, and what they are of: all that a scaler's file holds
    normalize   from statistics to (x - shift) / scale
    diagnosis   what is poor about them, in words

NumPy only: no torch, no files.
"""
