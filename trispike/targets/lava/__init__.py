"""Lava, Intel's framework for neuromorphic processes: the network as Lava processes.

``schedule`` and ``program`` say what each process does at which chip step, in NumPy alone;
``processes`` holds the Lava processes and nothing else, since Lava executes every file beside a
process class; ``runtime`` starts and ends them; ``session`` streams samples through them.
Nothing here imports Lava until ``trispike.targets.lava.imports`` is imported.
"""
