"""Random graphs: what the standard allows and nobody would write down, judged like every other case.

choices.py draws, sketch.py builds, operators/ says which calls there are, case.py judges, shrink.py makes a failure small, and
run.py goes through many.
"""
