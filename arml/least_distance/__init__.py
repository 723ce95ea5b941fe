"""Least-distance problems whose rows are pairs of training points: who is to be nearer than whom after a perturbation.

The local search solves one for each assignment it tries, the exact search one for each node of its tree.
"""
