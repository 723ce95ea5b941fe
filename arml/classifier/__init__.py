"""A K-NN classifier prepared once: in a frame in which numbers are of the order of 1, with bounds of their rounding.

`arml.neighbors` validates what callers hand in and prepares a `FittedKNN`; certification and attacks take it from
there.
"""
