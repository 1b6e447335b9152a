"""Outputs as Python and torch want them: ``mels`` is a mapping, ``examples`` a torch Dataset."""
