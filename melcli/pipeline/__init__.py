"""The only place that knows audio, dsp and store at once.

::

    plan       find the inputs, from names and stat alone
    survey     read their headers, for --dry-run
    batching   cut the plan into batches and segments
    workers    threads that a signal cannot lock up
    clips      decode an input: channels, sample rate, length
    run        the loop: read, compute, write
    report     what became of each input

Nothing is imported here: planning, surveying and reporting start without torch.
"""
