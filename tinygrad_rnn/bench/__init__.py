"""`tinygrad-rnn bench`: this machine's backends beside PyTorch and JAX.

Every side runs in a process of its own, sides take turns, and what is compared is first shown to be
equal. Nothing of the library imports this package; the command does.

    command     options -> what to measure -> table, JSON, PNG
    workloads   the published configurations, and what must be reached
    arrays      the same numbers for every side
    ours        the workloads in tinygrad_rnn;  cells_ours: three cells as a user writes them
    theirs_*    the same in PyTorch and in JAX
    child       one side in its own process;  clock, memory, peak: what is measured there
    processes   starts the sides in turn;  rows: medians, ratios, agreement
    table plot  how it is shown
"""
