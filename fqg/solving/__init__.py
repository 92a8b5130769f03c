"""Solvers: relaxed plan costs, exact plans, all reachable states with the exact cost to go.

What is in Python here is the reference, written to be read; `native` does the same at scale with
the compiled module of the wheel `symphony-native`, where that is installed.
"""
