"""Lava processes and their models, and nothing else.

While Lava looks for a process model it executes every file in the directory of the process's
class, so no other code may lie here. Models compute with NumPy only: torch hangs in a process that
was forked after torch has been used.
"""
