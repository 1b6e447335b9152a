"""Reading audio: which files are audio, what they hold, and whether all of it is there.

::

    formats      names alone: extensions, and the ffmpeg line for what libsndfile cannot read
    sources      opening: regular files and seekable streams, never a FIFO or a device
    containers   bytes alone: does the file hold as much as its header promises?
      ogg, flac, mpeg, older       the same, of formats that are no chunks
      evidence                     the words of the answer
    wav          bytes alone: is it a WAV so plain that it needs no libsndfile?
    reading      soundfile: probe(), read(), AudioReader, spool()

Nothing is imported here, so that planning (``melcli.audio.formats``) starts without soundfile and
NumPy. Import the module that is needed.
"""
