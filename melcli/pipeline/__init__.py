"""The only place that knows audio, dsp and store at once.

::

    run        audio to mels: extract
    fit        statistics of a dataset: fit_scaler
    sources    what those are gathered over
    stretches  outputs as inputs
    summing    what a worker does whose rows are wanted for their statistics
    rescale    a scaler put to an output, or taken from it
    plan       find the inputs, from names and stat alone
    survey     read their headers, for --dry-run
    batching   cut the plan into batches and segments, within --memory
    books      what is done, what is to do
    flow       batches through the workers and back; what crashes one fails alone
    pools      who works: processes or threads
    workers    threads that a signal cannot lock up
    processes  forked processes, where threads would fight for the interpreter lock
    worker     what one of either does with a batch
    parcels    its results on their way home from its process
    waveforms  samples to waveforms, in pieces
    clips      waveforms that are all there, as items
    long       inputs of any length, piece by piece
    engine     the front end on its device
    loop       workers in front, one writer behind
    recompute  a sample of an output's inputs, computed again and compared
    sample     which inputs those are
    tolerance  how far their numbers may lie apart
    room       is there room on the disk for what is to come?
    report     what became of each input

Nothing is imported here: planning, surveying and reporting start without torch.
"""
