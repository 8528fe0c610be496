"""Loihi: what the chips hold, whether a network fits, and where each part of it goes.

``hardware`` reads chips and boards, ``demand`` says what a network asks of a core, ``tiles`` and
``placement`` divide it among cores, ``check`` lists what the chip cannot do, ``traffic`` counts
messages and hops, ``files`` keeps a placement, ``picture`` draws it.
"""
